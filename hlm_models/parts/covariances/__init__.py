"""Priors of the covariance of a random term, and the union of their settings."""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from hlm_models.parts.covariances._contract import (
    Covariance,
    MatrixForm,
    ScalePriors,
    Structure,
    one_or_each,
)
from hlm_models.parts.covariances._correlations import lkj_shapes
from hlm_models.parts.shelf import find

__all__ = [
    "COVARIANCES",
    "Covariance",
    "CovariancePrior",
    "MatrixForm",
    "ScalePriors",
    "Structure",
    "lkj_shapes",
    "one_or_each",
]

COVARIANCES = find(__name__, Covariance)

if TYPE_CHECKING:
    CovariancePrior = Covariance
else:
    _kinds = tuple(COVARIANCES.values())
    CovariancePrior = Annotated[Union[_kinds], Field(discriminator="kind")]  # noqa: UP007
