import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline

from hlm_models.data.table import make_table
from hlm_models.design import columns
from hlm_models.design.columns import encode
from hlm_models.errors import InputErrors

N = 40
NUMBERS, LABELS = ("x", "w", "year"), ("f", "h")


def made_up(seed=1, n=N):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.normal(5.0, 2.0, n),
            "w": rng.uniform(0.1, 3.0, n),
            "year": rng.integers(1, 4, n),
            "f": [*"abc", *rng.choice([*"abc"], n - 3)],
            "h": ["u", "v", *rng.choice(["u", "v"], n - 2)],
            "g": rng.integers(0, 5, n).astype(str),
        }
    )


def as_table(frame):
    return make_table(
        frame,
        columns=[*NUMBERS, *LABELS],
        groups=["g"],
        response="y",
        missing="error",
        source="made up",
    )


FRAME = made_up()
TABLE = as_table(FRAME)
ONE = np.ones(N)


def dummy(name, level):
    return (FRAME[name] == level).to_numpy(float)


def column(name):
    return FRAME[name].to_numpy(float)


x, w, year = (column(name) for name in NUMBERS)
fb, fc, hv = dummy("f", "b"), dummy("f", "c"), dummy("h", "v")

BY_HAND = {
    "1": {"Intercept": ONE},
    "x": {"Intercept": ONE, "x": x},
    "0 + x": {"x": x},
    "x - 1": {"x": x},
    "x*w": {"Intercept": ONE, "x": x, "w": w, "x:w": x * w},
    "x:w:year": {"Intercept": ONE, "x:w:year": x * w * year},
    "(x + w):year": {"Intercept": ONE, "x:year": x * year, "w:year": w * year},
    "x*w - x:w": {"Intercept": ONE, "x": x, "w": w},
    "f": {"Intercept": ONE, "f[b]": fb, "f[c]": fc},
    "0 + f": {"f[a]": dummy("f", "a"), "f[b]": fb, "f[c]": fc},
    "x*h": {"Intercept": ONE, "x": x, "h[v]": hv, "x:h[v]": x * hv},
    "x + f:x": {"Intercept": ONE, "x": x, "f[b]:x": fb * x, "f[c]:x": fc * x},
    "f*h": {
        "Intercept": ONE,
        "f[b]": fb,
        "f[c]": fc,
        "h[v]": hv,
        "f[b]:h[v]": fb * hv,
        "f[c]:h[v]": fc * hv,
    },
    "C(year)": {
        "Intercept": ONE,
        "C(year)[2]": dummy("year", 2),
        "C(year)[3]": dummy("year", 3),
    },
    "center(x)": {"Intercept": ONE, "center(x)": x - x.mean()},
    "scale(x)": {"Intercept": ONE, "scale(x)": (x - x.mean()) / x.std(ddof=1)},
    "center(x):w": {"Intercept": ONE, "center(x):w": (x - x.mean()) * w},
    "log(w)": {"Intercept": ONE, "log(w)": np.log(w)},
    "sqrt(w)": {"Intercept": ONE, "sqrt(w)": np.sqrt(w)},
    "exp(w)": {"Intercept": ONE, "exp(w)": np.exp(w)},
    "I(x**2 + w/2)": {"Intercept": ONE, "I(x ** 2 + w / 2)": x**2 + w / 2},
    "log(sqrt(w))": {"Intercept": ONE, "log(sqrt(w))": np.log(w) / 2},
}


@pytest.mark.parametrize("side", BY_HAND)
def test_columns_are_those_made_by_hand(side):
    encoding, X = encode(side, TABLE)
    assert encoding.names == tuple(BY_HAND[side])
    # Elementwise arithmetic: at most a rounding or two apart.
    np.testing.assert_allclose(
        X, np.column_stack([*BY_HAND[side].values()]), rtol=1e-14, atol=1e-14
    )


def test_a_side_without_columns_has_the_rows_all_the_same():
    encoding, X = encode("0", TABLE)
    assert encoding.names == ()
    assert X.shape == (N, 0)


