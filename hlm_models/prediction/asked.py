"""What is asked of a prediction: which rows, and whose effects they have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from hlm_models.design.build import RandomBlock
from hlm_models.errors import InputErrors, Problem, nearest
from hlm_models.results.rows import Rows, model_rows, read_rows
from hlm_models.spec.model import ModelSpec
from hlm_models.types import IntArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Asked", "Borrow", "Groups", "Kinds", "asked"]

Groups = Literal["existing", "population", "typical", "borrowed"]
"""Whose effects a row has: its own group's, none, those of a random new group, another group's."""

Kinds = Groups | Mapping[str, Groups]
Borrow = str | Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Asked:
    """Rows, and whose effects they have.

    rows : with the level of each block whose effects they have, -1 where it is none of the model's
    kinds : by block
    fresh : by block, codes (m,) of the new levels of a typical group: rows of one code share their
        effects; None of other kinds
    """

    rows: Rows
    kinds: tuple[Groups, ...]
    fresh: tuple[IntArray | None, ...]

    @property
    def known(self) -> bool:
        """Whether rows have the effects of levels of the model."""
        return any(kind in ("existing", "borrowed") for kind in self.kinds)


def asked(
    spec: ModelSpec,
    new_data: "pd.DataFrame | None" = None,
    *,
    groups: Kinds = "existing",
    borrow: Borrow | None = None,
) -> Asked:
    """The arguments of `hlm_models.prediction.predict.predict`, which no fit is needed to check.

    Raises
    ------
    InputErrors
        as `predict`.
    """
    kinds = _kinds(spec, groups)
    lent = _lent(spec, kinds, borrow)
    if new_data is None:
        rows = model_rows(spec)
    else:
        rows = read_rows(
            spec,
            new_data,
            effects=[group for group, kind in kinds.items() if kind != "population"],
            levels=[group for group, kind in kinds.items() if kind == "existing"],
        )
    fresh = tuple(
        _new_levels(block, new_data, rows) if kinds[block.group] == "typical" else None
        for block in spec.blocks
    )
    at = tuple(
        found if kind == "existing" else np.full(rows.m, lent.get(group, -1))
        for (group, kind), found in zip(kinds.items(), rows.level, strict=True)
    )
    return Asked(replace(rows, level=at), tuple(kinds.values()), fresh)


def _new_levels(block: RandomBlock, frame: "pd.DataFrame | None", rows: Rows) -> IntArray:
    """Codes (m,) of the labels of the rows; a row without a label is a level of its own."""
    if frame is None:
        return block.level
    alone = np.arange(rows.m)
    if not set(block.factors) <= set(frame):
        return alone
    labels = frame[list(block.factors)]
    codes = labels.groupby(list(block.factors), dropna=False, observed=True).ngroup().to_numpy()
    nameless = labels.isna().any(axis=1).to_numpy()
    return np.unique(np.where(nameless, rows.m + alone, codes), return_inverse=True)[1]


def _kinds(spec: ModelSpec, groups: Kinds) -> dict[str, Groups]:
    """What is asked of each group, in the order of the blocks."""
    known = [block.group for block in spec.blocks]
    given = groups if isinstance(groups, Mapping) else dict.fromkeys(known, groups)
    problems = [_no_group(group, known) for group in given if group not in known]
    problems += [
        f"{kind!r} is none of {', '.join(get_args(Groups))}{nearest(str(kind), get_args(Groups))}"
        for kind in (groups.values() if isinstance(groups, Mapping) else [groups])
        if kind not in get_args(Groups)
    ]
    missing = [group for group in known if group not in given]
    if missing:
        problems.append(f"say what is meant for {', '.join(missing)} too")
    if problems:
        raise InputErrors(Problem(one, key="groups") for one in problems)
    return {group: given[group] for group in known}


def _no_group(group: str, known: Sequence[str]) -> str:
    groups = f"groups: {', '.join(known)}" if known else "it has none"
    return f"{group!r} is not a group of this model{nearest(group, known)} ({groups})"


def _lent(spec: ModelSpec, kinds: Mapping[str, Groups], borrow: Borrow | None) -> dict[str, int]:
    """The level that each borrowed group takes."""
    known = [block.group for block in spec.blocks]
    borrowed = [group for group, kind in kinds.items() if kind == "borrowed"]
    if isinstance(borrow, Mapping):
        given = dict(borrow)
    elif borrow is not None and len(borrowed) > 1:
        raise InputErrors.one(
            f"name the level by group, as {{{borrowed[0]!r}: {borrow!r}, ...}}", key="borrow"
        )
    else:
        given = {} if borrow is None else dict.fromkeys(borrowed or ["borrow"], borrow)
    for group in given if isinstance(borrow, Mapping) else ():
        if group not in known:
            raise InputErrors.one(_no_group(group, known), key="borrow")
    if any(group not in borrowed for group in given):
        raise InputErrors.one(
            "borrow has an effect with groups='borrowed' only; leave it out, or say so",
            key="borrow",
        )
    found = {}
    for block in spec.blocks:
        if block.group not in borrowed:
            continue
        if block.group not in given:
            raise InputErrors.one(
                f"say which level of {block.group} lends its effects, as "
                f"borrow={block.labels[0]!r}",
                key="borrow",
            )
        label = str(given[block.group])
        if label not in block.labels:
            raise InputErrors.one(
                f"{label!r} is not a level of {block.group}{nearest(label, block.labels)}",
                key="borrow",
            )
        found[block.group] = block.labels.index(label)
    return found
