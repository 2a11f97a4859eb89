"""Correlated effects whose precision, the inverse of the covariance, is Wishart."""

from typing import Literal

import numpy as np

from hlm_models.parts.covariances._matrix import InverseWishartLaw
from hlm_models.types import FloatArray


class Wishart(InverseWishartLaw):
    """P = Psi^-1 ~ Wishart(nu, scale), mean nu scale.

    Its density by the lower triangle of P is |P|^((nu - q - 1)/2) exp(-tr(scale^-1 P) / 2)
    / (2^(nu q/2) |scale|^(nu/2) Gamma_q(nu/2)), for any nu above q - 1. It is the same law as
    inverse_wishart with the inverse of scale.
    """

    kind: Literal["wishart"] = "wishart"

    @property
    def law(self) -> tuple[float, FloatArray]:
        nu, scale = self.numbers()
        inverse = np.linalg.inv(scale)
        return nu, (inverse + inverse.T) / 2
