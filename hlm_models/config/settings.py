"""The typed settings of one model file: the one declaration that schema and code come from."""

import os
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
    model_validator,
)

from hlm_models.parts.covariances import CovariancePrior, one_or_each
from hlm_models.parts.priors import LocationPrior, Prior, ScalePrior
from hlm_models.parts.priors.flat import Flat
from hlm_models.parts.priors.half_student_t import HalfStudentT
from hlm_models.parts.priors.normal import Normal
from hlm_models.parts.priors.unit_information import UnitInformation
from hlm_models.parts.residuals import Residual, ResidualSettings
from hlm_models.parts.shelf import Part
from hlm_models.parts.shrinkage import SHRINKAGES, ShrinkagePrior

__all__ = [
    "SCHEMA_VERSION",
    "Contrast",
    "ContrastSettings",
    "DataSettings",
    "FileSource",
    "FitSettings",
    "GibbsSettings",
    "ModelConfig",
    "PointReference",
    "PosteriorReference",
    "PosteriorValue",
    "Preset",
    "PriorSettings",
    "Reference",
    "RemlSettings",
    "Sampling",
]

SCHEMA_VERSION = 1

Contrast = Literal["treatment", "sum"]
"""How a factor becomes columns."""


Preset = Literal["lecture", "weak", "flat"]
"""A whole set of priors."""


class Settings(BaseModel):
    """Frozen and closed: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileSource(Settings):
    """A user's own table: CSV, Parquet, Feather, Stata (.dta) or SPSS (.sav)."""

    file: str = Field(min_length=1, description="Path, relative to the model file.")


class DataSettings(Settings):
    """Where the rows come from and what is done to them, in this order: where, derive, missing."""

    source: str | FileSource = Field(
        description="Name of a dataset (`hlm data list`), or {file: PATH}."
    )
    where: str | None = Field(default=None, description="SQL condition; rows where it holds stay.")
    derive: dict[str, str] = Field(
        default_factory=dict, description="New columns, each one SQL expression."
    )
    missing: Literal["error", "drop"] = Field(
        default="error", description="What to do with rows that miss a value the model uses."
    )


class ContrastSettings(Settings):
    """How one factor is coded, and its level without a column."""

    kind: Contrast = Field(description="Indicators of levels, or deviations from their mean.")
    reference: str | None = Field(
        default=None, description="By default the first level for treatment, the last for sum."
    )


def together_or_each(value: object) -> str:
    """`together` for a prior of all coefficients as a whole, else as `one_or_each`."""
    kind = value.get("kind") if isinstance(value, dict) else None
    if isinstance(value, Part):
        kind = value.kind
    return "together" if isinstance(kind, str) and kind in SHRINKAGES else one_or_each(value)


class PriorSettings(Settings):
    """Priors on the raw scale, the intercept at zero of every predictor; `auto` is worked out."""

    preset: Preset = Field(
        default="weak",
        description="What is not said: weak, scaled to the data; lecture, unit_information; flat.",
    )
    beta: Annotated[
        Annotated[LocationPrior, Tag("one")]
        | Annotated[dict[str, LocationPrior], Tag("each")]
        | Annotated[ShrinkagePrior, Tag("together")],
        Discriminator(together_or_each),
    ] = Field(
        default=Normal(),
        description="One prior for all coefficients, one by name, or one of all but the Intercept "
        "together.",
    )
    groups: dict[
        str,
        Annotated[
            Annotated[CovariancePrior, Tag("one")]
            | Annotated[dict[str, CovariancePrior], Tag("each")],
            Discriminator(one_or_each),
        ],
    ] = Field(
        default_factory=dict,
        description="By group; a group with several terms names each term as `hlm show` prints it.",
    )
    sigma: ScalePrior = Field(default=HalfStudentT(), description="Residual standard deviation.")

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, given: Any) -> Any:
        """What is not said of beta and sigma, by the preset; of groups it waits for the design."""
        if not isinstance(given, dict):
            return given
        kind = {"lecture": "unit_information", "flat": "flat"}.get(str(given.get("preset")))
        return {"beta": {"kind": kind}, "sigma": {"kind": kind}, **given} if kind else given

    @property
    def beta_default(self) -> Prior:
        """Prior of a coefficient that is not named where others are."""
        known = {"weak": Normal(), "lecture": UnitInformation(), "flat": Flat()}
        return known[self.preset]


