"""Marginal means: what they are in balanced data, how they are asked for, and what is refused."""

import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import hlm_models as hlm
from hlm_models.errors import InputErrors


def frame(n=96):
    rng = np.random.default_rng(8)
    a, b, g = np.arange(n) % 3, np.arange(n) // 3 % 2, np.arange(n) // 12
    x = rng.normal(5.0, 2.0, n)
    return pd.DataFrame(
        {
            "y": a + 2 * b + x + rng.normal(size=8)[g] + rng.normal(size=n),
            "a": np.array([*"uvw"])[a],
            "b": np.array(["no", "yes"])[b],
            "year": 1990.0 + a,
            "x": x,
            "g": [f"g{code}" for code in g],
            "o": rng.normal(20.0, 4.0, n),
        }
    )


FRAME = frame()


def fitted(fixed, **more):
    model = {"schema": 1, "name": "m", "data": {"source": "frame"}, **more}
    model["formula"] = f"y ~ {fixed} + (1 | g)"
    return hlm.fit(hlm.build(model, data=FRAME), engine="reml")


def test_means_of_a_balanced_layout_are_plain_means():
    fit = fitted("a * b")
    table = hlm.marginal_means(fit, ["a", "b"]).frame()
    cells = FRAME.groupby(["a", "b"]).y.mean()
    assert_allclose(table["mean"], cells)
    assert list(zip(table.a, table.b, strict=True)) == list(cells.index)
    assert_allclose(hlm.marginal_means(fit, "b").frame()["mean"], FRAME.groupby("b").y.mean())
    assert_allclose(hlm.marginal_means(fit, []).frame()["mean"], [FRAME.y.mean()])


def test_numbers_are_held_at_their_means_or_where_said():
    fit = fitted("a + x + I(x ** 2)")
    beta = dict(zip(fit.spec.design.coef, fit.beta, strict=True))
    mean = FRAME.x.mean()
    at_mean = beta["Intercept"] + beta["x"] * mean + beta["I(x ** 2)"] * mean**2
    found = hlm.marginal_means(fit, "a").frame()
    assert_allclose(found["mean"], at_mean + np.array([0, beta["a[v]"], beta["a[w]"]]))
    at_2 = hlm.marginal_means(fit, "x", at={"x": [2, 4], "a": "v"}).frame()
    expected = [
        beta["Intercept"] + beta["a[v]"] + beta["x"] * v + beta["I(x ** 2)"] * v**2 for v in (2, 4)
    ]
    assert_allclose(at_2["mean"], expected)
    assert list(at_2.x) == [2.0, 4.0]


def test_coding_does_not_matter():
    plain, summed = (
        hlm.marginal_means(fitted("a * b + x", contrasts=contrasts), "a", df="kenward-roger")
        for contrasts in ({}, {"a": "sum", "b": "sum"})
    )
    assert_allclose(plain.frame().iloc[:, 1:], summed.frame().iloc[:, 1:], rtol=1e-6)
    one, other = plain.differences().frame(), summed.differences().frame()
    assert_allclose(one, other, rtol=1e-5, atol=1e-9)


def test_a_number_taken_as_a_factor_has_levels():
    found = hlm.marginal_means(fitted("C(year)"), "year").frame()
    assert list(found.year) == [1990.0, 1991.0, 1992.0]
    assert_allclose(found["mean"], hlm.marginal_means(fitted("a"), "a").frame()["mean"])


def test_the_offset_is_added_at_its_mean_or_where_said():
    fit = fitted("a", offset="o")
    beta = fit.beta
    found = hlm.marginal_means(fit, "a").frame()
    expected = beta[0] + np.array([0, beta[1], beta[2]])
    assert_allclose(found["mean"], expected + FRAME.o.mean())
    assert_allclose(hlm.marginal_means(fit, "a", at={"o": 3}).frame()["mean"], expected + 3)


def test_differences_are_within_each_cell_of_by():
    found = hlm.marginal_means(fitted("a * b"), "a", by="b").differences("none").frame()
    assert list(found.index) == [
        *("u - v | no", "u - w | no", "v - w | no"),
        *("u - v | yes", "u - w | yes", "v - w | yes"),
    ]
    cells = FRAME.groupby(["a", "b"]).y.mean()
    assert_allclose(found.estimate.iloc[0], cells["u", "no"] - cells["v", "no"])


