"""Each page of the ten minutes, followed as it is written, in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSERTED = re.compile(r"In `([^`]+)`, after the line that begins with (`+) ?(.+?) ?\2, add")
STEP = re.compile(r"^ *```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


@pytest.fixture
def copy(tmp_path):
    """The files that git keeps, or would, as they are, with what numba has compiled of them."""
    asked = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip(f"no git checkout: {listed.stderr.strip()}")
    names = {Path(name) for name in listed.stdout.split("\0") if name}
    compiled = {path.relative_to(ROOT) for path in ROOT.glob("hlm_models/**/__pycache__/*.nb?")}
    for name in sorted(names | compiled):
        if (ROOT / name).is_file():
            (tmp_path / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / "copy" / name)
    return tmp_path / "copy"


@pytest.fixture
def shell(copy, tmp_path):
    """Run a line of a page in the copy, with this Python and the copy's package."""
    words = {"hlm": "-m hlm_models", "pytest": "-m pytest -q -p no:cacheprovider -p no:xdist"}
    for word, call in words.items():
        script = tmp_path / "bin" / word
        script.parent.mkdir(exist_ok=True)
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n')
        script.chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(copy), "COLUMNS": "100"}

    def run(line):
        done = subprocess.run(
            line, shell=True, cwd=copy, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


def follow(page, copy, shell):
    """Do what a page says, step by step; gives what each command printed."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    printed, at = {}, 0
    for step in STEP.finditer(text):
        said, at = " ".join(text[at : step.start()].split()), step.end()
        language, code = step.group(1), textwrap.dedent(step.group(2))
        if language == "sh":
            printed |= {line: shell(line) for line in code.splitlines()}
        elif written := re.findall(r"Write `([^`]+)`", said):
            [name] = written
            assert not (copy / name).exists(), f"{name} is there already"
            (copy / name).write_text(code, "utf-8")
        elif added := INSERTED.findall(said):
            [(name, _, begins)] = added
            _insert(copy / name, begins, step.group(2))
        elif ended := re.findall(r"At the end of `([^`]+)`, add", said):
            [name] = ended
            (copy / name).write_text((copy / name).read_text("utf-8") + code, "utf-8")
        else:
            assert language == "r", f"{page}: what is to be done with\n{code}"
    return printed


def _insert(path, begins, code):
    lines = path.read_text("utf-8").splitlines(keepends=True)
    [place] = [i for i, line in enumerate(lines) if line.strip().startswith(begins)]
    # Blocks of the pages are indented by three, being part of a list.
    path.write_text("".join([*lines[: place + 1], code.replace("   ", "", 1), *lines[place + 1 :]]))


@pytest.mark.slow
def test_a_model_is_added_as_the_page_says(copy, shell):
    printed = follow("adding-a-model.md", copy, shell)
    assert "154 rows" in printed["hlm fit grunfeld-late --engine reml"]
    [verified] = [text for line, text in printed.items() if line.startswith("hlm verify")]
    assert re.search(r"grunfeld-late +pass", verified)
    assert (copy / "runs" / "grunfeld-late" / "report.html").exists()


@pytest.mark.slow
def test_a_prior_is_added_as_the_page_says(copy, shell):
    printed = follow("adding-a-prior.md", copy, shell)
    [shown] = [text for line, text in printed.items() if line.startswith("hlm show")]
    assert "gamma(2, 100)" in shown


def test_a_dataset_is_added_as_the_page_says(copy, shell):
    printed = follow("adding-a-dataset.md", copy, shell)
    assert "shops" in printed["hlm data list"]
    assert (copy / "shops.csv").read_text().splitlines()[0] == "shop,week,sold"
