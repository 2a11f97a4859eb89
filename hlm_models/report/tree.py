"""The groups of a design as a tree: what lies in what, how many levels, how many rows in each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hlm_models.data.roles import macro_columns
from hlm_models.design.build import Design, RandomBlock
from hlm_models.types import IntArray

__all__ = ["Node", "group_tree", "walked"]


@dataclass(frozen=True, slots=True)
class Node:
    """One group and the groups nested in it.

    rows : fewest, median and most rows of a level
    inside : fewest and most of its levels in one level of the group around it; None at the top
    constant : columns that are constant within its levels, but not within those around it
    crossed : other groups around it, of which the tree shows one only
    """

    group: str
    levels: int
    rows: tuple[int, float, int]
    inside: tuple[int, int] | None
    effects: tuple[str, ...]
    constant: tuple[str, ...]
    crossed: tuple[str, ...]
    children: tuple["Node", ...]


def group_tree(design: Design) -> tuple[Node, ...]:
    """The outermost groups; several of them are crossed."""
    blocks = sorted(design.blocks, key=lambda block: block.J)
    first = {block.group: _first_rows(block) for block in blocks}
    around = {
        block.group: [
            other for other in blocks[:k] if _nested(block, first[block.group], other)
        ]
        for k, block in enumerate(blocks)
    }  # fmt: skip
    constant = {block.group: macro_columns(design.table, block.group) for block in blocks}
    names = {name for block in blocks for name in block.factors}

    def node(block: RandomBlock, parent: RandomBlock | None) -> Node:
        group, sizes = block.group, block.sizes[block.sizes > 0]
        above = frozenset().union(*(constant[one.group] for one in around[group]))
        inner = [one for one in blocks if around[one.group] and around[one.group][-1] is block]
        chain = {one.group for one in around[parent.group]} | {parent.group} if parent else set()
        return Node(
            group=group,
            levels=block.J,
            rows=(int(sizes.min()), float(np.median(sizes)), int(sizes.max())),
            inside=None if parent is None else _counts(first[group], parent),
            effects=block.effects,
            constant=tuple(
                name
                for name in design.table.columns
                if name in constant[group] - above and name not in names
            ),
            crossed=tuple(one.group for one in around[group] if one.group not in chain),
            children=tuple(node(one, block) for one in inner),
        )

    return tuple(node(block, None) for block in blocks if not around[block.group])


def _first_rows(block: RandomBlock) -> IntArray:
    """A row of each level (J,); -1 of a level without rows."""
    first = np.full(block.J, -1)
    first[block.level[::-1]] = np.arange(len(block.level) - 1, -1, -1)
    return first


def _nested(block: RandomBlock, first: IntArray, other: RandomBlock) -> bool:
    """Whether each level of `block` lies in one level of `other`."""
    return bool((other.level[first][block.level] == other.level).all())


def _counts(first: IntArray, parent: RandomBlock) -> tuple[int, int]:
    found = np.bincount(parent.level[first[first >= 0]], minlength=parent.J)
    found = found[found > 0]
    return int(found.min()), int(found.max())


def walked(nodes: Sequence[Node], depth: int = 0) -> list[tuple[int, Node]]:
    """Every node with how deep it stands, each before what lies in it."""
    return [one for node in nodes for one in [(depth, node), *walked(node.children, depth + 1)]]
