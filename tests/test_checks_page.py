"""docs/checks.md has every check that the code can make, with its thresholds."""

import ast
import re
from pathlib import Path

import pytest

import hlm_models

PAGE = (Path(__file__).parents[1] / "docs" / "checks.md").read_text("utf-8")
PACKAGE = Path(hlm_models.__file__).parent
ROWS = {
    code: row for row, code in re.findall(r"^(\| `(\w+)` \|.*)$", PAGE, re.MULTILINE)
}  # fmt: skip


def calls():
    """Calls that make a check, with the file they stand in."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            name = getattr(getattr(node, "func", None), "id", "")
            # `Check(**saved)` reads a check back; checks.py itself makes those of `graded`.
            if name in ("Check", "graded") and node.args and path.name != "checks.py":
                yield path.name, node


CALLS = list(calls())


def test_every_check_is_named_by_a_literal():
    assert [name for name, call in CALLS if not isinstance(call.args[0], ast.Constant)] == []


def test_the_page_lists_the_codes_of_the_code():
    assert sorted(ROWS) == sorted({call.args[0].value for _, call in CALLS})


@pytest.mark.parametrize(
    "call", [pytest.param(call, id=call.args[0].value) for _, call in CALLS]
)  # fmt: skip
def test_the_page_has_the_thresholds_of_the_code(call):
    stated = [cell.strip() for cell in ROWS[call.args[0].value].split("|")]
    for keyword in call.keywords:
        if keyword.arg in ("warn", "fail") and isinstance(keyword.value, ast.Constant):
            assert f"{keyword.value.value:g}" in stated[{"warn": 3, "fail": 4}[keyword.arg]].split()
