"""ModelSpec: arrays, parts and names, with every default worked out to a number."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import Any, Literal, Self

import numpy as np

from hlm_models.config.settings import FitSettings, RemlSettings
from hlm_models.design.build import Design, RandomBlock
from hlm_models.errors import InputErrors
from hlm_models.parts.families import Family
from hlm_models.parts.residuals import Residual
from hlm_models.spec.marginal import Marginal
from hlm_models.spec.priors import Priors
from hlm_models.types import FloatArray, IntArray, frozen

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

    def __repr__(self) -> str:
        from hlm_models.spec.describe import describe

        head = f"ModelSpec {self.name}: {self.sizes}\n{self.design.formula.text}"
        return f"{head}\n{describe(self).text()}"

    def _repr_html_(self) -> str:
        from hlm_models.spec.describe import describe

        head, formula = f"ModelSpec {self.name}: {self.sizes}", self.design.formula.text
        rows = "".join(
            f"<tr><th>{escape(row.parameter)}</th><td>{escape(row.prior)}</td></tr>"
            for row in describe(self).priors
        )
        return (
            f"<p>{escape(head)}<br><code>{escape(formula)}</code></p>"
            f"<pre>{escape(describe(self).text())}</pre>"
            f"<table><thead><tr><th>parameter</th><th>prior</th></tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )

    @property
    def sizes(self) -> str:
        """Rows, and levels of each group: `919 rows, 85 county`."""
        groups = (f"{block.J:,} {block.group}" for block in self.blocks)
        return ", ".join([f"{self.design.n:,} rows", *groups])

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

    def without(self, rows: Sequence[int] | IntArray) -> Self:
        """The same model of the other rows.

        Columns, their scaling, levels and priors stay as they are, priors that were worked out
        from all rows with their numbers. A level that loses all its rows stays a level: its
        effects are what the prior says.

        Parameters
        ----------
        rows : numbers from 0 of the rows to leave out

        Raises
        ------
        InputErrors
            a number that is none of a row's, or no row is left.
        """
        n, asked = self.design.n, np.asarray(rows)
        if asked.size and not (asked.dtype.kind in "iu" and 0 <= asked.min() <= asked.max() < n):
            raise InputErrors.one(
                f"rows to leave out are whole numbers from 0 to {n - 1}", key="rows"
            )
        if not asked.size:
            return self
        keep = np.ones(n, dtype=np.bool_)
        keep[asked.astype(np.int64)] = False
        if not keep.any():
            raise InputErrors.one(
                f"all {n} rows would be left out, and none to fit: leave out fewer", key="rows"
            )
        # The priors are still those that all rows gave, so all of them count.
        identity = hashlib.sha256(self.digest.encode() + keep.tobytes()).hexdigest()
        design = self.design.keeping(np.flatnonzero(keep))
        return replace(self, design=design, identity=identity)

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
