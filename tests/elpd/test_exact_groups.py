"""Leave-one-group-out by importance weights and by exact refits, within Monte Carlo error."""

from dataclasses import replace

import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.elpd.psis import relative_efficiency
from hlm_models.elpd.refits import refits

pytestmark = pytest.mark.slow

MODELS = {
    "one group": ("dyestuff", "batch", 2000),
    "correlated slopes, few draws": ("sleepstudy-slopes", "subject", 500),
    "crossed": ("penicillin", "plate", 1000),
    "nested, the outer": ("pastes", "batch", 1000),
}


MOST = 10
"""Groups that are left out of a model in turn: a fit each."""


def error_of_log_mean(values):
    """Monte Carlo standard error (m,) of the log of the mean of exp, by the delta method."""
    p = np.exp(values - values.max(axis=(0, 1)))
    size = p[..., 0].size * relative_efficiency(values)
    return p.std(axis=(0, 1)) / p.mean(axis=(0, 1)) / np.sqrt(size)


@pytest.mark.parametrize("case", MODELS)
def test_weights_and_refits_foresee_the_same_of_a_group(case):
    name, by, draws = MODELS[case]
    fit = hlm.fit(name, engine="nuts", draws=draws, seed=21)
    found = hlm.loo(fit, "group", by, refit=False)
    scored = hlm.log_likelihood(fit, "group", by)
    # Beyond 0.5 the variance of the weights is infinite, and their error cannot be told from them.
    good = np.flatnonzero(found.pareto_k < 0.5)[:MOST]
    assert len(good) >= min(MOST, found.size / 2)
    exact, error = [], []
    for one in refits(scored, fit, [[column] for column in good.tolist()]):
        assert all(check.status != "fail" for check, _ in one.checks)
        again = replace(scored, posterior=one.fit.data["posterior"].to_dataset())
        exact.append(one.log_density[0])
        error.append(error_of_log_mean(again.take(one.columns))[0])
    # By weights it is -log of the mean of 1 / p.
    both = np.hypot(error, error_of_log_mean(-scored.take(good)))
    difference = found.pointwise[good] - exact
    # Errors come of heavy tails themselves, so that they are a little too small now and then.
    assert np.abs(difference / both).max() < 4.5
    assert abs(difference.sum()) < 4 * np.sqrt(np.sum(both**2))
    # Neither is so uncertain that the comparison says nothing.
    assert both.max() < 0.1


def test_where_weights_fail_a_refit_takes_their_place():
    fit = hlm.fit("sleepstudy-slopes", engine="nuts", seed=3)
    found, by_weights = hlm.loo(fit, "group"), hlm.loo(fit, "group", refit=False)
    bad = np.flatnonzero(by_weights.pareto_k > by_weights.good_k)
    assert len(bad) == found.refits > 0
    assert found.bad == 0
    every = hlm.kfold(fit, 18, "subject")
    np.testing.assert_array_equal(found.pointwise[bad], every.pointwise[bad])
