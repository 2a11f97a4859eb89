"""Intervals cover as often as they say, where there are levels enough."""

import importlib.util
import math
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "interval_coverage.py"
DRAWS = 500


@pytest.mark.slow
def test_intervals_cover_with_thirty_levels():
    spec = importlib.util.spec_from_file_location("interval_coverage", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    table = script.coverage(30, DRAWS, profiled=["sd_g[Intercept]", "sd_g[x]"])
    error = math.sqrt(0.95 * 0.05 / DRAWS)
    for parameter, kinds in {
        "beta[Intercept]": ("Satterthwaite", "Kenward-Roger"),
        "beta[x]": ("Satterthwaite", "Kenward-Roger"),
        "sd_g[Intercept]": ("profile",),
        "sd_g[x]": ("profile",),
    }.items():
        for kind in kinds:
            row = table.loc[(parameter, kind)]
            assert row["coverage"] == pytest.approx(0.95, abs=3 * error), (parameter, kind)
            assert row["there"] == 1
