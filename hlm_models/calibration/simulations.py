"""One simulation: unknowns from the prior, a response given them, a fit, and the ranks in it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hlm_models.calibration.quantities import ranked, thinned, truth
from hlm_models.config.settings import FitSettings
from hlm_models.engines.find import Engine
from hlm_models.errors import HlmError
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.progress import silent
from hlm_models.results.summary import ess, parameter_draws
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.simulate import draw_prior, draw_response

__all__ = ["DRAWS", "Failed", "Ranked", "Row", "Simulations", "written"]

DRAWS = 99
"""Draws of each posterior among which the truth is ranked: ranks are 0 to 99."""

LONGER = (1, 4, 16)
"""A chain is made so many times as long, one after the other, until its draws are enough."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A finished simulation.

    ranks : of each quantity, how many of the draws are below the truth
    ess : the smallest bulk effective sample size of a parameter, of all draws of the fit
    divergences : of the sampler
    """

    ranks: tuple[int, ...]
    ess: float
    divergences: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A simulation whose fit failed, with what was said."""

    message: str


Row = Ranked | Failed


@dataclass(frozen=True, eq=False)
class Simulations:
    """Simulation i of a model, fitted by an engine; it depends on the seed and on i alone."""

    spec: ModelSpec
    engine: Engine
    settings: FitSettings
    seed: int
    names: Sequence[str]

    def row(self, index: int) -> Row:
        drawing, fitting = np.random.SeedSequence(self.seed, spawn_key=(index,)).spawn(2)
        rng = np.random.default_rng(drawing)
        point = draw_prior(self.spec, rng)
        model = self.spec.with_response(draw_response(self.spec, point, rng))
        try:
            fit, size = self._fit(model, int(fitting.generate_state(1)[0]))
            drawn = ranked(model, thinned(fit, DRAWS))
        except HlmError as error:
            return Failed(str(error))
        true = ranked(model, truth(model, point))
        below = tuple(int(np.sum(drawn[name] < true[name])) for name in self.names)
        return Ranked(below, size, fit.divergences)

    def _fit(self, model: ModelSpec, seed: int) -> tuple[PosteriorFit, float]:
        """The posterior with its effective sample size, of at least DRAWS if that can be had."""
        for times in LONGER:
            changes = {"draws": times * self.settings.draws, "seed": seed}
            found = self.engine.fit(model, self.settings.model_copy(update=changes), silent)
            assert isinstance(found, PosteriorFit), "the engine has draws"
            fit = found
            sizes = [ess(draws, "bulk") for draws in parameter_draws(fit).values()]
            # Not a number where a parameter never moved.
            smallest = 0.0 if np.isnan(sizes).any() else min(sizes)
            if smallest >= DRAWS:
                break
        return fit, smallest

    def header(self) -> dict[str, object]:
        """What the rows are of, in words that a file can keep."""
        return {
            "schema": 1,
            "calibration": self.spec.digest,
            "engine": self.engine.name,
            "settings": self.settings.model_dump(mode="json", exclude={"cores", "seed"}),
            "seed": self.seed,
            "draws": DRAWS,
            "quantities": list(self.names),
        }

    def read(self, row: object) -> Row:
        """A row from a file; a ValueError where it is none of these."""
        match row:
            case {"failed": str(message)}:
                return Failed(message)
            case {"ranks": [*ranks], "ess": float(size), "divergences": int(divergences)} if len(
                ranks
            ) == len(self.names) and all(one in range(DRAWS + 1) for one in ranks):
                return Ranked(tuple(ranks), size, divergences)
        raise ValueError(row)


def written(row: Row) -> dict[str, object]:
    """A row as what JSON can hold."""
    if isinstance(row, Failed):
        return {"failed": row.message}
    return {"ranks": list(row.ranks), "ess": row.ess, "divergences": row.divergences}
