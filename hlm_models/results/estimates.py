"""Everything that a point fit reports, from the theta where its search ended."""

from collections.abc import Callable

import numpy as np

from hlm_models.algebra.criterion import profiled
from hlm_models.algebra.search import Found
from hlm_models.errors import FitError
from hlm_models.results.certificate import certificate
from hlm_models.results.design_checks import design_checks
from hlm_models.results.fits import PointFit, RandomEstimate
from hlm_models.spec.marginal import Marginal
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray, IntArray, frozen

__all__ = ["phi", "point_fit"]

EXACT = 1e-14
"""A residual sum of squares, relative to that of least squares on X, that counts as none."""


def point_fit(
    spec: ModelSpec, theta: FloatArray, *, reml: bool, starts: tuple[float, ...], seed: int
) -> PointFit:
    """Estimates, standard errors and certificate at `theta` (scaled columns).

    `starts` are the criteria (raw columns) that the searches reached.

    Raises
    ------
    FitError
        next to nothing is left for sigma: the fit is exact.

    Source: Bates et al. (2015), doi:10.18637/jss.v067.i01, section 3; Satterthwaite's degrees of
    freedom as in Kuznetsova et al. (2017), doi:10.18637/jss.v082.i13, section 2.
    """
    marginal = spec.marginal
    # Psi leaves theta free up to rotations: this one can be had again from what is reported.
    theta = marginal.scaled_theta(marginal.raw_theta(theta))
    found = marginal.sweep(theta)
    known = spec.design.sigma is not None
    at = profiled(found, spec.design.n, reml=reml, sigma=spec.design.sigma)
    if not known and _exact(marginal, at.r2, reml=reml):
        raise FitError("the model fits the data exactly: sigma tends to zero and no fit exists")
    second = marginal.second_order(theta, at, reml=reml)
    vcov_phi = second.vcov
    means, covariances = found.effects(np.append(-at.beta, 1.0)), found.effect_covariances()
    phi = np.append(theta, np.log(at.sigma))
    vcov_beta = marginal.vcov(at.sigma, at.factor)
    end = Found(
        theta, at.value, marginal.gradient(theta, at.M), second.profile_curvature, evaluations=0
    )
    return PointFit(
        spec=spec,
        engine="reml" if reml else "ml",
        criterion=at.value + marginal.offset(reml=reml),
        beta=frozen(marginal.beta(at)),
        vcov_beta=frozen(vcov_beta),
        df=frozen(_satterthwaite(vcov_beta, second.vcov_slopes, vcov_phi)),
        vcov_slopes=frozen(second.vcov_slopes),
        vcov_phi=frozen(vcov_phi),
        sigma=at.sigma,
        se_log_sigma=np.nan if known else float(np.sqrt(vcov_phi[-1, -1])),
        theta=frozen(marginal.raw_theta(theta)),
        random=tuple(
            _random_estimate(marginal, index, phi, vcov_phi, means[index], covariances[index])
            for index in range(len(spec.blocks))
        ),
        starts=starts,
        checks=(*certificate(spec, end, at, starts), *design_checks(spec)),
        seconds={},
        seed=seed,
    )


def phi(fit: PointFit) -> FloatArray:
    """The variance parameters that `vcov_phi` is the covariance of: theta scaled, log sigma."""
    return np.append(fit.spec.marginal.scaled_theta(fit.theta), np.log(fit.sigma))


def _exact(marginal: Marginal, r2: float, *, reml: bool) -> bool:
    """Whether nothing is left for sigma, at the end of a search or with ever larger Lambda.

    Searches towards sigma = 0 end somewhere on the way, for want of digits.
    """
    left = float(marginal.products.T[-1, -1])
    if r2 <= EXACT * left:
        return True
    if r2 > 1e-6 * left or len(marginal.structures) > 1:
        return False
    near, far = (marginal.at(marginal.start(size), reml=reml).r2 for size in (1e4, 1e5))
    # r2 = limit + c / size^2, and the limit is the residual sum of squares with b as fixed effects.
    limit = (100 * far - near) / 99
    effects = sum(count for _, count in marginal.effects)
    return limit <= EXACT * left and effects + marginal.design.p < marginal.design.n


