import numpy as np
import pandas as pd
import pytest

from hlm_models.data.sql import derive_columns, filter_rows
from hlm_models.errors import InputErrors


@pytest.fixture
def frame():
    return pd.DataFrame(
        {
            "x": [3, 1, 2, 5],
            "y": [1.5, np.nan, 2.5, 0.0],
            "g": ["b", "a", "b", "a"],
            "sex": pd.Categorical(["m", "f", "f", "m"], categories=["m", "f"]),
        }
    )


def problems(call, *args):
    with pytest.raises(InputErrors) as caught:
        call(*args)
    return caught.value.problems


def refused_where(frame, where):
    (problem,) = problems(filter_rows, frame, where)
    assert problem.key == "data.where"
    return problem.message


def refused_derive(frame, text):
    (problem,) = problems(derive_columns, frame, {"new": text})
    assert problem.key == "data.derive.new"
    return problem.message


def test_where_keeps_rows_in_file_order_with_their_index_and_types(frame):
    kept = filter_rows(frame, "x > 1 AND g = 'b'")
    assert kept.index.tolist() == [0, 2]
    pd.testing.assert_frame_equal(kept, frame.iloc[[0, 2]])


def test_where_reads_a_category_as_its_label(frame):
    assert filter_rows(frame, "sex = 'f'")["x"].tolist() == [1, 2]


def test_where_drops_the_row_whose_condition_is_unknown(frame):
    assert filter_rows(frame, "y < 100")["x"].tolist() == [3, 2, 5]


def test_where_may_compare_within_a_group(frame):
    kept = filter_rows(frame, "x = max(x) OVER (PARTITION BY g)")
    assert kept["x"].tolist() == [3, 5]


def test_where_does_not_need_a_column(frame):
    assert len(filter_rows(frame, "1 = 1")) == 4


def test_where_that_keeps_no_row_is_refused(frame):
    assert "keeps none of the 4 rows" in refused_where(frame, "x > 99")


@pytest.mark.parametrize("where", ["x", "g", "NULL", "[1]"])
def test_where_that_is_not_true_or_false_is_refused(frame, where):
    assert "not true or false" in refused_where(frame, where)


def test_window_functions_leave_rows_in_file_order(frame):
    derived = derive_columns(frame, {"rank": "row_number() OVER (ORDER BY x)"})
    assert derived["rank"].tolist() == [3, 1, 2, 4]
    mean = derive_columns(frame, {"mean_x": "avg(x) OVER (PARTITION BY g)"})
    assert mean["mean_x"].tolist() == [2.5, 3.0, 2.5, 3.0]


def test_index_of_filtered_rows_survives_derive(frame):
    derived = derive_columns(filter_rows(frame, "g = 'a'"), {"x2": "x * 2"})
    assert derived["x2"].to_dict() == {1: 2, 3: 10}


def test_derived_columns_see_the_ones_before_them(frame):
    derived = derive_columns(frame, {"x2": "x * 2", "x4": "X2 * 2"})
    assert derived["x4"].tolist() == [12, 4, 8, 20]
    assert list(frame) == ["x", "y", "g", "sex"]


def test_derived_columns_do_not_see_the_ones_after_them(frame):
    found = problems(derive_columns, frame, {"x4": "x2 * 2", "x2": "x * 2"})
    assert [problem.key for problem in found] == ["data.derive.x4"]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x > 2", [1.0, 0.0, 0.0, 1.0]),
        ("x / 2.0", [1.5, 0.5, 1.0, 2.5]),
        ("CAST(x AS DECIMAL(9, 2))", [3.0, 1.0, 2.0, 5.0]),
        ("sum(x) OVER ()", [11.0, 11.0, 11.0, 11.0]),
        ("CAST(x AS HUGEINT)", [3.0, 1.0, 2.0, 5.0]),
        ("CAST(x AS FLOAT)", [3.0, 1.0, 2.0, 5.0]),
        ("CASE WHEN x > 1 THEN x END", [3.0, np.nan, 2.0, 5.0]),
        ("CASE WHEN x > 1 THEN TRUE END", [1.0, np.nan, 1.0, 1.0]),
    ],
)
def test_sql_numbers_become_float64(frame, text, values):
    new = derive_columns(frame, {"new": text})["new"]
    assert new.dtype == np.float64
    np.testing.assert_array_equal(new, values)


def test_whole_numbers_stay_whole(frame):
    assert derive_columns(frame, {"new": "CAST(x > 2 AS INTEGER)"})["new"].dtype == np.int64


def test_text_becomes_labels(frame):
    new = derive_columns(frame, {"new": "upper(g)", "same": "sex"})
    assert new["new"].tolist() == ["B", "A", "B", "A"]
    assert new["same"].cat.categories.tolist() == ["m", "f"]


