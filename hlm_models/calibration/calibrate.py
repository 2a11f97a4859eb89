"""Simulation-based calibration: whether an engine's draws are those of the posterior.

Unknowns are drawn from the prior, and a response given them. Among independent draws from the
posterior given that response, the rank of each unknown is uniform, and so is that of every function
of unknowns and data. Where the ranks are not uniform, the draws are not those of the posterior.

Source: Talts et al. (2018), arXiv:1804.06788; Modrák et al. (2025), doi:10.1214/23-BA1404.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hlm_models.algebra.uniformity import Band, UniformRanks
from hlm_models.calibration.quantities import ranked, truth
from hlm_models.calibration.simulations import DRAWS, Failed, Ranked, Row, Simulations, written
from hlm_models.config.settings import FitSettings
from hlm_models.engines.find import ENGINES, Engine, find
from hlm_models.errors import FitError, InputErrors, Problem
from hlm_models.inference.journal import journal
from hlm_models.inference.workers import collect
from hlm_models.results.arguments import checked_count, checked_seed
from hlm_models.results.checks import Check, graded
from hlm_models.results.document import plain
from hlm_models.results.progress import Progress, silent
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.simulate import draw_prior, improper
from hlm_models.types import FloatArray, IntArray, frozen

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ERROR", "LEAST", "Calibration", "Quantity", "calibrate"]

ERROR = 0.01
"""A correct engine fails with at most this probability, all quantities of a model together."""

LEAST = 20
"""Of fewer simulations, hardly any ranks leave the band, whatever the engine does."""

DEFAULTS = {"chains": 2, "draws": 250, "cores": 1}
"""Settings of each fit, unless the model states its own."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """The verdict on one quantity.

    p : the probability that uniform ranks stray so far
    worst : the share of the ranks at which the ECDF is least likely
    difference : the ECDF there, less that share; above 0, too many ranks are low
    """

    name: str
    status: Literal["pass", "fail"]
    p: float
    worst: float
    difference: float


@dataclass(frozen=True, eq=False)
class Calibration:
    """Ranks of the truth among the draws of an engine, over simulations of a model.

    `rows` has one entry a simulation; `names` are those of the quantities that are ranked.
    """

    spec: ModelSpec
    engine: str
    settings: FitSettings
    seed: int
    names: tuple[str, ...]
    rows: tuple[Row, ...]

    @cached_property
    def ranked(self) -> tuple[Ranked, ...]:
        """Simulations whose fit did not fail."""
        return tuple(row for row in self.rows if isinstance(row, Ranked))

    @property
    def failures(self) -> Mapping[int, str]:
        """What was said of the other fits, by the number of the simulation."""
        return {i: row.message for i, row in enumerate(self.rows) if isinstance(row, Failed)}

    @property
    def draws(self) -> int:
        """Draws of each posterior among which the truth is ranked."""
        return DRAWS

    @cached_property
    def ranks(self) -> IntArray:
        """Ranks (done, k) from 0 to `draws`, one row a simulation whose fit did not fail."""
        return frozen(np.array([row.ranks for row in self.ranked], dtype=np.int64))

    @property
    def ess(self) -> FloatArray:
        """Smallest bulk effective sample size (done,) of a parameter."""
        return np.array([row.ess for row in self.ranked])

    @property
    def divergences(self) -> IntArray:
        """Divergent draws (done,) of each fit."""
        return np.array([row.divergences for row in self.ranked])

    @property
    def error(self) -> float:
        """The probability that a correct engine fails, all quantities together, is at most this."""
        return ERROR

    @property
    def level(self) -> float:
        """A quantity fails where its p value is below: Bonferroni's bound over the quantities."""
        return ERROR / len(self.names)

    @cached_property
    def uniform(self) -> UniformRanks:
        """The law of the ranks of one quantity where all is right."""
        return UniformRanks(len(self.ranked), DRAWS)

    @cached_property
    def band(self) -> Band:
        """The band that the ECDF of each quantity stays in where all is right."""
        return self.uniform.band(self.level)

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        law, found = self.uniform, []
        for name, ranks in zip(self.names, self.ranks.T, strict=True):
            one = law.strayed(ranks)
            status: Literal["pass", "fail"] = "fail" if one.p < self.level else "pass"
            found.append(Quantity(name, status, one.p, one.at, one.difference))
        return tuple(found)

    @property
    def checks(self) -> tuple[Check, ...]:
        """Ranks outside the band; fits that failed, diverged or had too few effective draws."""
        outside = [one.name for one in self.quantities if one.status == "fail"]
        low, diverged = self.ess < DRAWS, self.divergences > 0
        return (
            graded(
                "ranks",
                float(len(outside)),
                fail=0.0,
                message="quantities whose ranks are not uniform"
                + (f" ({', '.join(outside)})" if outside else ""),
            ),
            graded(
                "failed_fits",
                len(self.failures) / len(self.rows),
                warn=0.0,
                fail=0.05,
                message=f"share of fits that failed ({len(self.failures)} of {len(self.rows)})",
            ),
            graded(
                "low_ess",
                float(low.mean()),
                warn=0.0,
                fail=0.1,
                message=f"share of fits with an effective sample size below {DRAWS} "
                f"({low.sum()} of {len(low)})",
            ),
            graded(
                "divergent_fits",
                float(diverged.mean()),
                warn=0.05,
                message=f"share of fits with divergent draws ({diverged.sum()} of {len(low)})",
            ),
        )

    def frame(self) -> "pd.DataFrame":
        """One row a quantity: status, p, worst, difference."""
        import pandas as pd

        return pd.DataFrame([asdict(one) for one in self.quantities]).set_index("name")

    def document(self) -> dict[str, Any]:
        """The document of `hlm calibrate --json`."""
        found: dict[str, Any] = plain(
            {
                "model": self.spec.name,
                "engine": self.engine,
                "formula": self.spec.design.formula.text,
                "simulations": len(self.rows),
                "failed": len(self.failures),
                "seed": self.seed,
                "ranks": DRAWS + 1,
                "error": ERROR,
                "level": self.level,
                "settings": self.settings.model_dump(mode="json", exclude={"seed"}),
                "quantities": [asdict(one) for one in self.quantities],
                "failures": [
                    {"simulation": i, "message": message} for i, message in self.failures.items()
                ],
                "checks": [one.document() for one in self.checks],
            }
        )
        return found


