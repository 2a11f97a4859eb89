"""The fits that lme4 has extracted too, those of tests/results."""

import runpy
from pathlib import Path

_RESULTS = runpy.run_path(str(Path(__file__).parents[1] / "results" / "conftest.py"))
lme4, fit_of = _RESULTS["lme4"], _RESULTS["fit_of"]
