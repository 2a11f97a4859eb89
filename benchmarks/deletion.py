"""Every group left out in turn and the model fitted again, by REML: ours beside lme4's influence.

    python benchmarks/deletion.py [all]

`nels` where HLM_DATA names its folder, else data simulated at its size: 684 schools, a correlated
slope. By default lme4 makes the fits of every 34th school only, each as its
influence(fit, groups = "school") makes it (update from the theta of all rows), and their time is
multiplied; with `all` it runs influence itself. The estimates of both are held together.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from reml import slopes

import hlm_models as hlm

EVERY = 34
REPEATS = 3
FORMULA = "mscore ~ ses + (ses | school)"

LME4 = """
suppressMessages(library(lme4))
d <- read.csv('{path}')
d$school <- factor(d$school)
fit <- lmer({formula}, d)
if ({all}) {{
  t <- system.time(found <- influence(fit, groups = 'school'))[['elapsed']]
  beta <- found[['fixed.effects[-school]']]
}} else {{
  schools <- levels(d$school)[seq(1, nlevels(d$school), by = {every})]
  par <- list(theta = getME(fit, 'theta'))
  control <- lmerControl(optCtrl = list(maxfun = 1000))
  without <- function(one) {{
    d$del <- one
    fixef(suppressWarnings(
      update(fit, data = d, subset = (school != del), start = par, control = control)
    ))
  }}
  t <- system.time(found <- lapply(schools, without))[['elapsed']]
  beta <- do.call(rbind, found)
  rownames(beta) <- schools
}}
cat(t, '\\n')
write.csv(beta)
"""


def by_lme4(frame: pd.DataFrame, *, every: int) -> tuple[float, pd.DataFrame]:
    """Seconds of lme4's fits, and beta without each school that it left out."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.csv"
        frame.to_csv(path, index=False)
        whole = "TRUE" if every == 1 else "FALSE"
        code = LME4.format(path=path, formula=FORMULA, all=whole, every=every)
        done = subprocess.run(["Rscript", "-e", code], capture_output=True, text=True, check=True)
    seconds, table = done.stdout.split("\n", 1)
    return float(seconds), pd.read_csv(StringIO(table), index_col=0)


def main() -> None:
    every = 1 if "all" in sys.argv[1:] else EVERY
    frame = slopes()
    fit = hlm.fit(hlm.build(formula=FORMULA, data=frame), engine="reml")
    times = []
    for turn in range(REPEATS + 1):
        started = time.perf_counter()
        found = hlm.case_deletion(fit)
        if turn:
            times.append(time.perf_counter() - started)
    mine, J = statistics.median(times), len(found.levels)
    print(f"{FORMULA}: {len(frame):,} rows, REML without each of {J} schools")
    print(f"  hlm_models   {mine:9.2f} s for {J} fits, with log densities and distances")
    seconds, beta = by_lme4(frame, every=every)
    theirs = seconds * J / len(beta)
    what = "influence()" if every == 1 else f"from {len(beta)} of {J} fits, {seconds:.1f} s"
    print(f"  lme4         {theirs:9.2f} s, {what}")
    print(f"  ratio        {theirs / mine:9.0f}")
    at = [found.levels.index(str(one)) for one in beta.index]
    apart = np.abs(found.beta[at] - beta.to_numpy()) / np.sqrt(np.diag(fit.vcov_beta))
    print(f"  coefficients are at most {apart.max():.1e} standard errors apart")


if __name__ == "__main__":
    main()
