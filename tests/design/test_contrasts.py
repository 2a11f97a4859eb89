"""Coding of factors: columns by hand, names, references, new data, and bad settings."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlm_models import build
from hlm_models.data.table import make_table
from hlm_models.design.columns import encode
from hlm_models.design.contrasts import Factor, find_factors
from hlm_models.errors import InputErrors

N = 48


def made_up(seed=3):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "x": rng.normal(size=N),
            "year": 2000 + np.arange(N) % 3,
            "f": rng.permutation([*"abc"] * (N // 3)),
            "h": rng.permutation(["u", "v"] * (N // 2)),
            "g": [f"g{i % 6}" for i in range(N)],
        }
    )


FRAME = made_up()


def as_table(frame):
    return make_table(
        frame, columns=["x", "f", "h"], groups=["g"], response="y", missing="error", source="frame"
    )


TABLE = as_table(FRAME)
x = FRAME["x"].to_numpy()


def is_level(name, level):
    return (FRAME[name] == level).to_numpy(float)


def spec(formula, contrasts, frame=FRAME):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return build({**head, "contrasts": contrasts}, data=frame)


def columns(side, **contrasts):
    factors = tuple(
        Factor(name, kind, reference, {"f": ("a", "b", "c"), "h": ("u", "v")}[name])
        for name, (kind, reference) in contrasts.items()
    )
    encoding, X = encode(side, TABLE, factors)
    return encoding, dict(zip(encoding.names, X.T, strict=True))


a, b, c = (is_level("f", level) for level in "abc")
u, v = (is_level("h", level) for level in "uv")
ONE = np.ones(N)

BY_HAND = [
    ("f", {"f": ("sum", "c")}, {"Intercept": ONE, "f[a]": a - c, "f[b]": b - c}),
    ("f", {"f": ("sum", "a")}, {"Intercept": ONE, "f[b]": b - a, "f[c]": c - a}),
    ("f", {"f": ("sum", "b")}, {"Intercept": ONE, "f[a]": a - b, "f[c]": c - b}),
    ("f", {"f": ("treatment", "b")}, {"Intercept": ONE, "f[a]": a, "f[c]": c}),
    ("C(f)", {"f": ("sum", "c")}, {"Intercept": ONE, "C(f)[a]": a - c, "C(f)[b]": b - c}),
    ("C(f)", {"f": ("treatment", "c")}, {"Intercept": ONE, "C(f)[a]": a, "C(f)[b]": b}),
    ("0 + f", {"f": ("sum", "b")}, {"f[a]": a, "f[c]": c, "f[b]": b}),
    (
        "x*f",
        {"f": ("sum", "c")},
        {
            "Intercept": ONE,
            "x": x,
            "f[a]": a - c,
            "f[b]": b - c,
            "x:f[a]": x * (a - c),
            "x:f[b]": x * (b - c),
        },
    ),
    (
        "f*h",
        {"f": ("treatment", "c"), "h": ("sum", "u")},
        {
            "Intercept": ONE,
            "f[a]": a,
            "f[b]": b,
            "h[v]": v - u,
            "f[a]:h[v]": a * (v - u),
            "f[b]:h[v]": b * (v - u),
        },
    ),
]


@pytest.mark.parametrize(("side", "contrasts", "expected"), BY_HAND)
def test_columns_are_those_made_by_hand(side, contrasts, expected):
    _, found = columns(side, **contrasts)
    assert list(found) == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize(("side", "contrasts", "expected"), BY_HAND)
def test_some_of_the_rows_get_their_own_columns(side, contrasts, expected):
    # Also without some of the levels, or with only the reference.
    encoding, _ = columns(side, **contrasts)
    X = np.column_stack([*expected.values()])
    for level in "abc":
        rows = np.flatnonzero(FRAME["f"] == level)
        np.testing.assert_allclose(
            encoding.apply(as_table(FRAME.iloc[rows])), X[rows], rtol=1e-14, atol=1e-14
        )


SIDES = st.sampled_from(["f", "x*f", "f*h", "x + f:x", "f + h + f:h:x"])
CODINGS = st.tuples(st.sampled_from(["treatment", "sum"]), st.sampled_from([*"abc"]))


@given(SIDES, CODINGS, st.tuples(st.sampled_from(["treatment", "sum"]), st.sampled_from([*"uv"])))
def test_every_coding_spans_the_same_columns(side, f, h):
    _, plain = columns(side)
    _, found = columns(side, f=f, h=h)
    assert len(found) == len(plain)
    X, Y = np.column_stack([*plain.values()]), np.column_stack([*found.values()])
    rank = np.linalg.matrix_rank(X)
    assert np.linalg.matrix_rank(Y) == rank
    assert np.linalg.matrix_rank(np.hstack([X, Y])) == rank


def test_the_reference_is_the_first_level_of_treatment_and_the_last_of_sum():
    found = find_factors(["x", "f", "h"], TABLE, {"f": "sum"})
    levels = ("a", "b", "c")
    assert found == (Factor("f", "sum", "c", levels), Factor("h", "treatment", "u", ("u", "v")))


def test_an_order_of_the_datas_own_says_which_level_is_first():
    frame = FRAME.assign(f=pd.Categorical(FRAME["f"], categories=["c", "a", "b", "none"]))
    found = spec("y ~ f + (1 | g)", {}, frame).design
    assert found.factors == (Factor("f", "treatment", "c", ("c", "a", "b")),)
    assert found.coef == ("Intercept", "f[a]", "f[b]")
    by_sum = spec("y ~ f + (1 | g)", {"f": "sum"}, frame).design
    assert by_sum.coef == ("Intercept", "f[c]", "f[a]")


def test_contrasts_hold_in_the_random_terms_too():
    model = spec("y ~ x + f + (f | g)", {"f": {"kind": "sum", "reference": "a"}})
    [block] = model.blocks
    assert block.effects == ("Intercept", "f[b]", "f[c]")
    np.testing.assert_array_equal(block.z[:, 1:], np.column_stack([b - a, c - a]))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("y ~ f + (1 | g)", [("f", "a")]),
        ("y ~ 0 + f + h + (1 | g)", [("f", None), ("h", "u")]),
        ("y ~ x + (0 + f | g)", [("f", None)]),
        ("y ~ f + (0 + f | g)", [("f", "a")]),
        ("y ~ x*h + C(year) + (1 | g)", [("h", "u"), ("C(year)", "2000")]),
        ("y ~ C(f) + (1 | g)", [("f", "a")]),
        ("y ~ x + (1 | g)", []),
    ],
)
def test_a_model_says_the_reference_of_every_factor_or_that_there_is_none(formula, expected):
    found = spec(formula, {}).design.factors
    assert [(one.name, one.reference) for one in found] == expected


@pytest.mark.parametrize(
    ("contrasts", "key", "words"),
    [
        ({"ff": "sum"}, "contrasts.ff", "'ff' is not a factor among the predictors; did you mean"),
        ({"g": "sum"}, "contrasts.g", "'g' is not a factor among the predictors"),
        ({"x": "sum"}, "contrasts.x", "x holds numbers, which have no contrasts; derive labels"),
        (
            {"f": {"kind": "sum", "reference": "A"}},
            "contrasts.f.reference",
            r"'A' is not a level of f; did you mean 'a'\? \(levels: a, b, c\)",
        ),
    ],
)
def test_a_setting_for_what_is_not_there_is_refused(contrasts, key, words):
    with pytest.raises(InputErrors, match=words) as caught:
        spec("y ~ x + f + (1 | g)", contrasts)
    assert [problem.key for problem in caught.value.problems] == [key]


def test_contrasts_of_a_model_without_factors_are_refused():
    with pytest.raises(InputErrors, match="it has none"):
        spec("y ~ x + (1 | g)", {"f": "sum"})


def test_the_digest_of_a_model_is_that_of_its_coding_weights_and_offset():
    frame = FRAME.assign(w=1.0 + np.arange(N) % 4)
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}}
    keys = [
        {"formula": "y ~ x + f + w + (1 | g)"},
        {"formula": "y ~ x + f + w + (1 | g)", "contrasts": {"f": "sum"}},
        {"formula": "y ~ x + f + w + (1 | g)", "weights": "w"},
        {"formula": "y ~ x + f + w + (1 | g)", "offset": "w"},
        {"formula": "y ~ x + f + offset(w) + (1 | g)"},
    ]
    digests = [build({**head, **one}, data=frame).digest for one in keys]
    assert len(set(digests)) == len(digests)
    again = build({**head, **keys[1]}, data=frame)
    assert build(dict(again.config), data=frame).digest == digests[1]
