"""Equations on a page: MathML without a network, and names of any kind as text."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from markupsafe import escape

import hlm_models as hlm
from hlm_models.report.equations import SHOWN, typeset
from hlm_models.report.template import cut
from hlm_models.spec.describe import describe

HOSTILE = [
    "<script>alert(1)</script>",
    r"a\b{c}$d%e#f_g^h&i",
    "]]>\"'",
    "\u202eabc",
    "שלום",
    "😀",
    "x" * 5000,
]


@pytest.fixture(scope="module")
def hostile():
    """A description in which every name is one that could do harm."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({name: rng.normal(size=60) for name in ["y", *HOSTILE]})
    frame["<b>g"] = rng.integers(0, 6, 60).astype(str)
    fixed = " + ".join(f"`{name}`" for name in HOSTILE)
    return describe(hlm.build(formula=f"y ~ {fixed} + (`{HOSTILE[0]}` | `<b>g`)", data=frame))


def trees(found):
    """Every formula as an XML tree; not well-formed ones raise."""
    return [
        ElementTree.fromstring(f"<div>{side}</div>")
        for _, lines in found.levels
        for line in lines
        for side in (line.left, line.right)
    ]


def test_names_are_text_and_no_markup(hostile):
    found = typeset(hostile)
    tags = {one.tag for tree in trees(found) for one in tree.iter()}
    assert tags <= {
        *("div", "span", "math", "mrow", "mi", "mn", "mo", "mtext", "mspace"),
        *("msub", "msup", "msubsup"),
    }
    words = {one.text for tree in trees(found) for one in tree.iter("mtext")}
    assert {name for name in HOSTILE if len(name) <= SHOWN} <= words


def test_a_long_name_is_shortened_and_whole_in_a_title(hostile):
    found = typeset(hostile)
    [long] = {
        one.text for tree in trees(found) for one in tree.iter("mtext") if "xxx" in (one.text or "")
    }
    assert long == "x" * (SHOWN - 1) + "…"
    titles = [one.get("title", "") for tree in trees(found) for one in tree.iter("span")]
    assert any("x" * 5000 in title for title in titles)


def test_what_is_read_aloud_is_the_plain_text_of_the_line(hostile):
    read = [line.text for _, lines in typeset(hostile).levels for line in lines]
    assert read == [line for _, lines in hostile.equations for line in lines]


def test_a_long_sum_can_break_before_each_plus():
    found = typeset(describe(hlm.build("hsb-slopes-as-outcomes")))
    _, second = found.levels
    slope = second[1][1]
    spans = list(ElementTree.fromstring(f"<div>{slope.right}</div>").iter("span"))
    marks = [next(one.iter("mo")) for one in spans]
    assert [one.text for one in marks] == ["=", "+", "+", "+"]
    assert all(one.get("form") == "infix" for one in marks)


def test_the_macro_has_math_its_plain_text_and_latex_folded_away(hostile):
    from jinja2 import Environment, FileSystemLoader

    folder = Path(hlm.__file__).parent / "report"
    environment = Environment(
        autoescape=True, loader=FileSystemLoader(folder), extensions=["jinja2.ext.do"]
    )
    environment.globals["typeset"] = typeset
    environment.filters["cut"] = cut
    page = environment.from_string(
        '{% from "macros.html" import equations with context %}{{ equations(description) }}'
    ).render(description=hostile)
    assert "<script" not in page
    assert "<b>" not in page
    assert page.count('role="math"') == sum(len(lines) for _, lines in hostile.equations)
    assert "<details" in page
    assert escape(hostile.latex_source()) in page
