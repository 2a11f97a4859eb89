"""Priors of many coefficients together, and the union of their settings."""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from hlm_models.parts.shelf import find
from hlm_models.parts.shrinkage._contract import Hyperparameters, Shrinkage, Shrunk

__all__ = ["SHRINKAGES", "Hyperparameters", "Shrinkage", "ShrinkagePrior", "Shrunk"]

SHRINKAGES = find(__name__, Shrinkage)

if TYPE_CHECKING:
    ShrinkagePrior = Shrinkage
else:
    _kinds = tuple(SHRINKAGES.values())
    ShrinkagePrior = Annotated[Union[_kinds], Field(discriminator="kind")]  # noqa: UP007
