"""Kenward and Roger's method: Var(beta) adjusted for small samples, and F with its own df.

In whitened rows V = I + Z P Z' and Sigma = sigma^2 V is linear in its parameters: in each free
element of each Psi, and in sigma^2. The method does not change with a linear change of parameters,
so sigma^2's direction, I, is exchanged for V itself: Sigma = tau V + sum_i eta_i G_i at tau =
sigma^2 and eta = 0. With R = Z' V^-1 X and N = Z' V^-1 Z (`hlm_models.algebra.projections`),
G_i = Z E_i Z' and Phi = (X' V^-1 X)^-1, all over sigma^2,

    P_i  = -R' E_i R                  P_V   = -Phi^-1
    Q_ij = R' E_i N E_j R             Q_Vj  = -P_j          Q_VV  = Phi^-1
    K_ij = tr(E_i N E_j N)            K_Vj  = tr(E_j N)     K_VV  = n

so that the terms of V drop out of the adjustment, and nothing cancels. A sigma that is known is no
parameter: W is then the inverse over the eta alone.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hlm_models.algebra.projections import Projections, projections
from hlm_models.errors import RefusalError
from hlm_models.inference.f_tests import FTest, f_test, principal
from hlm_models.results.fits import PointFit
from hlm_models.spec.marginal import Entries
from hlm_models.types import FloatArray, frozen

__all__ = ["KenwardRoger", "kenward_roger"]


@dataclass(frozen=True, eq=False)
class KenwardRoger:
    """What the method needs of one REML fit, in the orthogonal columns of X and over sigma^2.

    Phi (p, p) is Var(beta), `adjusted` (p, p) the adjusted one; P (m, p, p) and W (m, m), the
    inverse of the expected information, as in the source. R (p, p) takes raw coefficients to
    scaled ones.

    Source: Kenward and Roger (1997), doi:10.2307/2533558, in the form of Halekoh and Hojsgaard
    (2014), doi:10.18637/jss.v059.i09, and their R package pbkrtest.
    """

    Phi: FloatArray
    adjusted: FloatArray
    P: FloatArray
    W: FloatArray
    R: FloatArray
    sigma: float

    @cached_property
    def vcov_beta(self) -> FloatArray:
        """The adjusted Var(beta) (p, p), raw columns."""
        back = np.linalg.inv(self.R)
        return frozen(self.sigma**2 * back @ self.adjusted @ back.T)

    def rows(self, L: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Adjusted variance and degrees of freedom of each row of L (r, p), taken one by one."""
        scaled = self._scaled(L)
        turned = scaled @ self.Phi
        lost = np.einsum("ra,mab,rb->rm", turned, self.P, turned)
        lost /= np.einsum("ra,ra->r", turned, scaled)[:, None]
        A = np.einsum("rm,mk,rk->r", lost, self.W, lost)
        variance = self.sigma**2 * np.einsum("ra,ab,rb->r", scaled, self.adjusted, scaled)
        # The general formula below, for one row: it comes to 2 / A, and its scale to 1.
        return variance, 2 / A

    def joint(self, L: FloatArray, distance: FloatArray) -> FTest:
        """Scaled F test that all `distance` (r,) = L beta - rhs are zero.

        Raises
        ------
        RefusalError
            several hypotheses and so few groups that no F has the moments.
        """
        scaled, t, variance = principal(
            self._scaled(L), distance / self.sigma, np.linalg.cholesky(self.Phi)
        )
        q = len(t)
        unit = scaled / np.sqrt(variance)[:, None]  # unit Phi unit' = I
        F = float(t @ np.linalg.solve(scaled @ self.adjusted @ scaled.T, t)) / q
        turned = unit @ self.Phi
        B = turned @ self.P @ turned.T
        traces = np.trace(B, axis1=1, axis2=2)
        A1 = float(traces @ self.W @ traces)
        A2 = float(np.einsum("iab,ij,jab->", B, self.W, B))
        df, scale = (2 / A2, 1.0) if q == 1 else _matched(q, A1, A2)
        return f_test(F * scale, q, df, scale=scale)

    def _scaled(self, L: FloatArray) -> FloatArray:
        return np.linalg.solve(self.R.T, L.T).T


