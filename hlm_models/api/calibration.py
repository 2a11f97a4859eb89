"""Calibration of any model by any engine that draws, and its page."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hlm_models.api.models import build
from hlm_models.calibration.calibrate import Calibration
from hlm_models.calibration.calibrate import calibrate as simulated
from hlm_models.engines.find import require
from hlm_models.report.calibration import render
from hlm_models.results.progress import Progress, silent
from hlm_models.spec.model import ModelSpec

if TYPE_CHECKING:
    from hlm_models.config.settings import ModelConfig

__all__ = ["calibrate", "write_calibration"]


def calibrate(
    model: "ModelSpec | str | Path | Mapping[str, Any] | ModelConfig",
    engine: str = "nuts",
    simulations: int = 200,
    *,
    seed: int | None = None,
    workers: int | None = None,
    folder: str | Path | None = None,
    progress: Progress = silent,
) -> Calibration:
    """Simulation-based calibration: whether an engine's draws are those of the posterior.

    Each simulation draws the unknowns from the prior and a response given them, fits the model to
    it, and ranks the unknowns among 99 draws; the ranks must be uniform.

    Parameters
    ----------
    engine : one that gives draws
    simulations : at least 20; the more, the smaller the errors that are found
    seed : `fit.seed` of the model by default. Simulation i depends on it and on i alone
    workers : processes; this one alone by default. A script that asks for more must start under
        `if __name__ == "__main__":`
    folder : keeps finished simulations in a file; a later call of the same goes on from there

    Raises
    ------
    InputErrors
        a problem of the model; an engine without draws; an improper prior; an argument that is no
        number, path or seed.
    RefusalError
        the engine cannot fit this model.
    ModelMismatchError
        `folder` holds simulations of another model, engine, seed or settings.
    FitError
        all fits failed, or a worker process ended early.
    """
    spec = model if isinstance(model, ModelSpec) else build(model, progress=progress)
    return simulated(
        spec,
        require(engine, spec, drawing=True),
        simulations,
        seed=spec.fit.seed if seed is None else seed,
        workers=workers,
        folder=folder,
        progress=progress,
    )


def write_calibration(found: Calibration, path: str | Path) -> Path:
    """Write the page of a calibration to `path`; returns it.

    Raises
    ------
    InputErrors
        the folder is not there.
    """
    from hlm_models.api.folders import page_file

    target = page_file(path)
    target.write_text(render(found), encoding="utf-8")
    return target
