"""docs/notebooks holds executed copies of the notebooks as they are now."""

import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

from execute_notebooks import COPIES, NOTEBOOKS, faults  # noqa: E402

NAMES = sorted(path.name for path in NOTEBOOKS.glob("*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def test_every_copy_is_of_a_notebook():
    assert sorted(path.name for path in COPIES.glob("*.ipynb")) == NAMES
    assert [name[:3] for name in NAMES] == [f"{k:02d}-" for k in range(1, len(NAMES) + 1)]


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_keeps_no_outputs_and_asks_one_question(name):
    notebook = read(NOTEBOOKS / name)
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in notebook.cells)
    assert notebook.cells[0].source.count("**Question.**") == 1
    assert "## Answer" in notebook.cells[-1].source


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_uses_the_public_interface_only(name):
    code = "\n".join(cell.source for cell in read(NOTEBOOKS / name).cells if "outputs" in cell)
    assert "import hlm_models as hlm" in code
    assert not re.search(r"from hlm_models|import hlm_models\.|hlm\._", code)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_of_the_notebook_as_it_is(name):
    notebook, copy = read(NOTEBOOKS / name), read(COPIES / name)
    assert [(cell.id, cell.cell_type, cell.source) for cell in copy.cells] == [
        (cell.id, cell.cell_type, cell.source) for cell in notebook.cells
    ], "the notebook has changed: run `make notebooks`"
    ran = [cell.execution_count for cell in copy.cells if cell.cell_type == "code"]
    assert ran == list(range(1, len(ran) + 1))
    assert list(faults(copy)) == []


def cell(text="", kind="stream", **more):
    return nbformat.v4.new_code_cell(
        "1", outputs=[nbformat.v4.new_output(kind, **({"text": text} if text else {}), **more)]
    )


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ([], "no output"),
        ([cell("x", name="stderr")], "it warns"),
        ([cell("UserWarning: x", name="stdout")], "it warns"),
        ([cell("see /tmp/me/x", name="stdout")], "it prints"),
        ([cell("<A at 0x7f0a1b2c3d4e>", name="stdout")], "it prints"),
        ([cell(kind="error", ename="KeyError", evalue="x", traceback=[])], "it fails: KeyError"),
        ([cell("x" * 700_000, name="stdout")], "larger than"),
    ],
)
def test_what_a_copy_may_not_have_is_found(cells, words):
    [fault] = faults(nbformat.v4.new_notebook(cells=cells))
    assert words in fault
