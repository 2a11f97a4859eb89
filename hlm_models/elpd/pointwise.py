"""Log likelihoods of every draw of a posterior: of a row given b, of a group with b integrated out.

A group's rows are normal around X beta + Z_C b_C, C being the groups whose drawn effects are given,
with covariance sigma^2 (W^-1 + Z_I P_I Z_I'), I being the groups whose effects are integrated out.
With r the residuals of a level's rows, times the roots of the weights like Z_I, P_I = Lambda
Lambda', and A = 1 + Lambda' Z_I' Z_I Lambda = L L':

    -(n_j / 2) log(2 pi sigma^2) + sum log w_i / 2 - log|A| / 2
        - (r'r - |L^-1 Lambda' Z_I' r|^2) / (2 sigma^2)

L keeps the skyline of A. Levels come after those nested in them, so that nothing fills it in.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numba import njit

from hlm_models.design.build import Design, RandomBlock
from hlm_models.design.find_block import find_block
from hlm_models.errors import InputErrors, RefusalError, nearest
from hlm_models.results.arguments import checked_count
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.point_only import posterior_only
from hlm_models.spec.model import ModelSpec
from hlm_models.target.conditional import effects_of
from hlm_models.types import FloatArray, IntArray

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Focus", "LogLikelihood", "log_likelihood"]

Focus = Literal["observation", "group"]
"""A row given the drawn effects, or a group's rows with its effects integrated out."""

CACHED = 32_768
"""Numbers of one temporary: several of them fit into the second cache."""

LARGEST = 200_000_000
"""Most numbers that `LogLikelihood.dataset` makes at once."""


def log_likelihood(
    fit: PosteriorFit, focus: Focus = "observation", by: str | None = None
) -> "LogLikelihood":
    """Pointwise log likelihoods of all draws, computed where they are asked for.

    Parameters
    ----------
    focus : "observation" is log p(y_i | beta, b, sigma), a column a row. "group" is the joint log
        density of the rows of each level of `by`, a column a level: the effects of `by` are
        integrated out in closed form, and so are those of every group nested in it, which is one
        whose levels each occur in a single level of `by` in the data; beta, the variances and the
        effects of all other groups are as drawn
    by : a group of the model; may be left out where there is only one

    Raises
    ------
    InputErrors
        `focus` or `by` is none that there is; `by` is given with focus "observation", or left out
        where the model has several groups.
    RefusalError
        the fit is a point fit.
    """
    fit = posterior_only(fit, "log_likelihood")
    if focus not in get_args(Focus):
        raise InputErrors.one(
            f"{focus!r} is none of {', '.join(get_args(Focus))}{nearest(focus, get_args(Focus))}",
            key="focus",
        )
    posterior = fit.data["posterior"].to_dataset()
    if focus == "group":
        found = find_block(fit.spec.design, by, key="by").group
        return LogLikelihood(fit.spec, posterior, focus, found)
    if by is not None:
        raise InputErrors.one(
            f"the log likelihood of a row is not by a group: leave out by={by!r}, or take "
            "focus='group'",
            key="by",
        )
    return LogLikelihood(fit.spec, posterior, focus, None)


