"""The page of a calibration: whole, self-contained, and safe whatever names and messages hold."""

import re
from dataclasses import replace

import numpy as np
import pytest
from reading import Page
from toys import model

from hlm_models.api.calibration import write_calibration
from hlm_models.calibration.calibrate import Calibration
from hlm_models.calibration.quantities import ranked, truth
from hlm_models.calibration.simulations import Failed, Ranked
from hlm_models.report.calibration import render
from hlm_models.spec.simulate import draw_prior

RAW = "<img src=x onerror=alert(1)> & 'more'"


def canned(spec, *, crooked=(), failures=0):
    """Ranks out of thin air: uniform, but for the quantities at `crooked`."""
    rng = np.random.default_rng(1)
    names = tuple(ranked(spec, truth(spec, draw_prior(spec, rng))))
    ranks = rng.integers(100, size=(120, len(names)))
    ranks[:, list(crooked)] //= 2
    rows = [Ranked(tuple(map(int, one)), 300.0, 0) for one in ranks]
    rows[:failures] = [Failed(RAW)] * failures
    return Calibration(spec, "nuts", spec.fit, 1, names, tuple(rows))


@pytest.fixture(scope="module")
def spec():
    return model()


@pytest.fixture(scope="module")
def text(spec):
    return render(canned(spec, crooked=[1, 2], failures=3))


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def test_every_quantity_is_in_a_figure_and_in_the_table(spec, page, text):
    for name in canned(spec).names:
        assert page.text.count(name) >= 2
    assert len(re.findall("<svg", text)) == len(canned(spec).names)
    assert text.count("aria-label") >= len(canned(spec).names)


def test_what_fails_is_told_first(page):
    told = page.text.index("The ranks of 2 of 7 quantities are not uniform")
    listed = page.text.index("quantities whose ranks are not uniform (sd_g[Intercept], sigma)")
    assert told < listed < page.text.index("Ranks Each simulation")
    assert page.text.count(": fails") == 2
    assert "Wrong would be" in page.text


def test_a_calibration_that_passes_says_so(spec):
    page = Page(render(canned(spec)))
    assert "The ranks of all 7 quantities are as uniform" in page.text
    assert "Fits that failed" not in page.headings
    assert "Failed" not in page.headings


def test_failures_are_counted_with_what_they_said(page, text):
    assert "120 simulations, of which 117 could be fitted" in page.text
    assert "Fits that failed" in page.headings
    assert RAW in page.text
    assert RAW not in text
    assert "<img" not in text


def test_names_are_escaped():
    odd = model(formula="y ~ 1 + (1 | g)", name="toy")
    [block] = odd.blocks
    odd = replace(odd, name=RAW, design=replace(odd.design, blocks=(
        replace(block, labels=("<b>a", "b&amp;", "</svg>", "<script>")),
    )))  # fmt: skip
    text = render(canned(odd))
    page = Page(text)
    assert (page.unbalanced, page.open) == ([], [])
    assert not {"b", "img"} & set(page.tags)
    assert page.scripts == [""]
    assert "b_g[<b>a, Intercept]" in page.text


def test_tags_are_balanced_and_identifiers_unique(page, text):
    assert (page.unbalanced, page.open) == ([], [])
    found = re.findall(r'\bid="([^"]+)"', text)
    assert len(found) == len(set(found))


def test_nothing_is_fetched(page, text):
    assert all(address.startswith("#") for address in page.addresses)
    assert "@import" not in text
    assert not re.search(r"url\(\s*['\"]?(?!#)", text)
    assert not {"link", "iframe", "object"} & set(page.tags)
    assert page.scripts == [""]


def test_the_same_calibration_gives_the_same_page(spec, text, tmp_path):
    again = canned(spec, crooked=[1, 2], failures=3)
    assert write_calibration(again, tmp_path / "page.html").read_text("utf-8") == text
