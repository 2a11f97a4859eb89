"""Intervals of new groups and new rows hold what they say, over simulated data."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hlm_models as hlm

pytestmark = pytest.mark.slow

GROUPS, ROWS = 12, 5
KINDS = ("existing", "population", "typical")
PRIORS = {
    "beta": {"kind": "normal", "loc": 0, "scale": 2},
    "groups": {"g": {"kind": "lkj", "eta": 1, "sd": {"kind": "half_normal", "scale": 1}}},
    "sigma": {"kind": "half_normal", "scale": 1},
}
MODEL = {
    "schema": 1,
    "name": "m",
    "data": {"source": "frame"},
    "formula": "y ~ x + (x | g)",
    "priors": PRIORS,
}


def simulated(rng, beta, sd, rho, sigma):
    """Data, one new row, and what is true of it: by kind, its expected response and a new one."""
    Psi = np.outer(sd, sd) * np.array([[1, rho], [rho, 1]])
    b = rng.multivariate_normal(np.zeros(2), Psi, GROUPS + 1)
    g, x = np.repeat(np.arange(GROUPS), ROWS), rng.normal(size=GROUPS * ROWS)
    y = beta[0] + b[g, 0] + (beta[1] + b[g, 1]) * x + sigma * rng.normal(size=len(g))
    frame = pd.DataFrame({"y": y, "x": x, "g": [f"g{one}" for one in g]})
    row = np.array([1.0, rng.normal()])
    effects = {"existing": b[0], "population": np.zeros(2), "typical": b[-1]}
    means = {kind: row @ (beta + one) for kind, one in effects.items()}
    news = {kind: mean + sigma * rng.normal() for kind, mean in means.items()}
    return frame, pd.DataFrame({"x": [row[1]], "g": ["g0"]}), means, news


def covered(fit, new, means, news):
    """Whether the 95% intervals (kind, of mean or of new) hold what is true."""
    found = []
    for kind in KINDS:
        one = hlm.predict(fit, new, groups=kind).frame().iloc[0]
        found.append(
            (
                one["lower"] < means[kind] < one["upper"],
                one["pred_lower"] < news[kind] < one["pred_upper"],
            )
        )
    return found


def assert_covers(found):
    # Six counts; each is outside of these with a probability below 1e-4.
    low, high = stats.binom.interval(1 - 1e-4, len(found), 0.95)
    counts = np.sum(found, axis=0)
    assert np.all((low <= counts) & (counts <= high)), counts / len(found)


def test_a_posterior_covers_what_its_prior_drew():
    # Parameters from the prior, so that coverage is exact, whatever the number of groups.
    rng, found = np.random.default_rng(20261), []
    for seed in range(120):
        frame, *rest = simulated(
            rng,
            beta=rng.normal(0, 2, 2),
            sd=np.abs(rng.normal(size=2)),
            rho=rng.uniform(-1, 1),
            sigma=np.abs(rng.normal()),
        )
        spec = hlm.build(MODEL, data=frame)
        fit = hlm.fit(spec, engine="nuts", chains=2, draws=500, tune=500, cores=1, seed=seed)
        found.append(covered(fit, *rest))
    assert_covers(found)


def test_reml_covers_at_given_parameters():
    rng, found = np.random.default_rng(20262), []
    for _ in range(300):
        frame, *rest = simulated(
            rng, beta=np.array([1.0, 2.0]), sd=np.array([1.0, 0.8]), rho=0.3, sigma=0.7
        )
        found.append(covered(hlm.fit(hlm.build(MODEL, data=frame), engine="reml"), *rest))
    assert_covers(found)