@dataclass(frozen=True, eq=False)
class LogLikelihood:
    """Log likelihoods (chains, draws, size), of which no more is made than is asked for.

    A column is a row of the model, or a level of the group `by`.
    """

    spec: ModelSpec
    posterior: "xr.Dataset"
    focus: Focus
    by: str | None

    @property
    def names(self) -> Sequence[int] | Sequence[str]:
        """What the columns are called: rows by number from 0, levels by label."""
        if self.by is None:
            return range(self.spec.design.n)
        return find_block(self.spec.design, self.by).labels

    @property
    def size(self) -> int:
        """Number of columns."""
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.posterior.sizes["chain"], self.posterior.sizes["draw"], self.size

    def block(self, start: int, stop: int) -> FloatArray:
        """Columns `start` to `stop` (chains, draws, stop - start).

        Raises
        ------
        InputErrors
            they are not among the columns.
        """
        chains, draws, size = self.shape
        if not 0 <= start <= stop <= size:
            raise InputErrors.one(
                f"columns {start} to {stop} are not among the {size:,} that there are", key="block"
            )
        found = np.empty((chains, draws, stop - start))
        compute, width = (self._rows if self.by is None else self._levels)(start, stop)
        step = max(1, CACHED // max(1, width))
        for chain in range(chains):
            for lo in range(0, draws, step):
                at = slice(lo, min(lo + step, draws))
                found[chain, at] = compute(chain, at)
        return found

    def blocks(self, numbers: int = 20_000_000) -> Iterator[tuple[slice, FloatArray]]:
        """All columns in turn, and which they are: so many numbers at a time, or one column.

        Raises
        ------
        InputErrors
            `numbers` is no whole number above 0.
        """
        chains, draws, size = self.shape
        step = max(1, checked_count(numbers, "numbers") // (chains * draws))
        for start in range(0, size, step):
            stop = min(start + step, size)
            yield slice(start, stop), self.block(start, stop)

    def dataset(self) -> "xr.Dataset":
        """All columns as `y_obs` (chain, draw, obs), or (chain, draw, GROUP) where they are levels.

        Raises
        ------
        RefusalError
            they are more than 200,000,000 numbers.
        """
        import xarray as xr

        if math.prod(self.shape) > LARGEST:
            raise RefusalError(
                "x".join(f"{length:,}" for length in self.shape)
                + f" log likelihoods are more than {LARGEST:,} numbers: take them a few columns at "
                "a time, from blocks()"
            )
        column = self.by or "obs"
        return xr.Dataset(
            {"y_obs": (("chain", "draw", column), self.block(0, self.size))},
            coords={name: self.posterior[name] for name in ("chain", "draw")}
            | {column: np.asarray(self.names)},
        )

    def _rows(self, start: int, stop: int) -> "tuple[_Compute, int]":
        """What computes log p(y_i | beta, b, sigma) of some rows, and the length of its arrays."""
        spec, rows = self.spec, slice(start, stop)
        predict = self._predictor(rows, tuple(range(len(spec.blocks))))
        y, roots = spec.design.y[rows], _part(spec.design.root_weights, rows)

        def compute(chain: int, at: slice) -> FloatArray:
            scale = spec.residual.scale(self._sigma[chain, at, None])
            eta = predict(chain, at)
            if roots is None:
                return spec.family.log_density(y, eta, scale)
            # The density of root w y: one logarithm of sigma a draw, not one a row and draw.
            return spec.family.log_density(roots * y, roots * eta, scale) + np.log(roots)

        return compute, stop - start

    def _levels(self, start: int, stop: int) -> "tuple[_Compute, int]":
        """What computes the log density of the rows of some levels, and the size of its arrays."""
        parts = self._parts
        sums, width = (self._products if not parts.given else self._sums)(start, stop)
        # Skyline, where its rows start, and L^-1 Lambda' Z_I'r, of one level.
        first = parts.first - np.arange(len(parts.first))
        lengths = np.concatenate([[0], np.cumsum(1 - first)])[parts.starts]
        most = int(np.max(np.diff(parts.starts)))
        work = np.empty(np.max(np.diff(lengths))), np.empty(most, dtype=np.int64), np.empty(most)

        def compute(chain: int, at: slice) -> FloatArray:
            square, right = sums(chain, at)
            sigma = self.spec.residual.scale(self._sigma[chain, at])
            found = np.empty((len(sigma), stop - start))
            factors = np.ascontiguousarray(self._factors[:, chain, at])
            _log_densities(
                square, right, sigma, factors, parts.q, parts.starts, parts.first, parts.cells,
                parts.cell_starts, parts.values, parts.count, parts.constant, start,
                work, found,
            )  # fmt: skip
            return found

        return compute, width

    def _products(self, start: int, stop: int) -> "tuple[_Sums, int]":
        """What gives r'r (draws, levels) and Z_I'r (draws, effects) from W'W and Z_I'W: r = W v."""
        design, parts = self.spec.design, self._parts
        k = design.p + 1
        WW = parts.square[:, start:stop]
        ZW = parts.right[:, parts.starts[start] : parts.starts[stop]]
        row, column = np.tril_indices(k)
        twice = np.where(row == column, 1.0, 2.0)

        def sums(chain: int, at: slice) -> tuple[FloatArray, FloatArray]:
            beta = self._beta[chain, at]
            v = np.ones((len(beta), k))
            v[:, :-1] = design.y_fit - beta @ design.x_scaling.R.T
            return (v[:, row] * v[:, column] * twice) @ WW, v @ ZW

        return sums, max(WW.shape[1], ZW.shape[1])

    def _sums(self, start: int, stop: int) -> "tuple[_Sums, int]":
        """What gives the same from the rows, whose r is another with every draw's effects of C."""
        design, parts = self.spec.design, self._parts
        rows = parts.rows[parts.row_starts[start] : parts.row_starts[stop]]
        predict = self._predictor(rows, parts.given)
        y, roots = design.y[rows], _part(design.root_weights, rows)
        level = find_block(design, self.by).level[rows] - start
        Z = _scaled_effects(design, parts.integrated, rows)
        columns = np.column_stack(
            [
                column[design.blocks[f].level[rows], None] + np.arange(design.blocks[f].q)
                for f, column in zip(parts.integrated, parts.column, strict=True)
            ]
        )
        columns -= parts.starts[start]
        effects = parts.starts[stop] - parts.starts[start]

        def sums(chain: int, at: slice) -> tuple[FloatArray, FloatArray]:
            r = y - predict(chain, at)
            if roots is not None:
                r *= roots
            square, right = np.zeros((len(r), stop - start)), np.zeros((len(r), effects))
            _add_rows(r, level, columns, Z, square, right)
            return square, right

        return sums, max(len(rows), effects)

    def _predictor(self, rows: slice | IntArray, given: tuple[int, ...]) -> "_Compute":
        """What gives X beta + offset + sum z_f'b_f (draws, m) of some rows, f in `given`."""
        design = self.spec.design
        X, offset = design.X[rows], _part(design.offset, rows)
        blocks = [(f, design.blocks[f]) for f in given]
        parts = [
            (f, np.ascontiguousarray(block.z[rows].T), block.level[rows].astype(np.uintp))
            for f, block in blocks
        ]

        def predict(chain: int, at: slice) -> FloatArray:
            eta = self._beta[chain, at] @ X.T
            if offset is not None:
                eta += offset
            for f, z, level in parts:
                _add_effects(eta, z, level, self._effects(f, chain, at))
            return eta

        return predict

    def _effects(self, f: int, chain: int, draws: slice) -> FloatArray:
        """The drawn effects (draws, J, q) of a block."""
        return np.ascontiguousarray(self._b[f][chain, draws])

    @cached_property
    def _b(self) -> tuple[FloatArray, ...]:
        """Drawn effects (chains, draws, J, q) of every block; where not stored, drawn again."""
        found = effects_of(self.spec, self.posterior)
        return tuple(found[f"b_{block.group}"].to_numpy() for block in self.spec.blocks)

    @cached_property
    def _beta(self) -> FloatArray:
        """Drawn coefficients (chains, draws, p)."""
        return self._values("beta") if self.spec.design.p else np.zeros((*self.shape[:2], 0))

    @cached_property
    def _sigma(self) -> FloatArray:
        """Drawn sigma (chains, draws)."""
        return self._values("sigma")

    def _values(self, name: str) -> FloatArray:
        values: FloatArray = self.posterior[name].transpose("chain", "draw", ...).to_numpy()
        return values

    @cached_property
    def _parts(self) -> "_Parts":
        return _parts(self.spec.design, find_block(self.spec.design, self.by))

    @cached_property
    def _factors(self) -> FloatArray:
        """Lambda in scaled columns of the effects that are integrated (I, chains, draws, q, q)."""
        q = int(self._parts.q.max())
        found = np.zeros((len(self._parts.q), *self.shape[:2], q, q))
        scale = self.spec.residual.scale(self._sigma)
        for i, f in enumerate(self._parts.integrated):
            block = self.spec.blocks[f]
            sd, corr = self._values(f"sd_{block.group}"), self._values(f"corr_{block.group}")
            # Any root will do, and this one is there too where a correlation is rounded to 1.
            values, axes = np.linalg.eigh(corr)
            root = sd[..., None] * axes * np.sqrt(np.maximum(values, 0.0))[..., None, :]
            raw = root / scale[..., None, None]
            found[i, ..., : block.q, : block.q] = self.spec.design.z_scalings[f].R @ raw
        return found


_Compute = Callable[[int, slice], FloatArray]
"""Of one chain and some of its draws: (draws, columns)."""

_Sums = Callable[[int, slice], tuple[FloatArray, FloatArray]]
"""Of one chain and some of its draws: r'r (draws, levels) and Z_I'r (draws, effects)."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the levels of a group need of the data, in scaled columns.

    integrated, given : the blocks I, the group's own first, and C; q (I,) are sizes of the former
    rows (n,) : all rows, level by level, from `row_starts` on
    column : for each of I, where in A the effects of its levels start; those within level j of
        the group are from starts[j] to starts[j + 1], and row i of A starts at column first[i]
    cells (m, 4) : row, column, and the block in I of each, of the blocks of Z_I'Z_I on and below
        its diagonal; `values` (m, q, q) are they, those of level j from cell_starts[j] on
    count, constant (J,) : n_j, and sum log w_i / 2 - (n_j / 2) log(2 pi)
    square (k (k + 1) / 2, J), right (k, effects) : lower triangle of W_j'W_j, and W'Z_I; empty
        where C is not
    """

    integrated: tuple[int, ...]
    given: tuple[int, ...]
    q: IntArray
    rows: IntArray
    row_starts: IntArray
    column: tuple[IntArray, ...]
    starts: IntArray
    first: IntArray
    cells: IntArray
    cell_starts: IntArray
    values: FloatArray
    count: IntArray
    constant: FloatArray
    square: FloatArray
    right: FloatArray


def _parts(design: Design, by: RandomBlock) -> _Parts:
    blocks = design.blocks
    own = next(f for f, block in enumerate(blocks) if block is by)
    nested = [f for f, block in enumerate(blocks) if f != own and _nested(block, by)]
    # Coarse ones first; blocks are sorted by their number of levels.
    integrated = (own, *reversed(nested))
    given = tuple(f for f in range(len(blocks)) if f not in integrated)
    column, starts = _columns([blocks[f] for f in integrated])
    cells, values = _cells(design, integrated, column)
    first = np.arange(starts[-1])
    np.minimum.at(first, cells[:, 0], cells[:, 1])
    for f, begins in zip(integrated, column, strict=True):
        for a in range(1, blocks[f].q):
            first[begins + a] = first[begins]
    owner = np.searchsorted(starts, cells[:, 0], side="right") - 1
    order = np.argsort(owner, kind="stable")
    count = by.sizes
    constant = np.asarray(count * (-0.5 * math.log(2 * math.pi)), dtype=np.float64)
    if design.weights is not None:
        constant += np.bincount(by.level, np.log(design.weights), by.J) / 2
    square, right = np.zeros((0, 0)), np.zeros((0, 0))
    if not given:
        square, right = _cross_products(design, by, integrated, column, int(starts[-1]))
    return _Parts(
        integrated=integrated,
        given=given,
        q=np.array([blocks[f].q for f in integrated]),
        rows=np.argsort(by.level, kind="stable"),
        row_starts=np.concatenate([[0], np.cumsum(count)]),
        column=column,
        starts=starts,
        first=first,
        cells=cells[order],
        cell_starts=np.searchsorted(owner[order], np.arange(by.J + 1)),
        values=values[order],
        count=count,
        constant=constant,
        square=square,
        right=right,
    )


def _nested(inner: RandomBlock, outer: RandomBlock) -> bool:
    """Whether each level of `inner` occurs in one level of `outer` only."""
    return bool(np.all(_levels_of(inner, outer)[inner.level] == outer.level))


def _levels_of(inner: RandomBlock, outer: RandomBlock) -> IntArray:
    """The level (J,) of `outer` that the levels of `inner` have in one of their rows."""
    found = np.zeros(inner.J, dtype=np.int64)
    found[inner.level] = outer.level
    return found


def _columns(blocks: list[RandomBlock]) -> tuple[tuple[IntArray, ...], IntArray]:
    """Where the effects of each block's levels start, and those within each level of the first.

    A level stands after all that are nested in it; blocks that are not nested in one another stand
    with the most levels first.
    """
    keys = []
    for inner in blocks:
        own = [
            _levels_of(inner, outer)
            if _nested(inner, outer)
            else np.full(inner.J, outer.J if _nested(outer, inner) else -1)
            for outer in blocks
        ]
        keys.append(np.array(own))
    sizes = np.concatenate([np.full(block.J, block.q) for block in blocks])
    key = np.concatenate(keys, axis=1)
    order = np.lexsort(key[::-1])
    begins = np.empty(len(order), dtype=np.int64)
    begins[order] = np.cumsum(sizes[order]) - sizes[order]
    within = np.bincount(key[0], sizes, blocks[0].J).astype(np.int64)
    column = np.split(begins, np.cumsum([block.J for block in blocks])[:-1])
    return tuple(column), np.concatenate([[0], np.cumsum(within)])


def _cells(
    design: Design, integrated: tuple[int, ...], column: tuple[IntArray, ...]
) -> tuple[IntArray, FloatArray]:
    """The blocks of Z_I'Z_I on and below its diagonal, and where each stands."""
    blocks = [design.blocks[f] for f in integrated]
    q = max(block.q for block in blocks)
    Z = [_scaled_effects(design, (f,), slice(None)) for f in integrated]
    cells, values = [], []
    for e, left in enumerate(blocks):
        for f, right in enumerate(blocks[: e + 1]):
            key = left.level if e == f else left.level * np.int64(right.J) + right.level
            met, place = np.unique(key, return_inverse=True)
            first, second = (met, met) if e == f else np.divmod(met, right.J)
            found = np.zeros((len(met), q, q))
            for a in range(left.q):
                for b in range(right.q):
                    found[:, a, b] = np.bincount(place, Z[e][:, a] * Z[f][:, b], len(met))
            row, other = column[e][first], column[f][second]
            below = row >= other
            here = np.full(len(met), e), np.full(len(met), f)
            cells.append(
                np.column_stack(
                    [
                        np.where(below, row, other),
                        np.where(below, other, row),
                        np.where(below, *here),
                        np.where(below, *here[::-1]),
                    ]
                )
            )
            values.append(np.where(below[:, None, None], found, np.swapaxes(found, 1, 2)))
    return np.concatenate(cells), np.concatenate(values)


def _cross_products(
    design: Design,
    by: RandomBlock,
    integrated: tuple[int, ...],
    column: tuple[IntArray, ...],
    effects: int,
) -> tuple[FloatArray, FloatArray]:
    """Lower triangle of W_j'W_j (k (k + 1) / 2, J), and W'Z_I (k, effects)."""
    fixed = design.x_scaling.apply(design.X)
    W = np.vstack([fixed.T, design.y_net - fixed @ design.y_fit])
    if design.root_weights is not None:
        W *= design.root_weights
    pairs = zip(*np.tril_indices(len(W)), strict=True)
    square = np.array([np.bincount(by.level, W[c] * W[d], by.J) for c, d in pairs])
    right = np.zeros((len(W), effects))
    for f, begins in zip(integrated, column, strict=True):
        block = design.blocks[f]
        for a, z in enumerate(_scaled_effects(design, (f,), slice(None)).T):
            for c, w in enumerate(W):
                right[c, begins + a] = np.bincount(block.level, w * z, block.J)
    return square, right


def _scaled_effects(design: Design, which: tuple[int, ...], rows: slice | IntArray) -> FloatArray:
    """Columns of some blocks side by side, scaled, times the roots of the weights."""
    Z = np.column_stack([design.z_scalings[f].apply(design.blocks[f].z[rows]) for f in which])
    roots = _part(design.root_weights, rows)
    return Z if roots is None else Z * roots[:, None]


def _part(values: FloatArray | None, rows: slice | IntArray) -> FloatArray | None:
    return None if values is None else values[rows]


@njit(cache=True)
def _add_effects(eta, z, level, b):  # type: ignore[no-untyped-def]
    """Add to eta (draws, m) the sum of z (q, m) times b (draws, J, q) of each row's level."""
    for d in range(eta.shape[0]):
        for a in range(z.shape[0]):
            for i in range(eta.shape[1]):
                eta[d, i] += z[a, i] * b[d, level[i], a]


@njit(cache=True)
def _add_rows(r, level, columns, Z, square, right):  # type: ignore[no-untyped-def]
    """Add r'r of each level to `square`, and Z'r to `right`; row i of Z is at `columns`[i]."""
    m, q = Z.shape
    for d in range(len(r)):
        for i in range(m):
            value = r[d, i]
            square[d, level[i]] += value * value
            for a in range(q):
                right[d, columns[i, a]] += Z[i, a] * value


@njit(cache=True, error_model="numpy")
def _log_densities(  # type: ignore[no-untyped-def] # noqa: PLR0912
    square, right, sigma, factors, q, starts, first, cells, cell_starts, values, count, constant,
    start, work, found
):  # fmt: skip
    """Fill `found` (draws, levels) with the log densities of levels from `start` on.

    square (draws, levels) is r'r and right (draws, effects) Z_I'r of these levels; factors
    (I, draws, q, q) are the Lambdas; what has no level to it here is of `_Parts`. A is stored by
    rows, each from its first column on; L takes its place.
    """
    A, at, c = work
    half = np.empty((factors.shape[2], factors.shape[2]))
    for d in range(found.shape[0]):
        variance = sigma[d] ** 2
        for j in range(start, start + found.shape[1]):
            lo = starts[j]
            m = starts[j + 1] - lo
            # Column t of row i is A[at[i] + t].
            size = 0
            for i in range(m):
                at[i] = size - (first[lo + i] - lo)
                for t in range(size, at[i] + i):
                    A[t] = 0.0
                A[at[i] + i] = 1.0
                size = at[i] + i + 1
            for s in range(cell_starts[j], cell_starts[j + 1]):
                row, column = cells[s, 0] - lo, cells[s, 1] - lo
                e, f = cells[s, 2], cells[s, 3]
                if row == column:
                    for a in range(q[e]):
                        c[row + a] = 0.0
                        for b in range(q[e]):
                            c[row + a] += (
                                factors[e, d, b, a] * right[d, cells[s, 0] - starts[start] + b]
                            )
                for a in range(q[e]):
                    for b in range(q[f]):
                        half[a, b] = 0.0
                        for g in range(q[f]):
                            half[a, b] += values[s, a, g] * factors[f, d, g, b]
                for a in range(q[e]):
                    for b in range(a + 1 if row == column else q[f]):
                        total = 0.0
                        for g in range(q[e]):
                            total += factors[e, d, g, a] * half[g, b]
                        A[at[row + a] + column + b] += total
            logdet, explained = 0.0, 0.0
            for i in range(m):
                begin = first[lo + i] - lo
                right_side, pivot = c[i], A[at[i] + i]
                for t in range(begin, i):
                    total = A[at[i] + t]
                    for u in range(max(begin, first[lo + t] - lo), t):
                        total -= A[at[i] + u] * A[at[t] + u]
                    total /= A[at[t] + t]
                    A[at[i] + t] = total
                    pivot -= total * total
                    right_side -= total * c[t]
                logdet += np.log(pivot)
                A[at[i] + i] = np.sqrt(pivot)
                c[i] = right_side / A[at[i] + i]
                explained += c[i] * c[i]
            found[d, j - start] = (
                constant[j] - count[j] * np.log(sigma[d]) - logdet / 2
                - (square[d, j - start] - explained) / (2 * variance)
            )  # fmt: skip
