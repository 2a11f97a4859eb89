"""Figures that ArviZ draws, and how the room of figures is loaded."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from canned import canned_posterior

import hlm_models as hlm
from hlm_models.errors import InputErrors, RefusalError


@pytest.fixture(autouse=True)
def closed():
    """ArviZ leaves its figures to pyplot."""
    from matplotlib import pyplot as plt

    yield
    plt.close("all")


@pytest.fixture(scope="module")
def reml():
    return hlm.fit("sleepstudy-slopes", engine="reml")


@pytest.fixture(scope="module")
def post(reml):
    return canned_posterior(reml.spec, reml, np.random.default_rng(2), chains=2, draws=50)


def panels(drawn):
    return drawn.viz["plot"].to_dataset()


@pytest.mark.parametrize("name", ["trace", "rank", "prior_posterior"])
def test_each_parameter_has_a_panel(name, post):
    from arviz_plots.plot_collection import PlotCollection

    before = dict(mpl.rcParams)
    drawn = getattr(hlm.plot, name)(post)
    assert isinstance(drawn, PlotCollection)
    assert list(panels(drawn).data_vars) == list(hlm.summary(post).index)
    assert dict(mpl.rcParams) == before
    one = getattr(hlm.plot, name)(post, "sigma")
    assert list(panels(one).data_vars) == ["sigma"]


def test_a_trace_has_the_draws(post):
    ax = panels(hlm.plot.trace(post, ["sigma"]))["sigma"].item()
    expected = post.data["posterior"]["sigma"].values
    for line, chain in zip(ax.lines, expected, strict=True):
        np.testing.assert_array_equal(line.get_ydata(), chain)


def test_a_panel_of_the_prior_keeps_to_what_leaves_the_posterior_seen(post):
    ax = panels(hlm.plot.prior_posterior(post, "beta[days]"))["beta[days]"].item()
    draws = post.data["posterior"]["beta"].values[..., 1]
    low, high = ax.get_xlim()
    assert low <= draws.min() < draws.max() <= high
    assert high - low <= 11 * np.ptp(draws)


def test_replicates_are_drawn_over_the_response(post):
    ax = panels(hlm.plot.ppc(post, replicates=7))["y_obs"].item()
    assert len(ax.lines) == 8
    assert ax.get_xlabel() == "reaction"


def test_what_cannot_be_drawn_is_refused(reml, post):
    for name in ("trace", "rank", "ppc", "prior_posterior"):
        with pytest.raises(RefusalError, match=rf"plot\.{name} takes draws"):
            getattr(hlm.plot, name)(reml)
    with pytest.raises(InputErrors, match="'beta' is no parameter that varies"):
        hlm.plot.trace(post, "beta")
    with pytest.raises(InputErrors, match="replicates must be 1 or more, not 0"):
        hlm.plot.ppc(post, replicates=0)
    bare = canned_posterior(reml.spec, reml, np.random.default_rng(2), chains=2, draws=50)
    del bare.data["prior"], bare.data["posterior_predictive"]
    with pytest.raises(RefusalError, match="improper"):
        hlm.plot.prior_posterior(bare)
    with pytest.raises(RefusalError, match="no replicated data"):
        hlm.plot.ppc(bare)


def test_matplotlib_is_loaded_when_a_figure_is_asked_for():
    code = (
        "import sys, hlm_models as hlm; hlm.plot; assert 'matplotlib' not in sys.modules; "
        "hlm.plot.pooling; assert 'matplotlib' in sys.modules; "
        "assert 'matplotlib.pyplot' not in sys.modules; assert 'arviz_plots' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_figure_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'caterpiller'"):
        getattr(hlm.plot, "caterpiller")  # noqa: B009


def test_every_figure_says_what_would_look_wrong():
    for name in hlm.plot.__all__:
        text = getattr(hlm.plot, name).__doc__
        assert "Raises" in text, name
        assert "What would look wrong" in text or name == "loo_pit", name