class GibbsSettings(Settings):
    """How the engine gibbs sweeps."""

    scheme: Literal["auto", "joint", "effects", "coefficients"] = Field(
        default="auto",
        description="What is drawn together: beta and b (joint, auto); b given beta and beta given "
        "b (effects); the coefficients of every group around beta (coefficients).",
    )
    thin: PositiveInt = Field(default=1, description="Sweeps for every draw.")


class FitSettings(Settings):
    """How to sample."""

    sampler: Literal["nutpie", "pymc", "numpyro", "blackjax"] = "nutpie"
    parameterization: Literal["auto", "marginal", "latent", "centered", "noncentered"] = Field(
        default="auto",
        description="auto: marginal or, where that costs more, latent; latent: the better of both.",
    )
    chains: PositiveInt = 4
    draws: Annotated[int, Field(ge=10)] = 1000
    tune: Annotated[int, Field(ge=50)] | Literal["auto"] = Field(
        default="auto",
        description="Draws before those: 300 of the marginal form, 500 of gibbs, else 1000.",
    )
    target_accept: Annotated[float, Field(gt=0.5, lt=1.0)] | Literal["auto"] = Field(
        default="auto",
        description="Mean acceptance: 0.85 of the marginal form, else 0.95.",
    )
    seed: NonNegativeInt = 1
    cores: PositiveInt | None = Field(
        default=None, description="Chains at a time; as many as there are processors by default."
    )
    gibbs: GibbsSettings = GibbsSettings()

    def sampling(self, *, warm: bool) -> "Sampling":
        """The same settings with numbers for `auto` (measured over the zoo: docs/sampling.md).

        `warm` is whether the sampler is given where to start and which directions to move in.
        """
        tune, accept = (300, 0.85) if warm else (1000, 0.95)
        return Sampling(
            sampler=self.sampler,
            chains=self.chains,
            draws=self.draws,
            tune=tune if self.tune == "auto" else self.tune,
            target_accept=accept if self.target_accept == "auto" else self.target_accept,
            cores=self.threads,
        )

    @property
    def threads(self) -> int:
        """How many chains run at a time."""
        return self.cores or min(self.chains, os.cpu_count() or 1)


@dataclass(frozen=True, slots=True)
class Sampling:
    """Settings of a sampler as numbers."""

    sampler: str
    chains: int
    draws: int
    tune: int
    target_accept: float
    cores: int


