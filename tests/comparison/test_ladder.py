"""The ladder of regressions and the groups' own least squares, held against R's lm."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.comparison.ladder import ladder
from hlm_models.interpretation.group_ols import ad_hoc, group_ols
from hlm_models.parts.datasets import find

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "ladder.json").read_text("utf-8"))
FIRMS = "investment ~ market_value + capital + (market_value + capital | firm)"
INTERCEPTS = "investment ~ market_value + capital + (1 | firm)"
CLOSE = {"rtol": 1e-7, "atol": 1e-9}


def read(name):
    return pd.read_csv(find(name).path)


def grunfeld():
    return read("grunfeld")


def uneven():
    """Firms of 1, 2 and 3 rows, and one whose capital never changes."""
    frame = grunfeld()
    order = frame["firm"].unique()
    seen = frame.groupby("firm").cumcount()
    short = frame["firm"].map({firm: k + 1 for k, firm in enumerate(order[:3])}).fillna(99)
    frame = frame[seen < short].copy()
    frame.loc[frame["firm"] == order[3], "capital"] = 100.0
    return frame


@pytest.fixture(scope="module")
def specs():
    weighted = grunfeld()
    weighted = weighted.assign(w=1 + weighted["year"] % 4, o=weighted["capital"] / 10)
    model = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": FIRMS}
    return {
        "grunfeld": hlm.build("grunfeld-slopes"),
        "weighted": hlm.build({**model, "weights": "w", "offset": "o"}, data=weighted),
        "uneven": hlm.build(formula=INTERCEPTS, data=uneven()),
        "hsb": hlm.build(formula="mathach ~ ses + meanses + (ses | school)", data=read("hsb")),
    }


@pytest.fixture(scope="module")
def ladders(specs):
    return {name: ladder(spec) for name, spec in specs.items()}


def named(rung, group_prefix):
    """Coefficients as R names them: `x`, `.gA`, `.gA:x`."""
    rows = dict(zip(rung.columns, zip(rung.estimate, rung.se, strict=True), strict=True))
    for j, label in enumerate(group_prefix):
        for k, column in enumerate(rung.group_columns):
            name = f".g{label}" + ("" if column == "Intercept" else f":{column}")
            rows[name] = (rung.group_estimate[j, k], rung.group_se[j, k])
    rows = {name.replace("Intercept", "(Intercept)"): row for name, row in rows.items()}
    return {name: row for name, row in rows.items() if not np.isnan(row[0])}


NAMES = ["grunfeld", "weighted", "uneven", "hsb"]
RUNGS = {
    "between": "between",
    "pooled": "pooled",
    "intercepts": "intercepts_without_constant",
    "slopes": "slopes",
}


@pytest.mark.golden
@pytest.mark.parametrize("data", NAMES)
@pytest.mark.parametrize("name", list(RUNGS))
def test_every_rung_is_that_of_lm(ladders, data, name):
    rung, wanted = ladders[data][name], GOLDEN[data][RUNGS[name]]
    assert rung.rss == pytest.approx(wanted["rss"], rel=1e-9)
    assert rung.df == wanted["df"]
    assert rung.sigma == pytest.approx(wanted["sigma"], rel=1e-9)
    assert rung.p == rung.n - rung.df == len(wanted["names"])
    found = named(rung, ladders[data].labels)
    assert set(found) == set(wanted["names"])
    estimate, se = np.array([found[one] for one in wanted["names"]]).T
    assert np.allclose(estimate, wanted["estimate"], **CLOSE)
    assert np.allclose(se, wanted["se"], **CLOSE)


@pytest.mark.golden
@pytest.mark.parametrize("data", NAMES)
def test_r2_is_centred_and_the_uncentred_one_is_given_beside_it(ladders, data):
    for name in ("between", "pooled"):
        rung, wanted = ladders[data][name], GOLDEN[data][name]
        assert (rung.r2, rung.adj_r2) == pytest.approx((wanted["r2"], wanted["adj_r2"]))
    intercepts, slopes = ladders[data]["intercepts"], ladders[data]["slopes"]
    with_constant = GOLDEN[data]["intercepts_with_constant"]
    without = GOLDEN[data]["intercepts_without_constant"]
    assert intercepts.r2 == pytest.approx(with_constant["r2"])
    assert intercepts.adj_r2 == pytest.approx(with_constant["adj_r2"])
    assert intercepts.r2_uncentred == pytest.approx(without["r2"])
    assert intercepts.adj_r2_uncentred == pytest.approx(without["adj_r2"])
    assert slopes.r2_uncentred == pytest.approx(GOLDEN[data]["slopes"]["r2"])
    assert slopes.adj_r2_uncentred == pytest.approx(GOLDEN[data]["slopes"]["adj_r2"])
    assert all(rung.centred for rung in ladders[data].rungs)


@pytest.mark.golden
@pytest.mark.parametrize("data", NAMES)
def test_nested_rungs_are_tested_as_by_anova(ladders, data):
    for test in ladders[data].tests:
        wanted = GOLDEN[data]["tests"][f"{test.smaller}_{test.larger}"]
        assert pytest.approx(wanted["F"], rel=1e-9) == test.F
        assert (test.df1, test.df2) == (wanted["df1"], wanted["df2"])
        assert test.p == pytest.approx(wanted["p"], rel=1e-6)


@pytest.mark.golden
@pytest.mark.parametrize("data", ["grunfeld", "weighted", "uneven"])
def test_groups_by_themselves_are_those_of_lm(specs, data):
    found = group_ols(specs[data])
    assert found.columns == ("Intercept", "market_value", "capital")
    for j, label in enumerate(found.labels):
        wanted = GOLDEN[data]["within"][label]
        for ours, theirs in ((found.estimate, "estimate"), (found.se, "se")):
            row = np.array(wanted[theirs], dtype=float)
            assert np.array_equal(np.isnan(ours[j]), np.isnan(row))
            assert np.allclose(ours[j], row, equal_nan=True, **CLOSE)
        assert found.df[j] == wanted["df"]
        assert found.rss[j] == pytest.approx(wanted["rss"], rel=1e-9, abs=1e-9)
    assert found.frame().loc["US Steel"].name == "US Steel"


def test_the_numbers_of_the_lecture_on_grunfeld(ladders):
    found = ladders["grunfeld"]
    assert found["pooled"].adj_r2 == pytest.approx(0.8162086, abs=5e-8)
    assert found["intercepts"].adj_r2_uncentred == pytest.approx(0.9591385, abs=5e-8)
    assert found["intercepts"].adj_r2 == pytest.approx(0.9429489, abs=5e-8)
    test = found.tests[0]
    assert (round(test.F, 3), test.df1, test.df2) == (49.207, 10, 207)
    capital = found.group_coefficients("slopes")["capital"]
    assert capital["US Steel"] == pytest.approx(0.3896419, abs=5e-8)


def test_what_a_group_cannot_tell_is_said(ladders, specs):
    assert ladders["hsb"]["intercepts"].note.endswith("meanses")
    assert "constant within school: meanses" in ladders["hsb"]["slopes"].note
    assert group_ols(specs["hsb"]).columns == ("Intercept", "ses")
    # One row, two rows, and constant capital; three rows do for three coefficients.
    assert "3 of 11 groups" in ladders["uneven"]["slopes"].note
    assert ladders["grunfeld"]["slopes"].note == ""


def test_ad_hoc_takes_means_where_there_are_some_and_the_covariance_of_complete_groups(specs):
    groups = group_ols(specs["uneven"])
    found = ad_hoc(groups)
    assert found.counted.tolist() == [11, 10, 9 - 1]
    assert found.complete == 8
    table = groups.frame()
    assert np.allclose(found.mean, table.mean())
    assert np.allclose(found.cov, table.dropna().cov())


@pytest.mark.skipif("HLM_DATA" not in os.environ, reason="HLM_DATA: no folder with the NELS file")
def test_the_ad_hoc_estimates_of_the_lecture_on_nels():
    found = ad_hoc(group_ols(hlm.build("nels-slopes")))
    assert found.counted.tolist() == [684, 683]
    assert np.allclose(found.mean, [50.618228, 3.672483], atol=5e-7)
    assert np.allclose(found.cov, [[26.795851, 1.001585], [1.001585, 15.818939]], atol=5e-7)


@pytest.mark.golden
def test_without_a_constant_r2_is_uncentred_and_says_so():
    found = ladder(
        hlm.build(formula="investment ~ 0 + market_value + capital + (1 | firm)", data=grunfeld())
    )
    pooled, wanted = found["pooled"], GOLDEN["without_constant"]
    assert not pooled.centred
    assert (pooled.r2, pooled.adj_r2) == pytest.approx((wanted["r2"], wanted["adj_r2"]))
    assert (pooled.r2, pooled.adj_r2) == (pooled.r2_uncentred, pooled.adj_r2_uncentred)
    assert not found["mixed"].centred
    assert found["intercepts"].centred
    assert found["intercepts"].rss == pytest.approx(
        GOLDEN["grunfeld"]["intercepts_with_constant"]["rss"]
    )


def test_dummies_without_an_intercept_have_a_constant_among_their_sums():
    found = ladder(
        hlm.build(
            formula="reaction ~ 0 + half + days + (1 | subject)",
            data=read("sleepstudy").assign(half=lambda d: np.where(d.days > 4, "b", "a")),
        )
    )
    assert found["pooled"].centred
    assert found["between"].df == 18 - 1
    assert "left out" in found["between"].note


def test_the_mixed_rung_is_the_fit():
    fit = hlm.fit("grunfeld-intercept", engine="ml")
    found = ladder(fit)
    rung, design = found["mixed"], fit.spec.design
    assert rung.columns == design.coef
    assert np.array_equal(rung.estimate, fit.beta)
    assert np.allclose(rung.se, np.sqrt(np.diag(fit.vcov_beta)), rtol=1e-13)
    fitted = design.X @ fit.beta + fit.random[0].b[design.blocks[0].level, 0]
    assert rung.rss == pytest.approx(np.sum((design.y - fitted) ** 2))
    assert rung.sigma == fit.sigma
    assert math.isnan(rung.df)
    assert math.isnan(rung.adj_r2)
    # Shrunken intercepts fit these rows less closely than free ones, and better than none.
    assert found["intercepts"].rss < rung.rss < found["pooled"].rss


def test_a_model_is_fitted_by_reml(ladders):
    fit = hlm.fit("grunfeld-slopes", engine="reml")
    assert np.allclose(ladders["grunfeld"]["mixed"].estimate, fit.beta)
    assert ladders["grunfeld"]["mixed"].note.startswith("reml")


def test_any_grouping_factor_may_be_asked_for():
    fit = hlm.fit("penicillin", engine="reml")
    assert ladder(fit, "plate").group == "plate"
    by_sample = ladder(fit, group="sample")
    assert by_sample["intercepts"].p == len(by_sample.labels) == 6
    assert group_ols(fit, group="sample").estimate.shape == (6, 1)
    with pytest.raises(hlm.InputErrors, match=r"'sampel' is not a group.*'sample'"):
        ladder(fit, group="sampel")
    for call in (ladder, group_ols, hlm.coef):
        with pytest.raises(
            hlm.InputErrors, match="several groups, name one of them: plate, sample"
        ):
            call(fit)
        with pytest.raises(hlm.InputErrors, match="group: 3 is not a group of this model"):
            call(fit, 3)


def test_rungs_that_there_are_not_are_told(ladders):
    with pytest.raises(hlm.InputErrors, match=r"'mixd' is not a rung; did you mean 'mixed'\?"):
        ladders["grunfeld"]["mixd"]
    with pytest.raises(hlm.InputErrors, match=r"'x' is not a rung \(rungs: between, pooled"):
        ladders["grunfeld"].group_coefficients("x")


def test_an_intercept_alone_has_no_slopes_to_test():
    fit = hlm.fit("dyestuff", engine="reml")
    test = ladder(fit).tests[1]
    assert (test.smaller, test.larger, test.df1) == ("intercepts", "slopes", 0)
    assert math.isnan(test.F)
    assert math.isnan(test.p)


def test_groups_that_leave_no_df_have_no_sigma():
    frame = grunfeld().query("year < 1938")
    found = ladder(hlm.fit(hlm.build(formula=INTERCEPTS, data=frame), engine="reml"))
    slopes = found["slopes"]
    assert slopes.df == 0
    assert math.isnan(slopes.sigma)
    assert math.isnan(slopes.adj_r2)
    assert np.isnan(slopes.group_se).all()
    assert slopes.r2 == pytest.approx(1)
    assert math.isnan(found.tests[1].F)


def test_a_name_or_a_posterior_is_refused_with_the_repair():
    with pytest.raises(hlm.InputErrors, match=r"hlm\.build"):
        ladder("grunfeld-slopes")
    with pytest.raises(hlm.InputErrors, match=r"hlm\.build"):
        group_ols("grunfeld-slopes")


def test_a_model_that_reml_refuses_is_refused():
    frame = read("sleepstudy").query("days < 2")
    spec = hlm.build(formula="reaction ~ days + (days | subject)", data=frame)
    with pytest.raises(hlm.RefusalError, match="36 random effects for 36 rows"):
        ladder(spec)
    assert group_ols(spec).df.tolist() == [0] * 18


def test_tables_for_people(ladders):
    found = ladders["grunfeld"]
    table = found.frame()
    assert list(table.index) == ["between", "pooled", "intercepts", "slopes", "mixed"]
    assert table.loc["pooled", "n"] == 220
    assert table.loc["between", "n"] == 11
    shared = found.coefficients()
    assert list(shared[shared["rung"] == "intercepts"]["coefficient"]) == [
        "market_value",
        "capital",
    ]
    assert found.group_coefficients("intercepts").shape == (11, 1)
    assert found.group_coefficients("pooled").shape == (11, 0)


def test_results_are_read_only(ladders, specs):
    rung = ladders["grunfeld"]["slopes"]
    for array in (rung.estimate, rung.group_estimate, rung.group_se, group_ols(specs["uneven"]).se):
        assert not array.flags.writeable


def test_doubling_all_weights_changes_no_coefficient(specs):
    spec = specs["weighted"]
    design = replace(spec.design, weights=spec.design.weights * 2)
    fit = hlm.fit(spec, engine="reml")
    one, two = ladder(fit), ladder(replace(fit, spec=replace(spec, design=design)))
    for name in ("between", "pooled", "intercepts", "slopes"):
        assert np.allclose(one[name].estimate, two[name].estimate)
        assert np.allclose(one[name].se, two[name].se)
        assert one[name].adj_r2 == pytest.approx(two[name].adj_r2)
