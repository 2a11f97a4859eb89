"""docs/architecture.md names the rooms, parts and engines that there are."""

import re
from pathlib import Path

import pytest

import hlm_models
from hlm_models.engines.find import ENGINES, find
from hlm_models.parts import datasets
from hlm_models.parts.covariances import COVARIANCES
from hlm_models.parts.families import FAMILIES
from hlm_models.parts.priors import PRIORS
from hlm_models.parts.residuals import RESIDUALS
from hlm_models.parts.shrinkage import SHRINKAGES

PAGE = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text("utf-8")
PACKAGE = Path(hlm_models.__file__).parent


def table(heading):
    """Rows of the table under a heading, by the word in backticks of their first cell."""
    [body] = re.findall(rf"^#+ {heading}\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    rows = [line.strip("|").split(" | ") for line in body.splitlines() if line.startswith("| `")]
    found = {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in rows}
    assert len(found) == len(rows), f"a row of {heading} stands twice"
    return found


def yes(holds):
    return "yes" if holds else "no"


@pytest.mark.parametrize(
    ("heading", "shelf"),
    [
        ("Priors", PRIORS),
        ("Covariances", COVARIANCES),
        ("Shrinkage", SHRINKAGES),
        ("Families", FAMILIES),
        ("Residuals", RESIDUALS),
        ("Datasets", datasets.names()),
        ("Engines", ENGINES),
    ],
)
def test_the_inventory_is_what_the_shelf_holds(heading, shelf):
    assert sorted(table(heading)) == sorted(shelf)


def test_the_inventory_says_where_a_prior_may_stand():
    assert table("Priors") == {
        kind: [yes("location" in prior.places), yes("scale" in prior.places)]
        for kind, prior in PRIORS.items()
    }


def test_the_inventory_says_how_large_a_dataset_is_and_whether_it_is_bundled():
    cards = [datasets.find(name) for name in datasets.names()]
    assert table("Datasets") == {
        card.name: [str(card.rows), yes(card.file is not None)] for card in cards
    }


def test_the_inventory_names_the_module_of_an_engine():
    for name, (_, module) in table("Engines").items():
        fit = find(name).fit
        assert fit.func.__module__ == "hlm_models." + module.strip("`")[:-3].replace("/", ".")


def test_every_folder_of_the_package_is_a_room():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")}
    assert set(table("Rooms")) == folders | modules


def test_modules_for_bare_arrays_are_imported_by_no_other():
    modules = {"blup_gradients", "khatri_rao"}
    assert all(f"`{name}.py`" in PAGE for name in modules)
    importing = {
        path.stem
        for path in PACKAGE.rglob("*.py")
        if re.search(rf"hlm_models\.algebra\.({'|'.join(modules)})\b", path.read_text("utf-8"))
    }
    assert importing <= modules
