import re

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import hlm_models as hlm
from hlm_models.data.roles import macro_columns
from hlm_models.data.table import make_table
from hlm_models.design.build import build_design
from hlm_models.design.formula import parse
from hlm_models.errors import InputErrors

N, J = 60, 6
COLUMNS = ("x", "w", "v", "size", "sector", "f")


def made_up(seed=1):
    rng = np.random.default_rng(seed)
    school = np.arange(N) % J
    return pd.DataFrame(
        {
            "y": rng.normal(size=N),
            "x": rng.normal(5.0, 2.0, N),
            "w": rng.normal(size=N),
            "v": rng.normal(size=N),
            "size": np.array([11.0, 7.0, 13.0, 5.0, 3.0, 2.0])[school],
            "sector": np.array([*"pcpccp"])[school],
            "f": rng.choice([*"abc"], N),
            "school": [f"s{code}" for code in school],
            "district": [f"d{code // 2}" for code in school],
            "room": [f"r{code}" for code in np.arange(N) // J % 3],
        }
    )


def design(formula, frame=None, **options):
    frame = made_up() if frame is None else frame
    parsed = parse(formula)
    groups = tuple(dict.fromkeys(name for term in parsed.random for name in term.factors))
    table = make_table(
        frame,
        columns=[name for name in parsed.predictors if name != "y"],
        groups=groups,
        response="y",
        missing="error",
        source="made up",
    )
    macro = {group: macro_columns(table, group) for group in groups}
    return build_design(parsed, table, macro=macro, **options)


def messages(formula, frame=None, **options):
    with pytest.raises(InputErrors) as caught:
        design(formula, frame, **options)
    assert all(problem.key == "formula" for problem in caught.value.problems)
    return [problem.message for problem in caught.value.problems]


def test_a_design_holds_the_columns_of_the_formula():
    frame = made_up()
    found = design("y ~ x*w + (x | school)", frame)
    assert found.coef == ("Intercept", "x", "w", "x:w")
    assert (found.n, found.p) == (N, 4)
    np.testing.assert_array_equal(found.y, frame["y"])
    np.testing.assert_array_equal(found.X[:, 3], frame["x"] * frame["w"])
    [block] = found.blocks
    assert (block.group, block.q, block.J) == ("school", 2, J)
    assert block.effects == ("Intercept", "x")
    assert block.labels == tuple(f"s{code}" for code in range(J))
    np.testing.assert_array_equal(block.z, np.column_stack([np.ones(N), frame["x"]]))
    np.testing.assert_array_equal([block.labels[code] for code in block.level], frame["school"])
    np.testing.assert_array_equal(block.sizes, 10)


def test_the_response_may_be_transformed():
    frame = made_up()
    frame["y"] = frame["y"] ** 2 + 0.1
    found = design("log(y) ~ x + (1 | school)", frame)
    np.testing.assert_allclose(found.y, np.log(frame["y"]), rtol=1e-15)
    assert found.coef == ("Intercept", "x")


@pytest.mark.parametrize("formula", ["log(y) ~ x + (1 | school)", "y ~ log(w) + (1 | school)"])
def test_rows_that_cannot_be_computed_are_refused_not_dropped(formula):
    assert any("not a finite number" in message for message in messages(formula))


def test_arrays_of_a_design_are_read_only():
    found = design("y ~ x + f + (x | school) + (1 | room)")
    arrays = [found.y, found.X]
    for block in found.blocks:
        arrays += [block.z, block.level]
    gram = found.gram(found.blocks[0])
    assert not any(array.flags.writeable for array in [*arrays, gram.G, gram.H, gram.T])


def test_groups_are_ordered_by_levels_and_ties_by_the_formula():
    found = design("y ~ 1 + (1 | room) + (1 | district) + (1 | school)")
    assert [block.group for block in found.blocks] == ["school", "room", "district"]


def test_levels_of_a_nested_group_are_the_pairs_that_occur():
    frame = made_up()
    found = design("y ~ 1 + (1 | district/room)", frame)
    assert [block.group for block in found.blocks] == ["district:room", "district"]
    block = found.blocks[0]
    assert block.factors == ("district", "room")
    pairs = (frame["district"] + ":" + frame["room"]).to_numpy()
    np.testing.assert_array_equal([block.labels[code] for code in block.level], pairs)
    assert sorted(block.labels) == sorted(set(pairs))
    assert design("y ~ 1 + (1 | district:room)", frame).blocks[0].labels == block.labels


def test_terms_of_one_group_are_stacked_and_independent():
    found = design("y ~ x + w + (x | school) + (0 + w | school)")
    [block] = found.blocks
    assert block.effects == ("Intercept", "x", "w")
    assert [term.text for term in block.terms] == ["x | school", "0 + w | school"]
    assert [term.correlated for term in block.terms] == [True, False]
    np.testing.assert_array_equal(block.mask, [[1, 0, 0], [1, 1, 0], [0, 0, 1]])


def test_two_bars_make_a_diagonal_term():
    [block] = design("y ~ x + (x || school)").blocks
    assert [term.text for term in block.terms] == ["x || school"]
    np.testing.assert_array_equal(block.mask, np.eye(2))


def test_a_factor_gives_an_effect_a_level_to_the_group():
    [block] = design("y ~ f + (0 + f | school)").blocks
    assert block.effects == ("f[a]", "f[b]", "f[c]")


# --- scaling inside, and the Gram blocks ---


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ x*w + (x | school)",
        "y ~ 0 + x + w + (0 + x | school)",
        "y ~ x + w + (x || school)",
        "y ~ x + w + (x | school) + (0 + w | school)",
        "y ~ 0 + f + (1 | school)",
    ],
)
def test_gram_blocks_are_products_of_raw_columns_in_other_coordinates(formula):
    found = design(formula)
    [block] = found.blocks
    gram, R, Rz = found.gram(block), found.x_scaling.R, found.z_scaling(block).R
    beta = np.linalg.solve(R, found.y_fit)
    W = np.column_stack([found.X, found.y - found.X @ beta])
    Rw = np.block([[R, np.zeros((found.p, 1))], [np.zeros((1, found.p)), np.ones((1, 1))]])
    for j in range(block.J):
        z, here = block.z[block.level == j], W[block.level == j]
        np.testing.assert_allclose(Rz.T @ gram.G[..., j] @ Rz, z.T @ z, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(Rz.T @ gram.H[..., j] @ Rw, z.T @ here, rtol=1e-11, atol=1e-11)
    np.testing.assert_allclose(Rw.T @ gram.T @ Rw, W.T @ W, rtol=1e-11, atol=1e-11)


def test_independent_terms_are_not_centred():
    # Centring would mix the intercept's effect with the slope's, which || keeps apart.
    found = design("y ~ x + (x || school)")
    R = found.z_scaling(found.blocks[0]).R
    np.testing.assert_array_equal(R, np.diag(np.diag(R)))


@pytest.mark.parametrize("formula", ["y ~ 0 + x + (1 | school)", "y ~ x*w + f + (1 | school)"])
def test_scaled_columns_are_orthogonal_and_y_is_taken_less_its_least_squares_fit(formula):
    found = design(formula)
    scaled = found.x_scaling.apply(found.X)
    np.testing.assert_allclose(scaled.T @ scaled / found.n, np.eye(found.p), atol=1e-12)
    np.testing.assert_allclose(scaled @ found.x_scaling.R, found.X, atol=1e-11)
    expected = np.linalg.lstsq(found.X, found.y, rcond=None)[0]
    np.testing.assert_allclose(np.linalg.solve(found.x_scaling.R, found.y_fit), expected, rtol=1e-9)


# --- rank ---


def with_columns(**more):
    frame = made_up()
    return frame.assign(**{name: make(frame) for name, make in more.items()})


def test_a_collinear_column_is_named_with_its_partners():
    frame = with_columns(s=lambda f: 2 * f["x"] - 3 * f["w"] + 1)
    [message] = messages("y ~ x + w + v + s + (1 | school)", frame)
    named = message.split("rank deficient: ")[1]
    assert "linear combination of" in named
    assert {"x", "w", "s"} <= set(named.replace(",", " ").replace(";", " ").split())
    assert " v" not in named


def test_a_copy_of_a_column_is_named_with_the_other():
    frame = with_columns(twin=lambda f: f["x"])
    [message] = messages("y ~ x + w + twin + (1 | school)", frame)
    assert "x" in message
    assert "twin" in message
    assert "w" not in message.split("rank deficient: ")[1].replace("twin", "")


@pytest.mark.parametrize("value", [3.0, 1e-9, 1e12, 0.1])
def test_a_constant_column_is_named_as_constant(value):
    frame = with_columns(k=lambda f: np.full(len(f), value))
    [message] = messages("y ~ x + k + (1 | school)", frame)
    assert "k is constant" in message


def test_too_many_dummies_are_named():
    frame = with_columns(
        a=lambda f: (f["f"] == "a") * 1.0,
        b=lambda f: (f["f"] == "b") * 1.0,
        c=lambda f: (f["f"] == "c") * 1.0,
    )
    [message] = messages("y ~ a + b + c + (1 | school)", frame)
    assert "linear combination" in message
    assert all(f" {name}" in message for name in "abc")
    assert design("y ~ 0 + a + b + c + (1 | school)", frame).p == 3


def test_two_dependent_columns_are_two_problems():
    frame = with_columns(s=lambda f: f["x"] + f["w"], k=lambda f: 1.0 + 0 * f["x"])
    assert len(messages("y ~ x + w + s + k + (1 | school)", frame)) == 2


CELLS = {
    "the last cell": ("c", "v"),
    "the reference cell": ("a", "u"),
    "a cell of a reference level": ("a", "v"),
}


def without(*cells, n=90, **more):
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {"y": rng.normal(size=n), "x": rng.normal(size=n), "g": [*"pqrst"] * (n // 5),
         "f": rng.choice([*"abc"], n), "h": rng.choice([*"uv"], n), "k": rng.choice([0, 7], n)}
    )  # fmt: skip
    frame["b c"] = frame["h"]
    return frame[[cell not in cells for cell in zip(frame["f"], frame["h"], strict=True)]]


@pytest.mark.parametrize("cell", CELLS.values(), ids=list(CELLS))
@pytest.mark.parametrize(
    ("fixed", "product"),
    [
        ("f * h", "f*h"),
        ("f + h + f:h + x", "f*h"),
        ("f * `b c`", "f*`b c`"),
        ("f * h * x", "f*h"),
        ("0 + f:h", "f*h"),
        ("x + f * h + C(k)", "f*h"),
    ],
)
def test_the_repair_for_an_empty_cell_works(fixed, product, cell):
    frame = without(cell)
    with pytest.raises(InputErrors) as caught:
        hlm.build(formula=f"y ~ {fixed} + (1 | g)", data=frame)
    [problem] = caught.value.problems
    assert "some combinations of f and " in problem.message
    assert f"in place of {product}" in problem.message
    derive = yaml.safe_load(re.search(r"data: (.*), and write", problem.message)[1])["derive"]
    [made] = derive
    assert f"write {made} in place of" in problem.message
    rest = {"f * h * x": f"{made} * x", "f + h + f:h + x": f"{made} + x",
            "x + f * h + C(k)": f"x + {made} + C(k)", "0 + f:h": f"0 + {made}"}  # fmt: skip
    model = {"schema": 1, "name": "m", "data": {"source": "frame", "derive": derive},
             "formula": f"y ~ {rest.get(fixed, made)} + (1 | g)"}  # fmt: skip
    repaired = hlm.build(model, data=frame).design
    # All columns that lm would keep of the interaction, and no others, are spanned.
    cells = pd.get_dummies(frame["f"] + frame["h"], dtype=float).to_numpy()
    x = frame[["x"]].to_numpy()
    more = {"f * h * x": cells * x, "f + h + f:h + x": x,
            "x + f * h + C(k)": np.hstack([x, frame[["k"]]])}  # fmt: skip
    span = np.hstack([cells, more.get(fixed, cells[:, :0])])
    rank = np.linalg.matrix_rank(span)
    assert repaired.p == rank == np.linalg.matrix_rank(np.hstack([span, repaired.X]))


def test_empty_cells_of_three_factors_are_one_problem():
    with pytest.raises(InputErrors) as caught:
        hlm.build(formula="y ~ f * h * C(k) + (1 | g)", data=without(("c", "v")))
    [problem] = caught.value.problems
    assert "{f_h_k: \"f || ':' || h || ':' || k\"}" in problem.message


def test_a_number_that_is_a_cell_is_no_empty_cell():
    frame = without()
    frame["cell"] = 1.0 * ((frame["f"] == "c") & (frame["h"] == "v"))
    with pytest.raises(InputErrors, match=r"is a linear combination of .*; leave one out"):
        hlm.build(formula="y ~ f * h + cell + (1 | g)", data=frame)


def test_a_slope_that_is_zero_in_a_level_is_no_column_to_leave_out():
    frame = without()
    frame["x"] *= frame["f"] != "b"
    with pytest.raises(InputErrors, match=r"x:f\[b\] is constant; leave x:f out, or derive"):
        hlm.build(formula="y ~ f + x:f + (1 | g)", data=frame)


def test_more_columns_than_rows_are_refused():
    rng = np.random.default_rng(3)
    names = [f"c{k}" for k in range(12)]
    frame = made_up().iloc[:12].assign(**dict.fromkeys(names, 0.0))
    frame[names] = rng.normal(size=(12, 12))
    found = messages(f"y ~ {' + '.join(names)} + (1 | school)", frame)
    assert any("rank deficient" in message for message in found)


@given(st.floats(-6, 6), st.floats(-6, 6), st.integers(0, 2**32 - 1))
def test_columns_of_any_scale_that_are_not_collinear_are_kept(one, other, seed):
    frame = made_up(seed)
    frame["x"] *= 10**one
    frame["w"] = frame["w"] * 10**other + 100 * 10**other
    assert design("y ~ x*w + (1 | school)", frame).p == 4


@given(st.floats(-6, 6), st.integers(0, 2**32 - 1))
def test_nearly_collinear_columns_are_kept_at_any_scale(size, seed):
    # A relative difference of 1e-4 leaves 12 of 16 digits of cross-products; 1e-9 is the bound.
    frame = made_up(seed)
    frame["v"] = (frame["x"] + 1e-4 * frame["w"]) * 10**size
    assert design("y ~ x + v + (1 | school)", frame).p == 3


@given(st.floats(-6, 6), st.floats(-6, 6), st.integers(0, 2**32 - 1))
def test_collinear_columns_are_found_at_any_scale(one, other, seed):
    frame = made_up(seed)
    frame["x"] *= 10**one
    frame["v"] = (frame["x"] / 10**one + 0.5 * frame["w"] + 1) * 10**other
    [message] = messages("y ~ x + w + v + (1 | school)", frame)
    assert "linear combination" in message


# --- what cannot vary by a group ---


def test_a_macro_predictor_in_z_is_refused_with_the_repair():
    [message] = messages("y ~ x + size + (x + size | school)")
    assert "size is constant within school" in message
    assert "its effect cannot vary by school" in message
    assert "write (x | school) in place of (x + size | school)" in message
    assert "add" not in message
    assert "allow_macro_in_z: true" in message
    assert design("y ~ x + size + (x | school)").p == 3


def test_the_repair_adds_what_the_fixed_part_lacks():
    [message] = messages("y ~ x + (size | school)")
    assert (
        "write (1 | school) in place of (size | school), and add size to the fixed part" in message
    )


def test_several_macro_predictors_are_named_together():
    [message] = messages("y ~ size + sector + (size + sector | school)")
    assert "size and sector[p] are constant within school" in message
    assert "their effects" in message


def test_a_term_of_macro_predictors_only_is_left_out():
    [message] = messages("y ~ size + (1 | school) + (0 + size | school)")
    assert "leave (0 + size | school) out" in message


def test_two_bars_are_kept_in_the_repair():
    [message] = messages("y ~ x + size + (x + size || school)")
    assert "write (x || school) in place" in message


def test_a_predictor_constant_within_the_inner_group_only_may_vary_by_the_outer():
    assert design("y ~ size + (size | district) + (1 | school)").p == 2
    [message] = messages("y ~ size + (size | district/school)")
    assert "size is constant within district:school" in message


def test_a_macro_predictor_is_allowed_on_request_with_a_note():
    found = design("y ~ x + size + (size | school)", allow_macro_in_z=True)
    assert found.blocks[0].effects == ("Intercept", "size")
    [note] = found.confounded
    assert "size is constant within school" in note
    assert "confounded with the intercept" in note
    assert design("y ~ x + (x | school)", allow_macro_in_z=True).confounded == ()


def test_macro_columns_of_a_design_are_those_in_use():
    found = design("y ~ x + size + sector + (x | school)")
    assert found.macro == {"school": ("size", "sector")}


# --- other refusals ---


def test_an_effect_in_two_terms_of_a_group_is_refused():
    [message] = messages("y ~ x + (1 | school) + (x | school)")
    assert "effect Intercept stands in two terms of school" in message


def test_a_term_without_effects_is_refused():
    assert any("has no effect at all" in m for m in messages("y ~ x + (0 | school)"))


def test_all_problems_come_at_once():
    frame = with_columns(s=lambda f: f["x"] + f["w"])
    found = messages("y ~ x + w + s + (size | school) + (0 | room)", frame)
    assert len(found) == 3


@given(st.permutations(range(N)))
def test_row_order_moves_rows_and_nothing_else(order):
    formula = "y ~ x + f + (x | school) + (1 | district:room)"
    frame = made_up()
    one, other = design(formula, frame), design(formula, frame.iloc[order].reset_index(drop=True))
    assert other.coef == one.coef
    np.testing.assert_array_equal(other.X, one.X[order])
    for mine, theirs in zip(one.blocks, other.blocks, strict=True):
        labels = [np.array(block.labels)[block.level] for block in (mine, theirs)]
        np.testing.assert_array_equal(labels[1], labels[0][order])