@pytest.mark.parametrize("name", ["x", "X"])
def test_derived_name_that_is_a_column_is_refused(frame, name):
    (problem,) = problems(derive_columns, frame, {name: "y"})
    assert problem.key == f"data.derive.{name}"
    assert "there is a column 'x' already" in problem.message


def test_all_bad_entries_are_reported_and_not_those_that_follow_from_them(frame):
    found = problems(derive_columns, frame, {"a": "nope", "b": "a + 1", "c": "x +", "d": "x"})
    assert [problem.key for problem in found] == ["data.derive.a", "data.derive.c"]


@pytest.mark.parametrize("text", ["DATE '2020-01-01'", "[x]", "{'a': x}", "NULL"])
def test_neither_number_nor_label_is_refused(frame, text):
    assert "neither a number nor a label" in refused_derive(frame, text)


@pytest.mark.parametrize(
    "text",
    [
        "x), (y",
        "1; DROP TABLE data",
        "x, y",
        "",
        "-- x",
        "x +",
        "x FROM '/etc/passwd'",
        "x WHERE x > 1",
        "x UNION SELECT 1",
        "x LIMIT 1",
        "x /*",
    ],
)
def test_more_or_less_than_one_expression_is_refused(frame, text):
    assert "not one SQL expression" in refused_derive(frame, text)


@pytest.mark.parametrize("text", ["*", "COLUMNS(*)", "data.*", "?", "#1"])
def test_columns_must_be_named(frame, text):
    assert "must name its columns" in refused_derive(frame, text)


@pytest.mark.parametrize(
    "text",
    [
        "(SELECT max(x) FROM data)",
        "(SELECT max(column0) FROM read_csv('/etc/passwd'))",
        "(SELECT 1 FROM '/etc/passwd')",
        "x IN (SELECT 1)",
        "EXISTS (SELECT 1)",
        "avg(x) OVER (PARTITION BY (SELECT 1))",
        "list_transform([1], lambda z: (SELECT 1))[1]",
        "(FROM data)",
    ],
)
def test_sub_selects_are_refused(frame, text):
    assert "sub-select" in refused_derive(frame, text)


@pytest.mark.parametrize(
    "text",
    ["read_csv('/etc/passwd')", "read_text('/etc/passwd')", "query('SELECT 1')", "unnest([x])"],
)
def test_functions_that_make_a_table_are_refused(frame, text):
    assert "from the columns of its own table alone" in refused_derive(frame, text)


def test_environment_is_out_of_reach(frame):
    assert "getenv does not exist" in refused_derive(frame, "getenv('HOME')")


@pytest.mark.parametrize(
    "text",
    ["random()", "uuid()", "year(today())", "year(current_date)", "current_setting('threads')"],
)
def test_values_that_differ_between_runs_are_refused(frame, text):
    assert "another value in another run" in refused_derive(frame, text)


def test_column_may_have_the_name_of_a_varying_function():
    frame = pd.DataFrame({"random": [1, 2], "row": [3, 4], "today": [5, 6]})
    derived = derive_columns(frame, {"new": "random + row + today"})
    assert derived["new"].tolist() == [9, 12]


def test_aggregate_without_a_window_is_refused_with_the_repair(frame):
    assert "write avg(...) OVER (PARTITION BY g)" in refused_derive(frame, "x - avg(x)")


def test_several_values_a_row_are_refused(frame):
    assert "8 values for 4 rows" in refused_derive(frame, "generate_subscripts([x, x], 1)")


def test_unknown_column_names_the_nearest(frame):
    (problem,) = problems(filter_rows, frame.rename(columns={"x": "urbanicity"}), "urbanicty > 1")
    assert problem.message == "there is no column 'urbanicty'; did you mean 'urbanicity'?"


def test_text_in_double_quotes_gets_the_repair(frame):
    assert "single quotes, as 'm'" in refused_where(frame, 'sex = "m"')


def test_failing_conversion_is_told_in_one_line(frame):
    message = refused_derive(frame, "CAST(g AS INTEGER)")
    assert "Could not convert string 'b'" in message
    assert "\n" not in message


def test_columns_that_differ_in_case_alone_are_refused_where_used():
    frame = pd.DataFrame({"x": [1, 2], "X": [3, 4], "y": [5, 6]})
    assert "differ in case alone" in refused_derive(frame, "x + 1")
    assert derive_columns(frame, {"new": "y"})["new"].tolist() == [5, 6]


def test_table_may_be_named(frame):
    assert derive_columns(frame, {"new": "data.x"})["new"].tolist() == [3, 1, 2, 5]
