import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.results.extract import (
    coef,
    fitted,
    fixef,
    ranef,
    residuals,
    varcorr,
    vcov,
)
from hlm_models.results.fits import PosteriorFit

CLOSE = 1e-8


def ours(name):
    """lme4's name of an effect or a group as ours."""
    return {"(Intercept)": "Intercept", "cask:batch": "batch:cask"}.get(name, name)


def level(group, name):
    """lme4 writes the levels of a nested factor inside out."""
    return ":".join(reversed(name.split(":"))) if group == "cask:batch" else name


def close(found, wanted):
    wanted = np.asarray(wanted, dtype=float)
    np.testing.assert_allclose(found, wanted, rtol=CLOSE, atol=CLOSE * np.abs(wanted).max())


@pytest.mark.golden
def test_coefficients_and_their_covariance_are_those_of_lme4(lme4):
    fit, golden = lme4
    close(fixef(fit)[[ours(name) for name in golden["fixef"]]], list(golden["fixef"].values()))
    close(vcov(fit), golden["vcov"])
    assert list(vcov(fit).columns) == list(vcov(fit).index) == list(fixef(fit).index)


@pytest.mark.golden
def test_random_effects_and_conditional_sds_are_those_of_lme4(lme4):
    fit, golden = lme4
    found = ranef(fit).set_index(["group", "effect", "level"])
    rows = [
        (ours(row["grpvar"]), ours(row["term"]), level(row["grpvar"], row["grp"]))
        for row in golden["ranef"]
    ]
    assert len(found) == len(rows)
    close(found.loc[rows, "b"], [row["condval"] for row in golden["ranef"]])
    close(found.loc[rows, "sd"], [row["condsd"] for row in golden["ranef"]])


@pytest.mark.golden
def test_coefficients_by_group_are_those_of_lme4(lme4):
    fit, golden = lme4
    for group, rows in golden["coef"].items():
        found = coef(fit, ours(group))
        for row in rows:
            at = found.loc[level(group, row.pop("level"))]
            close(at[[ours(name) for name in row if name != "_row"]],
                  [value for name, value in row.items() if name != "_row"])  # fmt: skip


@pytest.mark.golden
def test_variances_are_those_of_lme4_row_by_row(lme4):
    fit, golden = lme4
    found = varcorr(fit)
    assert [ours(row["grp"]) for row in golden["varcorr"]] == list(found["group"])
    for effect, key in (("effect1", "var1"), ("effect2", "var2")):
        names = [ours(row.get(key)) for row in golden["varcorr"]]
        assert names == [None if pd.isna(name) else name for name in found[effect]]
    close(found["vcov"], [row["vcov"] for row in golden["varcorr"]])
    close(found["sdcor"], [row["sdcor"] for row in golden["varcorr"]])


@pytest.mark.golden
def test_fitted_values_and_residuals_are_those_of_lme4(lme4):
    fit, golden = lme4
    close(fitted(fit), golden["fitted"])
    close(fitted(fit, "population"), golden["population"])
    for kind in ("raw", "pearson", "scaled"):
        close(residuals(fit, kind), golden[kind])


def test_residuals_of_the_population_leave_the_effects_in(fit_of):
    fit = fit_of("uneven")
    design = fit.spec.design
    raw = design.y - design.X @ fit.beta - design.offset
    np.testing.assert_allclose(residuals(fit, level="population"), raw)
    np.testing.assert_allclose(
        residuals(fit, "scaled", "population"), raw * np.sqrt(design.weights) / fit.sigma
    )


def test_effects_without_a_fixed_one_stand_at_the_end_of_coef():
    data = hlm.build("sleepstudy-slopes").design.table.frame()
    fit = hlm.fit(hlm.build(formula="reaction ~ 1 + (days | subject)", data=data), engine="reml")
    found = coef(fit)
    assert list(found.columns) == ["Intercept", "days"]
    np.testing.assert_array_equal(found["days"], fit.random[0].b[:, 1])
    np.testing.assert_allclose(found["Intercept"], fit.beta[0] + fit.random[0].b[:, 0])


def test_correlations_fixed_at_zero_have_no_row():
    fit = hlm.fit("sleepstudy-uncorrelated", engine="reml")
    found = varcorr(fit)
    assert list(found["effect1"].dropna()) == ["Intercept", "days"]
    assert found["effect2"].isna().all()


def test_missing_effects_are_of_one_sort(fit_of):
    for fit in (fit_of("pastes"), hlm.fit("sleepstudy-slopes", engine="reml")):
        found = varcorr(fit)
        assert found["effect1"].dtype == found["effect2"].dtype == found["group"].dtype
        missing = [one for one in found["effect2"] if not isinstance(one, str)]
        assert len(missing) > 0
        assert not any(one is None for one in missing)


def test_a_model_of_several_groups_wants_one_named(fit_of):
    with pytest.raises(InputErrors, match="several groups, name one of them: plate, sample"):
        coef(fit_of("penicillin"))
    with pytest.raises(InputErrors, match=r"group: 3 is not a group .*groups: plate, sample"):
        coef(fit_of("penicillin"), 3)
    with pytest.raises(InputErrors, match="'plat' is not a group of this model; did you mean"):
        coef(fit_of("penicillin"), "plat")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fit: fitted(fit, "marginal"), "level is conditional or population"),
        (lambda fit: residuals(fit, "student"), "kind is raw, pearson or scaled"),
    ],
)
def test_unknown_words_are_refused(fit_of, call, message):
    with pytest.raises(InputErrors, match=message):
        call(fit_of("pastes"))


def test_a_posterior_is_refused_with_what_to_use(fit_of):
    spec = fit_of("pastes").spec
    draws = PosteriorFit(spec, "nuts", None, "nutpie", "centered", 0, (), {}, 1)
    with pytest.raises(RefusalError, match="ranef takes a point fit"):
        ranef(draws)


def test_what_is_no_fit_is_told_with_what_to_give(fit_of):
    for given in (fit_of("pastes").spec, "pastes", None, [fit_of("pastes")]):
        words = r"fixef takes a fit, and this is \w+: give hlm.fit\(model, engine='reml'\)"
        with pytest.raises(InputErrors, match=words):
            fixef(given)


def test_scaled_residuals_of_the_lecture():
    try:
        fit = hlm.fit("nels-urban-slopes", engine="reml")
    except InputErrors as error:
        pytest.skip(f"the NELS file is not there: {error}")
    found = np.quantile(residuals(fit, "scaled"), [0, 0.25, 0.5, 0.75, 1])
    # The lecture's optimiser stopped short of the optimum, by 0.5% in a variance.
    np.testing.assert_allclose(found, [-3.1139, -0.6458, 0.0073, 0.6411, 4.4791], atol=5e-4)
