from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from hlm_models import build, fit, pooling, shrinkage
from hlm_models.report.findings import GroupFindings
from hlm_models.report.levels import SHOWN, level_tables, level_texts


def told(spec, group=None):
    found = fit(spec, engine="reml")
    [block, *_] = [one for one in spec.blocks if group in (None, one.group)]
    pool, weights = pooling(found, block.group), shrinkage(found, block.group)
    return block, GroupFindings(block.group, pooling=pool, shrinkage=weights)


@pytest.fixture(scope="module")
def sleep():
    return told(build("sleepstudy-slopes"))


def test_a_table_an_effect_with_every_level_highest_first(sleep):
    block, found = sleep
    tables = level_tables("sleep", block, found, unit="ms")
    assert [one.coefficient for one in tables] == ["Intercept", "days"]
    for one in tables:
        k = found.pooling.coefficients.index(one.coefficient)
        fitted = found.pooling.partial.estimate[list(one.table.levels), k]
        assert sorted(one.table.levels) == list(range(18))
        assert (np.diff(fitted) <= 0).all()
        assert [row[0] for row in one.table.rows] == [block.labels[j] for j in one.table.levels]
        assert one.table.group == "subject"
        assert "ms" in one.table.caption


def test_a_row_has_what_pooling_and_shrinkage_say(sleep):
    block, found = sleep
    table = level_tables("sleep", block, found)[1].table
    row, j = table.rows[0], table.levels[0]
    assert row[1] == "10"
    assert float(row[2]) == pytest.approx(found.pooling.none.estimate[j, 1], abs=0.06)
    assert float(row[3]) == pytest.approx(found.pooling.partial.estimate[j, 1], abs=0.06)
    assert float(row[5]) == pytest.approx(found.shrinkage.weights[j, 1, 1], abs=0.006)


def test_a_column_has_the_same_places_in_all_rows(sleep):
    block, found = sleep
    for one in level_tables("sleep", block, found):
        for at in (2, 3):
            assert len({len(row[at].partition(".")[2]) for row in one.table.rows}) == 1


def test_what_is_refused_is_left_out(sleep):
    block, found = sleep
    [table, _] = level_tables("sleep", block, replace(found, shrinkage=None))
    assert [column.title for column in table.table.columns][-1] == "95%"
    assert level_tables("sleep", block, replace(found, pooling=None)) == ()
    texts = level_texts(block, replace(found, pooling=None), {}, "reaction")
    assert texts[0] == f"{block.labels[0]}\n10 rows"


def test_of_very_many_levels_the_farthest_are_shown_and_the_table_says_so():
    rng = np.random.default_rng(3)
    g = np.repeat(np.arange(1200), 3)
    y = rng.standard_normal(1200)[g] + rng.standard_normal(3600)
    block, found = told(build(formula="y ~ 1 + (1 | g)", data=pd.DataFrame({"y": y, "g": g})))
    [one] = level_tables("m", block, found)
    assert len(one.table.rows) == SHOWN
    assert "the 500 of 1,200 levels" in one.table.caption
    distance = np.abs(found.pooling.partial.estimate[:, 0] - found.pooling.expected[:, 0])
    shown = np.zeros(1200, dtype=bool)
    shown[list(one.table.levels)] = True
    assert distance[shown].min() >= distance[~shown].max()
    assert len(level_texts(block, found, {}, "y")) == 1200


def test_texts_are_in_the_designs_order_with_rows_fit_and_own(sleep):
    block, found = sleep
    texts = level_texts(block, found, {"reaction": "ms"}, "reaction")
    assert [text.partition("\n")[0] for text in texts] == list(block.labels)
    assert "10 rows" in texts[0]
    assert "\nIntercept" in texts[0]
    assert " ms (" in texts[0]
    assert "alone" in texts[0]


def test_a_level_whose_rows_cannot_tell_has_a_dash():
    frame = pd.DataFrame(
        {
            "y": [1.0, 2, 4, 3, 5, 4, 6, 9, 2.5],
            "x": [0.0, 1, 2, 0, 1, 2, 0, 1, 1],
            "g": ["a", "a", "a", "b", "b", "b", "c", "c", "d"],
        }
    )
    block, found = told(build(formula="y ~ x + (1 | g)", data=frame))
    [one] = level_tables("m", block, found)
    own = {row[0]: row[2] for row in one.table.rows}
    assert own["d"] == "–"
    assert own["a"] != "–"
    assert "– where they cannot tell" in one.table.note
    assert "alone" not in level_texts(block, found, {}, "y")[block.labels.index("d")]
