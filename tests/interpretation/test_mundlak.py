import numpy as np
import pandas as pd
import pytest
from interpretation_cases import model, uneven_frame

import hlm_models as hlm
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.interpretation.contextual import contextual_effects


def weighted_hsb():
    frame = hlm.build("hsb-oneway").design.table.frame()
    full = hlm.build(model("mathach ~ ses + (1 | school)", "hsb")).design.table.frame()
    assert len(full) == len(frame)
    return full.assign(w=1.0 + (np.arange(len(full)) + 1) % 3)


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["equal", "weighted"])
def test_effects_of_status_are_lme4s_and_within_is_the_dummies(golden, kind):
    theirs = golden["contexts"][kind]
    more = {"weights": "w"} if kind == "weighted" else {}
    config = model("mathach ~ ses + (1 | school)", "frame", **more)
    spec = hlm.mundlak(config, "ses", data=weighted_hsb())
    assert spec.config["formula"] == "mathach ~ ses_within + ses_between + (1 | school)"
    assert "ses_between" in spec.design.macro["school"]
    fit = hlm.fit(spec, engine="reml")
    found = contextual_effects(fit).frame().loc["ses"]
    for effect in ("within", "between", "contextual"):
        assert found.loc[effect, "estimate"] == pytest.approx(theirs["estimate"][effect], rel=1e-7)
        assert found.loc[effect, "se"] == pytest.approx(theirs["se"][effect], rel=1e-5)
    assert found.loc["within", "estimate"] == pytest.approx(theirs["dummies"], rel=1e-9)
    other = hlm.fit(hlm.mundlak(config, "ses", data=weighted_hsb(), form="mundlak"), engine="reml")
    assert other.spec.config["formula"] == "mathach ~ ses + ses_between + (1 | school)"
    same = contextual_effects(other).frame().loc["ses"]
    np.testing.assert_allclose(same["estimate"], found["estimate"], rtol=1e-7)


def test_the_within_effect_is_least_squares_with_a_dummy_for_each_group():
    frame = uneven_frame()
    spec = hlm.mundlak(predictors="x", formula="y ~ x + (1 | g)", data=frame)
    fit = hlm.fit(spec, engine="reml")
    X = np.column_stack([pd.get_dummies(frame["g"]).to_numpy(float), frame["x"]])
    dummies = np.linalg.lstsq(X, frame["y"], rcond=None)[0][-1]
    assert contextual_effects(fit, "x").rows[0].estimate == pytest.approx(dummies, rel=1e-9)


def test_the_contextual_effect_has_the_test_of_its_difference():
    fit = hlm.fit(
        hlm.mundlak(predictors="x", formula="y ~ x + (1 | g)", data=uneven_frame()), engine="reml"
    )
    for df in ("satterthwaite", "kenward-roger"):
        [*_, found] = contextual_effects(fit, df=df).rows
        [theirs] = hlm.hypothesis(fit, "x_between - x_within = 0", df=df).rows
        assert (found.effect, found.estimate, found.p) == ("contextual", theirs.estimate, theirs.p)


def test_rows_that_are_dropped_do_not_count_in_the_means():
    frame = uneven_frame()
    frame.loc[[5, 9, 20], "y"] = np.nan
    frame.loc[[7], "x"] = np.nan
    config = model("y ~ x + (1 | g)", "frame")
    config["data"] |= {"missing": "drop"}
    fit = hlm.fit(hlm.mundlak(config, "x", data=frame), engine="reml")
    kept = frame.dropna()
    assert fit.spec.design.n == len(kept)
    means = kept.groupby("g")["x"].transform("mean")
    np.testing.assert_allclose(fit.spec.design.table.number("x_between"), means, rtol=1e-12)
    X = np.column_stack([pd.get_dummies(kept["g"]).to_numpy(float), kept["x"]])
    dummies = np.linalg.lstsq(X, kept["y"], rcond=None)[0][-1]
    assert contextual_effects(fit).rows[0].estimate == pytest.approx(dummies, rel=1e-9)


def test_random_slopes_are_of_the_within_part_and_never_of_the_mean():
    spec = hlm.mundlak(
        model("mathach ~ ses + minority + (ses + minority || school)", "hsb"), ["ses", "minority"]
    )
    assert spec.blocks[0].effects == ("Intercept", "ses_within", "minority_within")
    assert spec.design.coef == (
        "Intercept", "ses_within", "ses_between", "minority_within", "minority_between",
    )  # fmt: skip
    plain = hlm.mundlak(model("mathach ~ ses + (ses | school)", "hsb"), "ses", form="mundlak")
    assert plain.blocks[0].effects == ("Intercept", "ses")


