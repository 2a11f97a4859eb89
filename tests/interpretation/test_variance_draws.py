import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.interpretation.bayes_r2 import bayes_r2
from hlm_models.interpretation.variance import icc, r2, variance_draws
from hlm_models.results.fits import PointFit
from hlm_models.results.posterior import point_at
from hlm_models.results.variance import R2, variance_parts_at
from hlm_models.spec.density import linear_predictor


@pytest.mark.parametrize("name", ["sleepstudy-slopes", "uneven", "penicillin", "eight-schools"])
def test_every_draw_has_the_shares_of_the_point_formula(posterior_of, name):
    fit = posterior_of(name)
    parts, posterior = variance_draws(fit), fit.data["posterior"].to_dataset()
    for chain, draw in ((0, 0), (1, 17)):
        point = point_at(fit.spec, posterior, chain, draw)
        cov = [sd[:, None] * corr * sd for sd, corr in zip(point.sd, point.corr, strict=True)]
        # The same, with every row written out.
        fixed = np.var(fit.spec.design.X @ point.beta, ddof=1)
        random = sum(
            np.mean([row @ Psi @ row for row in block.z])
            for Psi, block in zip(cov, fit.spec.blocks, strict=True)
        )
        weights = fit.spec.design.weights
        residual = np.mean(point.sigma**2 / (1 if weights is None else weights))
        total = fixed + random + residual
        assert parts.marginal[chain, draw] == pytest.approx(fixed / total, rel=1e-9, abs=1e-12)
        assert parts.conditional[chain, draw] == pytest.approx((fixed + random) / total, rel=1e-9)


def test_a_point_has_one_number_and_a_posterior_an_interval(fit_of, posterior_of):
    fit, draws = fit_of("sleepstudy-slopes"), posterior_of("sleepstudy-slopes")
    assert isinstance(r2(fit), R2)
    found = r2(draws, level=0.5)
    assert found.marginal.shape == (2, 40)
    shown = found.frame()
    assert list(shown.index) == ["marginal", "conditional"]
    assert shown.loc["marginal", "lower"] == pytest.approx(np.quantile(found.marginal, 0.25))
    table = icc(draws)
    parts = variance_draws(draws)
    share = parts.random / (parts.random + parts.residual)
    assert table.loc[("all groups", "adjusted"), "mean"] == pytest.approx(share.mean())
    assert list(icc(fit).columns) == ["variance", "adjusted", "unadjusted"]


def test_parts_at_the_estimates_are_those_of_the_fit(fit_of):
    fit = fit_of("uneven")
    assert isinstance(fit, PointFit)
    parts = variance_parts_at(fit.spec, fit.beta, [fit.random[0].cov], np.asarray(fit.sigma))
    assert float(parts.marginal) == pytest.approx(hlm.r2(fit).marginal)


@pytest.mark.parametrize("name", ["uneven", "penicillin"])
def test_bayesian_r2_is_explained_over_all_variance_of_each_draw(posterior_of, name):
    fit = posterior_of(name)
    found, posterior = bayes_r2(fit), fit.data["posterior"].to_dataset()
    design = fit.spec.design
    point = point_at(fit.spec, posterior, 1, 3)
    eta = linear_predictor(fit.spec, point) - (0 if design.offset is None else design.offset)
    left = np.mean(point.sigma**2 / (1 if design.weights is None else design.weights))
    explained = np.var(eta, ddof=1)
    assert found.draws[1, 3] == pytest.approx(explained / (explained + left))
    assert found.frame().loc["bayes", "mean"] == pytest.approx(found.draws.mean())


def test_thinned_draws_are_some_of_all(posterior_of, monkeypatch):
    fit = posterior_of("uneven")
    whole = bayes_r2(fit).draws
    monkeypatch.setattr("hlm_models.interpretation.bayes_r2.WORK", 20 * fit.spec.design.n)
    few = bayes_r2(fit).draws
    assert few.shape == (2, 10)
    np.testing.assert_allclose(few[:, [0, -1]], whole[:, [0, -1]])


def test_what_has_no_draws_is_refused(fit_of):
    with pytest.raises(RefusalError, match="takes draws"):
        bayes_r2(fit_of("penicillin"))
    with pytest.raises(InputErrors, match="between 0 and 1"):
        icc(fit_of("penicillin"), level=95)
