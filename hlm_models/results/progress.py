"""How far a fit has come, told to whoever shows it."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "Step", "silent"]


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done: a stage in words, and where draws are made, how many are done.

    `divergences` counts among draws that can diverge; else None. `unit` is what is counted.
    """

    stage: str
    done: int = 0
    total: int = 0
    divergences: int | None = None
    unit: str = "draws"


Progress = Callable[[Step], None]


def silent(step: Step) -> None:
    """Show nothing."""