def test_known_standard_deviations_weigh_the_means():
    frame = uneven_frame()
    config = model("y ~ x + (1 | g)", "frame", residual={"kind": "known", "sd": "w"})
    spec = hlm.mundlak(config, "x", data=frame)
    w = frame["w"] ** -2.0
    mean = (frame["x"] * w).groupby(frame["g"]).transform("sum") / w.groupby(frame["g"]).transform(
        "sum"
    )
    np.testing.assert_allclose(spec.design.table.number("x_between"), mean, rtol=1e-12)


def test_nested_groups_and_offsets_and_a_name_of_the_zoo():
    frame = uneven_frame().assign(h=lambda d: np.where(d["x"] > 0, "up", "down"))
    spec = hlm.mundlak(
        predictors="x", group="g:h", formula="y ~ x + offset(o) + (1 | g/h)", data=frame
    )
    means = frame.groupby(["g", "h"])["x"].transform("mean")
    np.testing.assert_allclose(spec.design.table.number("x_between"), means, rtol=1e-12)
    assert spec.design.offset_column == "o"
    assert {block.group for block in spec.blocks} == {"g", "g:h"}
    radon = hlm.mundlak("radon-intercept", "floor")
    assert radon.name == "radon-intercept"
    assert radon.design.coef == ("Intercept", "floor_within", "floor_between")


def test_names_with_dots_and_equals_signs_are_names():
    frame = uneven_frame().rename(columns={"x": "own.x=1", "g": "a.g"})
    frame["twice"] = frame.pop("u")
    config = {"schema": 1, "name": "dots", "formula": "y ~ `own.x=1` + m + (1 | `a.g`)"}
    data = {"source": "frame", "derive": {"m": "twice / 2"}}
    spec = hlm.mundlak({**config, "data": data, "macro": {"a.g": ["m"]}}, "own.x=1", data=frame)
    means = frame.groupby("a.g")["own.x=1"].transform("mean")
    np.testing.assert_allclose(spec.design.table.number("own.x=1_between"), means, rtol=1e-12)
    assert list(spec.config["data"]["derive"]) == ["m", "own.x=1_between", "own.x=1_within"]
    assert spec.config["macro"] == {"a.g": ["m", "own.x=1_between"]}


def test_a_posterior_has_draws_of_the_difference(posterior_of):
    from canned import canned_posterior

    spec = hlm.mundlak(predictors="x", formula="y ~ x + (1 | g)", data=uneven_frame())
    ref = hlm.fit(spec, engine="reml")
    fit = canned_posterior(spec, ref, np.random.default_rng(3), chains=2, draws=50)
    beta = fit.data["posterior"].to_dataset()["beta"].values
    [*_, found] = contextual_effects(fit).rows
    difference = beta[..., 2] - beta[..., 1]
    assert found.estimate == pytest.approx(difference.mean())
    assert found.upper == pytest.approx(np.quantile(difference, 0.975))
    assert found.p == pytest.approx(2 * min((difference > 0).mean(), (difference < 0).mean()))


@pytest.mark.parametrize(
    ("formula", "predictors", "text"),
    [
        ("y ~ x + (1 | g)", "z", "'z' is not a predictor"),
        ("y ~ x + u + (1 | g)", "u", "u is constant within g"),
        ("y ~ x + f + (1 | g)", "f", "f holds labels"),
        ("y ~ x + (1 | g)", ["x", "x"], "stands twice"),
        ("y ~ x + (1 | g)", [], "name a predictor"),
    ],
)
def test_a_predictor_without_a_within_part_is_refused(formula, predictors, text):
    with pytest.raises(InputErrors, match=text):
        hlm.mundlak(predictors=predictors, formula=formula, data=uneven_frame())


@pytest.mark.parametrize(
    "formula", ["y ~ x * u + (1 | g)", "y ~ poly(x, 2) + (1 | g)", "y ~ x + (1 | g) + (x | f)"]
)
def test_a_predictor_in_other_terms_is_refused_and_the_other_form_takes_it(formula):
    frame = uneven_frame()
    with pytest.raises(RefusalError, match="form='mundlak'"):
        hlm.mundlak(predictors="x", group="g", formula=formula, data=frame)
    spec = hlm.mundlak(predictors="x", group="g", formula=formula, data=frame, form="mundlak")
    assert "x_between" in spec.design.coef


def test_a_model_without_group_means_has_no_contextual_effects(fit_of):
    with pytest.raises(InputErrors, match=r"hlm\.mundlak"):
        contextual_effects(fit_of("hsb-context"))
    with pytest.raises(InputErrors, match="not both ses_between"):
        contextual_effects(fit_of("hsb-context"), "ses")
