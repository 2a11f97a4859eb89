import numpy as np
import pytest
from interpretation_cases import model, uneven_frame

import hlm_models as hlm
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.interpretation.variance_explained import variance_explained


@pytest.mark.golden
def test_proportions_are_the_formulas_of_the_textbooks(fit_of, golden):
    found = variance_explained(fit_of("hsb-oneway"), fit_of("hsb-means-as-outcomes"))
    assert found.added == ("meanses",)
    explained = found.frame()["explained"]
    for key, name in (
        (("school", "Intercept"), "tau"),
        (("prediction", "level 1, a row"), "level1"),
        (("prediction", "level 2, a group's mean"), "level2"),
    ):
        assert explained[key] == pytest.approx(golden["explained"][name], rel=1e-5)
    # A school's mean says nothing about its pupils' differences.
    assert explained["residual", "sigma^2"] < 0
    assert explained["residual", "sigma^2"] == pytest.approx(
        golden["explained"]["sigma2"], rel=1e-2
    )


def test_a_predictor_that_varies_within_groups_only_makes_their_variance_larger():
    frame = uneven_frame()
    frame["c"] = frame["x"] - frame.groupby("g")["x"].transform("mean")
    frame["y"] += 2 * frame["c"]
    one, more = (
        hlm.fit(hlm.build(formula=f"y ~ {side} + (1 | g)", data=frame), engine="ml")
        for side in ("1", "c")
    )
    explained = variance_explained(one, more).frame()["explained"]
    assert explained["residual", "sigma^2"] > 0.5
    assert explained["g", "Intercept"] < 0


def test_level_two_takes_the_mean_over_groups_of_their_means_variance(fit_of):
    frame = uneven_frame()
    fits = [
        hlm.fit(
            hlm.build(model(f"y ~ {side} + (x | g)", "frame", weights="w"), data=frame),
            engine="reml",
        )
        for side in ("x", "x + u")
    ]
    found = variance_explained(*fits).frame().loc["prediction"]
    for fit, column in zip(fits, ("without", "with"), strict=True):
        Psi, block, w = fit.random[0].cov, fit.spec.blocks[0], fit.spec.design.weights
        each, rows = [], []
        for j in range(block.J):
            here = block.level == j
            z = np.average(block.z[here], axis=0, weights=w[here])
            each.append(z @ Psi @ z + fit.sigma**2 / w[here].sum())
            rows += [
                z @ Psi @ z + fit.sigma**2 / one
                for z, one in zip(block.z[here], w[here], strict=True)
            ]
        assert found.loc["level 2, a group's mean", column] == pytest.approx(np.mean(each))
        assert found.loc["level 1, a row", column] == pytest.approx(np.mean(rows))


def test_draws_of_two_posteriors_are_not_paired(posterior_of):
    smaller, larger = posterior_of("hsb-oneway"), posterior_of("hsb-means-as-outcomes")
    found = variance_explained(smaller, larger)
    frame = found.frame()
    key = ("school", "Intercept")
    tau = [
        np.square(one.data["posterior"].to_dataset()["sd_school"].values).mean()
        for one in (smaller, larger)
    ]
    assert frame.loc[key, "explained"] == pytest.approx(1 - tau[1] / tau[0], rel=1e-3)
    assert frame.loc[key, "lower"] < frame.loc[key, "explained"] < frame.loc[key, "upper"]
    own = np.corrcoef(found.smaller[key], found.larger[key])[0, 1]
    assert abs(own) < 0.1


def test_every_draw_counts(posterior_of, monkeypatch):
    smaller, larger = posterior_of("hsb-oneway"), posterior_of("hsb-means-as-outcomes")
    monkeypatch.setattr("hlm_models.interpretation.variance_explained.PAIRS", 7)
    found = variance_explained(smaller, larger)
    for fit, rows in ((smaller, found.smaller), (larger, found.larger)):
        sigma = fit.data["posterior"].to_dataset()["sigma"].values.ravel()
        drawn = np.sort(rows["residual", "sigma^2"])
        np.testing.assert_allclose(drawn, np.sort(np.square(sigma)), rtol=1e-12)


def test_predictors_may_be_written_in_other_columns():
    """x is x_within and x_between together."""
    plain = model("mathach ~ ses + (1 | school)", "hsb")
    parts = hlm.mundlak(plain, "ses")
    one, two = (hlm.fit(what, engine="reml") for what in (plain, parts))
    frame = variance_explained(one, two).frame()
    between = 1 - two.random[0].cov[0, 0] / one.random[0].cov[0, 0]
    assert frame.loc[("school", "Intercept"), "explained"] == pytest.approx(between)
    with pytest.raises(InputErrors, match="lacks ses_within, ses_between"):
        variance_explained(two, one)


def test_models_that_cannot_be_compared_are_refused(fit_of, posterior_of):
    oneway, means = fit_of("hsb-oneway"), fit_of("hsb-means-as-outcomes")
    with pytest.raises(RefusalError, match="same engine"):
        variance_explained(oneway, posterior_of("hsb-means-as-outcomes"))
    with pytest.raises(InputErrors, match="lacks meanses"):
        variance_explained(means, oneway)
    with pytest.raises(InputErrors, match="no predictor more"):
        variance_explained(means, means)
    with pytest.raises(InputErrors, match="different rows"):
        variance_explained(oneway, fit_of("sleepstudy-slopes"))
    with pytest.raises(InputErrors, match="different random effects"):
        variance_explained(oneway, fit_of("hsb-slopes-as-outcomes"))
