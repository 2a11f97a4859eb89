"""The same model fitted to another response."""

from typing import TYPE_CHECKING

import numpy as np

from hlm_models.engines.find import require
from hlm_models.errors import InputErrors
from hlm_models.results.fits import PointFit
from hlm_models.results.point_only import point_only
from hlm_models.results.progress import Progress, silent
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["refit"]


def refit(
    fit: PointFit, y: "pd.Series[float] | FloatArray", *, progress: Progress = silent
) -> PointFit:
    """Fit the model of `fit` to the response y (n,), by the same criterion.

    Parameters
    ----------
    y : as the formula has the response, transformed if it is; one value for each row of the model,
        in their order, whatever the index of a Series

    Raises
    ------
    InputErrors
        y has another length, holds values that are no finite numbers, or does not vary.
    """
    fit = point_only(fit, "refit")
    spec = fit.spec.with_response(_checked(y, fit))
    engine = require(fit.engine, spec)
    found = engine.fit(spec, spec.fit.model_copy(update={"seed": fit.seed}), progress)
    assert isinstance(found, PointFit)
    return found


def _checked(y: "pd.Series[float] | FloatArray", fit: PointFit) -> FloatArray:
    design = fit.spec.design
    try:
        values = np.array(y, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputErrors.one("the response must hold numbers", key="y") from None
    if values.shape != (design.n,):
        notes = "".join(f"; {note}" for note in design.table.notes)
        raise InputErrors.one(
            f"the response has shape {values.shape}, and {design.n} values are needed, one for "
            f"each row of the model{notes}",
            key="y",
        )
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(bad.argmax())
        raise InputErrors.one(
            f"the response is {values[row]} in row {row + 1}, and in {bad.sum()} of {len(bad)} "
            "rows not finite; give numbers, or build the model without these rows",
            key="y",
        )
    net = values if design.offset is None else values - design.offset
    if np.ptp(net) == 0:
        raise InputErrors.one(
            f"the response, less any offset, is {net[0]:g} in every row; nothing varies", key="y"
        )
    return values