def test_adjustments_of_p():
    means = hlm.marginal_means(fitted("a"), "a")
    plain, holm, bonferroni, tukey = (
        means.differences(adjust).frame() for adjust in ("none", "holm", "bonferroni", "tukey")
    )
    assert_allclose(bonferroni.p, np.minimum(3 * plain.p, 1))
    order = np.argsort(plain.p.to_numpy())
    steps = np.maximum.accumulate(plain.p.to_numpy()[order] * [3, 2, 1])
    assert_allclose(holm.p.to_numpy()[order], np.minimum(steps, 1))
    assert (plain.p <= tukey.p).all()
    assert (tukey.p <= bonferroni.p * (1 + 1e-9)).all()
    # An interval leaves out zero where its p value is below 0.05, and only there.
    for found in (plain, bonferroni, tukey):
        assert ((found.p < 0.05) == ((found.lower > 0) | (found.upper < 0))).all()


def test_of_two_means_tukey_adjusts_nothing():
    means = hlm.marginal_means(fitted("b"), "b")
    one, other = means.differences("tukey").frame(), means.differences("none").frame()
    assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"factors": "A"}, "'A' is not a predictor of this model; did you mean 'a'?"),
        ({"factors": "x"}, "x is a number: say where, as at={'x': [...]}"),
        ({"factors": "a", "at": {"b": "maybe"}}, "'maybe' is not a level of b"),
        ({"factors": "a", "at": {"xx": 1}}, "'xx' is not a predictor"),
        ({"factors": "a", "at": {"x": "two"}}, "x is a number, and ['two'] are not all finite"),
        ({"factors": "a", "at": {"x": np.nan}}, "x is a number, and [nan] are not all finite"),
        ({"factors": "a", "at": {"x": None}}, "x is a number, and [None] are not all finite"),
        ({"factors": "a", "at": {"x": np.eye(2)}}, "are not all finite numbers"),
        ({"factors": "a", "at": {"x": 10**400}}, "are not all finite numbers"),
        ({"factors": "x", "at": {"x": [8, 8.0]}}, "at: 8 stands twice among the values of x"),
        ({"factors": "b", "at": {"b": ["no", "no"]}}, "at: no stands twice among the values of b"),
        ({"factors": "a", "at": {3: 1}}, "'3' is not a predictor"),
        ({"factors": "a", "at": [8]}, "at: values are given by predictor, as at={'x': [1, 2]}"),
        ({"factors": "a", "at": (one for one in [8])}, "at: values are given by predictor"),
        ({"factors": "a", "at": [("x", 8)]}, "at: values are given by predictor"),
        ({"factors": None}, "factors: give the names of predictors, not None"),
        ({"factors": 3}, "factors: give the names of predictors, not 3"),
        ({"factors": [["a"]]}, "factors: give the names of predictors, not [['a']]"),
        ({"factors": "a", "by": None}, "by: give the names of predictors, not None"),
        ({"factors": "a", "df": None}, "df: 'None' is no method for degrees of freedom"),
        ({"factors": "a", "at": {"x": []}}, "no value is given for x"),
        ({"factors": "a", "by": "a"}, "'a' stands twice"),
    ],
)
def test_what_is_wrong_is_told(arguments, message):
    fit = fitted("a + b + x")
    with pytest.raises(InputErrors, match=re.escape(message)):
        hlm.marginal_means(fit, **arguments)


@pytest.mark.parametrize("given", [np.int64(8), np.float32(8), np.array(8), [8], {8}, iter([8])])
def test_a_number_may_come_of_numpy_or_in_any_collection(given):
    fit = fitted("a + x")
    found = hlm.marginal_means(fit, np.array(["a"]), at={"x": given}).frame()
    assert_allclose(found["mean"], hlm.marginal_means(fit, "a", at={"x": 8.0}).frame()["mean"])


def test_a_value_outside_the_knots_is_told_with_the_range():
    fit = fitted("a + bs(x, df=4)")
    low, high = FRAME.x.min(), FRAME.x.max()
    words = re.escape(f"bs(x, df=4) takes values between {low:.6g} and {high:.6g}")
    with pytest.raises(InputErrors, match=words) as caught:
        hlm.marginal_means(fit, "a", at={"x": high + 1})
    assert "extrapolation" not in str(caught.value)


def test_wrong_adjustments_are_told():
    means = hlm.marginal_means(fitted("a"), "a")
    for word in (None, 3):
        with pytest.raises(InputErrors, match=f"adjust: '{word}' is no adjustment.*tukey"):
            means.differences(word)
    with pytest.raises(InputErrors, match="'tuckey' is no adjustment; did you mean 'tukey'"):
        means.differences("tuckey")
    with pytest.raises(InputErrors, match="one mean has nothing to differ from"):
        hlm.marginal_means(fitted("a"), "a", at={"a": "u"}).differences()
