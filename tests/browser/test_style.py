"""The colours of all pages: text can be read on every ground, in light and in dark."""

import re
from importlib import resources

import pytest

STYLE = resources.files("hlm_models.report").joinpath("style.css").read_text("utf-8")
COLOURS = {
    name: (light, dark)
    for name, light, dark in re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", STYLE
    )
}
GROUNDS = ("ground", "raised")
TEXT = [
    *((text, on) for text in ("ink", "soft", "posterior", "reference", "prior") for on in GROUNDS),
    *((status, f"{status}-ground") for status in ("good", "mild", "bad")),
    *(("ink", f"{status}-ground") for status in ("good", "mild", "bad", "lit")),
    *((text, "grid") for text in ("ink", "soft")),
    ("ground", "ink"),
]
SHAPES = [("muted", on) for on in GROUNDS]


def luminance(colour):
    """Relative luminance, WCAG 2.2."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(left, right):
    low, high = sorted((luminance(left), luminance(right)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("colour", "ground", "least"),
    [*((*pair, 4.5) for pair in TEXT), *((*pair, 3.0) for pair in SHAPES)],
)
def test_colours_stand_out(colour, ground, least, scheme):
    assert contrast(COLOURS[colour][scheme], COLOURS[ground][scheme]) >= least


def test_figures_have_every_colour_that_they_name():
    wanted = {"ink", "soft", "line", "grid", "posterior", "reference", "prior", "muted", "raised"}
    assert wanted <= set(COLOURS)
