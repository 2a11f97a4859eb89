"""Predictions of a posterior: given a draw, the expected response of a row is normal.

Its mean and variance given draw i are

    population      x'beta_i                                      0
    typical         x'beta_i                                      z'Psi_i z
    existing        x'beta_i + z'E(b | beta_i, Psi_i, sigma_i, y)     z'Var(b | ..., y) z

and those of several groups add up. The posterior is the equal mixture of these normals: its
quantiles are found, not simulated. By the law of total variance it has the variance of the means,
which comes of the parameters, and the mean of the variances, which is that of the groups.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hlm_models.algebra.gram import Gram
from hlm_models.errors import InputErrors
from hlm_models.prediction.asked import Asked
from hlm_models.prediction.given import Draws, effects_given
from hlm_models.prediction.mixture import mixture_quantiles
from hlm_models.prediction.prediction import COLUMNS, Prediction
from hlm_models.results.arguments import checked_seed
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.rows import Rows
from hlm_models.target.conditional import effects_of
from hlm_models.types import FloatArray, IntArray, frozen

__all__ = ["PosteriorPrediction", "posterior_prediction"]

NUMBERS = 500_000
"""About so many numbers at a time: draws by rows by effects."""
WORK = 5e10
"""Multiply-adds that passes over several factors may take; draws are thinned evenly to that."""
PASSES = 200
"""But not to fewer than so many."""


@dataclass(frozen=True, eq=False)
class PosteriorPrediction(Prediction):
    """As `Prediction`, from the draws of a fit; nothing is simulated until `draws` is asked."""

    fit: PosteriorFit
    asked: Asked

    def draws(self, kind: Literal["mean", "new"] = "mean", *, seed: int) -> FloatArray:
        """Joint draws (chains * draws, m) of the rows, one chain after the other.

        Existing and borrowed levels have their effects in the posterior. Those of a typical group
        are drawn from N(0, Psi) of the draw, once a new level: rows go together that have one label
        in the columns of the group; without these, or without a label, a row is a level of its own.

        Parameters
        ----------
        kind : "mean", the expected responses, or "new", new observations: the same with residuals
        seed : the same seed gives the same draws, and the same effects for both kinds

        Raises
        ------
        InputErrors
            another kind, or a seed that is none.
        """
        if kind not in ("mean", "new"):
            raise InputErrors.one(f"kind is mean or new, not {kind!r}", key="kind")
        of_effects, of_residuals = (
            np.random.default_rng(np.random.SeedSequence(checked_seed(seed), spawn_key=(purpose,)))
            for purpose in (0, 1)
        )
        rows, spec = self.asked.rows, self.fit.spec
        posterior = self.fit.data["posterior"].to_dataset()
        chains, count = (posterior.sizes[name] for name in ("chain", "draw"))
        draws = Draws.of(spec, posterior)
        out = (draws.beta @ rows.x.T + rows.offset).reshape(chains, count, rows.m)
        for z, fresh, raw in zip(rows.z, self.asked.fresh, draws.raw, strict=True):
            if fresh is None:
                continue
            q, levels = z.shape[1], int(fresh.max()) + 1
            root = (draws.sigma[:, None, None] * raw).reshape(chains, count, q, q)
            for here in _pieces(count, chains * q * max(levels, rows.m)):
                normals = of_effects.standard_normal((chains, len(here), levels, q))
                b = normals @ np.swapaxes(root[:, here], 2, 3)
                out[:, here] += np.einsum("cdmq,mq->cdm", b[:, :, fresh], z)
        if self.asked.known:
            levels = sum(block.J * block.q for block in spec.blocks)
            for here in _pieces(count, chains * max(levels, rows.m)):
                stored = effects_of(spec, posterior, at=here).values()
                for effects, z, level in zip(stored, rows.z, rows.level, strict=True):
                    [known] = np.nonzero(level >= 0)
                    own = np.take(effects.values, level[known], axis=2)
                    out[:, here[:, None], known] += np.einsum("cdmq,mq->cdm", own, z[known])
        if kind == "new":
            scale = np.asarray(spec.residual.scale(posterior["sigma"].values))[..., None]
            out += of_residuals.standard_normal(out.shape) * scale / np.sqrt(rows.weights)
        return out.reshape(-1, rows.m)


def posterior_prediction(fit: PosteriorFit, asked: Asked, level: float) -> PosteriorPrediction:
    """Means and equal-tailed intervals of the rows that are asked for.

    Raises
    ------
    FitError
        as `effects_given`.
    """
    spec, rows = fit.spec, asked.rows
    draws = Draws.of(spec, fit.data["posterior"].to_dataset())
    one_factor, passed = isinstance(spec.marginal.products, Gram), None
    if asked.known and not one_factor:
        draws = draws.at(_thinned(draws))
        passed = effects_given(draws, rows)
    tails = ((1 - level) / 2, (1 + level) / 2)
    out = {name: np.empty(rows.m) for name in COLUMNS if name != "se"}
    for here in _blocks(rows, draws, by_level=asked.known and one_factor):
        some = _rows_at(rows, here)
        centre = draws.beta @ some.x.T + some.offset
        variance = np.zeros(centre.shape)
        if asked.known:
            mean, left = (
                effects_given(draws, some)
                if passed is None
                else (passed[0][:, here], passed[1][:, here])
            )
            centre, variance = centre + mean, variance + left
        for kind, z, raw in zip(asked.kinds, some.z, draws.raw, strict=True):
            if kind == "typical":
                size = np.square(np.einsum("mq,sqr->smr", z, raw)).sum(axis=2)
                variance += draws.sigma[:, None] ** 2 * size
        residual = np.asarray(spec.residual.scale(draws.sigma))[:, None] ** 2 / some.weights
        out["mean"][here] = centre.mean(axis=0)
        out["var_parameter"][here] = centre.var(axis=0, ddof=1)
        out["var_group"][here] = variance.mean(axis=0)
        out["var_residual"][here] = residual.mean(axis=0)
        spread, wide = np.sqrt(variance), np.sqrt(variance + residual)
        for name, tail in zip(("lower", "upper"), tails, strict=True):
            out[name][here] = mixture_quantiles(tail, centre, spread)
            out[f"pred_{name}"][here] = mixture_quantiles(tail, centre, wide)
    return PosteriorPrediction(
        **{name: frozen(values) for name, values in out.items()},
        level=level,
        index=rows.index,
        fit=fit,
        asked=asked,
    )


def _thinned(draws: Draws) -> IntArray:
    """Draws for which several factors are passed over."""
    products, count = draws.spec.marginal.products, len(draws.sigma)
    assert not isinstance(products, Gram)
    work = products.complement.work + 1_000 * len(products.columns)
    kept = int(np.clip(WORK / work, min(PASSES, count), count))
    return np.linspace(0, count - 1, kept).astype(np.int64)


def _blocks(rows: Rows, draws: Draws, *, by_level: bool) -> Iterator[IntArray]:
    """Rows that are worked on together; those of a level together, where there is work a level."""
    order = np.argsort(rows.level[0], kind="stable") if by_level else np.arange(rows.m)
    size = max((z.shape[1] ** 2 for z in rows.z), default=1)
    step = max(1, NUMBERS // (len(draws.sigma) * size))
    for lo in range(0, rows.m, step):
        yield order[lo : lo + step]


def _rows_at(rows: Rows, here: IntArray) -> Rows:
    return replace(
        rows,
        x=rows.x[here],
        z=tuple(z[here] for z in rows.z),
        level=tuple(level[here] for level in rows.level),
        offset=rows.offset[here],
        weights=rows.weights[here],
        index=rows.index[here],
    )


def _pieces(count: int, size: int) -> list[IntArray]:
    """Draws (each of `size` numbers) that are worked on together."""
    step = max(1, 10 * NUMBERS // size)
    return [np.arange(lo, min(lo + step, count)) for lo in range(0, count, step)]
