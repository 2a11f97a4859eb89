"""The no-U-turn sampler of nutpie on a compiled log posterior, without PyMC.

Only nutpie's compiled library is loaded: importing the package brings ArviZ and matplotlib with it,
which takes longer than sampling most models.
"""

import importlib.machinery
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hlm_models.config.settings import Sampling
from hlm_models.errors import FitError
from hlm_models.results.progress import Progress, Step
from hlm_models.target.arrays import copy
from hlm_models.target.density import Target
from hlm_models.target.waiting import teller, wait
from hlm_models.types import FloatArray

__all__ = ["Sampled", "sample"]

LIBRARY = "nutpie._lib"

STATISTICS = {
    "diverging": np.bool_,
    "energy": np.float64,
    "step_size": np.float64,
    "n_steps": np.int64,
    "depth": np.int64,
    "mean_tree_accept": np.float64,
    "maxdepth_reached": np.bool_,
    "logp": np.float64,
}
"""Statistics of the sampler that are kept, by its names."""


@dataclass(frozen=True)
class Sampled:
    """Draws x (chains, draws, d), and statistics (chains, draws) by nutpie's names."""

    x: FloatArray
    statistics: Mapping[str, Any]
    steps: int
    """Leapfrog steps of all chains, tuning included."""


def sample(target: Target, settings: Sampling, seed: int, progress: Progress) -> Sampled:
    """Draws from the target's posterior; the same seed gives the same bits on any `cores`.

    Chains start at draws from the normal approximation that the target's coordinates stand for.

    Raises
    ------
    FitError
        the sampler found no point to start from, or a chain broke.
    """
    library = _library()
    d = target.size

    def start(chain_seed: int) -> FloatArray:
        return np.random.default_rng(chain_seed).standard_normal(d)

    options = library.PyNutsSettings.Diag(seed)
    options.update(
        {
            "num_tune": settings.tune,
            "num_draws": settings.draws,
            "num_chains": settings.chains,
            "target_accept": settings.target_accept,
        }
    )
    address = target.table.ctypes.data
    model = library.PyMcModel(
        library.LogpFunc(target.function.address, address, target),
        library.ExpandFunc(d, d, copy.address, address, target),
        library.PyVariable.new_variables(["z"], ["float64"], [(d,)], {"x": d}, {"z": ("x",)}),
        d,
        {"x": d},
        {"x": np.arange(d)},
        start,
        None,
    )
    progress(Step("sampling"))
    sampler = library.PySampler.from_pymc(
        options,
        settings.cores,
        model,
        library.ProgressType.none(),
        teller(settings, progress),
        200,
        library.PyStorage.arrow(),
    )
    wait(lambda: sampler.wait(0.2), sampler.abort)
    return _collect(target, settings, sampler.take_results())


def _library() -> Any:
    """Nutpie's compiled library, by itself where the package is not loaded already."""
    if LIBRARY in sys.modules:
        return sys.modules[LIBRARY]
    package = importlib.util.find_spec("nutpie")
    assert package is not None, "nutpie is a dependency"
    found = importlib.machinery.PathFinder.find_spec("_lib", package.submodule_search_locations)
    assert found is not None
    assert found.origin is not None, "nutpie has its compiled library"
    loader = importlib.machinery.ExtensionFileLoader(LIBRARY, found.origin)
    library = importlib.util.module_from_spec(
        importlib.machinery.ModuleSpec(LIBRARY, loader, origin=found.origin)
    )
    loader.exec_module(library)
    # A later `import nutpie` must find this one: it may be loaded once in a process.
    sys.modules[LIBRARY] = library
    return library


def _collect(target: Target, settings: Sampling, results: Any) -> Sampled:
    import pyarrow

    draws, statistics = results.get_arrow_trace()
    x = np.empty((settings.chains, settings.draws, target.size))
    kept: dict[str, list[Any]] = {name: [] for name in STATISTICS}
    steps = 0
    for chain, (batch, stats) in enumerate(zip(draws, statistics, strict=True)):
        tuning = np.asarray(pyarrow.array(stats.column("tuning")).to_numpy(zero_copy_only=False))
        used = ~tuning.astype(bool)
        if used.sum() != settings.draws:
            raise FitError(f"chain {chain + 1} gave {used.sum()} of {settings.draws} draws")
        z = pyarrow.array(batch.column("z")).flatten().to_numpy()
        z = z.reshape(-1, target.size)[used]
        x[chain] = target.points(z)
        for name, dtype in STATISTICS.items():
            column = pyarrow.array(stats.column(name)).to_numpy(zero_copy_only=False)
            steps += int(column.sum()) if name == "n_steps" else 0
            kept[name].append(column[used].astype(dtype))
    return Sampled(x, {name: np.array(value) for name, value in kept.items()}, steps)
