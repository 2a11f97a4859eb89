import datetime
import decimal

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given

from hlm_models.data.table import LabelColumn, NumberColumn, make_table
from hlm_models.errors import InputErrors


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "y": [1.0, 2.5, 3.0, 0.5],
            "x": [1, 2, 3, 4],
            "sex": ["m", "f", "f", "m"],
            "school": [308, 11, 308, 11],
            "other": [0.0, 0.0, 0.0, 0.0],
        }
    )


def table_of(frame, columns=("x",), groups=("school",), response="y", missing="error"):
    return make_table(
        frame, columns=columns, groups=groups, response=response, missing=missing, source="here"
    )


def problems(frame, **kwargs):
    with pytest.raises(InputErrors) as caught:
        table_of(frame, **kwargs)
    return caught.value.problems


def refused(frame, **kwargs):
    (problem,) = problems(frame, **kwargs)
    return problem


def test_table_holds_the_columns_used_and_no_other(frame):
    table = table_of(frame, columns=["x", "sex"])
    assert list(table.columns) == ["y", "x", "sex", "school"]
    assert (table.n, table.source, table.notes) == (4, "here", ())
    assert table.number("x").tolist() == [1.0, 2.0, 3.0, 4.0]


def test_arrays_are_read_only(frame):
    table = table_of(frame, columns=["x", "sex"])
    with pytest.raises(ValueError, match="read-only"):
        table.number("y")[0] = 9.0
    with pytest.raises(ValueError, match="read-only"):
        table.labels("sex").codes[0] = 1


def test_float_columns_are_shared_until_the_frame_is_written(frame):
    table = table_of(frame)
    assert np.shares_memory(table.number("y"), frame["y"].to_numpy())
    frame.loc[0, "y"] = 99.0
    assert table.number("y")[0] == 1.0


def test_small_part_of_a_wide_block_is_copied():
    wide = pd.DataFrame(np.asfortranarray(np.random.default_rng(0).normal(size=(10, 50))))
    wide = wide.set_axis([f"c{i}" for i in range(50)], axis="columns")
    column = table_of(wide, columns=["c1"], groups=[], response="c0").columns["c1"]
    assert column.owner is None
    assert not np.shares_memory(column.values, wide["c1"].to_numpy())


def test_frame_gives_back_values_and_order_of_labels(frame):
    table = table_of(frame, columns=["x", "sex"])
    found = table.frame()
    assert found["sex"].tolist() == frame["sex"].tolist()
    assert found["sex"].cat.categories.tolist() == ["f", "m"]
    assert np.shares_memory(found["y"].to_numpy(), table.number("y"))
    assert list(table.frame(["school", "y"])) == ["school", "y"]


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        (["b", "a", "b", "c"], ("b", "a", "c")),
        (["308", "11", "308", "9"], ("308", "11", "9")),
        ([308, 11, 308, 9], ("9", "11", "308")),
        ([308.0, 11.0, 308.0, 9.5], ("9.5", "11", "308")),
        ([True, False, True, True], ("False", "True")),
        (pd.array([308, 11, 308, 9], dtype="Int64"), ("9", "11", "308")),
        (pd.Categorical(["b", "a", "b", "c"], ["c", "unused", "a", "b"]), ("c", "a", "b")),
        (pd.Categorical([2, 1, 2, 3], [3, 2, 1]), ("3", "2", "1")),
    ],
)
def test_levels_of_a_group(frame, values, labels):
    column = table_of(frame.assign(school=values)).labels("school")
    assert column.labels == labels
    assert column.codes.dtype == np.int32
    whole = [str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in values]
    assert [labels[code] for code in column.codes] == whole


@pytest.mark.parametrize(
    "values",
    [
        [True, False, True, True],
        pd.array([True, False, True, True], dtype="boolean"),
        np.array([1, 0, 1, 1], dtype=np.int8),
        np.array([1, 0, 1, 1], dtype=np.float32),
        pd.array([1, 0, 1, 1], dtype="Int64"),
        pd.Series([1, 0, 1.0, 1], dtype="object"),
        pd.Series([decimal.Decimal(v) for v in (1, 0, 1, 1)], dtype="object"),
        pd.array([1, 0, 1, 1], dtype="int32[pyarrow]"),
    ],
)
def test_numbers_of_every_type_become_float64(frame, values):
    found = table_of(frame.assign(x=values)).number("x")
    assert found.dtype == np.float64
    assert found.tolist() == [1.0, 0.0, 1.0, 1.0]


def test_text_predictor_becomes_sorted_labels(frame):
    assert table_of(frame, columns=["sex"]).labels("sex").labels == ("f", "m")


