"""Correlated effects whose covariance is inverse Wishart."""

from typing import Literal

from hlm_models.parts.covariances._matrix import InverseWishartLaw
from hlm_models.types import FloatArray


class InverseWishart(InverseWishartLaw):
    """Psi ~ inverse Wishart(nu, scale), mean scale / (nu - q - 1).

    Its density by the lower triangle of Psi is |scale|^(nu/2) / (2^(nu q/2) Gamma_q(nu/2))
    |Psi|^(-(nu + q + 1)/2) exp(-tr(scale Psi^-1) / 2), for any nu above q - 1. It keeps standard
    deviations away from zero, and large ones go with large correlations (Alvarez, Niemi and Simpson
    2014, arXiv:1408.4050). nu is q + 1 by default: correlations are uniform where scale is
    diagonal.
    """

    kind: Literal["inverse_wishart"] = "inverse_wishart"

    @property
    def law(self) -> tuple[float, FloatArray]:
        return self.numbers()
