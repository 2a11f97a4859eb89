"""The reference is made of the docstrings as they are, and these say what is there."""

import importlib.util
import re
from pathlib import Path

import griffe
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def reference():
    path = ROOT / "scripts" / "api_reference.py"
    found = importlib.util.spec_from_file_location("api_reference", path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def package(reference):
    return reference.load()


def test_the_page_is_current(reference, package):
    written = (ROOT / "docs" / "api.md").read_text("utf-8")
    assert written == reference.page(package), "docs/api.md is stale: make docs"


def test_every_public_name_stands_on_the_page_once(reference, package):
    import hlm_models as hlm

    names = reference.public(package)
    assert set(names) == {
        *(set(hlm.__all__) - {"plot"}),
        *(f"plot.{name}" for name in hlm.plot.__all__),
    }
    written = (ROOT / "docs" / "api.md").read_text("utf-8")
    headings = re.findall(r"^### (?:class )?hlm\.(\S+)$", written, re.MULTILINE)
    assert sorted(headings) == sorted(names)


def test_a_name_without_a_theme_is_told(reference, package, monkeypatch):
    without = {**reference.THEMES, "Predictions": ("", "")}
    monkeypatch.setattr(reference, "THEMES", without)
    with pytest.raises(SystemExit, match="predict: in none of THEMES"):
        reference.page(package)


def test_every_public_name_has_a_docstring(reference, package):
    names = reference.public(package)
    assert [name for name, one in names.items() if one.docstring is None] == []


def test_parameters_that_are_told_are_parameters(reference, package):
    wrong = []
    for name, one in reference.public(package).items():
        if not isinstance(one, griffe.Function):
            continue
        known = {each.name for each in one.parameters}
        for section in reference.sections(one)[0]:
            if isinstance(section, griffe.DocstringSectionParameters):
                wrong += [(name, item.name) for item in section.value if item.name not in known]
    assert wrong == []
