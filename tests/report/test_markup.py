"""Figures as SVG in a page."""

import io
import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.interpretation.level_effects import LevelEffects, level_effects
from hlm_models.plot.board import difference
from hlm_models.plot.chains import trace_and_ranks
from hlm_models.plot.intervals import Bar, forest
from hlm_models.plot.levels import drawn_levels
from hlm_models.plot.style import Drawing, styled
from hlm_models.report.markup import markup

HOSTILE = [
    "<script>alert(1)</script>", "$x$", "$\\frac{1}{", "שלום עולם", "🏫 school", "_hidden",
    "</svg>", "\"'>", "a\x00b\x1b", "&amp;", "x" * 5000, "e\u0301\u202e",
]  # fmt: skip


@pytest.fixture(scope="module")
def sleep():
    return hlm.pooling(hlm.fit("sleepstudy-slopes", engine="reml"))


@pytest.fixture(scope="module")
def figures(sleep):
    """A picture of each kind that stands for levels."""
    fit = hlm.fit("radon-uranium", engine="reml")
    radon = hlm.pooling(fit)
    none = sleep.none.estimate.copy()
    none[3, 1], none[5] = 1e6, np.nan
    gaps = replace(sleep, none=replace(sleep.none, estimate=none))
    found = {
        "levels": lambda: drawn_levels(level_effects(fit), "floor"),
        "pooling": lambda: hlm.plot.pooling(gaps),
        "arrows": lambda: hlm.plot.shrinkage(gaps),
        "many arrows": lambda: hlm.plot.shrinkage(radon),
        "plane": lambda: hlm.plot.shrinkage_plane(gaps),
        "lines": lambda: hlm.plot.group_lines(radon),
        "panels": lambda: hlm.plot.group_panels(radon),
        "influence": lambda: hlm.plot.influence(hlm.case_deletion(fit)),
        "macro": lambda: hlm.plot.macro_effects(hlm.macro_effects(fit, "log_uranium")),
    }
    return {name: (draw(), draw) for name, draw in found.items()}


def parsed(text):
    """The tree of an SVG, which HTML's parser would make of it too."""
    return ET.fromstring(text)


def test_children_are_the_levels_one_to_one(figures):
    for name, (figure, _) in figures.items():
        root = parsed(markup(figure, name))
        assert root.get("data-group") == figure.group
        series = json.loads(root.get("data-series"))
        assert sorted(series.values()) == sorted(
            list(levels) for levels in figure.series.values() if levels
        )
        for gid, levels in series.items():
            [group] = [one for one in root.iter() if one.get("id") == gid]
            assert group.tag == "g"
            assert [one.tag for one in group] == [group[0].tag] * len(levels), name
            assert group[0].tag in {"path", "circle"}


def test_places_of_elements_are_those_of_the_levels(sleep):
    figure = drawn_levels(level_effects(hlm.fit("sleepstudy-slopes", engine="reml")), "days")
    root = parsed(markup(figure, "alt"))
    found = level_effects(hlm.fit("sleepstudy-slopes", engine="reml")).estimate[:, 1]
    series = json.loads(root.get("data-series"))
    [markers] = [one for one in root.iter() if one.get("id") in series and one[0].tag == "circle"]
    x = np.array([float(one.get("cx")) for one in markers])
    slope, start = np.polyfit(found[series[markers.get("id")]], x, 1)
    # To a hundredth of a point, which numbers are rounded to.
    np.testing.assert_allclose(x, start + slope * found[series[markers.get("id")]], atol=0.011)


def test_identifiers_are_a_pictures_own_and_all_that_are_used_are_there(figures):
    texts = [markup(figure, name) for name, (figure, _) in figures.items()]
    known = [one for text in texts for one in re.findall(r'\bid="([^"]+)"', text)]
    assert len(known) == len(set(known))
    used = {one for text in texts for one in re.findall(r'(?:href="|url\()#([^")]+)', text)}
    told = {one for text in texts for one in json.loads(parsed(text).get("data-series"))}
    assert used | told == set(known)


def test_the_same_figure_is_the_same_text(figures):
    for name, (_, draw) in figures.items():
        assert markup(draw(), name) == markup(draw(), name)


def test_colours_are_those_of_the_page(figures):
    for name, (figure, _) in figures.items():
        text = markup(figure, name)
        assert "var(--posterior,#2a6fb0)" in text or "var(--reference,#cc5f14)" in text
        bare = re.sub(r"var\(--[a-z]+,#[0-9a-f]{6}\)", "", text)
        assert re.findall(r"[:,]#[0-9a-f]{6}", bare) == [], name
        assert 'fill:var(--raised,#ffffff)"' not in text


