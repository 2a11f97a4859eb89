import re

import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.prediction.predict import predict
from hlm_models.results.rows import model_rows, read_rows


def made_up(n=120):
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "y": rng.normal(10, 3, n),
            "x": rng.uniform(1, 9, n),
            "f": rng.choice(["low", "mid", "top"], n),
            "batch": rng.choice([4, 11, 308], n),
            "cask": rng.choice(list("abc"), n),
            "w": rng.uniform(0.5, 2, n),
            "o": rng.normal(size=n),
        }
    )


def spec_of(formula, data=None, **keys):
    # No search: what is tested is how rows become columns.
    derive = keys.pop("derive", {})
    model = {"schema": 1, "name": "m", "data": {"source": "frame", "derive": derive},
             "formula": formula, **keys}  # fmt: skip
    return hlm.build(model, data=made_up() if data is None else data)


SIDES = [
    "x + (1 | batch)",
    "scale(x) + (scale(x) | batch)",
    "center(x) + log(x) + (1 | batch/cask)",
    "poly(x, 2) + (1 | batch:cask)",
    "bs(x, df=4) + (1 | batch) + (x || cask)",
    "f + x:f + (f | cask)",
    "C(batch) + I(x**2) + (1 | cask)",
    "0 + f + (0 + x | batch)",
]


@pytest.mark.parametrize("side", SIDES)
def test_rows_of_the_models_own_data_come_back_as_they_were(side):
    spec = spec_of(f"y ~ {side}")
    groups = [block.group for block in spec.blocks]
    own = model_rows(spec)
    some = [70, 3, 41]
    found = read_rows(spec, made_up().drop(columns="y").loc[some], effects=groups, levels=groups)
    np.testing.assert_allclose(found.x, own.x[some], rtol=1e-12)
    for mine, theirs in zip(found.z, own.z, strict=True):
        np.testing.assert_allclose(mine, theirs[some], rtol=1e-12)
    for mine, theirs in zip(found.level, own.level, strict=True):
        np.testing.assert_array_equal(mine, theirs[some])
    assert list(found.index) == some


@pytest.mark.parametrize("kind", ["treatment", "sum"])
def test_a_factor_of_which_one_level_is_left_keeps_its_coding(kind):
    contrasts = {"f": {"kind": kind, "reference": "mid"}}
    spec = spec_of("y ~ f + (1 | cask)", contrasts=contrasts)
    data = made_up()
    some = data.index[data["f"] == "top"][:2]
    found = read_rows(spec, data.loc[some], effects=[], levels=[])
    np.testing.assert_array_equal(found.x, spec.design.X[some])


def test_weights_and_offset_come_from_the_new_rows():
    spec = spec_of("y ~ x + offset(o) + (1 | batch)", weights="w")
    found = read_rows(spec, made_up().loc[[5, 2]], effects=["batch"], levels=["batch"])
    np.testing.assert_array_equal(found.offset, made_up()["o"].loc[[5, 2]])
    np.testing.assert_array_equal(found.weights, made_up()["w"].loc[[5, 2]])


def test_levels_of_other_groups_are_not_asked_for():
    spec = spec_of("y ~ x + (x | batch) + (1 | cask)")
    found = read_rows(spec, made_up()[["x", "cask"]], effects=["batch", "cask"], levels=["cask"])
    at = [block.group for block in spec.blocks].index("batch")
    assert set(found.level[at]) == {-1}
    np.testing.assert_array_equal(found.z[at], spec.design.blocks[at].z)


def test_a_group_of_numbers_is_found_however_it_is_written():
    spec = spec_of("y ~ x + (1 | batch)")
    new = made_up()[["x", "batch"]].head(6)
    for sort in ("int64", "float64", "str", "category"):
        found = read_rows(spec, new.astype({"batch": sort}), effects=[], levels=["batch"])
        np.testing.assert_array_equal(found.level[0], spec.design.blocks[0].level[:6])