def _satterthwaite(vcov: FloatArray, slopes: FloatArray, vcov_phi: FloatArray) -> FloatArray:
    """df_k = 2 v_k^2 / Var(v_k), v = diag Var(beta) as a function of phi; infinite for none."""
    v = np.diag(vcov)
    J = np.diagonal(slopes, axis1=1, axis2=2)
    with np.errstate(divide="ignore"):
        return np.asarray(2 * v**2 / np.einsum("ik,ij,jk->k", J, vcov_phi, J))


def _random_estimate(
    marginal: Marginal,
    index: int,
    phi: FloatArray,
    vcov_phi: FloatArray,
    b: FloatArray,
    b_cov: FloatArray,
) -> RandomEstimate:
    """Estimates of one block; b and b_cov are those of scaled columns, over 1 and sigma^2."""
    block = marginal.design.blocks[index]
    theta, sigma = phi[:-1], float(np.exp(phi[-1]))
    Lambda = marginal.raw_factor(index, theta)
    cov = sigma**2 * Lambda @ Lambda.T
    sd = np.sqrt(np.diag(cov))
    with np.errstate(invalid="ignore", divide="ignore"):
        corr = cov / np.outer(sd, sd)
    np.fill_diagonal(corr, 1.0)
    corr[~np.isfinite(corr)] = 0.0
    scaled, parts = marginal.factors(theta)[index], marginal.parts[index]
    singular = any(part.size(scaled) <= 1e-6 * max(1.0, np.abs(scaled).max()) for part in parts)
    se_log_sd = np.full(block.q, np.nan)
    se_z = np.full((block.q, block.q), np.nan)
    for part in parts:
        here = part.columns
        if part.size(scaled) <= 1e-6 * max(1.0, np.abs(scaled[np.ix_(here, here)]).max()):
            continue
        rows, columns = part.pairs

        def readable(
            phi: FloatArray,
            here: IntArray = here,
            rows: IntArray = rows,
            columns: IntArray = columns,
        ) -> FloatArray:
            lower = np.exp(phi[-1]) * marginal.raw_factor(index, phi[:-1])
            psi = lower @ lower.T
            size = np.sqrt(np.diag(psi))
            z = np.arctanh(psi[rows, columns] / (size[rows] * size[columns]))
            return np.append(np.log(size[here]), z)

        J = _jacobian(readable, phi)
        se = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", J, vcov_phi, J), 0.0))
        se_log_sd[here] = se[: len(here)]
        se_z[rows, columns] = se_z[columns, rows] = se[len(here) :]
    back = np.linalg.inv(marginal.scales[index].R)
    pairs = sigma**2 * np.kron(back, back)
    return RandomEstimate(
        group=block.group,
        columns=block.effects,
        sd=frozen(sd),
        corr=frozen(corr),
        cov=frozen(cov),
        Lambda=frozen(Lambda),
        singular=singular,
        se_log_sd=frozen(se_log_sd),
        se_z_corr=frozen(se_z),
        b=frozen(b @ back.T),
        # One product of (J, q q) by (q q, q q): many products of q x q are slow.
        b_cov=frozen((b_cov.reshape(block.J, -1) @ pairs.T).reshape(b_cov.shape)),
    )


def _jacobian(function: Callable[[FloatArray], FloatArray], x: FloatArray) -> FloatArray:
    columns = []
    for i in range(len(x)):
        h = 1e-5 * max(1.0, abs(x[i]))
        up, down = x.copy(), x.copy()
        up[i] += h
        down[i] -= h
        columns.append((function(up) - function(down)) / (up[i] - down[i]))
    return np.column_stack(columns)
