"""Only models of the same rows and the same response stand on one board."""

import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.comparison.same_data import same_data
from hlm_models.errors import InputErrors


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(1)
    return pd.DataFrame(
        {
            "y": np.exp(rng.normal(size=40)),
            "x": rng.normal(size=40),
            "w": rng.normal(size=40),
            "g": np.repeat([f"g{j}" for j in range(8)], 5),
            "h": np.tile([f"h{j}" for j in range(5)], 8),
        }
    )


def build(frame, formula="y ~ x + (1 | g)", **data):
    config = {
        "schema": 1,
        "name": "made",
        "data": {"source": "frame", **data},
        "formula": formula,
    }
    return hlm.build(config, data=frame)


def test_models_that_use_other_columns_share_their_data(frame):
    specs = {
        "one": build(frame),
        "two": build(frame, "y ~ x + w + (1 | g)"),
        "three": build(frame, "y ~ 1 + (1 | h)"),
    }
    found = same_data(specs)
    assert (found.n, found.response, found.source, found.notes) == (40, "y", "frame", ())
    assert found.digest == build(frame, "y ~ x + w + (1 | g) + (1 | h)").design.table.digest


def test_the_digest_is_of_the_values(frame):
    other = frame.assign(w=frame["w"] + 1)
    one, two = (
        same_data({"a": build(rows), "b": build(rows, "y ~ w + (1 | g)")})
        for rows in (frame, other)
    )
    assert one.digest != two.digest


def test_a_response_on_another_scale_is_refused(frame):
    with pytest.raises(InputErrors, match=r"the response is log\(y\), and y in one: log densities"):
        same_data({"one": build(frame), "two": build(frame, "log(y) ~ x + (1 | g)")})


def test_a_response_derived_in_another_way_is_refused(frame):
    one, two = (
        build(frame, "z ~ x + (1 | g)", derive={"z": how}) for how in ("ln(y)", "ln(y) / ln(2)")
    )
    with pytest.raises(InputErrors, match=r"z = ln\(y\) / ln\(2\), and z = ln\(y\) in one"):
        same_data({"one": one, "two": two})


def test_a_response_that_one_model_derives_is_told_as_it_is_made(frame):
    one = build(frame, derive={"z": "ln(y)"})
    with pytest.raises(InputErrors, match=r"the response is z = ln\(y\), and y in one: log"):
        same_data({"one": one, "two": build(frame, "z ~ x + (1 | g)", derive={"z": "ln(y)"})})


def test_one_file_is_one_source_whatever_its_path(frame, tmp_path, monkeypatch):
    """A finished run names the whole path."""
    frame.to_csv(tmp_path / "rows.csv", index=False)
    monkeypatch.chdir(tmp_path)
    specs = {
        str(path): hlm.build(
            {
                "schema": 1,
                "name": "made",
                "data": {"source": {"file": str(path)}},
                "formula": formula,
            }
        )
        for path, formula in (("rows.csv", "y ~ x"), (tmp_path / "rows.csv", "y ~ w"))
    }
    assert same_data(specs).source == "rows.csv"


def test_one_response_under_two_names_is_the_same(frame):
    twice = frame.assign(z=np.log(frame["y"]))
    found = same_data(
        {"one": build(twice, "z ~ x + (1 | g)"), "two": build(twice, "log(y) ~ x + (1 | g)")}
    )
    assert found.response == "z"


def test_rows_dropped_in_one_model_are_named(frame):
    gaps = frame.assign(w=frame["w"].where(frame.index != 3))
    specs = {
        "one": build(gaps),
        "two": build(gaps, "y ~ w + (1 | g)", missing="drop"),
    }
    with pytest.raises(InputErrors) as caught:
        same_data(specs)
    assert "two: there are 39 rows, and 40 in one (two: 1 of 40 rows dropped: w misses 1)" in str(
        caught.value
    )
    assert "data.where" in str(caught.value)


def test_rows_dropped_alike_but_elsewhere_are_seen(frame):
    """As many rows, of which one is another."""
    specs = {
        "one": build(frame.drop(index=3)),
        "two": build(frame.drop(index=7), "y ~ w + (1 | g)"),
    }
    with pytest.raises(InputErrors, match="differs from that in one in 4 of 39 rows, first in row"):
        same_data(specs)


def test_another_order_is_seen(frame):
    specs = {"one": build(frame), "two": build(frame[::-1], "y ~ w + (1 | g)")}
    with pytest.raises(InputErrors, match="in another order"):
        same_data(specs)


@pytest.mark.parametrize(
    ("column", "word"), [("x", "x has other values"), ("g", "g has other levels")]
)
def test_a_column_with_other_values_is_other_data(frame, column, word):
    other = frame.assign(**{column: np.roll(frame[column], 1)})
    with pytest.raises(InputErrors, match=word):
        same_data({"one": build(frame), "two": build(other, "y ~ x + w + (1 | g)")})


def test_other_labels_of_the_levels_are_other_levels_however_they_are_numbered(frame):
    """A group of one model is a predictor of another, with labels in another order."""
    mixed = frame.assign(g=np.tile(["b", "a", "d", "c"], 10))
    found = same_data({"one": build(mixed), "two": build(mixed, "y ~ g + (1 | h)")})
    assert found.notes == ()
    other = mixed.assign(g=mixed["g"].map({"b": "a", "a": "b", "c": "c", "d": "d"}))
    with pytest.raises(InputErrors, match="g has other levels"):
        same_data({"one": build(mixed), "two": build(other, "y ~ g + (1 | h)")})


def test_a_predictor_derived_in_two_ways_is_said(frame):
    one, two = (build(frame, "y ~ c + (1 | g)", derive={"c": how}) for how in ("x - 1", "x - 2"))
    assert same_data({"one": one, "two": two}).notes == (
        "c is derived in different ways: x - 1 in one; x - 2 in two",
    )


def test_every_model_that_differs_is_named(frame):
    specs = {
        "one": build(frame),
        "two": build(frame[:30]),
        "three": build(frame, "log(y) ~ x + (1 | g)"),
    }
    with pytest.raises(InputErrors) as caught:
        same_data(specs)
    assert [problem.key for problem in caught.value.problems] == ["two", "three"]
