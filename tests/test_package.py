"""The public names, and the wheel: what is packed works away from the checkout."""

import importlib
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import hlm_models as hlm

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "hlm_models").rglob("*.py")
    if path.name != "__main__.py"
)


def test_the_public_names_are_sorted_and_real():
    assert hlm.__all__ == sorted(hlm.__all__)
    for name in hlm.__all__:
        assert callable(getattr(hlm, name)) or name == "plot", name
        assert getattr(hlm, name).__doc__, name


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fti'"):
        getattr(hlm, "fti")  # noqa: B009


def _constants_classes_rest(name):
    """The order that ruff keeps (RUF022)."""
    return (not name.isupper(), not name[:1].isupper(), name)


NEEDS = {"hlm_models.graph.integrated_jax": "jax"}
"""Modules for samplers that come with the extra `samplers`, and what they import."""


@pytest.mark.parametrize("name", MODULES)
def test_the_names_that_a_module_offers_are_sorted_and_real(name):
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason="the extra `samplers` is not installed")
    module = importlib.import_module(name)
    offered = getattr(module, "__all__", [])
    assert sorted(offered, key=_constants_classes_rest) == list(offered)
    assert len(set(offered)) == len(offered)
    assert [one for one in offered if not hasattr(module, one)] == []


def test_the_installed_version_is_that_of_the_project():
    assert metadata.version("hlm-models") == PROJECT["version"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [
            *(sys.executable, "-m", "build", "--wheel", "--no-isolation"),
            *("--outdir", str(out), str(ROOT)),
        ],
        check=True,
        capture_output=True,
        cwd=out,
    )
    [path] = out.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel):
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    target = tmp_path_factory.mktemp("target")
    with zipfile.ZipFile(wheel) as file:
        file.extractall(target)
    return target


def test_building_leaves_the_checkout_as_it_was(wheel):
    assert wheel.name == f"hlm_models-{PROJECT['version']}-py3-none-any.whl"
    assert not (ROOT / "dist").exists()
    assert not (ROOT / "build").exists()


def test_the_wheel_has_every_module_model_dataset_and_template(names):
    for folder, pattern, packed in (
        ("hlm_models", "**/*.py", "hlm_models"),
        ("hlm_models/parts/datasets", "*.*", "hlm_models/parts/datasets"),
        ("hlm_models/report", "*.html", "hlm_models/report"),
        ("configs", "*.*", "hlm_models/_configs"),
    ):
        files = [path for path in (ROOT / folder).glob(pattern) if path.suffix != ".pyc"]
        assert files
        wanted = {f"{packed}/{path.relative_to(ROOT / folder).as_posix()}" for path in files}
        assert wanted - names == set()
    assert "hlm_models/py.typed" in names


def test_the_wheel_has_nothing_else(names):
    """No NELS data, no tests, no caches."""
    assert [name for name in names if "nels" in name.lower() and not name.endswith(".yaml")] == []
    tops = {name.split("/")[0] for name in names}
    assert tops == {"hlm_models", f"hlm_models-{PROJECT['version']}.dist-info"}
    assert not [name for name in names if name.endswith(".pyc") or "__pycache__" in name]


def test_the_wheel_has_its_licence_and_its_command(unpacked):
    info = unpacked / f"hlm_models-{PROJECT['version']}.dist-info"
    assert (info / "licenses" / "LICENSE").is_file()
    assert "hlm = hlm_models.cli:main" in (info / "entry_points.txt").read_text()


def run(unpacked, folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={k: v for k, v in os.environ.items() if k != "HLM_DATA"}
        | {"PYTHONPATH": str(unpacked)},
    )


def test_the_packed_models_are_the_ones_that_are_found(unpacked, tmp_path):
    code = (
        "import hlm_models; from hlm_models.config.registry import default_folders;"
        "print(hlm_models.__file__); print(*default_folders())"
    )
    done = run(unpacked, tmp_path, "-c", code)
    assert done.stdout.splitlines() == [
        str(unpacked / "hlm_models" / "__init__.py"),
        str(unpacked / "hlm_models" / "_configs"),
    ]


def test_the_unpacked_wheel_lists_and_fits_from_another_folder(unpacked, tmp_path):
    done = run(unpacked, tmp_path, "-m", "hlm_models", "list")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[2:]] == list(hlm.list_models())
    done = run(unpacked, tmp_path, "-m", "hlm_models", "run", "dyestuff", "--engines", "reml")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "dyestuff" / "report.html").is_file()
