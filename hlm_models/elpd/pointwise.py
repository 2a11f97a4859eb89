"""Log likelihoods of every draw of a posterior: of a row given b, of a group with b integrated out.

A group's rows are normal around X beta + Z_C b_C, C being the groups whose drawn effects are given,
with covariance sigma^2 (W^-1 + Z_I P_I Z_I'), I being the groups whose effects are integrated out.
The integrated form of a row is its density given the other rows of its level, of the same normal.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from hlm_models.algebra.correlation import correlation_root
from hlm_models.elpd.grouping import Grouping, grouping
from hlm_models.elpd.level_loops import add_effects, add_rows, log_densities, row_residuals
from hlm_models.elpd.levels import Levels, levels_of, scaled_effects
from hlm_models.errors import InputErrors, RefusalError, nearest
from hlm_models.results.arguments import checked_count
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.point_only import posterior_only
from hlm_models.spec.model import ModelSpec
from hlm_models.target.conditional import effects_of
from hlm_models.types import FloatArray, IntArray

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["Focus", "Form", "LogLikelihood", "log_likelihood"]

Focus = Literal["observation", "group"]
"""A row given the drawn effects, or a group's rows with its effects integrated out."""

Form = Literal["conditional", "integrated"]
"""Of a row: given the drawn effects of its group, or given the other rows of its group."""

CACHED = 32_768
"""Numbers of one temporary: several of them fit into the second cache."""

LARGEST = 200_000_000
"""Most numbers that `LogLikelihood.dataset` makes at once."""


def log_likelihood(
    fit: PosteriorFit,
    focus: Focus = "observation",
    by: str | Grouping | None = None,
    *,
    form: Form = "conditional",
) -> "LogLikelihood":
    """Pointwise log likelihoods of all draws, computed where they are asked for.

    Parameters
    ----------
    focus : "observation" is the log density of a row, a column a row. "group" is the joint log
        density of the rows of each level of `by`, a column a level: the effects of `by` are
        integrated out in closed form, and so are those of every group nested in it, which is one
        whose levels each occur in a single level of `by` in the data; beta, the variances and the
        effects of all other groups are as drawn
    by : a group of the model, which may be left out where there is only one; or any other levels
        of the rows
    form : of focus "observation". "conditional" is log p(y_i | beta, b, sigma). "integrated" is the
        log density given the other rows of the same level of `by`, the effects that focus "group"
        integrates out being integrated out here too

    Raises
    ------
    InputErrors
        `focus`, `form` or `by` is none that there is; `by` is given with the conditional form, or
        left out where the model has several groups; a form is stated with focus "group".
    RefusalError
        the fit is a point fit.
    """
    fit = posterior_only(fit, "log_likelihood")
    for key, given, known in (("focus", focus, get_args(Focus)), ("form", form, get_args(Form))):
        if given not in known:
            raise InputErrors.one(
                f"{given!r} is none of {', '.join(known)}{nearest(given, known)}", key=key
            )
    if focus == "group" and form == "integrated":
        raise InputErrors.one(
            "the effects are always integrated out of the density of a group: leave out form",
            key="form",
        )
    posterior = fit.data["posterior"].to_dataset()
    if focus == "group" or form == "integrated":
        return LogLikelihood(fit.spec, posterior, focus, grouping(fit.spec, by), form)
    if by is not None:
        name = by.name if isinstance(by, Grouping) else by
        raise InputErrors.one(
            f"the density of a row given the drawn effects is not by a group: leave out "
            f"by={name!r}, or take focus='group', or form='integrated'",
            key="by",
        )
    return LogLikelihood(fit.spec, posterior, focus, None)


