"""Other fitters as warm processes that fit one file and formula on demand.

`lme4` needs R with lme4 on the path; `mixedlm` and `statsmodels` are installed into an environment
of their own, `benchmarks/.peers`, the first time. `python` makes such environments.
"""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
FITTERS = (".peers", ("mixedlm", "statsmodels"))

LME4 = """
suppressMessages(library(lme4))
d <- read.csv('{path}'); for (g in strsplit('{groups}', ' ')[[1]]) d[[g]] <- factor(d[[g]])
con <- file('stdin'); open(con)
while (length(line <- readLines(con, n = 1)) > 0) {{
  t <- system.time(f <- lmer({formula}, d, REML = {R_reml}))[['elapsed']]
  cat(t, {R_criterion}, '\\n'); flush(stdout())
}}
"""

MIXEDLM = """
import sys, time, pandas as pd, mixedlm
d = pd.read_csv('{path}')
for line in sys.stdin:
    started = time.perf_counter()
    fit = mixedlm.lmer('{formula}', d, REML={reml})
    seconds = time.perf_counter() - started
    print(seconds, {criterion}, flush=True)
"""

STATSMODELS = """
import sys, time, warnings, pandas as pd, statsmodels.formula.api as smf
warnings.simplefilter('ignore')
d = pd.read_csv('{path}')
for line in sys.stdin:
    started = time.perf_counter()
    model = smf.mixedlm('{fixed}', d, groups='{groups}', re_formula='{effects}')
    fit = model.fit(reml={reml})
    seconds = time.perf_counter() - started
    print(seconds, -2 * fit.llf, flush=True)
"""


class Peer:
    """A warm process; `fit` gives seconds and criterion of one fit."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def fit(self) -> tuple[float, float]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        seconds, criterion = self.process.stdout.readline().split()
        return float(seconds), float(criterion)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


def python(folder: str = FITTERS[0], packages: tuple[str, ...] = FITTERS[1]) -> str:
    """The interpreter of an environment of peers, made where it is not there yet."""
    venv, wanted = HERE / folder, " ".join(packages)
    command, made = str(venv / "bin" / "python"), venv / "made"
    if not made.exists() or made.read_text(encoding="utf-8") != wanted:
        print(f"making the environment {folder} of the peers", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([command, "-m", "pip", "install", "-q", *packages], check=True)
        made.write_text(wanted, encoding="utf-8")
    return command


def lme4(path: Path, formula: str, groups: list[str], *, reml: bool) -> Peer | None:
    if shutil.which("Rscript") is None:
        return None
    code = LME4.format(
        path=path,
        formula=formula,
        groups=" ".join(groups),
        R_reml="TRUE" if reml else "FALSE",
        R_criterion="REMLcrit(f)" if reml else "deviance(f)",
    )
    return Peer("lme4", ["Rscript", "-e", code])


def mixedlm(path: Path, formula: str, *, reml: bool) -> Peer:
    criterion = "mixedlm.REMLcrit(fit)" if reml else "-2 * float(fit.logLik().value)"
    code = MIXEDLM.format(path=path, formula=formula, reml=reml, criterion=criterion)
    return Peer("mixedlm", [python(), "-c", code])


def statsmodels(path: Path, fixed: str, groups: str, effects: str, *, reml: bool) -> Peer:
    code = STATSMODELS.format(path=path, fixed=fixed, groups=groups, effects=effects, reml=reml)
    return Peer("statsmodels", [python(), "-c", code])
