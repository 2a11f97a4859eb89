"""Predictions of a point fit: the joint uncertainty of beta and b, theta taken as known."""

from dataclasses import dataclass

import numpy as np

from hlm_models.prediction.asked import Asked
from hlm_models.prediction.prediction import Prediction
from hlm_models.results.estimates import phi
from hlm_models.results.extract import estimated
from hlm_models.results.fits import PointFit
from hlm_models.types import FloatArray, frozen

__all__ = ["PointPrediction", "point_prediction"]


@dataclass(frozen=True, eq=False)
class PointPrediction(Prediction):
    """As `Prediction`, from the estimates.

    `df` and `pred_df` (m,) are Satterthwaite's degrees of freedom of the mean's variance and of a
    new observation's: the intervals are those of t distributions.
    """

    df: FloatArray
    pred_df: FloatArray


def point_prediction(fit: PointFit, asked: Asked, level: float) -> PointPrediction:
    """Means and intervals of the rows that are asked for.

    Source: Henderson (1975), doi:10.2307/2529430, for the joint variance of beta and b.
    """
    from scipy.special import stdtrit

    rows = asked.rows
    mean = rows.x @ fit.beta + rows.offset
    for z, b, where in zip(rows.z, estimated(fit).b, rows.level, strict=True):
        mean += np.where(where >= 0, np.einsum("mq,mq->m", z, b[where]), 0.0)
    parts = _parts(fit, asked, phi(fit))
    slopes = _slopes(fit, asked, parts)
    df = _satterthwaite(fit, parts[:2].sum(axis=0), slopes[:, :2].sum(axis=1))
    pred_df = _satterthwaite(fit, parts.sum(axis=0), slopes.sum(axis=1))
    tail = (1 + level) / 2
    half = stdtrit(df, tail) * np.sqrt(parts[:2].sum(axis=0))
    wide = stdtrit(pred_df, tail) * np.sqrt(parts.sum(axis=0))
    return PointPrediction(
        mean=frozen(mean),
        lower=frozen(mean - half),
        upper=frozen(mean + half),
        pred_lower=frozen(mean - wide),
        pred_upper=frozen(mean + wide),
        var_parameter=frozen(parts[0]),
        var_group=frozen(parts[1]),
        var_residual=frozen(parts[2]),
        level=level,
        index=rows.index,
        df=frozen(df),
        pred_df=frozen(pred_df),
    )


def _parts(fit: PointFit, asked: Asked, at: FloatArray) -> FloatArray:
    """Variance by parameter, group and residual (3, m) at phi = `at`."""
    marginal, sigma, rows = fit.spec.marginal, float(np.exp(at[-1])), asked.rows
    by_beta, by_b = marginal.prediction_variance(at[:-1], sigma, rows.x, rows.z, rows.level)
    for index, (kind, z) in enumerate(zip(asked.kinds, rows.z, strict=True)):
        if kind == "typical":
            by_b = by_b + sigma**2 * np.square(z @ marginal.raw_factor(index, at[:-1])).sum(axis=1)
    return np.stack([by_beta, by_b, fit.spec.residual.scale(sigma) ** 2 / rows.weights])


def _slopes(fit: PointFit, asked: Asked, parts: FloatArray) -> FloatArray:
    """Derivatives (length of phi, 3, m) of the parts: central differences in theta."""
    here = phi(fit)
    found = np.empty((len(here), 3, asked.rows.m))
    for i, value in enumerate(here[:-1]):
        up, down = here.copy(), here.copy()
        h = 1e-5 * max(1.0, abs(value))
        up[i] += h
        down[i] -= h
        found[i] = (_parts(fit, asked, up) - _parts(fit, asked, down)) / (up[i] - down[i])
    # At a given theta all variances are proportional to sigma^2; where it is known, vcov_phi is 0.
    found[-1] = 2 * parts
    return found


def _satterthwaite(fit: PointFit, variance: FloatArray, slopes: FloatArray) -> FloatArray:
    """Df = 2 V^2 / Var(V) of each row (m,); infinite where V does not depend on phi."""
    spread = np.einsum("im,ij,jm->m", slopes, fit.vcov_phi, slopes)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(spread > 0, 2 * variance**2 / spread, np.inf)