class RemlSettings(Settings):
    """How the bundled fitter searches; theta in raw columns, as it is reported."""

    start: tuple[float, ...] | None = Field(
        default=None, description="Theta of the first start of the search."
    )
    theta: tuple[float, ...] | None = Field(
        default=None, description="Evaluate the criterion at this theta and do not search."
    )
    starts: Annotated[int, Field(ge=1, le=20)] | None = Field(
        default=None, description="Number of starts; 2 by default, 1 where `start` is given."
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if self.theta is not None and (self.start is not None or self.starts is not None):
            raise ValueError("theta is evaluated without a search: leave start and starts out")
        return self


def word_or_settings(value: object) -> str:
    """`word` for a structure that its kind alone says, `settings` for a mapping."""
    return "word" if isinstance(value, str) else "settings"


def shortest(residual: Literal["iid"] | Residual) -> Literal["iid"] | Residual:
    """The word in place of the mapping that says the same: one model has one form."""
    return "iid" if isinstance(residual, Residual) and residual.kind == "iid" else residual


Printed = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?([eE][-+]?[0-9]+)?$")]
"""A number as it was printed: its digits say how exact it is, so zeros at the end count."""


def some[T](values: dict[str, T]) -> dict[str, T]:
    """The same values; none of them would hold nothing."""
    if not values:
        raise ValueError("is empty: name at least one parameter with its value")
    return values


class PointReference(Settings):
    """Numbers of a REML or ML fit that another program printed."""

    engine: Literal["reml", "ml"] = Field(description="Which criterion the numbers are of.")
    source: str = Field(min_length=1, description="Publication or program, version and place.")
    values: Annotated[dict[str, Printed], AfterValidator(some)] = Field(
        description="By the names of the tables (`beta[x]`, `sd_g[x]`, `sigma`), `se[x]`, "
        "criterion, loglik, aic, bic; each in quotes with the digits it was printed with."
    )
    within: float | None = Field(
        default=None, gt=0, lt=1, description="Relative difference allowed beyond the digits."
    )
    why: str | None = Field(default=None, min_length=1, description="Why `within` is needed.")

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        if self.within is not None and self.why is None:
            raise ValueError("within allows more than the printed digits: say why")
        if self.why is not None and self.within is None:
            raise ValueError("why is said of within: leave it out, or state within")
        return self


class PosteriorValue(Settings):
    """Posterior mean (and sd) of one parameter, with the Monte Carlo standard error of each."""

    mean: float
    mcse: float = Field(ge=0, description="Monte Carlo standard error of the mean.")
    sd: float | None = Field(default=None, gt=0)
    mcse_sd: float | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _of_an_sd(self) -> Self:
        if self.mcse_sd is not None and self.sd is None:
            raise ValueError("mcse_sd is of an sd: give sd too")
        return self


class PosteriorReference(Settings):
    """Posterior means that another sampler, or quadrature, gave under the same priors."""

    engine: Literal["posterior"]
    source: str = Field(min_length=1, description="Publication or program, version and place.")
    values: Annotated[dict[str, PosteriorValue], AfterValidator(some)] = Field(
        description="By the names of the tables: `beta[x]`, `sd_g[x]`, `corr_g[a, b]`, `sigma`."
    )
    within: float | None = Field(
        default=None, gt=0, lt=1, description="Relative difference allowed of each sd."
    )
    why: str | None = Field(default=None, min_length=1, description="Why `within` is needed.")

    @model_validator(mode="after")
    def _reasoned(self) -> Self:
        bare = [one for one in self.values.values() if one.sd is not None and one.mcse_sd is None]
        if bare and self.within is None:
            raise ValueError("an sd has no mcse_sd: add it, or say within what an sd must agree")
        if self.within is not None and not bare:
            raise ValueError("within is of sds without mcse_sd, and there is none: leave it out")
        if (self.within is None) != (self.why is None):
            raise ValueError("within and why are given together")
        return self


Reference = PointReference | PosteriorReference


class ModelConfig(Settings):
    """One model: data, formula, priors and how to fit it."""

    schema_: Literal[1] = Field(alias="schema", description="Version of this file format.")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Equals the file name.")
    about: str = Field(default="", description="What the model is and which question it answers.")
    data: DataSettings
    formula: str = Field(min_length=1, description="As lme4, brms and Bambi write it.")
    weights: str | None = Field(
        default=None,
        min_length=1,
        description="Column of known precisions: row i has residual variance sigma^2 / weight.",
    )
    offset: str | None = Field(
        default=None, min_length=1, description="Column added to the linear predictor as it is."
    )
    contrasts: dict[str, Contrast | ContrastSettings] = Field(
        default_factory=dict, description="Coding of factors: treatment unless said, or sum."
    )
    macro: dict[str, tuple[str, ...]] = Field(
        default_factory=dict, description="Columns that must be constant within a group."
    )
    allow_macro_in_z: bool = Field(
        default=False, description="Fit a macro predictor as a random slope all the same."
    )
    family: Literal["gaussian"] = "gaussian"
    residual: Annotated[
        Annotated[Literal["iid"], Tag("word")] | Annotated[ResidualSettings, Tag("settings")],
        Discriminator(word_or_settings),
        AfterValidator(shortest),
    ] = Field(default="iid", description="One variance, or a column of known sds.")
    priors: PriorSettings = PriorSettings()
    fit: FitSettings = FitSettings()
    reml: RemlSettings = RemlSettings()
    # Left out of what is dumped: another reference is not another model.
    reference: tuple[Annotated[Reference, Field(discriminator="engine")], ...] = Field(
        default=(), exclude=True, description="Numbers of others, which `hlm verify` holds it to."
    )

    @model_serializer(mode="wrap")
    def _as_used(self, written: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a prior of sigma where the residual is known: there is none."""
        found: dict[str, Any] = written(self)
        if isinstance(self.residual, Residual) and self.residual.known:
            found.get("priors", {}).pop("sigma", None)
        return found