def test_poly_is_an_orthonormal_basis_of_the_powers():
    encoding, X = encode("poly(x, 3)", TABLE)
    assert encoding.names[0] == "Intercept"
    assert len(encoding.names) == 4
    P = X[:, 1:]
    np.testing.assert_allclose(P.T @ P, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(P.sum(axis=0), 0.0, atol=1e-12)
    # R's poly: column d is a polynomial of degree d. The powers of a centred x span the same.
    powers = np.vander(x - x.mean(), 4, increasing=True)
    for d in (1, 2, 3):
        rest = (
            P[:, d - 1] - powers[:, : d + 1] @ np.linalg.lstsq(powers[:, : d + 1], P[:, d - 1])[0]
        )
        np.testing.assert_allclose(rest, 0.0, atol=1e-12)


def test_bs_is_the_cubic_b_spline_basis_without_its_first():
    _, X = encode("bs(x, df=5)", TABLE)
    knots = np.r_[[x.min()] * 4, np.quantile(x, [1 / 3, 2 / 3]), [x.max()] * 4]
    basis = BSpline.design_matrix(x, knots, 3).toarray()
    np.testing.assert_allclose(X[:, 1:], basis[:, 1:], atol=1e-12)


SUMMANDS = st.lists(
    st.sampled_from(
        ["x", "w", "year", "x:w", "x*year", "w:x", "(x + w):year", "x:w:year", "0", "1"]
    ),
    min_size=1,
    max_size=5,
)


@given(SUMMANDS)
def test_the_fast_path_equals_formulaics_own_matrix(summands):
    from formulaic import model_matrix

    side = " + ".join(summands)
    encoding, X = encode(side, TABLE)
    assert encoding.products is not None
    own = model_matrix(side, FRAME)
    assert encoding.names == tuple(own.columns)
    np.testing.assert_array_equal(X, own.to_numpy(float))


@given(
    st.lists(
        st.sampled_from(["x", "f", "h", "x:f", "f:h", "scale(x)", "0"]), min_size=1, max_size=4
    )
)
def test_the_slow_path_equals_formulaics_own_matrix(summands):
    from formulaic import model_matrix

    side = " + ".join(summands)
    encoding, X = encode(side, TABLE)
    own = model_matrix(side, FRAME)
    assert encoding.names == tuple(name.replace("[T.", "[") for name in own.columns)
    np.testing.assert_array_equal(X, own.to_numpy(float))


@pytest.mark.parametrize("side", BY_HAND)
def test_the_same_rows_again_get_the_same_columns(side):
    encoding, X = encode(side, TABLE)
    np.testing.assert_array_equal(encoding.apply(TABLE), X)


@pytest.mark.parametrize(
    "side",
    ["x*w", "x*f", "center(x)", "scale(x)", "poly(x, 3)", "bs(x, df=5)", "C(year)", "log(w)*h"],
)
def test_some_of_the_rows_get_their_own_columns(side):
    # What is learnt (means, knots, levels) comes from the old rows, not from the new ones.
    encoding, X = encode(side, TABLE)
    few = np.array([0, 1, 2, 7, 11])
    np.testing.assert_allclose(
        encoding.apply(as_table(FRAME.iloc[few])), X[few], rtol=1e-10, atol=1e-10
    )


def test_new_data_are_centred_by_the_old_mean():
    encoding, _ = encode("center(x) + scale(w)", TABLE)
    new = encoding.apply(as_table(made_up(2, n=9)))
    frame = made_up(2, n=9)
    np.testing.assert_allclose(new[:, 1], frame["x"] - x.mean(), rtol=1e-13)
    np.testing.assert_allclose(new[:, 2], (frame["w"] - w.mean()) / w.std(ddof=1), rtol=1e-12)


@pytest.mark.parametrize("side", ["f", "x*f", "0 + f:x", "C(f)"])
def test_a_level_that_was_not_seen_is_refused_by_name(side):
    encoding, _ = encode(side, TABLE)
    new = FRAME.copy()
    new.loc[3, "f"] = "zebra"
    with pytest.raises(InputErrors, match=r"'zebra' is not a level.*known: a, b, c") as caught:
        encoding.apply(as_table(new))
    assert [problem.key for problem in caught.value.problems] == ["f"]


def test_a_level_of_a_number_that_was_not_seen_is_refused():
    encoding, _ = encode("C(year)", TABLE)
    new = FRAME.copy()
    new.loc[3, "year"] = 17
    with pytest.raises(InputErrors, match="17"):
        encoding.apply(as_table(new))


def test_a_value_outside_the_knots_is_refused():
    encoding, _ = encode("bs(x, df=5)", TABLE)
    new = FRAME.copy()
    new.loc[3, "x"] = 1e3
    with pytest.raises(InputErrors, match="bs"):
        encoding.apply(as_table(new))


@pytest.mark.parametrize(
    ("side", "words"),
    [
        ("log(x - 5)", "not a finite number"),
        ("sqrt(x - 5)", "not a finite number"),
        ("log(I(x*0))", "not a finite number"),
        ("I(x / 0)", "not a finite number"),
        ("exp(exp(exp(x)))", "not a finite number"),
        ("log(f)", "log.*f"),
        ("log()", "log"),
        ("C(f, 1)", "C"),
        ("poly(x)*bs(w, df=1)", "bs"),
        ("x + nothere", "no column 'nothere'"),
        ("log(xx)", "no column 'xx'"),
        ("1*x", "cannot be read"),
    ],
)
def test_what_cannot_be_computed_is_refused_with_its_term(side, words):
    with pytest.raises(InputErrors, match=words):
        encode(side, TABLE)


@given(st.permutations(range(N)))
def test_row_order_moves_rows_and_nothing_else(order):
    side = "x*f + scale(w) + poly(x, 2)"
    encoding, X = encode(side, TABLE)
    again, Y = encode(side, as_table(FRAME.iloc[order]))
    assert again.names == encoding.names
    np.testing.assert_allclose(Y, X[order], rtol=1e-10, atol=1e-11)


def test_columns_are_contiguous_for_whoever_reads_them_one_by_one():
    assert encode("x*w", TABLE)[1].flags.f_contiguous
    assert encode("x*f", TABLE)[1].flags.f_contiguous


@pytest.mark.parametrize(
    "side", ["x", "1 + x", "x + w", "w + x + 1", "0 + x", "x + 0 + w", "1", "x + x", " x+w "]
)
def test_a_sum_of_names_is_read_as_formulaic_reads_it(side):
    assert columns._sum_of_names(side) == columns._products(side)


@pytest.mark.parametrize("side", ["x:w", "x*w", "x - 1", "log(x)", "1 + 0 + x", "2 + x", "I(x+w)"])
def test_anything_else_is_left_to_formulaic(side):
    assert columns._sum_of_names(side) is None
