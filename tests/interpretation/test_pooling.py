import numpy as np
import pandas as pd
import pytest
from interpretation_cases import uneven_frame

import hlm_models as hlm
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.interpretation.group_ols import group_ols
from hlm_models.interpretation.pooling import pooling


@pytest.mark.parametrize("name", ["sleepstudy-slopes", "grunfeld-slopes", "radon-slopes"])
def test_the_three_ways_are_the_ladders_rungs_and_the_fits_coefficients(fit_of, name):
    fit = fit_of(name)
    found, rungs, groups = pooling(fit), hlm.ladder(fit), group_ols(fit)
    assert found.coefficients == groups.columns
    told = ~np.isnan(found.none.estimate)
    np.testing.assert_allclose(found.none.estimate[told], groups.estimate[told], rtol=1e-9)
    np.testing.assert_allclose(found.none.se[told], groups.se[told], rtol=1e-9)
    for row, se in zip(found.complete.estimate, found.complete.se, strict=True):
        np.testing.assert_allclose(row, rungs["pooled"].estimate, rtol=1e-9)
        np.testing.assert_allclose(se, rungs["pooled"].se, rtol=1e-9)
    np.testing.assert_allclose(found.partial.estimate, hlm.coef(fit).to_numpy(), rtol=1e-9)


def test_the_standard_error_of_a_levels_intercept_is_that_of_its_prediction_at_zero(fit_of):
    fit = fit_of("sleepstudy-slopes")
    labels = list(fit.spec.blocks[0].labels)
    at_zero = hlm.predict(fit, pd.DataFrame({"days": 0.0, "subject": labels}))
    np.testing.assert_allclose(pooling(fit).partial.se[:, 0], at_zero.se, rtol=1e-9)


@pytest.mark.parametrize(("theta", "way"), [([1e5, 0, 1e5], "none"), ([0, 0, 0], "complete")])
def test_partial_pooling_lies_between_none_and_complete(theta, way):
    spec = hlm.build("sleepstudy-slopes", overrides=[f"reml.theta={theta}"])
    found = pooling(hlm.fit(spec, engine="reml"))
    np.testing.assert_allclose(found.partial.estimate, getattr(found, way).estimate, rtol=1e-6)


def test_macro_predictors_are_in_the_constant_and_in_the_slopes(fit_of):
    fit = fit_of("uneven")
    found, u = pooling(fit), np.arange(8.0)
    assert found.coefficients == ("Intercept", "x")
    beta, b = dict(zip(fit.spec.design.coef, fit.beta, strict=True)), fit.random[0].b
    line = np.column_stack([beta["Intercept"] + beta["u"] * u, beta["x"] + beta["x:u"] * u])
    np.testing.assert_allclose(found.expected, line, rtol=1e-8)
    np.testing.assert_allclose(found.partial.estimate, line + b, rtol=1e-8)
    frame = uneven_frame()
    X = np.column_stack([np.ones(len(frame)), frame["x"], frame["u"], frame["x"] * frame["u"]])
    root = np.sqrt(frame["w"].to_numpy())
    ols = np.linalg.lstsq(X * root[:, None], (frame["y"] - frame["o"]) * root, rcond=None)[0]
    np.testing.assert_allclose(found.complete.estimate[:, 1], ols[1] + ols[3] * u, rtol=1e-8)


def test_least_squares_that_a_level_cannot_tell_is_missing(fit_of):
    none = pooling(fit_of("uneven")).none.estimate
    # One row, and x = 1 in all rows: the constant goes with x. Two rows tell both.
    assert np.isnan(none[[0, 6]]).all()
    assert np.isfinite(none[[1, 2, 3, 4, 5, 7]]).all()


def test_a_predictor_that_is_zero_leaves_the_constant_alone():
    frame = uneven_frame()
    frame.loc[frame["g"] == "g6", "x"] = 0.0
    spec = hlm.build(formula="y ~ x + (x | g)", data=frame)
    none = pooling(hlm.fit(spec, engine="reml")).none.estimate[6]
    assert none[0] == pytest.approx(frame.loc[frame["g"] == "g6", "y"].mean())
    assert np.isnan(none[1])


@pytest.mark.parametrize("formula", ["y ~ 0 + k + (1 | g)", "y ~ k + (1 | g)"])
def test_effects_without_a_coefficient_of_their_own_are_the_levels_constant(formula):
    frame = uneven_frame()
    frame["k"] = np.where(frame["u"] > 3, "late", "early")
    fit = hlm.fit(hlm.build(formula=formula, data=frame), engine="reml")
    found = pooling(fit)
    assert found.coefficients == ("Intercept",)
    np.testing.assert_allclose(
        found.none.estimate[:, 0], frame.groupby("g")["y"].mean().to_numpy(), rtol=1e-9
    )
    row = fit.spec.design.X[np.searchsorted(fit.spec.blocks[0].level, np.arange(8))]
    np.testing.assert_allclose(
        found.partial.estimate[:, 0], row @ fit.beta + fit.random[0].b[:, 0], rtol=1e-9
    )


def test_what_is_aliased_in_every_level_but_no_macro_predictor_is_refused():
    frame = uneven_frame()
    frame["m"] = frame.groupby("g")["x"].transform("mean")
    frame["c"] = frame["x"] - frame["m"]
    fit = hlm.fit(hlm.build(formula="y ~ c + m + (x | g)", data=frame), engine="reml")
    with pytest.raises(RefusalError, match="within every level of g c is a combination"):
        pooling(fit)


def test_a_posterior_has_means_and_quantiles_of_beta_plus_b(posterior_of):
    fit = posterior_of("uneven")
    found, data = pooling(fit, level=0.9), fit.data["posterior"].to_dataset()
    beta, b, u = data["beta"].values, data["b_g"].values, np.arange(8.0)
    slope = beta[..., [1]] + beta[..., [3]] * u + b[..., 1]
    np.testing.assert_allclose(found.partial.estimate[:, 1], slope.mean(axis=(0, 1)), rtol=1e-8)
    np.testing.assert_allclose(
        found.partial.upper[:, 1], np.quantile(slope, 0.95, axis=(0, 1)), rtol=1e-8
    )


def test_a_table_has_a_row_for_each_coefficient_of_each_level(fit_of):
    found = pooling(fit_of("sleepstudy-slopes")).frame()
    assert len(found) == 36
    assert list(found["n"].unique()) == [10]
    with pytest.raises(InputErrors, match="takes a fit"):
        pooling(hlm.build("sleepstudy-slopes"))