@dataclass(frozen=True, eq=False)
class LogLikelihood:
    """Log likelihoods (chains, draws, size), of which no more is made than is asked for.

    A column is a row of the model, or where the focus is "group" a level of `grouping`. Else that
    is whose other rows the integrated form is given; None of the conditional form.
    """

    spec: ModelSpec
    posterior: "xr.Dataset"
    focus: Focus
    grouping: Grouping | None
    form: Form = "conditional"

    @property
    def by(self) -> str | None:
        """What the columns are levels of; None where they are rows."""
        return self.grouping.name if self.focus == "group" and self.grouping else None

    @property
    def names(self) -> Sequence[int] | Sequence[str]:
        """What the columns are called: rows by number from 0, levels by label."""
        if self.focus == "group" and self.grouping:
            return self.grouping.labels
        return range(self.spec.design.n)

    @property
    def size(self) -> int:
        """Number of columns."""
        return len(self.names)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.posterior.sizes["chain"], self.posterior.sizes["draw"], self.size

    def rows(self, column: int) -> IntArray:
        """Numbers of the rows whose density a column is.

        Raises
        ------
        InputErrors
            there is no such column.
        """
        [column] = self._checked(np.array([column]))
        if self.focus == "observation":
            return np.array([column])
        starts = self._levels.row_starts
        return self._levels.rows[starts[column] : starts[column + 1]]

    def block(self, start: int, stop: int) -> FloatArray:
        """Columns `start` to `stop` (chains, draws, stop - start).

        Raises
        ------
        InputErrors
            they are not among the columns.
        """
        if not 0 <= start <= stop <= self.size:
            raise InputErrors.one(
                f"columns {start} to {stop} are not among the {self.size:,} that there are",
                key="block",
            )
        return self.take(np.arange(start, stop))

    def take(self, columns: IntArray) -> FloatArray:
        """Some columns (chains, draws, len(columns)), each of them once.

        Raises
        ------
        InputErrors
            one is not among the columns, or there twice.
        """
        if self.form == "integrated":
            residual, log_sd = self.predictive(columns)
            residual *= residual
            residual /= -2
            residual -= log_sd
            residual -= math.log(2 * math.pi) / 2
            return residual
        [found] = self._filled(self._rows if self.grouping is None else self._groups, columns, 1)
        return found

    def predictive(self, columns: IntArray) -> tuple[FloatArray, FloatArray]:
        """Of some rows, y_i less the mean that it has at a draw, in its sds there; log of that sd.

        Both (chains, draws, len(columns)); of the density that a column is the logarithm of.

        Raises
        ------
        InputErrors
            as `take`; the columns are levels.
        """
        if self.focus == "group":
            raise InputErrors.one("rows have a mean and an sd, and levels have not", key="focus")
        rows = self._given_rows if self.grouping is None else self._rows_within
        residual, log_sd = self._filled(rows, columns, 2)
        return residual, log_sd

    def blocks(
        self, numbers: int = 20_000_000, columns: IntArray | None = None
    ) -> Iterator[tuple[IntArray, FloatArray]]:
        """Columns in turn, and which they are: so many numbers at a time, or one column.

        Columns that are cheap to make together come together; else they are in order.

        Parameters
        ----------
        columns : those wanted; all of them where it is left out

        Raises
        ------
        InputErrors
            `numbers` is no whole number above 0; as `take`.
        """
        chains, draws, size = self.shape
        step = max(1, checked_count(numbers, "numbers") // (chains * draws))
        order = np.arange(size) if columns is None else self._checked(columns)
        if self.form == "integrated" and self.grouping is not None:
            order = order[np.argsort(self.grouping.level[order], kind="stable")]
        for start in range(0, len(order), step):
            here = order[start : start + step]
            yield here, self.take(here)

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

    def _filled(
        self, pieces: "Callable[[IntArray], _Piece]", columns: IntArray, count: int
    ) -> tuple[FloatArray, ...]:
        """What `pieces` makes of columns whose levels are next to each other, put together."""
        chains, draws, _ = self.shape
        columns = self._checked(columns)
        found = tuple(np.empty((chains, draws, len(columns))) for _ in range(count))
        if not len(columns):
            return found
        # Neighbours are made together; a row given the drawn effects has none.
        level = np.zeros(len(columns), dtype=np.int64)
        if self.grouping is not None:
            level = columns if self.focus == "group" else self.grouping.level[columns]
        order = np.argsort(level, kind="stable")
        breaks = np.flatnonzero(np.diff(level[order]) > 1) + 1
        in_order = np.array_equal(order, np.arange(len(order)))
        for lo, hi in zip([0, *breaks], [*breaks, len(order)], strict=True):
            places = slice(lo, hi) if in_order else order[lo:hi]
            compute, width = pieces(columns[places])
            step = max(1, CACHED // max(1, width))
            for chain in range(chains):
                for start in range(0, draws, step):
                    at = slice(start, min(start + step, draws))
                    for out, values in zip(found, compute(chain, at), strict=True):
                        out[chain][at, places] = values
        return found

    def _checked(self, columns: IntArray) -> IntArray:
        given = np.asarray(columns, dtype=np.int64)
        outside = given[(given < 0) | (given >= self.size)]
        if len(outside):
            raise InputErrors.one(
                f"column {outside[0]} is not among the {self.size:,} that there are", key="columns"
            )
        if len(np.unique(given)) < len(given):
            raise InputErrors.one("a column is there twice", key="columns")
        return given

    def _rows(self, rows: IntArray) -> "_Piece":
        """What computes log p(y_i | beta, b, sigma) of some rows, and the length of its arrays."""
        spec = self.spec
        predict = self._predictor(rows, tuple(range(len(spec.blocks))))
        y, roots = spec.design.y[rows], _part(spec.design.root_weights, rows)

        def compute(chain: int, at: slice) -> tuple[FloatArray]:
            scale = spec.residual.scale(self._sigma[chain, at, None])
            eta = predict(chain, at)
            if roots is None:
                return (spec.family.log_density(y, eta, scale),)
            # The density of root w y: one logarithm of sigma a draw, not one a row and draw.
            return (spec.family.log_density(roots * y, roots * eta, scale) + np.log(roots),)

        return compute, len(rows)

    def _given_rows(self, rows: IntArray) -> "_Piece":
        """What computes the residuals and sds of some rows given the drawn effects."""
        spec = self.spec
        predict = self._predictor(rows, tuple(range(len(spec.blocks))))
        y, roots = spec.design.y[rows], _part(spec.design.root_weights, rows)

        def compute(chain: int, at: slice) -> tuple[FloatArray, FloatArray]:
            sd = spec.residual.scale(self._sigma[chain, at, None])
            sd = sd * np.ones(len(rows)) if roots is None else sd / roots
            return (y - predict(chain, at)) / sd, np.log(sd)

        return compute, len(rows)

    def _groups(self, levels: IntArray) -> "_Piece":
        """What computes the log density of the rows of some levels, and the size of its arrays."""
        parts, start, stop = self._levels, int(levels[0]), int(levels[-1]) + 1
        sums, width = self._sums(start, stop)
        work = self._work(start, stop)

        def compute(chain: int, at: slice) -> tuple[FloatArray]:
            square, right = sums(chain, at)
            sigma = self.spec.residual.scale(self._sigma[chain, at])
            found = np.empty((len(sigma), stop - start))
            factors = np.ascontiguousarray(self._factors[:, chain, at])
            log_densities(
                square, right, sigma, factors, parts.q, parts.starts, parts.first, parts.cells,
                parts.cell_starts, parts.values, parts.count, parts.constant, start,
                work, found,
            )  # fmt: skip
            return (found,)

        return compute, width

    def _rows_within(self, rows: IntArray) -> "_Piece":
        """What computes the residuals and sds of some rows given the others of their levels."""
        assert self.grouping is not None
        design, parts = self.spec.design, self._levels
        level = self.grouping.level[rows]
        start, stop = int(level[0]), int(level[-1]) + 1
        sums, width = self._sums(start, stop)
        work = self._work(start, stop)
        predict = self._predictor(rows, parts.given)
        y, roots = design.y[rows], _part(design.root_weights, rows)
        Z, columns = scaled_effects(design, parts.integrated, rows), self._columns(rows, start)
        row_starts = np.searchsorted(level, np.arange(start, stop + 1))

        def compute(chain: int, at: slice) -> tuple[FloatArray, FloatArray]:
            _, right = sums(chain, at)
            r = y - predict(chain, at)
            if roots is not None:
                r *= roots
            diagonal = np.empty(r.shape)
            factors = np.ascontiguousarray(self._factors[:, chain, at])
            row_residuals(
                right, r, factors, parts.q, parts.starts, parts.first, parts.below,
                parts.below_starts, parts.cells, parts.cell_starts, parts.values, start, Z, columns,
                row_starts, work, diagonal,
            )  # fmt: skip
            # The mean of row i given the others is r_i less (V^-1 r)_i / (V^-1)_ii.
            sigma = self.spec.residual.scale(self._sigma[chain, at, None])
            r /= sigma * np.sqrt(diagonal)
            log_sd = np.log(sigma) - np.log(diagonal) / 2
            return r, log_sd if roots is None else log_sd - np.log(roots)

        return compute, max(width, len(rows))

    def _sums(self, start: int, stop: int) -> "tuple[_Sums, int]":
        """What gives r'r (draws, levels) and Z_I'r (draws, effects) of some levels."""
        return (self._sums_of_rows if self._levels.given else self._products)(start, stop)

    def _products(self, start: int, stop: int) -> "tuple[_Sums, int]":
        """The sums from W'W and Z_I'W, which are made once: r = W v."""
        design, parts = self.spec.design, self._levels
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

    def _sums_of_rows(self, start: int, stop: int) -> "tuple[_Sums, int]":
        """The sums from the rows, whose r is another with every draw's effects of C."""
        assert self.grouping is not None
        design, parts = self.spec.design, self._levels
        rows = parts.rows[parts.row_starts[start] : parts.row_starts[stop]]
        predict = self._predictor(rows, parts.given)
        y, roots = design.y[rows], _part(design.root_weights, rows)
        level = self.grouping.level[rows] - start
        Z, columns = scaled_effects(design, parts.integrated, rows), self._columns(rows, start)
        effects = parts.starts[stop] - parts.starts[start]

        def sums(chain: int, at: slice) -> tuple[FloatArray, FloatArray]:
            r = y - predict(chain, at)
            if roots is not None:
                r *= roots
            square, right = np.zeros((len(r), stop - start)), np.zeros((len(r), effects))
            add_rows(r, level, columns, Z, square, right)
            return square, right

        return sums, max(len(rows), effects)

    def _columns(self, rows: IntArray, start: int) -> IntArray:
        """Where the effects of rows are (m, sum q) among those of the levels from `start` on."""
        design, parts = self.spec.design, self._levels
        found = [np.zeros((len(rows), 0), dtype=np.int64)]
        for f, column in zip(parts.integrated, parts.column, strict=True):
            block = design.blocks[f]
            found.append(column[block.level[rows], None] + np.arange(block.q))
        return np.asarray(np.hstack(found) - parts.starts[start])

    def _work(self, start: int, stop: int) -> tuple[FloatArray, IntArray, FloatArray, FloatArray]:
        """Room for one of some levels: the skyline of A, where its rows start, c, and a block."""
        parts = self._levels
        length = np.arange(len(parts.first)) - parts.first + 1
        skyline = np.concatenate([[0], np.cumsum(length)])[parts.starts[start : stop + 1]]
        most = int(np.max(np.diff(parts.starts[start : stop + 1])))
        q = self._factors.shape[-1]
        return (
            np.empty(int(np.max(np.diff(skyline)))),
            np.empty(most, dtype=np.int64),
            np.empty(most),
            np.empty((q, q)),
        )

    def _predictor(self, rows: IntArray, given: tuple[int, ...]) -> "_Predict":
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
                add_effects(eta, z, level, self._effects(f, chain, at))
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
    def _levels(self) -> Levels:
        assert self.grouping is not None
        return levels_of(self.spec.design, self.grouping)

    @cached_property
    def _factors(self) -> FloatArray:
        """Lambda in scaled columns of the effects that are integrated (I, chains, draws, q, q)."""
        q = int(self._levels.q.max(initial=0))
        found = np.zeros((len(self._levels.q), *self.shape[:2], q, q))
        scale = self.spec.residual.scale(self._sigma)
        for i, f in enumerate(self._levels.integrated):
            block = self.spec.blocks[f]
            sd, corr = self._values(f"sd_{block.group}"), self._values(f"corr_{block.group}")
            raw = sd[..., None] * correlation_root(corr) / scale[..., None, None]
            found[i, ..., : block.q, : block.q] = self.spec.design.z_scalings[f].R @ raw
        return found


_Compute = Callable[[int, slice], tuple[FloatArray, ...]]
"""Of one chain and some of its draws: arrays (draws, columns)."""

_Piece = tuple[_Compute, int]
"""What computes some columns, and about how many numbers a draw it works on."""

_Sums = Callable[[int, slice], tuple[FloatArray, FloatArray]]
"""Of one chain and some of its draws: r'r (draws, levels) and Z_I'r (draws, effects)."""

_Predict = Callable[[int, slice], FloatArray]
"""Of one chain and some of its draws: (draws, rows)."""


def _part(values: FloatArray | None, rows: IntArray) -> FloatArray | None:
    return None if values is None else values[rows]
