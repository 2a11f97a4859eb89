"""Estimates held against the numbers of others."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from hlm_models.config.settings import PointReference, PosteriorReference, Reference
from hlm_models.zoo.estimates import Estimate, Estimates

__all__ = ["Difference", "Status", "Verdict", "judge"]

Status = Literal["pass", "fail", "none"]

SLACK = 1.001
"""Half a unit of the last digit is exceeded by the last bit of a number that was rounded at 5."""

ERRORS = 4.0
"""Monte Carlo standard errors that two posteriors may be apart: by chance once in 16,000 times."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One number beside its reference; `units` is how far they are apart in tolerances.

    `name` is that of the reference, or `sd of NAME` for a posterior sd.
    """

    engine: str
    name: str
    found: float | None
    reference: float
    tolerance: float
    source: str

    @property
    def units(self) -> float:
        if self.found is None or not math.isfinite(self.found):
            return math.inf
        return abs(self.found - self.reference) / self.tolerance


@dataclass(frozen=True, slots=True)
class Verdict:
    """`pass`, `fail`, or `none` where no reference was held; and the largest difference.

    `failed` are the checks of the fits that failed, each after its engine.
    """

    differences: tuple[Difference, ...]
    failed: tuple[str, ...]

    @property
    def worst(self) -> Difference | None:
        return max(self.differences, key=lambda one: one.units, default=None)

    @property
    def beyond(self) -> tuple[Difference, ...]:
        """The differences that are larger than their tolerance."""
        return tuple(one for one in self.differences if one.units > SLACK)

    @property
    def status(self) -> Status:
        if self.failed or self.beyond:
            return "fail"
        return "pass" if self.differences else "none"


def judge(references: Sequence[Reference], found: Sequence[Estimates]) -> Verdict:
    """Hold what the engines found against references of the same model.

    A reference of reml or ml is for that engine, one of a posterior for each engine that draws;
    one whose engine is not among those found is not held.
    """
    return Verdict(
        differences=tuple(
            difference
            for reference in references
            for one in found
            for difference in _differences(reference, one)
        ),
        failed=tuple(f"{one.engine}: {check}" for one in found for check in one.failed),
    )


def _differences(reference: Reference, found: Estimates) -> Iterator[Difference]:
    if isinstance(reference, PosteriorReference):
        if found.draws:
            yield from _of_a_posterior(reference, found)
    elif reference.engine == found.engine:
        yield from _of_a_point(reference, found)


def _of_a_point(reference: PointReference, found: Estimates) -> Iterator[Difference]:
    for name, printed in reference.values.items():
        number = Decimal(printed)
        exponent = number.as_tuple().exponent
        assert isinstance(exponent, int), "neither infinite nor NaN, by its pattern"
        half_unit = 0.5 * 10.0**exponent
        allowed = max(half_unit, (reference.within or 0.0) * abs(float(number)))
        yield Difference(
            found.engine, name, found.number(name), float(number), allowed, reference.source
        )


def _of_a_posterior(reference: PosteriorReference, found: Estimates) -> Iterator[Difference]:
    for name, theirs in reference.values.items():
        ours = found.parameters[name]
        yield Difference(
            found.engine,
            name,
            ours.value,
            theirs.mean,
            ERRORS * math.hypot(_error(ours, ours.mcse), theirs.mcse),
            reference.source,
        )
        if theirs.sd is None:
            continue
        if theirs.mcse_sd is None:
            allowed = (reference.within or 0.0) * theirs.sd
        else:
            allowed = ERRORS * math.hypot(_error(ours, ours.mcse_error), theirs.mcse_sd)
        yield Difference(
            found.engine, f"sd of {name}", ours.error, theirs.sd, allowed, reference.source
        )


def _error(ours: Estimate, mcse: float | None) -> float:
    assert mcse is not None, f"{ours} is of draws, and has a Monte Carlo error"
    return mcse
