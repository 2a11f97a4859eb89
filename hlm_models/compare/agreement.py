"""The adapter between engines: where posterior and REML differ, by how much, and why."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["Agreement", "AgreementRow", "Cause", "Verdict"]

Verdict = Literal["agree", "shifted", "spread", "boundary"]
Cause = Literal["", "prior", "skew", "boundary", "monte carlo", "unexplained"]


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """One parameter: posterior against point estimate.

    `mean`, `sd`, `estimate` and `se` are in the parameter's own units (`se` NaN on the boundary);
    `d` (difference in posterior sds), `d_mcse` (in Monte Carlo standard errors) and `spread_ratio`
    (posterior sd over standard error) are on the verdict's scale: beta itself, log sd, Fisher's z
    of a correlation, log sigma. They are NaN where the estimate is on the boundary.
    """

    parameter: str
    mean: float
    sd: float
    estimate: float
    se: float
    d: float
    d_mcse: float
    spread_ratio: float
    verdict: Verdict
    cause: Cause
    why: str


@dataclass(frozen=True, slots=True)
class Agreement:
    """The whole table, and which two fits it compares."""

    model: str
    posterior: str
    reference: str
    rows: tuple[AgreementRow, ...]
