"""Predicted responses of existing and of new groups, by a posterior or a point fit."""

from typing import TYPE_CHECKING, overload

from hlm_models.prediction.asked import Borrow, Kinds, asked
from hlm_models.prediction.prediction import Prediction
from hlm_models.results.arguments import checked_level
from hlm_models.results.fits import Fit, PointFit, PosteriorFit
from hlm_models.results.point_only import any_fit

if TYPE_CHECKING:
    import pandas as pd

    from hlm_models.prediction.asked import Asked
    from hlm_models.prediction.point import PointPrediction
    from hlm_models.prediction.posterior import PosteriorPrediction

__all__ = ["predict", "predicted"]


@overload
def predict(
    fit: PointFit,
    new_data: "pd.DataFrame | None" = None,
    *,
    groups: Kinds = "existing",
    borrow: Borrow | None = None,
    level: float = 0.95,
) -> "PointPrediction": ...


@overload
def predict(
    fit: PosteriorFit,
    new_data: "pd.DataFrame | None" = None,
    *,
    groups: Kinds = "existing",
    borrow: Borrow | None = None,
    level: float = 0.95,
) -> "PosteriorPrediction": ...


@overload
def predict(
    fit: Fit,
    new_data: "pd.DataFrame | None" = None,
    *,
    groups: Kinds = "existing",
    borrow: Borrow | None = None,
    level: float = 0.95,
) -> Prediction: ...


def predict(
    fit: Fit,
    new_data: "pd.DataFrame | None" = None,
    *,
    groups: Kinds = "existing",
    borrow: Borrow | None = None,
    level: float = 0.95,
) -> Prediction:
    """Predicted responses, on the scale that the formula has the response on.

    Of a point fit the intervals are those of t distributions; of a posterior they are equal-tailed,
    without simulation, and `draws` gives draws.

    Parameters
    ----------
    new_data : rows with the predictors, and what else the model reads of them: groups, offset,
        weights; without it the rows of the model
    groups : one for all groups of the model, or one for each by name. "existing" takes the effects
        of the row's own level, which the model must have; "population" takes b = 0; "typical" a
        level of which nothing is known, b ~ N(0, Psi); "borrowed" those of the level `borrow`
    borrow : level whose effects the rows have; by group where several are borrowed
    level : of the intervals

    Raises
    ------
    InputErrors
        columns that are missing or hold what cannot be used, labels and levels that the model has
        not seen; each with its column, row and repair.
    """
    fit = any_fit(fit, "predict")
    level = checked_level(level)
    return predicted(fit, asked(fit.spec, new_data, groups=groups, borrow=borrow), level)


def predicted(fit: Fit, asked: "Asked", level: float) -> Prediction:
    """As `predict`, of arguments that are checked."""
    if isinstance(fit, PointFit):
        from hlm_models.prediction.point import point_prediction

        return point_prediction(fit, asked, level)
    from hlm_models.prediction.posterior import posterior_prediction

    return posterior_prediction(fit, asked, level)
