"""What every test may use: hypothesis profiles, where the data lie, and a count of the skips."""

import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

SHARED = Path(__file__).parents[2] / "shared"

# Before any test module is imported: some look at the environment when they are collected.
if "HLM_DATA" not in os.environ and (SHARED / "data" / "nels.csv").exists():
    os.environ["HLM_DATA"] = str(SHARED / "data")

# Function-scoped fixtures here are immutable or functions, so examples may share them.
_SHARED_FIXTURES = [HealthCheck.function_scoped_fixture]
settings.register_profile(
    "fast",
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=_SHARED_FIXTURES,
)
settings.register_profile(
    "deep", max_examples=500, deadline=None, database=None, suppress_health_check=_SHARED_FIXTURES
)
settings.load_profile("fast")

WANTED = {
    "the NELS file": r"\bNELS\b|\bHLM_DATA\b",
    "R": r"\bR\b|\bRscript\b",
    "Chromium": r"(?i)\bchromium\b|\bchrome\b",
    "the reference numbers": r"\bHLM_REFERENCE\b",
}
"""What a test may be skipped for want of, and the words of its reason that tell so."""

PROMISED = {
    "HLM_CI": ("the NELS file", "the reference numbers"),
    "HLM_BROWSER": ("Chromium",),
}
"""What is promised where a variable of the environment is 1."""


@pytest.fixture(scope="session")
def reference_folder():
    """The folder of reference numbers, outside the package."""
    folder = Path(os.environ.get("HLM_REFERENCE", SHARED / "reference"))
    if not (folder / "lme4_polished.json").exists():
        pytest.skip(f"no reference numbers in {folder}: set HLM_REFERENCE")
    return folder


@pytest.fixture(scope="session")
def nels():
    """The rows of nels.csv."""
    import pandas as pd

    folder = os.environ.get("HLM_DATA")
    if not folder or not (Path(folder) / "nels.csv").exists():
        pytest.skip("NELS is not bundled, and HLM_DATA does not name the folder of nels.csv")
    return pd.read_csv(Path(folder) / "nels.csv")


def pytest_terminal_summary(terminalreporter):
    reasons = [
        report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        for report in terminalreporter.stats.get("skipped", [])
    ]
    for what, words in WANTED.items():
        count = sum(bool(re.search(words, reason)) for reason in reasons)
        if count:
            terminalreporter.write_line(f"skipped for want of {what}: {count}", yellow=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """What the environment promises must be there: its want is then a failure."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        for variable, whats in PROMISED.items():
            kept = os.environ.get(variable) == "1"
            if kept and any(re.search(WANTED[what], reason) for what in whats):
                report.outcome = "failed"
                report.longrepr = f"{item.nodeid}: promised by {variable}=1, but {reason}"
    return report
