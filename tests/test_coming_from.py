"""What the page for users of other packages says to write here does run."""

import ast
import re
import shlex
from pathlib import Path

import pytest

from hlm_models.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "coming-from.md"
SPAN = re.compile(r"`([^`]+)`")


def _part(heading):
    """The text under a heading of the second level, as it stands on the page."""
    text = PAGE.read_text("utf-8")
    [found] = [part for part in re.split(r"^## ", text, flags=re.M) if part.startswith(heading)]
    return found


def _snippets(text):
    """The code of the last column of every table, in the order of the page."""
    for line in text.splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            *_, last, _ = re.split(r"(?<!\\)\|", line)
            yield from (code.replace("\\|", "|") for code in SPAN.findall(last))


def _run(code, names):
    """Run a snippet: a command of hlm, or Python."""
    if code.startswith("hlm "):
        assert main(shlex.split(code)[1:]) == 0, code
        return
    try:
        exec(compile(ast.parse(code), code, "exec"), names)
    except Exception as error:
        error.add_note(f"in `{code}`")
        raise


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """What the beginning of the page and its first table define."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("coming"))
        patch.setenv("MPLBACKEND", "agg")
        beginning = PAGE.read_text("utf-8").partition("\n## ")[0]
        [command] = re.findall(r"`(hlm data export [^`]+)`", beginning)
        [code] = re.findall(r"```python\n(.*?)```", beginning, re.DOTALL)
        found = {}
        for one in (command, code, *_snippets(_part("lme4").partition("\n### Look")[0])):
            _run(one, found)
        yield found


# ArviZ: R-hat of a correlation of 1 with itself, and weights of rows given their effects.
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:Estimated shape parameter:UserWarning")
@pytest.mark.parametrize(
    "heading",
    [
        "lme4",
        pytest.param("brms", marks=pytest.mark.slow),
        pytest.param("Bambi", marks=pytest.mark.slow),
        "MixedModels.jl",
    ],
)
def test_what_stands_in_the_last_column_runs(heading, names):
    found = list(_snippets(_part(heading)))
    assert len(found) > 10
    for code in found:
        _run(code, names)