def calibrate(
    spec: ModelSpec,
    engine: Engine,
    simulations: int,
    *,
    seed: int,
    workers: int | None = None,
    folder: Path | str | None = None,
    progress: Progress = silent,
) -> Calibration:
    """Simulate from the model, fit each simulation, and rank the truth among the draws.

    Simulation i depends on the seed and on i alone, so the result is the same for any number of
    workers, and more simulations begin with those of fewer.

    Parameters
    ----------
    workers : processes; this one alone by default. A script that asks for more must start under
        `if __name__ == "__main__":`
    folder : keeps finished simulations in a file; a later call of the same model, engine, seed and
        settings goes on from there

    Raises
    ------
    InputErrors
        an engine without draws; improper priors; simulations, workers, a seed or a folder that
        are none; settings with fewer draws than are ranked among.
    ModelMismatchError
        `folder` holds simulations of something else.
    FitError
        all fits failed, or a worker process ended early.
    """
    simulations = checked_count(simulations, "simulations", least=LEAST)
    seed = checked_seed(seed)
    settings = _settings(spec)
    _refuse(spec, engine, settings)
    point = draw_prior(spec, np.random.default_rng(seed))
    names = tuple(ranked(spec, truth(spec, point)))
    task = Simulations(spec, engine, settings, seed, names)
    with journal(
        folder,
        task.header(),
        encode=written,
        decode=task.read,
        others="simulations of another model, engine, seed or settings",
    ) as (done, keep):
        rows = collect(
            task,
            simulations,
            workers=workers,
            done=done,
            keep=keep,
            stage="simulating and fitting",
            progress=progress,
            unit="simulations",
        )
    found = Calibration(spec, engine.name, settings, seed, names, tuple(rows))
    if not found.ranked:
        raise FitError(f"all {simulations} fits failed, the first one so: {found.failures[0]}")
    return found


def _settings(spec: ModelSpec) -> FitSettings:
    stated = spec.fit.model_fields_set
    return spec.fit.model_copy(
        update={key: value for key, value in DEFAULTS.items() if key not in stated}
    )


def _refuse(spec: ModelSpec, engine: Engine, settings: FitSettings) -> None:
    if not engine.draws:
        drawing = ", ".join(name for name in ENGINES if find(name).draws)
        raise InputErrors.one(
            f"{engine.name} has no draws to rank the truth among (engines with draws: {drawing})",
            key="engine",
        )
    problems = [
        Problem(
            f"{name} has an improper prior, and a calibration draws from the prior: state a proper "
            f"one, such as {_proper(name)}",
            key="priors",
        )
        for name in improper(spec)
    ]
    if settings.chains * settings.draws < DRAWS:
        problems.append(
            Problem(
                f"{settings.chains} chains of {settings.draws} draws are fewer than the {DRAWS} "
                "among which the truth is ranked: ask for more, or leave both out",
                key="fit.draws",
            )
        )
    if problems:
        raise InputErrors(problems)


def _proper(name: str) -> str:
    """A proper prior of a parameter, as a model file has it."""
    if name.startswith("beta["):
        return "{kind: normal, loc: 0, scale: auto}"
    return "{kind: half_student_t, df: 3, scale: auto}"