def test_category_predictor_keeps_the_order_of_its_categories(frame):
    frame["sex"] = pd.Categorical(frame["sex"], ["m", "f"])
    assert table_of(frame, columns=["sex"]).labels("sex").labels == ("m", "f")


def test_predictor_of_numbers_as_text_is_noted(frame):
    table = table_of(frame.assign(x=["1", "2", "3.5", "4"]))
    assert table.notes == ("x is text that holds numbers only; it is taken as labels",)


def test_wrong_sort_of_column_is_refused_by_the_table(frame):
    table = table_of(frame, columns=["x", "sex"])
    for call, name in ((table.number, "sex"), (table.labels, "x"), (table.number, "other")):
        with pytest.raises(InputErrors, match=name):
            call(name)


def test_unknown_columns_name_the_nearest(frame):
    first, second = problems(frame, columns=["sx"], groups=["schol"])
    assert first.key == "formula"
    assert first.message == "there is no column 'sx'; did you mean 'sex'?"
    assert second.message == "there is no column 'schol'; did you mean 'school'?"


def test_text_response_names_row_and_value(frame):
    message = refused(frame.assign(y=["1", "2", "n/k", "x"])).message
    assert "y must hold numbers, but row 3 holds 'n/k'" in message


def test_row_is_named_by_its_place_in_the_file(frame):
    message = refused(frame.assign(y=["1", "2", "n/k", "x"]).iloc[[0, 1, 3, 1]]).message
    assert "row 4 holds 'x'" in message


def test_response_of_numbers_as_text_is_told_so(frame):
    message = refused(frame.assign(y=["1", "2", "3.5", "4"])).message
    assert "numbers written as text" in message
    assert "CAST(y AS DOUBLE)" in message


@pytest.mark.parametrize(
    "values",
    [
        pd.date_range("2020-01-01", periods=4),
        [datetime.date(2020, 1, day) for day in (1, 2, 3, 4)],
        pd.to_timedelta([1, 2, 3, 4], unit="s"),
        pd.Series([1, "a", 2, 3], dtype="object"),
        [1j, 2j, 3j, 4j],
    ],
)
@pytest.mark.parametrize("role", ["x", "school", "y"])
def test_neither_numbers_nor_text_is_refused_with_the_repair(frame, values, role):
    problem = refused(frame.assign(**{role: values}))
    assert problem.key == "formula"
    assert f"{role} holds" in problem.message
    assert "derive" in problem.message


def test_missing_values_are_counted_with_their_first_row(frame):
    frame = frame.assign(
        y=[1.0, None, 2.0, None], sex=["m", "f", None, "m"], school=[None, 1, 2, 1]
    )
    found = problems(frame, columns=["sex"])
    assert {problem.key for problem in found} == {"data.missing"}
    assert [problem.message.split(";")[0] for problem in found] == [
        "y misses 2 of 4 values, first in row 2",
        "sex misses 1 of 4 values, first in row 3",
        "school misses 1 of 4 values, first in row 1",
    ]
    assert "`missing: drop`" in found[0].message


@pytest.mark.parametrize("dtype", ["object", "str", "float64", "Int64", "category"])
@pytest.mark.parametrize("role", ["y", "x", "school"])
def test_column_without_any_value_misses_all(frame, role, dtype):
    found = refused(frame.assign(**{role: pd.Series([None] * 4, dtype=dtype)}))
    assert f"{role} misses 4 of 4" in found.message


def test_missing_values_in_columns_not_used_do_not_matter(frame):
    assert table_of(frame.assign(other=np.nan), missing="drop").n == 4


def test_dropped_rows_are_noted():
    frame = pd.DataFrame(
        {
            "y": [1.0, 2.0, np.nan, 4.0, 5.0, 6.0],
            "g": ["z", "b", "b", "a", "a", "b"],
            "x": pd.array([None, 2, None, 4, 5, 6], dtype="Int64"),
        }
    )
    table = table_of(frame, groups=["g"], missing="drop")
    assert table.notes == ("2 of 6 rows dropped: y misses 1, x misses 2",)
    assert table.number("y").tolist() == [2.0, 4.0, 5.0, 6.0]
    assert table.labels("g").labels == ("b", "a")
    assert table.digest == table_of(frame.dropna(), groups=["g"]).digest


@pytest.mark.parametrize("missing", ["error", "drop"])
def test_infinite_values_are_always_refused(frame, missing):
    problem = refused(frame.assign(y=[1.0, 2.0, -np.inf, np.inf]), missing=missing)
    assert "y is infinite in 2 of 4 rows, first in row 3" in problem.message


def test_no_row_left_is_refused(frame):
    problem = refused(frame.assign(y=np.nan), missing="drop")
    assert problem.message == "no row is left; 4 of 4 rows dropped: y misses 4"
    assert "no row is left" in refused(frame.iloc[:0]).message


