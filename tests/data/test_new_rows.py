import numpy as np
import pandas as pd
import pytest

from hlm_models.data.new_rows import new_rows
from hlm_models.data.table import make_table
from hlm_models.errors import InputErrors

DATA = pd.DataFrame({"y": [1.0, 2, 4, 3], "x": [5, 6, 7, 8], "g": [10, 20, 10, 20]})
LIKE = make_table(DATA, columns=["x"], groups=["g"], response="y", missing="error", source="frame")


def rows(frame, columns=("x", "g"), open_labels=(), **derive):
    return new_rows(frame, LIKE, columns=columns, open_labels=open_labels, derive=derive)


def test_labels_have_the_codes_of_the_models_table():
    found = rows(pd.DataFrame({"g": ["20", "10", "20"], "x": 0.0}))
    np.testing.assert_array_equal(found.labels("g").codes, [1, 0, 1])
    assert found.labels("g").labels == LIKE.labels("g").labels


def test_a_label_that_the_model_has_not_is_minus_one_where_it_may_be():
    frame = pd.DataFrame({"g": [30, 10], "x": 0.0})
    np.testing.assert_array_equal(rows(frame, open_labels=["g"]).labels("g").codes, [-1, 0])
    with pytest.raises(InputErrors, match="row 1 has '30', which is not a level of g"):
        rows(frame)


def test_columns_that_are_not_asked_for_may_hold_anything():
    found = rows(pd.DataFrame({"x": [1.0], "g": [None], "y": ["?"]}), columns=["x"])
    assert list(found.columns) == ["x"]


def test_numbers_are_copied_and_the_callers_frame_stays_his():
    frame = pd.DataFrame({"x": [1.0, 2.0]}, index=[7, 3])
    found = rows(frame, columns=["x"])
    frame.loc[7, "x"] = 99.0
    np.testing.assert_array_equal(found.number("x"), [1.0, 2.0])


def test_only_the_steps_that_are_needed_are_derived():
    frame = pd.DataFrame({"a": [3.0]})
    found = rows(frame, columns=["x"], half="a / 2", x="half + 1", other="nowhere * 2")
    np.testing.assert_array_equal(found.number("x"), [2.5])
    with pytest.raises(InputErrors, match=r"data.derive.x: there is no column 'b'"):
        rows(frame, columns=["x"], x="b + 1")


@pytest.mark.parametrize("text", ["2020-01-01", "many"])
def test_what_is_no_number_is_refused(text):
    frame = pd.DataFrame({"x": ["1.5", text]})
    with pytest.raises(InputErrors, match=f"new_data: x must hold .* row 2 holds '{text}'"):
        rows(frame, columns=["x"])
    with pytest.raises(InputErrors, match="row 1 holds '2020-01-01"):
        rows(pd.DataFrame({"x": pd.to_datetime(["2020-01-01"])}), columns=["x"])
