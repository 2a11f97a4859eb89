"""Priors of single numbers, and the unions of their settings that the schema is made of."""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from hlm_models.parts.priors._contract import (
    Auto,
    Elementary,
    Place,
    Prior,
    VarianceForm,
    pymc_vector,
)
from hlm_models.parts.shelf import find

__all__ = [
    "PRIORS",
    "Auto",
    "Elementary",
    "LocationPrior",
    "Place",
    "Prior",
    "ScalePrior",
    "VarianceForm",
    "pymc_vector",
]

PRIORS = find(__name__, Prior)

if TYPE_CHECKING:
    LocationPrior = Prior
    ScalePrior = Prior
else:

    def _union(place: Place) -> object:
        kinds = tuple(kind for kind in PRIORS.values() if place in kind.places)
        return Annotated[Union[kinds], Field(discriminator="kind")]  # noqa: UP007

    LocationPrior = _union("location")
    ScalePrior = _union("scale")
