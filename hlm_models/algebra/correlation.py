"""Correlation matrices on bare arrays."""

import numpy as np

from hlm_models.types import FloatArray

__all__ = ["correlation_root"]


def correlation_root(corr: FloatArray) -> FloatArray:
    """A with corr = A A' (..., q, q), which is there too where a correlation is rounded to 1."""
    values, axes = np.linalg.eigh(corr)
    return np.asarray(axes * np.sqrt(np.maximum(values, 0.0))[..., None, :])
