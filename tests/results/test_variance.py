import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.results.variance import icc, r2, variance_parts


@pytest.mark.golden
def test_shares_of_the_variance_are_those_of_the_formulas_written_out_in_r(lme4):
    fit, golden = lme4
    shares = golden["shares"]
    together = icc(fit).loc["all groups"]
    assert together["adjusted"] == pytest.approx(shares["adjusted"], rel=1e-8)
    assert together["unadjusted"] == pytest.approx(shares["unadjusted"], rel=1e-8)
    found = r2(fit)
    # Where there is nothing but an intercept, R has zero and we have rounding of it.
    assert found.marginal == pytest.approx(shares["r2_marginal"], rel=1e-8, abs=1e-12)
    assert found.conditional == pytest.approx(shares["r2_conditional"], rel=1e-8)


def test_groups_add_up(fit_of):
    found = icc(fit_of("pastes"))
    assert list(found.index) == ["batch:cask", "batch", "all groups"]
    np.testing.assert_allclose(found.iloc[:2].sum(), found.loc["all groups"])


def test_random_slopes_count_by_their_mean_over_the_rows(fit_of):
    fit = fit_of("sleepstudy")
    z = fit.spec.design.blocks[0].z
    mean = np.mean([row @ fit.random[0].cov @ row for row in z])
    assert variance_parts(fit).groups["subject"] == pytest.approx(mean)


def test_the_lectures_intraclass_correlation():
    try:
        fit = hlm.fit("nels-intercept", engine="ml")
    except InputErrors as error:
        pytest.skip(f"the NELS file is not there: {error}")
    assert icc(fit).loc["school", "adjusted"] == pytest.approx(0.24279, abs=5e-6)
