"""Which coefficients are integrated out, and what the kernels need to know of their priors."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.types import FloatArray, IntArray, frozen

if TYPE_CHECKING:
    from hlm_models.spec.model import ModelSpec

__all__ = ["Integration", "integration"]


@dataclass(frozen=True, slots=True)
class Integration:
    """The split of beta into coefficients that are integrated and ones that stay free.

    integrated (d,), free (p - d,) : places in beta
    Q (p, d), T (d, d) : X_I beta_I = X_s Q T beta_I in the scaled columns X_s of X
    loc (d,), precision (d, d) : of the prior of T beta_I; flat directions have precision zero
    constant : () what the log density has beyond its terms in the variance parameters
    turn (p, p - d), fit (p,) : m = fit - turn beta_F
    n : rows
    """

    integrated: IntArray
    free: IntArray
    Q: FloatArray
    T: FloatArray
    loc: FloatArray
    precision: FloatArray
    constant: float
    turn: FloatArray
    fit: FloatArray
    n: int

    @property
    def gaussian(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """The argument of that name of the kernels in `hlm_models.algebra`."""
        constants = frozen(np.array([self.constant, float(self.n)]))
        return self.Q, self.loc, self.precision, constants

    def m(self, beta_free: FloatArray) -> FloatArray:
        """Where m (p,) is for free coefficients (p - d,)."""
        return np.asarray(self.fit - self.turn @ beta_free)


def integration(spec: "ModelSpec") -> Integration:
    """The split for one model: coefficients with a normal or flat prior are integrated.

    Source: docs/marginal.md.
    """
    design, n = spec.design, spec.design.n
    forms = [prior.normal_form() for prior in spec.priors.beta]
    integrated = np.array([k for k, form in enumerate(forms) if form is not None], dtype=np.int64)
    free = np.array([k for k, form in enumerate(forms) if form is None], dtype=np.int64)
    R = design.x_scaling.R
    # R is upper triangular, and so is the R of its own QR decomposition up to signs.
    Q, T = np.linalg.qr(R[:, integrated])
    known = [form for form in forms if form is not None]
    loc, precision = np.array([a for a, _ in known]), np.array([b for _, b in known])
    back = np.linalg.inv(T) if len(T) else T
    proper = precision > 0
    constant = -n / 2 * np.log(2 * np.pi) + design.log_weights / 2
    constant += np.count_nonzero(~proper) / 2 * np.log(2 * np.pi)
    constant += np.sum(np.log(precision[proper])) / 2
    constant -= np.sum(np.log(np.abs(np.diag(T))))
    return Integration(
        integrated=frozen(integrated),
        free=frozen(free),
        Q=frozen(np.ascontiguousarray(Q)),
        T=frozen(np.ascontiguousarray(T)),
        loc=frozen(T @ loc),
        precision=frozen(back.T @ (precision[:, None] * back)),
        constant=float(constant),
        turn=frozen(np.ascontiguousarray(R[:, free])),
        fit=frozen(np.asarray(design.y_fit, dtype=np.float64)),
        n=n,
    )
