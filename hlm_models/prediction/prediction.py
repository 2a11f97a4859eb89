"""What a prediction is, of whatever kind of fit."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "Prediction"]

COLUMNS = (
    "mean",
    "se",
    "lower",
    "upper",
    "pred_lower",
    "pred_upper",
    "var_parameter",
    "var_group",
    "var_residual",
)
"""Columns of `Prediction.frame`."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted responses of m rows, every array (m,).

    mean, with `lower` and `upper` around it; `pred_lower` and `pred_upper` enclose one new
    observation. The variance of a new observation is a sum of three parts: `var_parameter` comes of
    not knowing beta and the variances, `var_group` is what is left of b where these are known,
    `var_residual` is that of an observation around its mean. `level` is that of the intervals.
    """

    mean: FloatArray
    lower: FloatArray
    upper: FloatArray
    pred_lower: FloatArray
    pred_upper: FloatArray
    var_parameter: FloatArray
    var_group: FloatArray
    var_residual: FloatArray
    level: float
    index: "pd.Index"

    @property
    def se(self) -> FloatArray:
        """Standard error, or posterior standard deviation, of the mean: not of the residual."""
        return np.sqrt(self.var_parameter + self.var_group)

    def frame(self) -> "pd.DataFrame":
        """Columns mean, se, lower, upper, pred_lower, pred_upper and the parts of the variance."""
        import pandas as pd

        return pd.DataFrame({name: getattr(self, name) for name in COLUMNS}, index=self.index)
