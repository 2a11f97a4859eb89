"""The levels of a group: a table of each effect, and a text of each level."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hlm_models.design.build import RandomBlock
from hlm_models.interpretation.pooling import Pooling
from hlm_models.report.findings import GroupFindings
from hlm_models.report.tables import Column, Table, fixed, interval, rounded
from hlm_models.types import IntArray

__all__ = ["SHOWN", "LevelTable", "level_tables", "level_texts"]

MANY = 1000
"""Of more levels a table has the most extreme ones only."""
SHOWN = 500


@dataclass(frozen=True, slots=True)
class LevelTable:
    """The levels by one of their coefficients."""

    coefficient: str
    table: Table


def level_tables(
    model: str, block: RandomBlock, found: GroupFindings, *, unit: str = ""
) -> tuple[LevelTable, ...]:
    """A table for each effect of the block that a level's line has, highest level first.

    Of more than 1,000 levels they are the 500 whose coefficient is farthest from what the
    population has for a level like them.
    """
    pool = found.pooling
    if pool is None:
        return ()
    return tuple(
        LevelTable(effect, _table(model, block, found, pool, effect, unit))
        for effect in block.effects
        if effect in pool.coefficients
    )


def _table(
    model: str, block: RandomBlock, found: GroupFindings, pool: Pooling, effect: str, unit: str
) -> Table:
    k, at = pool.coefficients.index(effect), block.effects.index(effect)
    partial, none = pool.partial, pool.none.estimate[:, k]
    middle, error = partial.estimate[:, k], _error(pool, k)
    shown = _shown(np.abs(middle - pool.expected[:, k]))
    order = shown[np.argsort(-middle[shown], kind="stable")]
    weights = None if found.shrinkage is None else found.shrinkage.weights[:, at, at]
    rows = [
        (
            block.labels[j],
            f"{block.sizes[j]:,}",
            rounded(float(none[j]), error),
            rounded(float(middle[j]), error),
            interval(float(partial.lower[j, k]), float(partial.upper[j, k]), error),
            *(() if weights is None else (fixed(float(weights[j]), 2),)),
        )
        for j in order
    ]
    some = (
        f"; the {len(order)} of {block.J:,} levels farthest from what the population has for them"
        if len(order) < block.J
        else ""
    )
    what = "mean" if effect == "Intercept" and len(pool.coefficients) == 1 else effect
    notes = [
        f"Alone: least squares of the rows of the level by themselves{_gaps(none)}. Fit: with "
        "what all levels have in common, 95% interval beside it."
    ]
    if weights is not None:
        notes.append(
            "Weight: how much of what its own rows say the level keeps, from 0 (all is taken from "
            "the others) to 1 (nothing is)."
        )
    return Table(
        f"{model}, {pool.engine}: {what} by {block.group}{f', {unit}' if unit else ''}{some}",
        (
            Column(block.group, "name"),
            Column("rows"),
            Column("alone"),
            Column("fit", side="reference" if pool.engine in ("reml", "ml") else "posterior"),
            Column("95%"),
            *(() if weights is None else (Column("weight"),)),
        ),
        tuple(rows),
        " ".join(notes),
        group=block.group,
        levels=tuple(int(j) for j in order),
    )


def level_texts(
    block: RandomBlock, found: GroupFindings, units: Mapping[str, str], response: str
) -> list[str]:
    """What is told of each level when one points at it, in the design's order."""
    texts = [
        f"{label}\n{size:,} row{'' if size == 1 else 's'}"
        for label, size in zip(block.labels, block.sizes.tolist(), strict=True)
    ]
    pool = found.pooling
    if pool is None:
        return texts
    unit = units.get(response, "")
    for effect in block.effects:
        if effect not in pool.coefficients:
            continue
        k = pool.coefficients.index(effect)
        error = _error(pool, k)
        tail = f" {unit}" if unit.isalpha() and effect == "Intercept" else ""
        for j in range(block.J):
            lower, upper = float(pool.partial.lower[j, k]), float(pool.partial.upper[j, k])
            texts[j] += (
                f"\n{effect} {rounded(float(pool.partial.estimate[j, k]), error)}{tail} "
                f"({interval(lower, upper, error)})"
            )
            if np.isfinite(pool.none.estimate[j, k]):
                texts[j] += f", alone {rounded(float(pool.none.estimate[j, k]), error)}"
    return texts


def _error(pool: Pooling, k: int) -> float:
    """What the digits of a column go by: the same places in all its rows."""
    found = pool.partial.se[:, k]
    found = found[np.isfinite(found) & (found > 0)]
    return float(np.median(found)) if found.size else float("nan")


def _shown(distance: np.ndarray) -> IntArray:
    J = len(distance)
    return np.arange(J) if J <= MANY else np.sort(np.argsort(-distance, kind="stable")[:SHOWN])


def _gaps(none: np.ndarray) -> str:
    return "; – where they cannot tell" if np.isnan(none).any() else ""
