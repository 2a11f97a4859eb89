"""Posteriors under priors of several coefficients together: against rstanarm and Stan.

The latent graph is sampled of one of the priors; of both its density is held to the reference
density in tests/graph/test_shrinkage_graph.py.

Compared are the mean, the sd and the 5% and 95% quantiles of every population parameter. Each may
differ by four combined Monte Carlo standard errors, as in tests/engines/test_marginal_posterior.py.
"""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from monte_carlo import SUMMARIES, summarised

import hlm_models as hlm
from hlm_models.results.summary import parameter_draws

pytestmark = pytest.mark.slow

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "shrinkage.json").read_text())
COLUMNS = [f"x{k}" for k in range(8)]
KINDS = ("horseshoe", "r2d2")


def made_up():
    """Eight correlated columns of several units, of which the first and the fifth matter."""
    rng = np.random.default_rng(3)
    n, group = 120, np.arange(120) % 12
    X = rng.normal(size=(n, 8)) + 0.5 * rng.normal(size=(n, 1))
    X = X * [1, 2, 0.5, 1, 3, 1, 1, 10] + 3 * np.arange(8)
    y = 2 + 1.2 * X[:, 0] - 0.5 * X[:, 4] + rng.normal(size=12)[group] + 1.5 * rng.normal(size=n)
    return pd.DataFrame(X, columns=COLUMNS).assign(y=y, g=[f"g{k}" for k in group])


def spec_of(beta, frame, response="y", group="g", **priors):
    formula = (
        f"{response} ~ {' + '.join(one for one in frame.columns if one not in (response, group))}"
    )
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}}
    head |= {"formula": f"{formula} + (1 | {group})", "priors": {"beta": beta, **priors}}
    return hlm.build(head, data=frame)


def assert_clean(fit):
    assert fit.divergences <= 0.001 * fit.data["posterior"]["sigma"].size
    codes = {check.code: check.status for check in fit.checks}
    assert codes["r_hat"] == codes["ess_bulk"] == "pass"


def assert_close(draws, expected):
    """`expected` gives a number and its Monte Carlo standard error, by name and summary."""
    apart = {}
    for name, of_summaries in expected.items():
        for which, (theirs, their_error) in of_summaries.items():
            ours, error = summarised(draws[name], which)
            apart[f"{which} of {name}"] = (ours - theirs) / math.hypot(error, their_error)
    assert len(apart) >= 4 * 10
    assert {what: z for what, z in apart.items() if not abs(z) < 4} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_what_does_not_matter_is_shrunk_and_what_matters_is_not(kind):
    frame = made_up()
    marginal = hlm.fit(spec_of({"kind": kind}, frame), engine="nuts", seed=31, draws=2000)
    assert_clean(marginal)
    plain = hlm.fit(spec_of({"kind": "normal"}, frame), engine="nuts", seed=33)
    here, there = (
        {name: draws.ravel() for name, draws in parameter_draws(fit).items()}
        for fit in (marginal, plain)
    )
    spread = frame.std(numeric_only=True)
    for k, column in enumerate(COLUMNS):
        name = f"beta[{column}]"
        u, v = here[name] * spread[column], there[name] * spread[column]
        if k in (0, 4):
            assert abs(u.mean()) > 0.9 * abs(v.mean())
        else:
            # Root mean square: how far from zero the coefficient is.
            less = 0.8 if kind == "horseshoe" else 0.95
            assert math.sqrt(np.mean(u**2)) < less * math.sqrt(np.mean(v**2))


def golden(case, *, without=()):
    return {
        name: {which: (one[which], one["mcse"][which]) for which in SUMMARIES}
        for name, one in GOLDEN["cases"][case]["parameters"].items()
        if name not in without
    }


def cars():
    return pd.DataFrame(GOLDEN["rows"]).astype({"carb": str})


def priors_of(case):
    found = GOLDEN["priors"]
    sigma = {"kind": "half_student_t", **found["sigma"]}
    sd = {"kind": "half_student_t", **found["sd"]}
    if case == "rstanarm":
        # Without groups: their sd is next to nothing.
        sd = {"kind": "uniform", "lower": 0, "upper": 1e-3 * found["sd"]["scale"]}
    return {"sigma": sigma, "groups": {"carb": {"kind": "diagonal", "sd": sd}}}


CASES = [*((case, "marginal") for case in GOLDEN["cases"]), ("r2d2", "noncentered")]


@pytest.mark.parametrize(("case", "form"), CASES)
def test_the_posterior_is_that_of_rstanarm_and_stan(case, form):
    kind = "r2d2" if case == "r2d2" else "horseshoe"
    spec = spec_of(
        {"kind": kind, **GOLDEN["priors"][kind]}, cars(), "mpg", "carb", **priors_of(case)
    )
    intercept = spec.priors.beta[0]
    assert intercept.loc == pytest.approx(GOLDEN["priors"]["intercept"]["loc"])
    assert intercept.scale == pytest.approx(GOLDEN["priors"]["intercept"]["scale"])
    np.testing.assert_allclose(spec.priors.shrinkage.spread, 1.0, rtol=1e-12)
    fit = hlm.fit(
        spec, engine="nuts", seed=5, draws=4000, target_accept=0.97, parameterization=form
    )
    assert_clean(fit)
    assert GOLDEN["cases"][case]["divergences"] <= 10
    assert_close(parameter_draws(fit), golden(case))
