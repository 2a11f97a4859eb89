"""The fitter against its peers: medians of runs taken in turn, in one go.

    python benchmarks/reml.py [nels] [insteval] [rows] [levels] [cold]

nels      a correlated slope, from a DataFrame, warm (`nels` where HLM_DATA names its folder, else
          simulated at its size): lme4, mixedlm, statsmodels
insteval  three crossed factors by ML: lme4, mixedlm; and the peak memory of our process
rows      one value with its gradient at 1e4, 1e6 and 1e7 rows of the same groups
levels    1e6 rows, 1e5 groups, two effects, from a DataFrame to the certified fit, against five
          group-by sums of that frame by pandas and 30 calls of the kernel
cold      CPU of `hlm fit nels-slopes --engine reml` against importing numba, pandas and
          scipy.optimize
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import peers

import hlm_models as hlm

REPEATS = 5


def slopes() -> pd.DataFrame:
    folder = os.environ.get("HLM_DATA")
    if folder and (Path(folder) / "nels.csv").is_file():
        return pd.read_csv(Path(folder) / "nels.csv")[["school", "ses", "mscore"]]
    return made_up(12_974, 684)


def made_up(rows: int, groups: int, *, shuffled: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    school = np.sort(np.arange(rows) % groups)
    if shuffled:
        rng.shuffle(school)
    ses, b = rng.normal(size=rows), rng.normal(size=(groups, 2)) * [3.5, 1.2]
    mscore = 50 + 4 * ses + b[school, 0] + b[school, 1] * ses + 8 * rng.normal(size=rows)
    return pd.DataFrame({"school": school, "ses": ses, "mscore": mscore})


def ours(formula: str, frame: pd.DataFrame, engine: str) -> Callable[[], tuple[float, float]]:
    def once() -> tuple[float, float]:
        started = time.perf_counter()
        fit = hlm.fit(hlm.build(formula=formula, data=frame), engine=engine)
        seconds = time.perf_counter() - started
        if not fit.converged:
            raise SystemExit("the certificate failed")
        return seconds, fit.criterion

    return once


def side_by_side(
    title: str, mine: Callable[[], tuple[float, float]], others: list[peers.Peer], repeats: int
) -> None:
    """Fit in turn, once to warm up and then `repeats` times; print medians and ratios."""
    print(title)
    runs: dict[str, list[tuple[float, float]]] = {}
    for turn in range(repeats + 1):
        found = {"hlm_models": mine(), **{peer.name: peer.fit() for peer in others}}
        if turn:
            for name, one in found.items():
                runs.setdefault(name, []).append(one)
    for peer in others:
        peer.close()
    base = statistics.median(seconds for seconds, _ in runs["hlm_models"])
    for name, found in runs.items():
        middle = statistics.median(seconds for seconds, _ in found)
        print(f"  {name:12} {middle:9.4f} s  {middle / base:7.1f} x  criterion {found[-1][1]:.6f}")


def nels() -> None:
    frame = slopes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        frame.to_csv(path, index=False)
        formula = "mscore ~ ses + (ses | school)"
        others = [
            peers.lme4(path, formula, ["school"], reml=True),
            peers.mixedlm(path, formula, reml=True),
            peers.statsmodels(path, "mscore ~ ses", "school", "~ses", reml=True),
        ]
        side_by_side(
            f"{formula}: {len(frame):,} rows, {frame['school'].nunique()} groups, REML, warm",
            ours(formula, frame, "reml"),
            [peer for peer in others if peer],
            REPEATS,
        )


def insteval() -> None:
    spec = hlm.build("insteval")
    frame = spec.design.table.frame()
    formula = "y ~ service + (1 | s) + (1 | d) + (1 | dept)"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        frame.to_csv(path, index=False)
        others = [
            peers.lme4(path, formula, ["s", "d", "dept"], reml=False),
            peers.mixedlm(path, formula, reml=False),
        ]
        side_by_side(
            f"insteval, {formula}: {len(frame):,} rows, ML, warm",
            ours(formula, frame, "ml"),
            [peer for peer in others if peer],
            REPEATS,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  peak memory of this process {peak:,.0f} MB")


def rows() -> None:
    print("one value with its gradient, 1,000 groups, two effects")
    for n in (10_000, 1_000_000, 10_000_000):
        spec = hlm.build(formula="mscore ~ ses + (ses | school)", data=made_up(n, 1000))
        marginal, theta = spec.marginal, np.array([0.4, 0.1, 0.2])
        marginal.objective(theta, reml=True)
        times = []
        for _ in range(200):
            started = time.perf_counter()
            marginal.objective(theta, reml=True)
            times.append(time.perf_counter() - started)
        print(f"  n = {n:>10,}  {statistics.median(times) * 1e6:7.1f} microseconds")


def levels() -> None:
    for shuffled in (False, True):
        frame = made_up(1_000_000, 100_000, shuffled=shuffled)
        run = ours("mscore ~ ses + (ses | school)", frame, "reml")
        spec = hlm.build(formula="mscore ~ ses + (ses | school)", data=frame)
        marginal, theta = spec.marginal, np.array([0.4, 0.1, 0.2])
        found: dict[str, list[float]] = {"fit": [], "sums": [], "kernel": []}
        for turn in range(REPEATS + 1):
            started = time.perf_counter()
            for _ in range(5):
                frame.groupby("school").sum()
            summed = time.perf_counter()
            for _ in range(30):
                marginal.sweep(theta)
            swept = time.perf_counter()
            seconds, _ = run()
            if turn:
                found["sums"].append(summed - started)
                found["kernel"].append(swept - summed)
                found["fit"].append(seconds)
        fit, sums, kernel = (statistics.median(found[key]) for key in ("fit", "sums", "kernel"))
        order = "in random order" if shuffled else "sorted by group"
        budget = sums + kernel
        print(
            f"1e6 rows {order}, 1e5 groups: fit {fit:.3f} s; five group-by sums {sums:.3f} s + "
            f"30 kernel calls {kernel:.3f} s = {budget:.3f} s; ratio {fit / budget:.2f}"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  peak memory of this process {peak:,.0f} MB")


def cold() -> None:
    def cpu(command: list[str]) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    hlm_command = str(Path(sys.executable).with_name("hlm"))
    fit = [hlm_command, "fit", "nels-slopes", "--engine", "reml"]
    imports = [sys.executable, "-c", "import numba, pandas, scipy.optimize"]
    pairs = [(cpu(fit), cpu(imports)) for _ in range(REPEATS + 1)][1:]
    mine, base = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    print(f"cold: hlm fit {mine:.2f} s of CPU, the imports {base:.2f} s; ratio {mine / base:.2f}")


PARTS = {"nels": nels, "insteval": insteval, "rows": rows, "levels": levels, "cold": cold}

if __name__ == "__main__":
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()