def test_chains_are_shades_of_the_posterior():
    draws = np.random.default_rng(1).normal(size=(5, 200))
    text = markup(trace_and_ranks("sigma", draws), "alt")
    assert text.count("color-mix(in srgb,var(--posterior,#2a6fb0)") >= 10
    assert re.findall(r"stroke:#", text) == []
    assert {"0", "100", "200", "500", "1,000"} <= set(re.findall(r">([\d,]+)</text>", text))


def test_a_picture_is_described_and_its_text_is_text(sleep):
    text = markup(hlm.plot.shrinkage(sleep), 'lines & "arrows" <b>')
    root = parsed(text)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'lines & "arrows" <b>' == root[0].text
    assert root[0].tag == "title"
    said = [one.text for one in root.iter("text")]
    assert {"337", "partial pooling (reml)", "fixed part"} <= set(said)
    assert "font-family" not in text


def test_hostile_names_are_text_and_short():
    J = len(HOSTILE)
    estimate = np.arange(J, dtype=float)[:, None]
    found = LevelEffects(
        HOSTILE[0], tuple(HOSTILE), (HOSTILE[1],), "nuts", estimate, estimate - 1, estimate + 1,
        0.95,
    )  # fmt: skip
    text = markup(drawn_levels(found, HOSTILE[1], label=HOSTILE[10]), HOSTILE[0])
    assert "<script" not in text
    assert text.count("</svg>") == 1
    root = parsed(text)
    assert root.get("data-group") == HOSTILE[0]
    said = [one.text for one in root.iter("text")]
    assert {"$x$", "$\\frac{1}{", "שלום עולם", "🏫 school", "_hidden", "&amp;"} <= set(said)
    assert max(map(len, said)) <= 50
    assert len(text) < 40_000
    bars = [(Bar(name, 0, -1, 1), Bar(name, 0, -1, 1)) for name in HOSTILE]
    for figure in (
        forest(bars, reference="REML"),
        difference(HOSTILE, estimate[:, 0], what="<b>", title="$y", better="<i>"),
    ):
        text = markup(figure, HOSTILE[6])
        assert not re.search("<script|<b>|<i>", text)
        parsed(text)


@pytest.mark.parametrize("J", [1, 2, 60, 61, 684, 1000, 3000])
def test_many_levels_stay_small(J):
    rng = np.random.default_rng(1)
    estimate = rng.normal(size=(J, 1))
    found = LevelEffects(
        "g", tuple(map(str, range(J))), ("Intercept",), "nuts", estimate, estimate - 1,
        estimate + 1, 0.95,
    )  # fmt: skip
    text = markup(drawn_levels(found, "Intercept", found), f"{J}")
    # An interval and two markers a level, of some forty bytes each.
    assert len(text) < 30_000 + 140 * J
    assert parsed(text).get("data-group") == ("g" if J <= 1000 else None)


def test_rows_are_a_picture_in_the_picture_where_they_are_many(sleep):
    few = markup(hlm.plot.group_lines(sleep), "few")
    assert "<image" not in few
    rng = np.random.default_rng(1)
    level = np.arange(20_000) % 18
    rows = replace(
        sleep.rows, X=rng.normal(size=(20_000, 2)), y=rng.normal(size=20_000), level=level,
        weights=np.ones(20_000),
    )  # fmt: skip
    many = replace(sleep, rows=rows)
    for figure in (hlm.plot.group_lines(many), hlm.plot.group_panels(many)):
        text = markup(figure, "many")
        assert "data:image/png;base64," in text
        assert len(text) < 400_000


def test_a_figure_can_go_on_after_it_was_written(sleep):
    figure = hlm.plot.shrinkage(sleep, "days")
    first = markup(figure, "alt")
    figure.axes[0].set_title("Days of little sleep")
    assert "Days of little sleep" in markup(figure, "alt")
    assert "Days of little sleep" not in first
    out = io.BytesIO()
    figure.savefig(out, format="png")
    assert figure.get_layout_engine() is not None


def test_a_level_stands_in_one_group_only():
    with styled():
        figure = Drawing(3, 2)
        [line] = figure.subplots().plot([1, 2], [1, 2], "o")
    figure.stands_for("a", line, np.array([0, 1]))
    with pytest.raises(AssertionError):
        figure.stands_for("b", line, np.array([0, 1]))


def test_other_figures_have_no_levels():
    with styled():
        figure = Drawing(3, 2)
        figure.subplots().plot([1, 2], [1, 2])
    assert "data-" not in markup(figure, "plain")
