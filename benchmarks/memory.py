"""Peak memory of building a model at a million rows, against the numeric columns that it uses.

    python benchmarks/memory.py [ROWS] [GROUPS]

Prints the bytes of the columns (response, predictor, group codes as 64-bit numbers), the peak of
the process above its state before the build, and their ratio.
"""

import gc
import resource
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd

import hlm_models as hlm


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


def main(rows: int = 1_000_000, groups: int = 10_000) -> None:
    formula = "y ~ x + (x | school)"
    hlm.build(formula=formula, data=frame(2_000, 20))  # imports and first calls
    data = frame(rows, groups)
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
    spec = hlm.build(formula=formula, data=data)
    seconds = time.perf_counter() - started
    done.set()
    watcher.join()
    columns = 3 * 8 * rows
    print(f"{rows:,} rows, {spec.blocks[0].J:,} groups: built in {seconds:.2f} s")
    above = peak - before
    print(f"numeric columns used {columns / 1e6:.0f} MB, peak above them {above / 1e6:.0f} MB")
    print(f"ratio {above / columns:.2f} (target: under 4)")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