def kenward_roger(fit: PointFit) -> KenwardRoger:
    """Kenward and Roger's adjustment of a REML fit; a singular one will do.

    Raises
    ------
    RefusalError
        an ML fit, or too many effects of several groups (`projections.LARGEST`).
    """
    if fit.engine != "reml":
        raise RefusalError(
            "Kenward and Roger's method is about REML estimates, and this is an ML fit: fit with "
            'engine="reml", or use df="satterthwaite"'
        )
    marginal = fit.spec.marginal
    p, n = marginal.design.p, marginal.design.n
    theta = marginal.scaled_theta(fit.theta)
    S = marginal.sweep(theta).S[:p, :p]
    found = projections(marginal.factors(theta), marginal.products)
    bases = [
        _basis(entries, block.q)
        for entries, block in zip(marginal.entries, fit.spec.blocks, strict=True)
    ]
    P, Q, K = _sums(found, bases, p)
    Phi = np.linalg.inv(S)
    PhiP = Phi @ P
    crossed = np.einsum("iab,jba->ij", PhiP, PhiP)
    mixed = np.concatenate(
        [np.einsum("iab,ab->i", basis, found.within(f)) for f, basis in enumerate(bases)]
    )
    information = np.empty((len(P) + 1, len(P) + 1))
    information[0, 0] = n - p
    information[0, 1:] = information[1:, 0] = mixed + np.trace(PhiP, axis1=1, axis2=2)
    information[1:, 1:] = K - 2 * np.einsum("ab,iajb->ij", Phi, Q) + crossed
    W, whole = np.zeros_like(information), np.append(n, np.diag(K))
    free = slice(0 if marginal.design.sigma is None else 1, None)
    W[free, free] = 2 * _inverse(information[free, free], whole[free])
    U = np.einsum("ij,iajb->ab", W[1:, 1:], Q) - np.einsum("ij,iab,jbc->ac", W[1:, 1:], P, PhiP)
    adjusted = Phi + Phi @ (U + U.T) @ Phi
    return KenwardRoger(
        Phi=frozen(Phi),
        adjusted=frozen(adjusted),
        P=frozen(np.concatenate([-S[None], P])),
        W=frozen(W),
        R=marginal.design.x_scaling.R,
        sigma=fit.sigma,
    )


def _basis(entries: Entries, q: int) -> FloatArray:
    """Directions (m_f, q, q) of the free elements of a block's P = Lambda Lambda'."""
    E = np.zeros((entries.size, q, q))
    E[entries.index, entries.rows, entries.columns] = entries.weight**2
    E[entries.index, entries.columns, entries.rows] = entries.weight**2
    return E


def _sums(
    found: Projections, bases: list[FloatArray], p: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """P (m, p, p), Q (m, p, m, p) and K (m, m) of the directions of all factors."""
    rows = [part[:, :, :p] for part in found.rows]
    # E_i R, effect by effect: (J, q, m_f, p).
    moved = [
        np.einsum("iab,jbc->jaic", E, R, optimize=True) for E, R in zip(bases, rows, strict=True)
    ]
    P = np.concatenate(
        [
            -np.einsum("jac,jaid->icd", R, ER, optimize=True)
            for R, ER in zip(rows, moved, strict=True)
        ]
    )
    ends = np.cumsum([0, *(len(E) for E in bases)])
    m = len(P)
    Q, K = np.empty((m, p, m, p)), np.empty((m, m))
    for f, left in enumerate(bases):
        for g, right in enumerate(bases):
            here, there = slice(ends[f], ends[f + 1]), slice(ends[g], ends[g + 1])
            J, q = moved[g].shape[:2]
            product = found.times(f, g, moved[g].reshape(J, q, -1))
            product = product.reshape(-1, len(right) * p)
            Q[here, :, there] = (moved[f].reshape(-1, len(left) * p).T @ product).reshape(
                len(left), p, len(right), p
            )
            K[here, there] = np.einsum(
                "iab,jcd,bcad->ij", left, right, found.squares(f, g), optimize=True
            )
    return P, Q, K


def _inverse(information: FloatArray, whole: FloatArray) -> FloatArray:
    """Inverse in units of the diagonal; a direction that the data do not inform counts as known.

    `whole` (m + 1,) is the diagonal where beta is known: where beta takes all of it away, what is
    left is rounding, of either sign.
    """
    size = np.diag(information)
    informed = size > 1e-10 * whole
    information = np.where(np.outer(informed, informed), information, 0.0)
    unit = np.sqrt(np.where(informed, size, 1.0))
    scale = np.outer(unit, unit)
    return np.asarray(np.linalg.pinv(information / scale, rtol=1e-10, hermitian=True) / scale)


def _matched(q: int, A1: float, A2: float) -> tuple[float, float]:
    """Degrees of freedom and scale of F of q > 1 rows, by matching two moments.

    Raises
    ------
    RefusalError
        no F has them, for want of groups.

    Source: Halekoh and Hojsgaard (2014), doi:10.18637/jss.v059.i09, and their R package
    pbkrtest, for what it does where a denominator is zero.
    """
    B = (A1 + 6 * A2) / (2 * q)
    g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
    c = 3 * q + 2 * (1 - g)
    V0, V1, V2 = 1 + g / c * B, 1 - (q - g) / c * B, 1 - (q + 2 - g) / c * B
    V0 = 0.0 if abs(V0) < 1e-10 else V0
    left = 1 - A2 / q
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 1.0 if abs(left) < 1e-14 and abs(V1) < 1e-14 else np.divide(left, V1)
        df = 4 + np.divide(q + 2, np.divide(ratio**2 * V0, V2) - 1)
    scale = 1.0 if abs(df - 2) < 0.01 else df * left / (df - 2)
    if not (0 < df < np.inf and scale > 0):
        raise RefusalError(
            f"too few groups to test {q} hypotheses jointly by Kenward and Roger's method: test "
            'fewer at a time, or use df="satterthwaite"'
        )
    return float(df), float(scale)
