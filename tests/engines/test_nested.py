"""The nested and crossed models of the zoo against lme4 and nlme (tests/golden/nested.R)."""

import json
from pathlib import Path

import numpy as np
import pytest

from hlm_models import build, fit

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "nested.json").read_text("utf-8"))
CASES = {case["model"]: case for case in GOLDEN["cases"]}
ENGINES = ("reml", "ml")


def evaluated(model, theta, engine):
    theta = np.atleast_1d(theta).tolist()
    return fit(build(model, overrides=[f"reml.theta={theta}"]), engine)


@pytest.mark.golden
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", CASES)
def test_lme4s_polished_optimum(model, engine):
    found, theirs = fit(model, engine), CASES[model][engine]
    assert found.converged
    assert not found.singular
    assert found.criterion == pytest.approx(theirs["criterion"], rel=1e-12)
    np.testing.assert_allclose(found.beta, np.atleast_1d(theirs["beta"]), rtol=1e-8)
    np.testing.assert_allclose(found.vcov_beta, theirs["vcov"], rtol=1e-6, atol=1e-12)
    # Newton steps on differences of the criterion leave theta good to about 1e-7.
    np.testing.assert_allclose(found.theta, np.atleast_1d(theirs["theta"]), rtol=1e-6)
    assert found.sigma == pytest.approx(theirs["sigma"], rel=1e-6)
    groups = [estimate.group.split(":") for estimate in found.random]
    assert [set(group) for group in groups] == [set(g.split(":")) for g in theirs["groups"]]
    for estimate, cov in zip(found.random, theirs["cov"], strict=True):
        np.testing.assert_allclose(estimate.cov, cov, rtol=2e-6)


@pytest.mark.golden
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", CASES)
def test_lme4s_criterion_away_from_the_optimum(model, engine):
    away = CASES[model][engine]["away"]
    assert evaluated(model, away["theta"], engine).criterion == pytest.approx(
        away["criterion"], rel=1e-12
    )


@pytest.mark.golden
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("model", CASES)
def test_nlmes_optimum(model, engine):
    found, theirs = fit(model, engine), CASES[model][engine]["nlme"]
    assert found.loglik == pytest.approx(theirs["loglik"], abs=1e-8)
    np.testing.assert_allclose(found.beta, np.atleast_1d(theirs["beta"]), rtol=1e-6)
    # It stops where the criterion is flat to 1e-10, so variances are a square root of that away.
    assert found.sigma == pytest.approx(theirs["sigma"], rel=1e-5)
    for estimate in found.random:
        inner = estimate.group.split(":")[-1]
        np.testing.assert_allclose(estimate.cov, theirs["cov"][inner], rtol=1e-4)


@pytest.mark.golden
@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", GOLDEN["at_theta"], ids=lambda case: case["model"])
def test_lme4s_criterion_of_insteval_at_fixed_thetas(case, engine):
    for point in case[engine]:
        found = evaluated(case["model"], point["theta"], engine)
        assert found.criterion == pytest.approx(point["criterion"], rel=1e-12)


@pytest.mark.golden
@pytest.mark.slow
def test_mixedmodels_optimum_of_insteval_with_departments_in_the_fixed_part():
    """MixedModels.jl test/pls.jl at 0222b4c7, `Y ~ 1 + A*I + (1 | G) + (1 | H)`."""
    found = fit("insteval-dept", "ml")
    assert found.converged
    assert (found.spec.design.n, found.spec.design.p) == (73421, 28)
    assert found.criterion == pytest.approx(237585.5534151694, rel=1e-12)


@pytest.mark.golden
def test_mixedmodels_theta_of_oxide():
    """MixedModels.jl test/pls.jl, testset "oxide": held there to 1e-3."""
    np.testing.assert_allclose(fit("oxide", "ml").theta, [1.689182746, 2.98504262], atol=5e-5)
