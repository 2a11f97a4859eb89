"""Named checks: what was looked at, what was found, against which threshold."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Check", "Status", "graded", "worst"]

Status = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One named check; `docs/checks.md` lists every code with its threshold and severity."""

    code: str
    status: Status
    value: float | None
    threshold: float | None
    message: str

    def document(self) -> dict[str, Any]:
        """As in the JSON documents."""
        return asdict(self)


def graded(
    code: str,
    value: float,
    *,
    warn: float | None = None,
    fail: float | None = None,
    below: bool = False,
    message: str,
) -> Check:
    """A check of a value against thresholds that it should not exceed (or fall below).

    A value that is not a number fails, or warns where there is only a warning threshold. The check
    carries the threshold that it crossed, or the strictest one.
    """

    def crossed(threshold: float | None) -> bool:
        if threshold is None:
            return False
        return not (value >= threshold if below else value <= threshold)

    if crossed(fail):
        return Check(code, "fail", value, fail, message)
    if crossed(warn):
        return Check(code, "warn", value, warn, message)
    return Check(code, "pass", value, warn if warn is not None else fail, message)


def worst(checks: Iterable[Check]) -> Status:
    """The gravest status among the checks."""
    found = {check.status for check in checks}
    return "fail" if "fail" in found else "warn" if "warn" in found else "pass"
