"""The equations of a model, for a console or a paper."""

from typing import Literal, get_args

from hlm_models.errors import InputErrors, nearest
from hlm_models.results.fits import Fit, PointFit, PosteriorFit
from hlm_models.spec.describe import describe
from hlm_models.spec.model import ModelSpec

__all__ = ["equations"]

Format = Literal["text", "latex"]


def equations(model: ModelSpec | Fit, format: Format = "text") -> str:
    """The equations of a model: by level where it has one group, else in one.

    Parameters
    ----------
    model : a model that is built, `hlm.build(...)`, or a fit of one
    format : "text", or "latex" for an `align*`, which needs the package amsmath

    Raises
    ------
    InputErrors
        `model` is neither, or there is no such format.

    Examples
    --------
    >>> import hlm_models as hlm
    >>> print(hlm.equations(hlm.build("rail")))
    Level 1: rows i = 1..18
        travelᵢ = α₀ⱼ + eᵢ,   eᵢ ~ N(0, σ²)
    Level 2: rail j = 1..6
        α₀ⱼ = β[Intercept] + b[Intercept]ⱼ
        b[Intercept]ⱼ ~ N(0, sd²)
    """
    if isinstance(model, PointFit | PosteriorFit):
        model = model.spec
    if not isinstance(model, ModelSpec):
        raise InputErrors.one(
            "give a model that is built, hlm.build(...), or a fit of one, "
            f"not {type(model).__name__}",
            key="model",
        )
    if format not in get_args(Format):
        raise InputErrors.one(
            f"format is text or latex, not {format!r}{nearest(format, get_args(Format))}",
            key="format",
        )
    found = describe(model)
    return found.text() if format == "text" else found.latex_source()
