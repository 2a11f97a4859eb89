"""REML of a correlated slope from a DataFrame, warm, side by side with lme4's lmer.

    python benchmarks/reml.py [REPEATS]

The data are `nels` where HLM_DATA names its folder, else simulated at its size (12,974 rows, 684
groups). Each repeat times ours and lmer's in turn, in the same run; medians and their ratio are
printed. Needs R with lme4 on the path for the peer.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import hlm_models as hlm

FORMULA = "mscore ~ ses + (ses | school)"


def data() -> pd.DataFrame:
    folder = os.environ.get("HLM_DATA")
    if folder and (Path(folder) / "nels.csv").is_file():
        return pd.read_csv(Path(folder) / "nels.csv")[["school", "ses", "mscore"]]
    rng = np.random.default_rng(1)
    school = np.sort(rng.integers(0, 684, 12_974))
    ses, b = rng.normal(size=len(school)), rng.normal(size=(684, 2)) * [3.5, 1.2]
    mscore = 50 + 4 * ses + b[school, 0] + b[school, 1] * ses + 8 * rng.normal(size=len(school))
    return pd.DataFrame({"school": school, "ses": ses.round(2), "mscore": mscore.round(2)})


class Lmer:
    """A warm R process that fits the file on demand and answers with seconds and criterion."""

    def __init__(self, path: Path) -> None:
        code = (
            "suppressMessages(library(lme4)); "
            f"d <- read.csv('{path}'); d$school <- factor(d$school); "
            "con <- file('stdin'); open(con); "
            "while (length(line <- readLines(con, n = 1)) > 0) { "
            "t <- system.time(f <- lmer(mscore ~ ses + (ses | school), d))[['elapsed']]; "
            "cat(t, REMLcrit(f), '\\n'); flush(stdout()) }"
        )
        self.process = subprocess.Popen(
            ["Rscript", "-e", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def fit(self) -> tuple[float, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        seconds, criterion = self.process.stdout.readline().split()
        return float(seconds), float(criterion)


def main(repeats: int = 7) -> None:
    frame = data()

    def ours() -> tuple[float, float]:
        started = time.perf_counter()
        fit = hlm.fit(hlm.build(formula=FORMULA, data=frame), engine="reml")
        return time.perf_counter() - started, fit.criterion

    ours()
    print(f"{len(frame):,} rows, {frame['school'].nunique()} groups: {FORMULA}")
    if shutil.which("Rscript") is None:
        times = [ours()[0] for _ in range(repeats)]
        print(f"hlm_models {statistics.median(times):.3f} s; no R here, so no peer")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        frame.to_csv(path, index=False)
        lmer = Lmer(path)
        lmer.fit()
        pairs = [(ours(), lmer.fit()) for _ in range(repeats)]
        lmer.process.kill()
    mine = statistics.median(pair[0][0] for pair in pairs)
    theirs = statistics.median(pair[1][0] for pair in pairs)
    print(f"hlm_models  {mine:.3f} s  REML criterion {pairs[0][0][1]:.4f}")
    print(f"lme4::lmer  {theirs:.3f} s  REML criterion {pairs[0][1][1]:.4f}")
    print(f"lme4 over hlm_models: {theirs / mine:.1f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
