"""Whether one model is nested in another, and what the larger one has more."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from hlm_models.algebra.gram import CHUNK
from hlm_models.design.build import RandomBlock
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray, IntArray

__all__ = ["More", "more", "outside", "written"]

INSIDE = 1e-8
"""What of a column may lie outside the span of others, relative to it."""


@dataclass(frozen=True, slots=True)
class More:
    """What a larger model has more: coefficients, random effects, and other (co)variances."""

    coefficients: int
    effects: int
    df: int


def more(smaller: ModelSpec, larger: ModelSpec) -> More:
    """What the larger model has more.

    An effect counts where its variance is a parameter, which has to be zero in the smaller model;
    effects that share a variance are one.

    Raises
    ------
    InputErrors
        the models have different data, or neither has a parameter more.
    RefusalError
        the smaller model is not nested in the larger one, or not in a way that is seen here.
    """
    _same_data(smaller, larger)
    beyond = outside(smaller.design.X, larger.design.X)
    if beyond.size:
        names = ", ".join(smaller.design.coef[k] for k in beyond.tolist())
        raise _refused(
            f"{names} of the fixed part is no combination of the larger model's columns",
            "is not nested",
        )
    coefficients = larger.design.p - smaller.design.p
    homes = _homes(smaller.blocks, larger.blocks)
    found = 0
    for at, block in enumerate(larger.blocks):
        pieces = [
            piece
            for here, home in enumerate(homes)
            if home == at
            for piece in _pieces(smaller, here)
        ]
        found += _new_effects(block, pieces, _pieces(larger, at))
    df = coefficients + larger.marginal.size - smaller.marginal.size
    if df == 0:
        raise InputErrors.one(
            "the two models have the same parameters: there is nothing to test between them"
        )
    return More(coefficients, found, df)


def written(smaller: ModelSpec, larger: ModelSpec) -> tuple[str, str]:
    """Both formulas; with the covariance of each random term where they do not differ."""
    specs = (smaller, larger)
    one, other = (str(spec.config["formula"]) for spec in specs)
    if "".join(one.split()) != "".join(other.split()):
        return one, other
    one, other = (
        f"{formula} [{', '.join(_covariances(spec))}]"
        for formula, spec in zip((one, other), specs, strict=True)
    )
    return one, other


def _covariances(spec: ModelSpec) -> list[str]:
    """Each random term with its structure."""
    return [
        f"({term.text}) {structure}"
        for block, structures in zip(spec.blocks, spec.marginal.structures, strict=True)
        for term, structure in zip(block.terms, structures, strict=True)
    ]


def _refused(why: str, verdict: str = "is not recognised as nested") -> RefusalError:
    return RefusalError(
        f"the smaller model, given first, {verdict} in the larger one: {why}; a likelihood ratio "
        "tests only nested models (compare others by AIC or BIC)"
    )


def _same_data(smaller: ModelSpec, larger: ModelSpec) -> None:
    one, other = smaller.design, larger.design
    if one.n != other.n:
        raise InputErrors.one(
            f"the models have {one.n} and {other.n} rows: fit both to the rows that have all the "
            "values of both"
        )
    if not np.array_equal(one.y, other.y):
        raise InputErrors.one("the models have different responses: fit both to the same one")
    if (one.sigma is None) != (other.sigma is None):
        raise InputErrors.one(
            "the residual standard deviations are known in one of the models only: give both the "
            "same residual"
        )
    for what in ("weights", "offset"):
        left, right = getattr(one, what), getattr(other, what)
        if not (left is right or (left is not None and np.array_equal(left, right))):
            named = "residual standard deviations" if one.sigma and what == "weights" else what
            raise InputErrors.one(f"the models have different {named}: give both the same")
    for block, match in product(one.blocks, other.blocks):
        if set(block.factors) == set(match.factors) and not _same_levels(block, match):
            raise InputErrors.one(
                f"the rows belong to different levels of {block.group} in the two models: fit both "
                "to the same data"
            )


def _homes(small: Sequence[RandomBlock], large: Sequence[RandomBlock]) -> list[int]:
    """Place among the larger model's blocks of each of the smaller one's, by their levels."""
    homes = []
    for block in small:
        same = [at for at, one in enumerate(large) if _same_levels(block, one)]
        if not same:
            raise _refused(f"the larger model has no random effects of {block.group}")
        homes.append(next((at for at in same if large[at].factors == block.factors), same[0]))
    return homes


def _same_levels(one: RandomBlock, other: RandomBlock) -> bool:
    """Whether rows that share a level of one share a level of the other, as of g:f and f:g."""
    return one.J == other.J and np.array_equal(_first(one), _first(other))


def _first(block: RandomBlock) -> IntArray:
    """The first row (n,) that has the level of each row."""
    first = np.empty(block.J, dtype=np.int64)
    first[block.level[::-1]] = np.arange(len(block.level) - 1, -1, -1)
    return first[block.level]


def outside(columns: FloatArray, others: FloatArray) -> IntArray:
    """Which (up to k) of the columns (n, k) are no combination of the others (n, m)."""
    m, R = others.shape[1], np.zeros((0, others.shape[1] + columns.shape[1]))
    for lo in range(0, len(columns), CHUNK):
        rows = slice(lo, lo + CHUNK)
        R = np.linalg.qr(np.vstack([R, np.hstack([others[rows], columns[rows]])]), mode="r")
    length = np.linalg.norm(R, axis=0)
    basis, target = np.hsplit(R / np.where(length > 0, length, 1.0), [m])
    left = target - basis @ np.linalg.lstsq(basis, target, rcond=None)[0]
    return np.flatnonzero(np.linalg.norm(left, axis=0) > INSIDE)


@dataclass(frozen=True, eq=False)
class _Piece:
    """Effects of one group whose covariance is free, or who share a variance."""

    text: str
    z: FloatArray
    shared: bool

    @property
    def q(self) -> int:
        return int(self.z.shape[1])


def _pieces(spec: ModelSpec, index: int) -> list[_Piece]:
    """A block's effects, those that are independent apart."""
    block, pieces = spec.blocks[index], []
    for term, structure in zip(block.terms, spec.marginal.structures[index], strict=True):
        columns = [term.columns]
        if structure == "diagonal":
            columns = [slice(k, k + 1) for k in range(term.columns.start, term.columns.stop)]
        pieces += [
            _Piece(term.text, block.z[:, one], structure == "shared" and term.q > 1)
            for one in columns
        ]
    return pieces


def _new_effects(block: RandomBlock, small: Sequence[_Piece], large: Sequence[_Piece]) -> int:
    """How many variances of the larger model's pieces have to be zero in the smaller one."""
    new = 0
    homeless = list(small)
    for home in large:
        held = [piece for piece in small if _within(piece, home)]
        homeless = [piece for piece in homeless if piece not in held]
        new += int(not held) if home.shared else home.q - sum(piece.q for piece in held)
    for piece in homeless:
        # One variance that several effects share may come apart into one for each.
        apart = piece.shared and all(
            any(home.q == 1 and not outside(column[:, None], home.z).size for home in large)
            for column in piece.z.T
        )
        if not apart:
            raise _refused(
                f"the larger model's effects of {block.group} do not cover ({piece.text})"
            )
        new -= piece.q
    return new


def _within(piece: _Piece, home: _Piece) -> bool:
    """Whether every covariance of the piece is one of the home's."""
    if home.shared:
        return piece.shared and np.array_equal(piece.z, home.z)
    return not outside(piece.z, home.z).size
