"""What figures of parameters with intervals, and of shares of the variance, show."""

import io
import math

import numpy as np
import pytest
from canned import canned_posterior
from matplotlib.collections import LineCollection

import hlm_models as hlm
from hlm_models.comparison.agreement import Agreement, AgreementRow
from hlm_models.errors import InputErrors
from hlm_models.results.variance import variance_parts


def drawn(figure):
    """The figure, once it can be saved without a warning."""
    figure.savefig(io.BytesIO(), format="png")
    return figure


@pytest.fixture(scope="module")
def reml():
    return hlm.fit("sleepstudy-slopes", engine="reml")


@pytest.fixture(scope="module")
def post(reml):
    return canned_posterior(reml.spec, reml, np.random.default_rng(2), chains=2, draws=50)


def row(name, d, ratio, verdict, cause="", mean=1.0, estimate=0.0):
    return AgreementRow(name, mean, 2.0, estimate, math.nan, d, d, ratio, verdict, cause, "why")


def test_agreement_shows_distances_and_names_what_differs():
    nan = math.nan
    found = Agreement("m", "nuts", "reml", (
        row("a", 0.1, 1.0, "agree"), row("b", -0.5, 2.0, "shifted", "prior"),
        row("c", 20.0, 1.0, "shifted", "unexplained"),
        row("d", nan, nan, "boundary", "boundary", mean=3.0),
    ))  # fmt: skip
    [ax] = drawn(hlm.plot.agreement(found)).axes
    [points] = [one for one in ax.lines if one.get_marker() == "D"]
    # The third is an arrow at the edge; the last is three halves of its sd away.
    np.testing.assert_allclose(points.get_xdata(), [-0.1, 0.5, -1.5])
    [arrow] = [one for one in ax.lines if one.get_marker() == "<"]
    assert arrow.get_xdata()[0] == ax.get_xlim()[0]
    posterior, reference = (one for one in ax.collections if isinstance(one, LineCollection))
    assert posterior.get_color()[0][:3].tolist() != reference.get_color()[0][:3].tolist()
    lengths = [np.ptp(path.vertices[:, 0]) for path in reference.get_paths()]
    np.testing.assert_allclose(lengths[:2], [2 * 1.96, 1.96], rtol=1e-3)
    assert np.isnan(lengths[3])
    assert [one.get_text() for one in ax.texts] == [
        "shifted (prior)", "shifted (unexplained)", "boundary",
    ]  # fmt: skip
    assert [one.get_text() for one in ax.get_yticklabels()] == ["a", "b", "c", "d"]


def test_coefficients_have_a_panel_each_and_a_line_for_each_model(reml, post):
    other = hlm.fit("sleepstudy-intercept", engine="reml")
    figure = drawn(hlm.plot.coefficients({"point": reml, "draws": post, "smaller": other}))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["beta[Intercept]", "beta[days]"]
    ax = figure.axes[1]
    tables = [hlm.summary(fit).loc["beta[days]"] for fit in (reml, post, other)]
    expected = [tables[0]["estimate"], tables[1]["mean"], tables[2]["estimate"]]
    np.testing.assert_allclose([float(one.get_xdata()[0]) for one in ax.lines], expected)
    ends = np.array([one.get_paths()[0].vertices[:, 0] for one in ax.collections])
    np.testing.assert_allclose(ends, [[one["lower"], one["upper"]] for one in tables])
    assert [one.get_text() for one in figure.axes[0].get_yticklabels()] == [
        "point", "draws", "smaller",
    ]  # fmt: skip
    figure = hlm.plot.coefficients({"a": reml, "b": other}, "sd_subject[days]")
    assert len(figure.axes[0].lines) == 1


def test_wrong_arguments_are_refused(reml):
    with pytest.raises(InputErrors, match=r'coefficients takes names and fits, \{"a": fit'):
        hlm.plot.coefficients(reml)
    with pytest.raises(InputErrors, match="takes names and fits"):
        hlm.plot.coefficients({"a": "fit"})
    with pytest.raises(InputErrors, match="needs a fit"):
        hlm.plot.coefficients({})
    with pytest.raises(InputErrors, match=r"'beta\[dayz\]' is no parameter"):
        hlm.plot.coefficients({"a": reml}, ["beta[dayz]"])
    with pytest.raises(InputErrors, match=r"agreement takes hlm\.agreement"):
        hlm.plot.agreement(reml)
    with pytest.raises(InputErrors, match="no parameter with a spread"):
        hlm.plot.agreement(Agreement("m", "nuts", "reml", ()))
    with pytest.raises(InputErrors, match=r"variance takes hlm\.variance_draws"):
        hlm.plot.variance(reml)
    with pytest.raises(InputErrors, match="needs the variance of a model"):
        hlm.plot.variance({})


def test_shares_of_the_variance_add_up_to_one(reml, post):
    draws, point = hlm.variance_draws(post), variance_parts(reml)
    [ax] = drawn(hlm.plot.variance({"draws": draws, "point": point})).axes
    bars = {(round(one.get_y() + one.get_height() / 2), one.get_facecolor()): one
            for one in ax.patches}  # fmt: skip
    assert len(bars) == 6
    for at in (0, 1):
        widths = [one.get_width() for (row, _), one in bars.items() if row == at]
        assert sum(widths) == pytest.approx(1)
    widths = [one.get_width() for one in ax.patches]
    np.testing.assert_allclose(widths[0], np.mean(draws.fixed / draws.total))
    np.testing.assert_allclose(widths[4], point.groups["subject"] / point.total)
    assert all("to" not in one.get_text() for one in ax.texts[3:])
    assert any("to" in one.get_text() for one in ax.texts[:3])


def test_a_part_that_no_model_has_is_left_out():
    parts = variance_parts(hlm.fit("dyestuff", engine="reml"))
    figure = drawn(hlm.plot.variance(parts))
    [legend] = figure.legends
    assert [one.get_text() for one in legend.get_texts()] == ["batch", "residual"]
