"""The compiled sweeps against the lecture's loops: the same posterior."""

import math

import numpy as np
import pytest
from gibbs_cases import frame
from lecture_loop import Lecture, coefficients_sweep, effects_sweep, run

import hlm_models as hlm
from hlm_models.results.summary import ess

LOOPS = {"effects": effects_sweep, "coefficients": coefficients_sweep}
PRIORS = (
    "priors.beta={kind: normal, loc: 1, scale: 2}",
    "priors.groups.g={kind: inverse_wishart, nu: 4, scale: [[1.5, 0.3], [0.3, 0.7]]}",
    "priors.sigma={kind: inverse_gamma, shape: 1, scale: 0.8}",
)


@pytest.mark.parametrize("scheme", ["effects", "coefficients", "joint"])
def test_the_posterior_is_that_of_the_lecture(scheme):
    model = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": "y ~ x + (x | g)"}
    spec = hlm.build(model, data=frame(), overrides=PRIORS)
    [block] = spec.blocks
    data = Lecture(
        spec.design.y, spec.design.X, block.z, block.level, np.ones(2), 4 * np.eye(2), 4,
        np.array([[1.5, 0.3], [0.3, 0.7]]), 2, 0.8,
    )  # fmt: skip
    loop = LOOPS.get(scheme, coefficients_sweep)
    beta, s2, Psi = run(loop, data, 3200, np.random.default_rng(6))
    theirs = {
        "beta[Intercept]": beta[:, 0],
        "beta[x]": beta[:, 1],
        "sigma": np.sqrt(s2),
        "sd_g[Intercept]": np.sqrt(Psi[:, 0, 0]),
        "sd_g[x]": np.sqrt(Psi[:, 1, 1]),
        "corr_g[Intercept, x]": Psi[:, 0, 1] / np.sqrt(Psi[:, 0, 0] * Psi[:, 1, 1]),
    }
    fit = hlm.fit(spec, engine="gibbs", seed=3, draws=4000, gibbs={"scheme": scheme})
    assert fit.parameterization == scheme
    ours = hlm.summary(fit)
    for name, draws in theirs.items():
        kept = draws[200:][None]
        mcse = kept.std() / math.sqrt(ess(kept, "mean"))
        error = math.hypot(mcse, ours.loc[name, "mcse_mean"])
        assert abs(ours.loc[name, "mean"] - kept.mean()) < 4 * error, name
