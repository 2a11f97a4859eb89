"""What may be asked about a point fit beyond its estimates, and the answers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from hlm_models.inference.anova import term_tests
from hlm_models.inference.approximation import Method, approximation
from hlm_models.inference.bootstrap import bootstrap
from hlm_models.inference.f_tests import FTest
from hlm_models.inference.profile import profile
from hlm_models.results.document import document, plain
from hlm_models.results.fits import PointFit
from hlm_models.results.progress import Progress, silent
from hlm_models.types import frozen

__all__ = ["DRAWS", "LEVEL", "Asked", "Inference", "IntervalRow", "Intervals", "Kind", "infer"]

Kind = Literal["profile", "bootstrap"]

DRAWS = 1000
"""Draws of a bootstrap, unless another number is asked for."""

LEVEL = 0.95
"""Confidence level of the intervals."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Degrees of freedom, type III tests, intervals.

    draws, workers, folder : of the bootstrap, as `bootstrap` takes them
    """

    df: Method
    anova: bool
    intervals: Kind | None
    draws: int
    workers: int | None
    folder: Path | None


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """Interval of one parameter, NaN where there is none; `note` says what is odd about it."""

    name: str
    estimate: float
    lower: float
    upper: float
    note: str


@dataclass(frozen=True)
class Intervals:
    """Intervals of all parameters; `counts` of the bootstrap's draws, empty for a profile."""

    kind: Kind
    level: float
    rows: tuple[IntervalRow, ...]
    counts: Mapping[str, int]

    def document(self) -> dict[str, Any]:
        rows = [asdict(row) for row in self.rows]
        return {"kind": self.kind, "level": self.level, **self.counts, "rows": rows}


@dataclass(frozen=True, eq=False)
class Inference:
    """The answers; `terms` and `intervals` are None where they were not asked for.

    `fit` is the fit as it is to be shown, its `vcov_beta` and `df` by `method`. It is not to go on
    with: `vcov_slopes` are those of the fit itself.
    """

    fit: PointFit
    method: Method
    terms: Mapping[str, FTest] | None
    intervals: Intervals | None

    def document(self) -> dict[str, Any]:
        """The document of the fit with the answers in it."""
        found = document(self.fit) | {"df_method": self.method}
        if self.terms is not None:
            keys = ("num_df", "den_df", "F", "p")
            found["anova"] = [
                {"term": term, **{key: getattr(test, key) for key in keys}}
                for term, test in self.terms.items()
            ]
        if self.intervals is not None:
            found["intervals"] = self.intervals.document()
        whole: dict[str, Any] = plain(found)
        return whole


def infer(fit: PointFit, asked: Asked, *, progress: Progress = silent) -> Inference:
    """What is asked about a fit.

    Raises
    ------
    InputErrors, RefusalError, FitError
        as `coefficient_tests`, `profile` and `bootstrap` raise them.
    """
    shown, terms = fit, None
    if asked.df != "satterthwaite" or asked.anova:
        found = approximation(fit, asked.df)
        _, df = found.rows(np.eye(fit.spec.design.p))
        shown = replace(fit, vcov_beta=found.vcov_beta, df=frozen(df))
        terms = term_tests(fit, found) if asked.anova else None
    intervals = None
    if asked.intervals == "profile":
        intervals = _profile(fit, progress)
    elif asked.intervals == "bootstrap":
        intervals = _bootstrap(fit, asked, progress)
    return Inference(shown, asked.df, terms, intervals)


def _profile(fit: PointFit, progress: Progress) -> Intervals:
    found = profile(fit, level=LEVEL, progress=progress)
    rows = tuple(
        IntervalRow(one.name, one.estimate, one.lower, one.upper, one.note) for one in found.curves
    )
    return Intervals("profile", LEVEL, rows, {})


def _bootstrap(fit: PointFit, asked: Asked, progress: Progress) -> Intervals:
    found = bootstrap(
        fit,
        asked.draws,
        seed=fit.seed,
        workers=asked.workers,
        folder=asked.folder,
        progress=progress,
    )
    there = np.isfinite(found.draws).sum(axis=0)
    rows = tuple(
        IntervalRow(
            name,
            float(estimate),
            *found.interval(name, level=LEVEL),
            "" if used == asked.draws else f"from {used:,} of {asked.draws:,} draws",
        )
        for name, estimate, used in zip(found.names, found.estimate, there, strict=True)
    )
    counts = {"draws": asked.draws, "failed": found.failed, "singular": found.singular}
    return Intervals("bootstrap", LEVEL, rows, counts)
