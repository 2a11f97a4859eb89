import pandas as pd
import pytest

from hlm_models.data.roles import check_macro, macro_columns
from hlm_models.data.table import make_table
from hlm_models.errors import InputErrors


@pytest.fixture
def table():
    frame = pd.DataFrame(
        {
            "score": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "ses": [0.0, 1.0, 2.0, 1.0, 0.0, 0.0],
            "sector": ["p", "c", "p", "c", "c", "c"],
            "size": [9, 7, 9, 7, 7, 7],
            "school": ["s1", "s2", "s1", "s2", "s3", "s3"],
            "region": ["north", "north", "north", "north", "south", "south"],
        }
    )
    return make_table(
        frame,
        columns=["ses", "sector", "size"],
        groups=["school", "region"],
        response="score",
        missing="error",
        source="made up",
    )


def problems(table, macro):
    with pytest.raises(InputErrors) as caught:
        check_macro(table, macro)
    return caught.value.problems


def test_macro_columns_are_those_constant_in_every_level(table):
    assert macro_columns(table, "school") == {"sector", "size", "region"}
    assert macro_columns(table, "region") == frozenset()


def test_nested_group_is_written_with_a_colon(table):
    assert macro_columns(table, "region:school") == {"sector", "size", "school", "region"}
    check_macro(table, {"region:school": ["size"]})
    (problem,) = problems(table, {"region:sector": ["ses"]})
    assert "no group 'region:sector'" not in problem.message
    assert "ses varies within region:sector, for instance in 'north:p'" in problem.message


def test_stated_macro_columns_that_hold_are_accepted(table):
    check_macro(table, {"school": ["sector", "size"]})


def test_stated_macro_column_that_varies_names_a_level(table):
    first, second = problems(table, {"region": ["size", "sector"], "school": ["size"]})
    assert first.key == second.key == "macro.region"
    assert "size varies within region, for instance in 'north'" in first.message
    assert "sector varies within region" in second.message


def test_unknown_group_and_column_name_the_nearest(table):
    group, number, column = problems(
        table, {"schol": ["size"], "size": ["ses"], "school": ["sectr"]}
    )
    assert (group.key, column.key) == ("macro.schol", "macro.school")
    assert group.message == "the model has no group 'schol'; did you mean 'school'?"
    assert "no group 'size'" in number.message
    assert column.message == "the model uses no column 'sectr'; did you mean 'sector'?"


def test_group_is_not_its_own_macro_column(table):
    (problem,) = problems(table, {"school": ["school"]})
    assert "no column 'school'" in problem.message