def test_response_without_variation_is_refused(frame):
    assert "y is 7 in every row" in refused(frame.assign(y=7)).message


def test_group_of_one_level_is_refused(frame):
    assert "school has one level" in refused(frame.assign(school="a")).message


def test_number_used_as_predictor_and_group_is_refused(frame):
    assert "both as a number and as a group" in refused(frame, columns=["school"]).message
    text = table_of(frame.astype({"school": "str"}), columns=["school"])
    assert isinstance(text.columns["school"], LabelColumn)


def test_all_problems_come_at_once(frame):
    frame = frame.assign(y=["a", "b", "c", "d"], x=[np.inf, 1, 2, 3], school=1, sex=[None, *"abc"])
    found = problems(frame, columns=["x", "sex", "nope"])
    assert len(found) == 5


NUMBERS = st.floats(-1e6, 1e6, width=32)


@given(st.lists(st.tuples(NUMBERS, st.sampled_from("abc")), min_size=4, max_size=12), st.randoms())
def test_permuted_rows_permute_the_table(rows, random):
    # Two rows of one group and another group's, so that nothing is refused.
    rows = [*rows, (1.5, "a"), (2.5, "a"), (3.5, "b")]
    order = list(range(len(rows)))
    random.shuffle(order)
    frame = pd.DataFrame(rows, columns=["y", "g"])
    table = table_of(frame, columns=[], groups=["g"]).frame()
    permuted = table_of(frame.iloc[order], columns=[], groups=["g"]).frame()
    assert permuted["y"].tolist() == [table["y"][i] for i in order]
    assert permuted["g"].tolist() == [table["g"][i] for i in order]


@given(st.integers(0, 3), st.sampled_from(["y", "x", "sex", "school"]))
def test_digest_changes_with_any_value(row, name):
    frame = pd.DataFrame(
        {"y": [1.0, 2.0, 3.0, 4.0], "x": [1, 2, 3, 4], "sex": [*"mffm"], "school": [*"abab"]}
    )
    other = frame.copy()
    other.loc[row, name] = {"y": 9.5, "x": 9, "sex": "d", "school": "c"}[name]
    columns = ["x", "sex"]
    assert table_of(frame, columns).digest == table_of(frame.copy(), columns).digest
    assert table_of(frame, columns).digest != table_of(other, columns).digest


def test_digest_depends_on_names_but_not_on_the_order_of_columns(frame):
    digest = table_of(frame, columns=["x", "sex"]).digest
    assert digest == table_of(frame, columns=["sex", "x"]).digest
    renamed = frame.rename(columns={"x": "z"})
    assert digest != table_of(renamed, columns=["z", "sex"]).digest


def test_digest_is_the_same_on_every_machine(frame):
    assert table_of(frame, columns=["x", "sex"]).digest[:16] == "b2588cb60c2bf2f4"


def test_number_column_knows_its_name(frame):
    column = table_of(frame).columns["x"]
    assert isinstance(column, NumberColumn)
    assert column.name == "x"


def test_a_stray_text_in_a_column_of_numbers_is_an_error_with_its_row():
    days = [str(i % 6) for i in range(40)]
    days[7] = "."
    frame = pd.DataFrame({"y": np.arange(40.0), "days": days, "g": list("abcd") * 10})
    with pytest.raises(InputErrors, match=r"days holds numbers but for 1 of 40.*'\.' in row 8"):
        make_table(
            frame, columns=["days"], groups=["g"], response="y", missing="error", source="frame"
        )


def test_an_order_of_labels_that_the_data_state_changes_the_digest(frame):
    text = frame.assign(sex=["m", "f", "m", "f"])
    stated = frame.assign(sex=pd.Categorical(["m", "f", "m", "f"], categories=["m", "f"]))
    one, other = (table_of(data, groups=["school", "sex"]) for data in (text, stated))
    assert one.labels("sex").labels == other.labels("sex").labels
    assert one.digest != other.digest


class Counted(str):
    """A label that counts how often labels are compared with each other."""

    __slots__ = ()
    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Counted.compared += 1
        return str.__eq__(self, other)


def test_labels_as_a_predictor_are_sorted_without_a_look_at_every_pair():
    labels = tuple(Counted(f"g{j}") for j in range(2000))
    codes = np.arange(2000, dtype=np.int32)[::-1]
    found = LabelColumn(codes, labels).categorical()
    assert Counted.compared < 50_000
    assert list(found) == list(labels[::-1])
    assert list(found.categories) == sorted(labels)
    assert list(LabelColumn(codes, labels, kept=True).categorical().categories) == list(labels)