def test_labels_with_colons_are_not_mixed_up():
    data = made_up().assign(batch=np.repeat(["p:q", "p"], 60), cask=np.tile(["r", "q:r", "s"], 40))
    spec = spec_of("y ~ x + (1 | batch:cask)", data)
    found = read_rows(spec, data, effects=[], levels=["batch:cask"])
    np.testing.assert_array_equal(found.level[0], spec.design.blocks[0].level)


def test_derived_columns_are_derived_again_unless_they_are_there():
    derive = {"half": "x / 2", "square": "half * half", "top": "CAST(f = 'top' AS INTEGER)"}
    spec = spec_of("y ~ square + top + (1 | batch)", derive=derive)
    new = made_up()[["x", "f"]].head(4)
    found = read_rows(spec, new, effects=[], levels=[])
    np.testing.assert_allclose(found.x, spec.design.X[:4])
    given = new.assign(half=[1.0, 2.0, 3.0, 4.0]).drop(columns="x")
    found = read_rows(spec, given, effects=[], levels=[])
    np.testing.assert_array_equal(found.x[:, 1], [1.0, 4.0, 9.0, 16.0])


def test_a_column_derived_from_several_rows_must_be_given():
    derive = {"mean_x": "avg(x) OVER (PARTITION BY batch)"}
    spec = spec_of("y ~ x + mean_x + (1 | batch)", derive=derive)
    new = made_up()[["x", "batch"]].head(3)
    with pytest.raises(InputErrors, match=r"makes it of several rows.*give mean_x in the new data"):
        read_rows(spec, new, effects=[], levels=["batch"])
    found = read_rows(spec, new.assign(mean_x=5.0), effects=[], levels=["batch"])
    assert set(found.x[:, 2]) == {5.0}


def broken(**changes):
    new = made_up().head(5).astype({"batch": "object", "x": "object"})
    for name, (row, value) in changes.items():
        new.loc[row, name] = value
    return new


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (made_up().rename(columns={"x": "X1"}), "the model needs a column 'x', which is not ther"),
        (made_up().drop(columns="cask"), "needs a column 'cask'"),
        (made_up().drop(columns="o"), "needs a column 'o'"),
        (made_up().drop(columns="w"), "needs a column 'w'"),
        (broken(x=(2, np.nan)), "x misses 1 of 5 values, first in row 3; give them, or leave"),
        (broken(x=(3, "many")), "x must hold finite numbers, but row 4 holds 'many'"),
        (broken(x=(3, np.inf)), "x must hold finite numbers, but row 4 holds 'inf'"),
        (broken(f=(1, "tip")), r"row 2 has 'tip', which is not a level of f .* did you mean 'top'"),
        (broken(cask=(1, None)), "cask misses 1 of 5 values, first in row 2"),
        (broken(batch=(4, 5)), "'5:.' in row 5 is not a level of batch:cask .*'typical'"),
        (broken(w=(1, 0.0)), "w must be above 0, but row 2 has 0"),
        (made_up().head(0), "the new data have no row"),
        (pd.DataFrame(index=range(3)), "needs a column 'x'"),
        ([1.0], "new data must be a pandas DataFrame"),
    ],
)
def test_unusable_rows_are_refused_with_column_row_and_repair(new, message):
    spec = spec_of("y ~ x + f + offset(o) + (1 | batch:cask)", weights="w")
    with pytest.raises(InputErrors, match=message):
        read_rows(spec, new, effects=["batch:cask"], levels=["batch:cask"])


def test_all_problems_come_at_once():
    spec = spec_of("y ~ x + f + (1 | batch)")
    new = broken(x=(1, np.nan), f=(2, "tip")).drop(columns="batch")
    with pytest.raises(InputErrors) as error:
        read_rows(spec, new, effects=["batch"], levels=["batch"])
    assert len(error.value.problems) == 3


