"""The Bayesian lecture's three models by every sampler: its printed means, and long runs of it.

The lecture kept 200 thinned draws of a chain without burn-in, so its means are held to 0.3
posterior standard deviations. The long runs give Monte Carlo standard errors of the coefficients'
means; of the variances they give none, and these are held to 0.15 posterior standard deviations.
"""

import json

import numpy as np
import pytest
from monte_carlo import summarised

import hlm_models as hlm

pytestmark = pytest.mark.slow

MODELS = {
    "nels-bayes-slopes": "M1 y~N(X b_j), X=(1,hwh,ses)",
    "nels-bayes-macro-in-z": "M2 X=(1,hflp,hwh,ses), all random",
    "nels-bayes-macro": "M3 LME X=(1,hwh,ses,hflp), Z=(1,hwh,ses)",
}
WAYS = {
    "gibbs, coefficients": ("gibbs", {"gibbs": {"scheme": "coefficients"}, "draws": 5000}),
    "gibbs, effects": ("gibbs", {"gibbs": {"scheme": "effects"}, "draws": 5000}),
    "gibbs, joint": ("gibbs", {"gibbs": {"scheme": "joint"}, "draws": 5000}),
    "nuts": ("nuts", {"draws": 2000}),
}


@pytest.fixture(scope="module")
def long_runs(reference_folder):
    text = (reference_folder / "reference_fits.json").read_text("utf-8")
    return {one["formula"]: one["values"] for one in json.loads(text) if "Gibbs" in one["method"]}


@pytest.fixture(scope="module", params=MODELS)
def case(request, nels, long_runs):
    """A model with the numbers of its reference."""
    return hlm.build(request.param), long_runs[MODELS[request.param]]


@pytest.mark.parametrize("way", WAYS)
def test_the_lectures_posterior(way, case):
    spec, reference = case
    engine, settings = WAYS[way]
    fit = hlm.fit(spec, engine, chains=4, seed=11, **settings)
    draws = fit.data["posterior"].to_dataset()
    long, lecture = reference["long_run"], reference["lecture"]
    beta = draws["beta"].values
    for k, name in enumerate(spec.design.coef):
        mean, error = summarised(beta[..., k], "mean")
        sd = beta[..., k].std()
        assert abs(mean - lecture["beta"][k]) < 0.3 * sd, name
        assert abs(mean - long["beta"][k]) < 4 * np.hypot(error, long["mcse"][k]), name
        assert sd == pytest.approx(long["sd"][k], rel=0.1), name
    s2 = draws["sigma"].values ** 2
    assert abs(s2.mean() - long["s2"]) < 0.15 * s2.std()
    size = draws["sd_school"].values
    Psi = size[..., :, None] * draws["corr_school"].values * size[..., None, :]
    for key, width in (("long_run", 0.15), ("lecture", 0.3)):
        if "Psi" in reference[key]:
            off = np.abs(Psi.mean(axis=(0, 1)) - reference[key]["Psi"])
            assert (off < width * Psi.std(axis=(0, 1))).all(), key
    if "s2" in lecture:
        assert abs(s2.mean() - lecture["s2"]) < 0.3 * s2.std()
    assert fit.converged


def test_the_reference_has_every_model(long_runs):
    assert set(long_runs) == set(MODELS.values())
