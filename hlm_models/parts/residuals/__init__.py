"""Residual structures."""

from hlm_models.parts.residuals._contract import Residual
from hlm_models.parts.shelf import find

__all__ = ["RESIDUALS", "Residual"]

RESIDUALS = find(__name__, Residual)
