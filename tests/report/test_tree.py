import numpy as np
import pandas as pd

from hlm_models import build
from hlm_models.report.tree import group_tree, walked


def design(formula, **columns):
    n = len(next(iter(columns.values())))
    y = np.random.default_rng(1).standard_normal(n)
    return build(formula=formula, data=pd.DataFrame(columns | {"y": y})).design


def test_a_group_in_a_group_is_its_child():
    [batch] = group_tree(build("pastes").design)
    [cask] = batch.children
    assert (batch.group, batch.levels, batch.rows, batch.inside) == ("batch", 10, (6, 6.0, 6), None)
    assert (cask.group, cask.levels, cask.rows) == ("batch:cask", 30, (2, 2.0, 2))
    assert cask.inside == (3, 3)
    assert cask.children == ()


def test_crossed_groups_stand_side_by_side():
    nodes = group_tree(build("penicillin").design)
    assert [(node.group, node.levels) for node in nodes] == [("sample", 6), ("plate", 24)]
    assert all(node.children == () and node.crossed == () for node in nodes)


def test_groups_with_names_of_their_own_are_nested_by_their_rows_not_by_their_names():
    room = np.repeat(np.arange(12), 4)
    found = design("y ~ 1 + (1 | room) + (1 | house)", room=room, house=room // 3)
    [house] = group_tree(found)
    assert [(depth, node.group) for depth, node in walked([house])] == [(0, "house"), (1, "room")]


def test_a_group_in_two_crossed_ones_names_the_other_one():
    a, b = np.repeat(np.arange(4), 12), np.tile(np.repeat(np.arange(4), 3), 4)
    nodes = group_tree(design("y ~ 1 + (1 | a) + (1 | b) + (1 | a:b)", a=a, b=b))
    assert sorted(node.group for node in nodes) == ["a", "b"]
    [cell] = [one for node in nodes for one in node.children]
    [parent] = [node for node in nodes if node.children]
    assert cell.group == "a:b"
    assert {parent.group, *cell.crossed} == {"a", "b"}


def test_two_names_of_one_partition_do_not_hold_each_other():
    g = np.repeat(np.arange(5), 4)
    nodes = group_tree(design("y ~ 1 + (1 | g) + (1 | h)", g=g, h=9 - g))
    assert [len(walked([node])) for node in nodes] == [2]


def test_columns_are_constant_within_the_outermost_group_that_they_are_constant_in():
    room = np.repeat(np.arange(12), 4)
    rng = np.random.default_rng(2)
    found = design(
        "y ~ x + u + v + (1 | house/room)",
        house=room // 3,
        room=room,
        x=rng.standard_normal(48),
        u=rng.standard_normal(12)[room],
        v=rng.standard_normal(4)[room // 3],
    )
    [house] = group_tree(found)
    assert house.constant == ("v",)
    assert house.children[0].constant == ("u",)


def test_unequal_levels_have_fewest_middle_and_most_rows():
    [county] = group_tree(build("radon-uranium").design)
    assert county.rows == (1, 5.0, 116)
    assert county.constant == ("log_uranium",)
    assert county.effects == ("Intercept", "floor")


def test_a_model_without_groups_has_no_tree():
    assert group_tree(build("radon-pooled").design) == ()
