"""ModelSpec: arrays, parts and names, with every default worked out to a number."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, Self

import numpy as np

from hlm_models.config.settings import FitSettings, RemlSettings
from hlm_models.design.build import Design, RandomBlock
from hlm_models.errors import InputErrors
from hlm_models.parts.families import Family
from hlm_models.parts.residuals import Residual
from hlm_models.spec.marginal import Marginal
from hlm_models.spec.priors import Priors
from hlm_models.types import FloatArray, frozen

__all__ = ["ModelSpec", "Parameterization"]

Parameterization = Literal["centered", "noncentered", "marginal"]


@dataclass(frozen=True)
class ModelSpec:
    """One model, ready for any engine.

    `config` is the model file as used, defaults included, in the words of the schema; `digest`
    identifies model and data together, `identity` the model by itself; `seconds` is the wall time
    of reading and of building.
    """

    name: str
    about: str
    design: Design
    priors: Priors
    family: Family
    residual: Residual
    parameterization: Parameterization
    parameterization_why: str
    fit: FitSettings
    reml: RemlSettings
    config: Mapping[str, Any]
    identity: str
    notes: tuple[str, ...]
    seconds: Mapping[str, float]

    @property
    def blocks(self) -> tuple[RandomBlock, ...]:
        return self.design.blocks

    def with_response(self, y: FloatArray) -> Self:
        """The same model of another response y (n,); priors stay as they were resolved.

        Source of the data is not known any more, so the digest is that of this model and y.

        Raises
        ------
        InputErrors
            y has another length.
        """
        values = np.array(y, dtype=np.float64)
        if values.shape != self.design.y.shape:
            raise InputErrors.one(
                f"a response of {self.design.n} numbers is needed, one a row; given are "
                f"{values.size}",
                key="y",
            )
        identity = hashlib.sha256(self.identity.encode() + values.tobytes()).hexdigest()
        return replace(self, design=replace(self.design, y=frozen(values)), identity=identity)

    @cached_property
    def digest(self) -> str:
        """Hash of the model, its priors and its data."""
        return hashlib.sha256((self.identity + self.design.table.digest).encode()).hexdigest()

    @cached_property
    def marginal(self) -> Marginal:
        """The model with its random effects integrated out; its cross-products are made once."""
        structures = tuple(
            tuple(term.structure for term in prior.terms) for prior in self.priors.blocks
        )
        return Marginal(self.design, structures)
