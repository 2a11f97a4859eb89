"""Peak memory, and time, of what goes over a million rows.

    python benchmarks/memory.py [build] [ROWS] [GROUPS]
    python benchmarks/memory.py loglik [ROWS] [GROUPS] [DRAWS]

build: a model. Prints the bytes of the columns (response, predictor, group codes as 64-bit
numbers), the peak of the process above its state before the build, and their ratio.

loglik: log likelihoods of four chains with so many draws in all, in blocks, by row and by group.
Prints the time, and the peak of the process above its state with the model and its draws.
"""

import gc
import math
import resource
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import hlm_models as hlm
from hlm_models.results.fits import PosteriorFit
from hlm_models.spec.model import ModelSpec

FORMULA = "y ~ x + (x | school)"


def resident() -> int:
    """Resident bytes of this process now."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def frame(rows: int, groups: int) -> pd.DataFrame:
    """Pupils in schools: a correlated intercept and slope."""
    rng = np.random.default_rng(1)
    school = rng.integers(0, groups, rows)
    x, b = rng.normal(size=rows), rng.normal(size=(groups, 2))
    y = 50 + 2 * x + b[school, 0] + 0.5 * b[school, 1] * x + rng.normal(size=rows)
    return pd.DataFrame({"y": y, "x": x, "school": school})


def measured(work: Callable[[], Any]) -> tuple[Any, float, int]:
    """What `work` gives, its seconds, and the peak of the process above its state before."""
    gc.collect()
    before, peak, done = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, resident())
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    return found, seconds, peak - before


def build(rows: int = 1_000_000, groups: int = 10_000) -> None:
    hlm.build(formula=FORMULA, data=frame(2_000, 20))  # imports and first calls
    data = frame(rows, groups)
    spec, seconds, above = measured(lambda: hlm.build(formula=FORMULA, data=data))
    columns = 3 * 8 * rows
    print(f"{rows:,} rows, {spec.blocks[0].J:,} groups: built in {seconds:.2f} s")
    print(f"numeric columns used {columns / 1e6:.0f} MB, peak above them {above / 1e6:.0f} MB")
    print(f"ratio {above / columns:.2f} (target: under 4)")


def posterior(spec: ModelSpec, chains: int, draws: int) -> PosteriorFit:
    """Made-up draws of a model of `frame`, near what its data were made with."""
    rng = np.random.default_rng(2)
    [block] = spec.blocks
    size = (chains, draws)
    corr = np.broadcast_to(np.eye(2), (*size, 2, 2))
    effects = {"school": list(block.labels), "effect_school": list(block.effects)}
    data = xr.Dataset(
        {
            "beta": (("chain", "draw", "coef"), [50, 2] + 0.01 * rng.normal(size=(*size, 2))),
            "sigma": (("chain", "draw"), np.exp(0.01 * rng.normal(size=size))),
            "sd_school": (
                ("chain", "draw", "effect_school"),
                [1, 0.5] * np.exp(0.01 * rng.normal(size=(*size, 2))),
            ),
            "corr_school": (("chain", "draw", "effect_school", "effect_school_2"), corr),
            "b_school": (
                ("chain", "draw", "school", "effect_school"),
                rng.standard_normal((*size, block.J, 2)),
            ),
        },
        effects | {"chain": range(chains), "draw": range(draws)},
    )
    tree = xr.DataTree.from_dict({"posterior": data})
    return PosteriorFit(spec, "nuts", tree, "made up", "centered", 0, (), {}, 1)


def loglik(rows: int = 1_000_000, groups: int = 10_000, draws: int = 4_000) -> None:
    small = posterior(hlm.build(formula=FORMULA, data=frame(2_000, 20)), 1, 10)
    fit = posterior(hlm.build(formula=FORMULA, data=frame(rows, groups)), 4, draws // 4)
    held = fit.data["posterior"].nbytes
    print(f"{rows:,} rows, {groups:,} groups, {draws:,} draws, which are {held / 1e6:,.0f} MB")
    for focus in ("observation", "group"):
        hlm.log_likelihood(small, focus).dataset()  # imports and first calls
        found = hlm.log_likelihood(fit, focus)
        total, seconds, above = measured(
            lambda found=found: sum(float(values.sum()) for _, values in found.blocks())
        )
        numbers = math.prod(found.shape)
        assert math.isfinite(total)
        print(
            f"{focus}: {numbers:,} numbers in {seconds:.1f} s, {1e9 * seconds / numbers:.1f} ns "
            f"each; peak above the draws {above / 1e6:,.0f} MB, the whole {8 * numbers / 1e6:,.0f}"
        )


CASES = {"build": build, "loglik": loglik}


if __name__ == "__main__":
    named = sys.argv[1:2] and sys.argv[1] in CASES
    CASES[sys.argv[1] if named else "build"](*map(int, sys.argv[2 if named else 1 :]))
