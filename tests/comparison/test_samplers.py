"""Two samplers of one posterior, side by side."""

from dataclasses import replace

import numpy as np
import pytest

from hlm_models import build, fit
from hlm_models.comparison.samplers import samplers
from hlm_models.errors import ModelMismatchError
from hlm_models.results.summary import mcse, parameter_draws


@pytest.fixture(scope="module")
def spec():
    return build("dyestuff")


@pytest.fixture(scope="module")
def first(spec):
    return fit(spec, "nuts", chains=2, draws=500, seed=3)


@pytest.fixture(scope="module")
def second(spec):
    return replace(fit(spec, "nuts", chains=2, draws=500, seed=4), engine="gibbs")


def moved(found, variable, by):
    """The same fit with one variable's draws moved by so many of its own sds."""
    posterior = found.data["posterior"].to_dataset().copy(deep=True)
    posterior[variable] = posterior[variable] + by * posterior[variable].std()
    tree = found.data.copy()
    tree["posterior"] = type(tree)(posterior)
    return replace(found, data=tree)


def test_two_runs_of_a_correct_sampler_are_one_posterior(first, second):
    found = samplers([first, second])
    assert found.engines == ("nuts", "gibbs")
    assert [row.parameter for row in found.rows] == [
        "beta[Intercept]",
        "sd_batch[Intercept]",
        "sigma",
    ]
    assert found.check.status == "pass"
    assert 0 < abs(found.check.value) < 4


def test_z_is_the_larger_of_the_differences_in_mean_and_log_sd(first, second):
    for row in samplers([first, second]).rows:
        one, other = (parameter_draws(fit)[row.parameter] for fit in (first, second))
        if row.parameter != "beta[Intercept]":
            one, other = np.log(one), np.log(other)
        of_mean = (other.mean() - one.mean()) / np.hypot(mcse(one, "mean"), mcse(other, "mean"))
        errors = [mcse(draws, "sd") / draws.std(ddof=1) for draws in (one, other)]
        of_sd = np.log(other.std(ddof=1) / one.std(ddof=1)) / np.hypot(*errors)
        assert row.z == pytest.approx(max(of_mean, of_sd, key=abs), rel=1e-9)


def changed(found, variable, change):
    """The same fit with other draws of one variable."""
    posterior = found.data["posterior"].to_dataset().copy(deep=True)
    posterior[variable] = (posterior[variable].dims, change(posterior[variable].values))
    tree = found.data.copy()
    tree["posterior"] = type(tree)(posterior)
    return replace(found, data=tree)


def one_lost(values):
    lost = values.copy()
    lost[1, 7] = np.nan
    return lost


@pytest.mark.parametrize(
    "change",
    [
        lambda values: np.full_like(values, values.mean()),
        one_lost,
        lambda values: values.mean() + 0.5 * (values - values.mean()),
    ],
    ids=["never moved", "one draw lost", "half as wide"],
)
def test_a_sampler_that_is_stuck_broken_or_narrow_fails(change, first, second):
    check = samplers([first, changed(second, "sigma", change)]).check
    assert check.status == "fail"
    assert "sigma" in check.message


@pytest.mark.parametrize("variable", ["beta", "sigma"])
def test_a_sampler_that_is_off_fails_by_name(variable, first, second):
    check = samplers([first, moved(second, variable, 1.0)]).check
    assert check.status == "fail"
    assert variable in check.message


def test_of_three_the_two_farthest_apart_count(first, second):
    off = moved(replace(second, engine="third"), "sigma", 0.5)
    found = [samplers(pair).rows[-1].z for pair in ([first, second], [first, off], [second, off])]
    assert samplers([first, second, off]).rows[-1].z == pytest.approx(max(found, key=abs))


def test_fits_of_other_priors_are_not_compared(first):
    other = fit(build("dyestuff", overrides=["priors.sigma.kind=flat"]), "nuts", chains=2, draws=50)
    with pytest.raises(ModelMismatchError, match="same model, priors and data"):
        samplers([first, other])