def test_problems_of_columns_levels_weights_and_ranges_come_at_once():
    spec = spec_of("y ~ bs(x, df=4) + f + (1 | cask) + (1 | batch)", weights="w")
    new = made_up().head(6).astype({"cask": "object"})
    new.loc[4, "x"], new.loc[2, "cask"], new.loc[3, "w"], new.loc[1, "f"] = 99.0, "bb", 0.0, "mit"
    groups = ["cask", "batch"]
    with pytest.raises(InputErrors) as error:
        read_rows(spec, new.drop(columns="batch"), effects=groups, levels=groups)
    found = "\n".join(str(problem) for problem in error.value.problems)
    assert len(error.value.problems) == 4
    assert "new_data: row 2 has 'mit', which is not a level of f" in found
    assert "a column 'batch', which is not there" in found
    assert "groups='population', 'typical' or 'borrowed', need none" in found
    assert (
        "'bb' in row 3 is not a level of cask in the data of the model; did you mean 'b'" in found
    )
    assert "new_data: w must be above 0, but row 4 has 0" in found
    with pytest.raises(InputErrors, match="row 5 is the first: leave such rows out") as error:
        read_rows(spec, new.assign(f="mid"), effects=[], levels=[])
    assert len(error.value.problems) == 2


def test_the_row_that_is_told_is_the_first_that_cannot_be_computed():
    spec = spec_of("y ~ log(x) + (1 | batch)")
    new = made_up().assign(x=[*[2.0] * 70, -1.0, *[2.0] * 20, -1.0, *[2.0] * 28])
    with pytest.raises(InputErrors, match=r"'log.x.' is not a finite number in row 71: check") as e:
        read_rows(spec, new, effects=[], levels=[])
    assert "leave such rows out" not in str(e.value)


def test_a_combination_of_known_labels_that_the_model_has_not_is_new():
    data = made_up()
    data = data[~((data["batch"] == 4) & (data["cask"] == "a"))]
    spec = spec_of("y ~ x + (1 | batch:cask)", data)
    new = pd.DataFrame({"x": [1.0, 2.0], "batch": [4, 4], "cask": ["b", "a"]})
    with pytest.raises(InputErrors, match="'4:a' in row 2 is not a level of batch:cask"):
        read_rows(spec, new, effects=["batch:cask"], levels=["batch:cask"])


def test_a_spline_does_not_reach_beyond_its_range():
    fit = hlm.fit(spec_of("y ~ bs(x, df=4) + (1 | batch)", reml={"theta": [0.5]}), engine="reml")
    with pytest.raises(InputErrors, match="bs"):
        predict(fit, pd.DataFrame({"x": [99.0]}), groups="population")


def test_a_weight_that_is_not_above_zero_is_told_as_it_stands_in_its_row():
    spec = spec_of("y ~ x + (1 | batch)", weights="w")
    new = made_up().head(4).assign(w=[1.0, -1.0, -5.0, 1.0])
    with pytest.raises(InputErrors, match=r"w must be above 0, but row 2 has -1$"):
        read_rows(spec, new, effects=[], levels=[])


def test_a_column_that_stands_twice_is_refused():
    spec = spec_of("y ~ x + (1 | batch)")
    new = pd.DataFrame([[1.0, 2.0, 4]], columns=["x", "x", "batch"])
    with pytest.raises(InputErrors, match="new_data: columns that occur twice: x; rename or leave"):
        read_rows(spec, new, effects=[], levels=["batch"])


@pytest.mark.parametrize("argument", ["x", "log(x)", "scale(x)"])
def test_values_outside_the_knots_are_told_with_the_range(argument):
    spec = spec_of(f"y ~ bs({argument}, df=4) + (1 | batch)")
    with pytest.raises(InputErrors) as caught:
        read_rows(spec, made_up().assign(x=[*[5.0] * 119, 1e3]), effects=[], levels=[])
    assert re.search(r"takes values between -?\d\S* and \d", str(caught.value))
    assert "extrapolation" not in str(caught.value)
