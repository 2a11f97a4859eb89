"""Two samplers of one posterior, side by side."""

from dataclasses import replace

import numpy as np
import pytest

from hlm_models import build, fit
from hlm_models.compare.samplers import samplers
from hlm_models.errors import ModelMismatchError


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


def test_z_is_the_difference_in_monte_carlo_errors(first, second):
    for row in samplers([first, second]).rows:
        expected = (row.mean[1] - row.mean[0]) / np.hypot(*row.mcse)
        assert row.z == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("variable", ["beta", "sigma"])
def test_a_sampler_that_is_off_fails_by_name(variable, first, second):
    check = samplers([first, moved(second, variable, 1.0)]).check
    assert check.status == "fail"
    assert variable in check.message


def test_of_three_the_two_farthest_apart_count(first, second):
    off = moved(replace(second, engine="third"), "sigma", 0.5)
    row = samplers([first, second, off]).rows[-1]
    pairs = [
        (row.mean[j] - row.mean[i]) / np.hypot(row.mcse[i], row.mcse[j])
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    assert row.z == pytest.approx(max(pairs, key=abs))


def test_fits_of_other_priors_are_not_compared(first):
    other = fit(build("dyestuff", overrides=["priors.sigma.kind=flat"]), "nuts", chains=2, draws=50)
    with pytest.raises(ModelMismatchError, match="same model, priors and data"):
        samplers([first, other])
