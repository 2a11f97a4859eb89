"""How far a fit has come, told to whoever shows it."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "Step", "silent"]


@dataclass(frozen=True, slots=True)
class Step:
    """What a running engine is doing: a stage in words, and for sampling the draws done."""

    stage: str
    done: int = 0
    total: int = 0
    divergences: int = 0


Progress = Callable[[Step], None]


def silent(step: Step) -> None:
    """Show nothing."""
