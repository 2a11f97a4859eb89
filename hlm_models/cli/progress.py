"""Progress on stderr: bars on a terminal, nothing elsewhere."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hlm_models.cli.terminal import cleaned, console
from hlm_models.results.progress import ChainStep, Progress, Step, silent

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

__all__ = ["shown"]

MOST = 16
"""Chains with a bar of their own."""

BESIDE = 10
"""Columns of the time that remains, and between columns."""


@contextmanager
def shown(name: str) -> Iterator[Progress]:
    """A `Progress` that shows what a fit of model `name` is doing."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    screen = console(stderr=True)
    bar = 16 if screen.width >= 100 else 8
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=bar),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    with Bars(*columns, console=screen, transient=True) as bars:
        yield _Shown(cleaned(name), bars, bar)


class _Shown:
    """The line of the stage, and below it one for each chain."""

    def __init__(self, name: str, bars: "Bars", bar: int) -> None:
        self.width = bars.console.width
        self.name, self.bars, self.bar = _cut(name, self.width // 5), bars, bar
        self.stage = "starting"
        self.whole = bars.add_task(f"{self.name}: starting", total=None, detail="")
        self.chains: list[TaskID] = []

    def __call__(self, step: Step) -> None:
        if step.stage != self.stage:
            self.stage = step.stage
            self.bars.reset(self.whole, total=None)
        if len(step.chains) < len(self.chains):
            for task in self.chains:
                self.bars.remove_task(task)
            self.chains = []
        words = f"{self.name}: {cleaned(step.stage)}"
        description = _cut(words, self.width // (3 if step.total else 2))
        # Words give way to the bar and the time where the terminal is narrow.
        room = self.width - len(description) - self.bar - BESIDE
        detail = [f"{step.done:,} of {step.total:,} {step.unit}"]
        if step.divergences is not None:
            detail.append(f"{step.divergences} divergent")
        self.bars.update(
            self.whole,
            description=description,
            total=step.total or None,
            completed=step.done,
            detail=_fitting(detail, room) if step.total else "",
        )
        for k, chain in enumerate(step.chains[:MOST]):
            if k == len(self.chains):
                self.chains.append(self.bars.add_task(f"  chain {k + 1}", detail=""))
            self.bars.update(
                self.chains[k],
                total=chain.total,
                completed=chain.done,
                detail=_fitting(_details(chain), room),
            )


def _cut(words: str, room: int) -> str:
    return words if len(words) <= room else f"{words[: room - 1]}…"


def _fitting(pieces: Sequence[str], room: int) -> str:
    """The first pieces that there is room for, one at least."""
    count = next((k for k in range(len(pieces), 1, -1) if len(", ".join(pieces[:k])) <= room), 1)
    return ", ".join(pieces[:count])


def _details(chain: ChainStep) -> list[str]:
    """What a chain's sampler tells, in few words, what matters most first."""
    pieces = [f"{chain.done:,} of {chain.total:,}"]
    if chain.tuning:
        pieces.append("warm-up")
    if chain.divergences:
        pieces.append(f"{chain.divergences:,} divergent")
    if chain.step_size:
        pieces.append(f"step {chain.step_size:.2g}")
    if chain.gradients:
        pieces.append(f"{chain.gradients} gradients")
    return pieces
