"""PyMC models to draws: the samplers' glue."""

import importlib
import importlib.util
import logging
import warnings
from typing import TYPE_CHECKING

import pymc as pm

from hlm_models.algebra.compiled import uninterrupted
from hlm_models.config.settings import Sampling
from hlm_models.errors import InputErrors
from hlm_models.results.progress import Progress, Step
from hlm_models.target.waiting import teller, wait

if TYPE_CHECKING:
    from xarray import DataTree

__all__ = ["sample"]


def sample(model: pm.Model, settings: Sampling, seed: int, progress: Progress) -> "DataTree":
    """Draws of all variables of `model`, by the sampler that the settings name.

    Raises
    ------
    InputErrors
        the sampler is not installed.
    FitError
        the sampler found no point to start from.
    """
    if importlib.util.find_spec(settings.sampler) is None:
        raise InputErrors.one(
            f"{settings.sampler} is not installed: pip install 'hlm-models[samplers]', "
            "or use nutpie",
            key="fit.sampler",
        )
    if settings.sampler == "nutpie":
        return _nutpie(model, settings, seed, progress)
    if settings.sampler in ("numpyro", "blackjax"):
        # These take the graph to JAX, where our kernel needs a form of its own.
        importlib.import_module("hlm_models.graph.integrated_jax")
    progress(Step(f"sampling with {settings.sampler}"))
    with model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("pymc").setLevel(logging.ERROR)
        draws: DataTree = pm.sample(
            draws=settings.draws,
            tune=settings.tune,
            chains=settings.chains,
            cores=settings.cores,
            random_seed=seed,
            nuts_sampler=settings.sampler,
            nuts={"target_accept": settings.target_accept},
            progressbar=False,
            compute_convergence_checks=False,
        )
    return draws


def _nutpie(model: pm.Model, settings: Sampling, seed: int, progress: Progress) -> "DataTree":
    import nutpie

    progress(Step("compiling"))
    with warnings.catch_warnings(), uninterrupted():
        warnings.simplefilter("ignore")
        compiled = nutpie.compile_pymc_model(model, backend="numba")

    handle = nutpie.sample(
        compiled,
        draws=settings.draws,
        tune=settings.tune,
        chains=settings.chains,
        cores=settings.cores,
        seed=seed,
        target_accept=settings.target_accept,
        save_warmup=False,
        progress_bar=False,
        progress_callback=teller(settings, progress),
        progress_rate=200,
        blocking=False,
    )
    # A blocking call would swallow Ctrl-C and hand back the draws so far.
    with warnings.catch_warnings():
        # A group may have any name; ArviZ warns of one that is called sample.
        warnings.simplefilter("ignore")
        draws: DataTree = wait(lambda: handle.wait(timeout=0.2), handle.abort)
    return draws
