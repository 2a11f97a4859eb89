from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.results import influence
from hlm_models.results.extract import fitted
from hlm_models.results.influence import coefficients_without, cooks_distance, leverage


def made_up(seed=5, n=100):
    rng = np.random.default_rng(seed)
    g, h = rng.choice(list("pqrstuvw"), n), rng.choice(list("abcde"), n)
    effect = dict(zip("pqrstuvwabcde", rng.normal(0, 2, 13), strict=True))
    x = rng.normal(4, 2, n)
    y = 3 + x + [effect[a] + effect[b] for a, b in zip(g, h, strict=True)] + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "g": g, "h": h, "w": rng.uniform(0.5, 2, n)})


def fit_of(formula, data, engine="reml", **keys):
    model = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula, **keys}
    return hlm.fit(hlm.build(model, data=data), engine=engine)


CASES = {
    "one": ("y ~ x + (x | g)", "g"),
    "crossed, the larger": ("y ~ x + (1 | g) + (1 | h)", "g"),
    "crossed, the smaller": ("y ~ x + (1 | g) + (1 | h)", "h"),
    "nested": ("y ~ x + (1 | h/g)", "h"),
}


def without(fit, by, label, formula, **keys):
    data = fit.spec.design.table.frame()
    return fit_of(formula, data[data[by] != label], fit.engine, **keys)


@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize("case", CASES)
def test_a_deleted_group_changes_beta_as_a_fit_of_the_other_rows_does(case, engine):
    formula, by = CASES[case]
    fit = fit_of(formula, made_up(), engine, weights="w")
    [block] = [block for block in fit.spec.blocks if block.group == by]
    found = coefficients_without(fit, by)
    for j in (0, 3):
        fresh = without(fit, by, block.labels[j], formula, weights="w")
        np.testing.assert_allclose(found[j], fresh.beta, rtol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_with_theta_fixed_it_is_generalised_least_squares_of_the_other_rows(case):
    formula, by = CASES[case]
    fit = fit_of(formula, made_up(), weights="w")
    [block] = [block for block in fit.spec.blocks if block.group == by]
    found = coefficients_without(fit, by, theta="fixed")
    theta = list(fit.theta)
    for j, label in enumerate(block.labels):
        there = without(fit, by, label, formula, weights="w", reml={"theta": theta})
        np.testing.assert_allclose(found[j], there.beta, rtol=1e-9)


@pytest.mark.parametrize("case", [case for case in CASES if case != "one"])
def test_levels_of_many_rows_are_left_out_by_new_blocks(case, monkeypatch):
    formula, by = CASES[case]
    fit = fit_of(formula, made_up(), weights="w")
    found = coefficients_without(fit, by, theta="fixed")
    monkeypatch.setattr(influence, "LARGEST", 20)
    np.testing.assert_allclose(coefficients_without(fit, by, theta="fixed"), found, rtol=1e-9)


@pytest.mark.parametrize("theta", ["refit", "fixed"])
def test_progress_counts_the_levels_where_each_has_a_cost(theta):
    fit = fit_of("y ~ x + (1 | g) + (1 | h)", made_up())
    steps = []
    cooks_distance(fit, "h", theta=theta, progress=steps.append)
    assert [(step.done, step.total) for step in steps] == [(j, 5) for j in range(6)]


@pytest.mark.parametrize("formula", ["y ~ x + (1 | g)", "y ~ x + (1 | g) + (1 | h)"])
@pytest.mark.parametrize("engine", ["reml", "ml"])
def test_where_too_few_rows_are_left_there_is_no_fit(formula, engine):
    # Without p, two rows are left for two coefficients; without q, none of x's values is another.
    data = made_up(n=14).assign(g=["p"] * 12 + ["q", "r"])
    fit = fit_of(formula, data, engine)
    assert list(cooks_distance(fit, "g").isna()) == [True, False, False]


def test_a_row_that_the_fit_goes_through_has_no_distance():
    data = made_up()
    data = data.assign(own=(np.arange(len(data)) == 7).astype(float))
    fit = fit_of("y ~ x + own + (1 | g)", data)
    assert leverage(fit)[7] == pytest.approx(1.0, abs=1e-12)
    assert list(np.flatnonzero(cooks_distance(fit).isna())) == [7]


def test_cooks_distance_is_the_change_in_units_of_the_covariance_of_beta():
    fit = fit_of("y ~ x + (1 | g)", made_up())
    found = cooks_distance(fit, "g", theta="fixed")
    change = coefficients_without(fit, "g", theta="fixed") - fit.beta
    by_hand = [d @ np.linalg.inv(fit.vcov_beta) @ d / 2 for d in change]
    np.testing.assert_allclose(found, by_hand, rtol=1e-9)
    assert tuple(found.index) == fit.spec.blocks[0].labels


def test_a_group_without_which_beta_is_not_determined_has_none():
    data = made_up()
    data = data.assign(macro=(data["g"] == "q").astype(float))
    for formula in ("y ~ macro + (1 | g)", "y ~ macro + (1 | g) + (1 | h)"):
        fit = fit_of(formula, data)
        for theta in ("refit", "fixed"):
            found = cooks_distance(fit, "g", theta=theta)
            assert list(found.index[found.isna()]) == ["q"]


@pytest.mark.parametrize("formula", ["y ~ x + (x | g)", "y ~ x + (1 | g) + (x | h)"])
def test_leverage_is_what_a_response_does_to_its_own_fitted_value(formula):
    theta = [0.7, 0.2, 0.4, 0.5][: 3 + ("h" in formula)]
    fit = fit_of(formula, made_up(), weights="w", reml={"theta": theta})
    found = leverage(fit)
    for row in (0, 17, 50):
        data = made_up()
        data.loc[row, "y"] += 1.0
        moved = fit_of(formula, data, weights="w", reml={"theta": list(fit.theta)})
        assert fitted(moved)[row] - fitted(fit)[row] == pytest.approx(found[row], rel=1e-7)


@pytest.mark.golden
def test_leverage_and_cooks_distance_of_rows_are_those_of_lme4(lme4):
    fit, golden = lme4
    np.testing.assert_allclose(leverage(fit), golden["hatvalues"], rtol=1e-8)
    np.testing.assert_allclose(cooks_distance(fit), golden["cooks_rows"], rtol=1e-7)


@pytest.mark.golden
def test_cooks_distance_of_groups_is_that_of_lme4(lme4):
    fit, golden = lme4
    settings = fit.spec.reml.model_copy(update={"theta": None})
    fit = hlm.fit(replace(fit.spec, reml=settings), engine="reml")
    for by, wanted in golden["cooks"].items():
        found = cooks_distance(fit, by)
        J, p = len(found), len(fit.beta)
        # lme4 fits without the tightened tolerances here, and divides by J - p over J of p.
        np.testing.assert_allclose(
            found.loc[wanted["level"]] * (J - p) / J, wanted["distance"], rtol=1e-3, atol=1e-6
        )


def test_options_that_say_nothing_are_refused():
    fit = fit_of("y ~ x + (1 | g)", made_up())
    with pytest.raises(InputErrors, match="name one with `by`"):
        cooks_distance(fit, theta="fixed")
    with pytest.raises(InputErrors, match="theta is refit or fixed"):
        cooks_distance(fit, "g", theta="exact")
    with pytest.raises(InputErrors, match="'school' is not a group of this model"):
        cooks_distance(fit, "school")
