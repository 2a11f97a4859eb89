"""Linear hypotheses: how they may be said, what they give, and what is refused."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import hlm_models as hlm
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.inference.restrictions import restrictions
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.summary import coefficient_rows

COEF = ("Intercept", "x", "x:f[b 1]", "f[b 1]", "bs(x, df=3)[2]", "C(year)[1940]", "e")
METHODS = ("satterthwaite", "kenward-roger")


@pytest.fixture(scope="module")
def sleep():
    return hlm.fit("sleepstudy-slopes", engine="reml")


@pytest.mark.parametrize(
    ("text", "weights", "rhs"),
    [
        ("x = 10", {"x": 1}, 10),
        ("x", {"x": 1}, 0),
        ("x - e = 0", {"x": 1, "e": -1}, 0),
        ("2*x = 3*e - 1.5e1", {"x": 2, "e": -3}, -15),
        ("(x + f[b 1])/2 - -e + 4 = 1", {"x": 0.5, "f[b 1]": 0.5, "e": 1}, -3),
        ("x:f[b 1] + f[b 1]*2 = x", {"x:f[b 1]": 1, "f[b 1]": 2, "x": -1}, 0),
        ("bs(x, df=3)[2] = 1", {"bs(x, df=3)[2]": 1}, 1),
        ("Intercept + C(year)[1940] = 7", {"Intercept": 1, "C(year)[1940]": 1}, 7),
    ],
)
def test_texts(text, weights, rhs):
    found = restrictions(text, 0.0, COEF)
    expected = [weights.get(name, 0) for name in COEF]
    assert_allclose(found.L, [expected])
    assert_allclose(found.rhs, [rhs])
    assert found.texts == (text,)


@pytest.mark.parametrize(
    ("hypotheses", "rhs", "message"),
    [
        ("X = 0", 0, "'X' is not a coefficient of this model; did you mean 'x'?"),
        ("f[b] = 0", 0, "'f[b]' is not a coefficient of this model; did you mean 'f[b 1]'?"),
        ("x:f = 0", 0, "'x:f' is not a coefficient"),
        (["x = 0", "why + z = 0"], 0, "'z' is not a coefficient"),
        ({"y": 1}, 0, "'y' is not a coefficient"),
        ("x = 1 = 2", 0, "it has more than one ="),
        ("1 = 2", 0, "it is about no coefficient"),
        ("x = x", 0, "it is about no coefficient"),
        ("2 x = 1", 0, "a product is written 2*x"),
        ("x = ", 0, "a product is written 2*x"),
        ("x * e = 1", 0, "sums of coefficients times numbers"),
        ("1 / x = 1", 0, "sums of coefficients times numbers"),
        ("x / 0 = 1", 0, "sums of coefficients times numbers"),
        ("x ** 2 = 1", 0, "sums of coefficients times numbers"),
        ("x = 1", 1.0, "a text says what it equals"),
        ([[1, 2]], 0, "one column of finite numbers for each of the 7 coefficients"),
        ([[np.nan] * 7], 0, "one column of finite numbers"),
        (["x = 0", {"x": 1}], 0, "hypotheses are texts, mappings"),
        ([], 0, "one column of finite numbers"),
        (np.eye(7), [1, 2], "7 hypotheses need one number, or 7"),
        ({"x": np.nan}, 0, "L: the weight of x is a finite number, not nan"),
        ({"x": "a"}, 0, "L: the weight of x is a finite number, not 'a'"),
        ({"x": [1, 2]}, 0, "L: the weight of x is a finite number, not [1, 2]"),
        ({"x": None}, 0, "L: the weight of x is a finite number, not None"),
        ({"x": 10**400}, 0, "L: the weight of x is a finite number"),
        ({1: 2}, 0, "L: '1' is not a coefficient of this model"),
        ({"x + e": 1}, 0, "L: 'x + e' is not a coefficient of this model"),
        ({"x": 1}, "a", "rhs: give finite numbers, not 'a'"),
        ({"x": 1}, np.nan, "rhs: give finite numbers, not nan"),
        ({"x": 1}, None, "rhs: give finite numbers, not None"),
        ({"x": 1}, [[1], [1, 2]], "rhs: give finite numbers, not [[1], [1, 2]]"),
        ("x", "a", "rhs: give finite numbers, not 'a'"),
        ("x = 1e400", 0, "'x = 1e400' cannot be read: its numbers are too large"),
        ("1e200*1e200*x = 0", 0, "cannot be read: its numbers are too large"),
        ("`f c` = 1", 0, "'f c' is not a coefficient"),
    ],
)
def test_what_cannot_be_read_is_said(hypotheses, rhs, message):
    with pytest.raises(InputErrors, match=re.escape(message)):
        restrictions(hypotheses, rhs, COEF)


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("`a b`", "a b"),
        ("a b", "a b"),
        ("`a  b`", "a b"),
        ("`a b`:x", "a b:x"),
        ("`a b` : x", "a b:x"),
        ("I(x**2)", "I(x ** 2)"),
        ("I( x ** 2 )", "I(x ** 2)"),
        ("I(`a b`**2)", "I(`a b` ** 2)"),
        ("bs(x,df=3)[2]", "bs(x, df=3)[2]"),
        ("f[p-q]", "f[p-q]"),
        ("f[p - q]", "f[p - q]"),
        ("`x`", "x"),
        ("z ", "z "),
    ],
)
def test_names_may_be_written_as_in_a_formula(written, name):
    coef = ("x", "a b", "ab", "a b:x", "I(x ** 2)", "I(`a b` ** 2)", "bs(x, df=3)[2]", "f[p-q]",
            "f[p - q]", "z ")  # fmt: skip
    expected = [[float(one == name) for one in coef]]
    assert_allclose(restrictions(f"{written} = 1", 0, coef).L, expected)
    assert_allclose(restrictions(f"2*x + {written} - 2*x = 1", 0, coef).L, expected)
    assert_allclose(restrictions({written: 1}, 0, coef).L, expected)


def test_names_of_a_fit_may_be_written_as_in_its_formula():
    rng = np.random.default_rng(3)
    data = pd.DataFrame(rng.normal(size=(60, 3)), columns=["y", "x", "a b"])
    data["g"] = np.arange(60) % 6
    formula = "y ~ `a b` + `a b`:x + I(x**2) + I(`a b`**2) + (1 | g)"
    fit = hlm.fit(hlm.build(formula=formula, data=data), engine="reml")
    written = ["`a b` = 0", "`a b`:x = 0", "I(x**2) = 0", "I(`a b`**2) = 0"]
    order = [fit.spec.design.coef.index(one) for one in ("a b", "a b:x", "I(x ** 2)")]
    found = hlm.hypothesis(fit, written).rows
    assert [row.estimate for row in found[:3]] == fit.beta[order].tolist()


def test_every_unknown_name_is_told_at_once():
    with pytest.raises(InputErrors) as caught:
        restrictions(["why + z = 0", "x = 0", "q = 1"], 0, COEF)
    assert [problem.message.split()[0] for problem in caught.value.problems] == [
        "'why'",
        "'z'",
        "'q'",
    ]


def test_the_three_ways_to_say_it_agree(sleep):
    said = [
        hlm.hypothesis(sleep, ["Intercept - 5*days = 200", "days = 10"]),
        hlm.hypothesis(sleep, [{"Intercept": 1, "days": -5}, {"days": 1}], [200, 10]),
        hlm.hypothesis(sleep, [[1, -5], [0, 1]], [200, 10]),
    ]
    assert said[0].frame().equals(said[1].frame())
    assert said[1].frame().equals(said[2].frame())
    assert said[0].joint == said[1].joint == said[2].joint
    assert list(said[0].frame().index) == ["Intercept - 5*days = 200", "days = 10"]


def test_coefficients_are_those_of_the_summary(sleep):
    table = hlm.coefficient_tests(sleep).frame()
    known = pd.DataFrame(coefficient_rows(sleep)).set_index("name")
    for column, other in (("df", "df"), ("p", "p"), ("lower", "lower"), ("t", "statistic")):
        assert_allclose(table[column], known[other], rtol=1e-12)


@pytest.mark.parametrize("df", METHODS)
def test_one_row_is_a_squared_t(sleep, df):
    found = hlm.hypothesis(sleep, "days = 8", df=df)
    [row] = found.rows
    assert_allclose((found.joint.F, found.joint.den_df, found.joint.p), (row.t**2, row.df, row.p))
    assert row.lower < row.estimate < row.upper
    assert_allclose((row.estimate - row.rhs) / row.se, row.t)


@pytest.mark.parametrize("df", METHODS)
def test_said_twice_is_said_once(sleep, df):
    once = hlm.hypothesis(sleep, "days = 8", df=df).joint
    twice = hlm.hypothesis(sleep, ["days = 8", "2*days = 16", "days = 8"], df=df).joint
    assert twice.num_df == 1
    assert_allclose((twice.F, twice.den_df), (once.F, once.den_df))


@pytest.mark.parametrize("df", METHODS)
def test_contradictions_are_refused(sleep, df):
    with pytest.raises(InputErrors, match="contradict each other"):
        hlm.hypothesis(sleep, ["days = 8", "days = 9"], df=df)


@pytest.mark.parametrize("df", METHODS)
def test_a_row_of_zeros_is_refused(sleep, df):
    with pytest.raises(InputErrors, match="hypothesis 2 has weight 0"):
        hlm.hypothesis(sleep, [[0, 1], [0, 0]], df=df)


@given(
    turn=st.floats(-3, 3), stretch=st.floats(0.01, 100), rhs=st.tuples(*[st.floats(-300, 300)] * 2)
)
def test_kenward_roger_is_about_the_space_that_the_rows_span(turn, stretch, rhs):
    fit, L = FIT, np.array([[1.0, 0.0], [0.0, 1.0]])
    change = np.array([[np.cos(turn), -np.sin(turn)], [stretch * np.sin(turn), np.cos(turn)]])
    change[0] += 2 * change[1]
    if abs(np.linalg.det(change)) < 1e-3:
        return
    one = hlm.hypothesis(fit, L, rhs, df="kenward-roger").joint
    other = hlm.hypothesis(fit, change @ L, change @ rhs, df="kenward-roger").joint
    assert_allclose((other.F, other.den_df, other.scale), (one.F, one.den_df, one.scale), rtol=1e-6)


FIT = hlm.fit("sleepstudy-slopes", engine="reml")


def test_wrong_words_are_told(sleep):
    with pytest.raises(InputErrors, match=r"is no method.*did you mean 'kenward-roger'"):
        hlm.hypothesis(sleep, "days = 1", df="kenward-rogers")
    with pytest.raises(InputErrors, match="is no method"):
        hlm.anova(sleep, df="asymptotic")
    posterior = object.__new__(PosteriorFit)
    with pytest.raises(RefusalError, match=r"takes a point fit.*this is a posterior"):
        hlm.coefficient_tests(posterior)
    for other in (sleep.spec, "sleepstudy-slopes", None, [sleep]):
        with pytest.raises(InputErrors, match=r"takes a fit.*give hlm.fit\(model, engine='reml'\)"):
            hlm.hypothesis(other, "days = 1")
    for word in (None, 3, ["satterthwaite"]):
        with pytest.raises(InputErrors, match=r"df: .* is no method .*satterthwaite"):
            hlm.coefficient_tests(sleep, df=word)
    data = pd.DataFrame({"y": np.arange(12.0) ** 1.5 % 7, "g": [*"aabbccddeeff"]})
    empty = hlm.fit(hlm.build(formula="y ~ 0 + (1 | g)", data=data), engine="reml")
    with pytest.raises(InputErrors, match="no coefficients to test"):
        hlm.anova(empty)
