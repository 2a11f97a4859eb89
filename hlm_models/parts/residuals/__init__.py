"""Residual structures, and the union of their settings."""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from hlm_models.parts.residuals._contract import Residual
from hlm_models.parts.shelf import find

__all__ = ["RESIDUALS", "Residual", "ResidualSettings"]

RESIDUALS = find(__name__, Residual)

if TYPE_CHECKING:
    ResidualSettings = Residual
else:
    _kinds = tuple(RESIDUALS.values())
    ResidualSettings = Annotated[Union[_kinds], Field(discriminator="kind")]  # noqa: UP007
