"""How far a fit has come, told to whoever shows it."""

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["ChainStep", "Progress", "Step", "silent"]


@dataclass(frozen=True, slots=True)
class ChainStep:
    """How far one chain is, draws of the warm-up included.

    `divergences` counts among draws that can diverge, `step_size` and `gradients` are of the last
    one; None where the sampler has none.
    """

    done: int
    total: int
    tuning: bool = False
    divergences: int | None = None
    step_size: float | None = None
    gradients: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """What is being done: a stage in words, and where draws are made, how many are done.

    `divergences` counts among draws that can diverge; else None. `unit` is what is counted;
    `chains` are the same chain by chain, where the sampler tells.
    """

    stage: str
    done: int = 0
    total: int = 0
    divergences: int | None = None
    unit: str = "draws"
    chains: tuple[ChainStep, ...] = ()


Progress = Callable[[Step], None]


def silent(step: Step) -> None:
    """Show nothing."""
