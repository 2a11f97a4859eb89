"""Progress on stderr: bars on a terminal, nothing elsewhere."""

import sys
from collections.abc import Iterator
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


@contextmanager
def shown(name: str) -> Iterator[Progress]:
    """A `Progress` that shows what a fit of model `name` is doing."""
    if not sys.stderr.isatty():
        yield silent
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[detail]}", markup=False),
        TimeRemainingColumn(compact=True),
    )
    with Bars(*columns, console=console(stderr=True), transient=True) as bars:
        yield _Shown(cleaned(name), bars)


class _Shown:
    """The line of the stage, and below it one for each chain."""

    def __init__(self, name: str, bars: "Bars") -> None:
        self.name, self.bars = name, bars
        self.stage = "starting"
        self.whole = bars.add_task(f"{name}: starting", total=None, detail="")
        self.chains: list[TaskID] = []

    def __call__(self, step: Step) -> None:
        if step.stage != self.stage:
            self.stage = step.stage
            self.bars.reset(self.whole, total=None)
        if len(step.chains) < len(self.chains):
            for task in self.chains:
                self.bars.remove_task(task)
            self.chains = []
        detail = f"{step.done:,} of {step.total:,} {step.unit}"
        if step.divergences is not None:
            detail += f", {step.divergences} divergent"
        self.bars.update(
            self.whole,
            description=f"{self.name}: {cleaned(step.stage)}",
            total=step.total or None,
            completed=step.done,
            detail=detail if step.total else "",
        )
        for k, chain in enumerate(step.chains[:MOST]):
            if k == len(self.chains):
                self.chains.append(self.bars.add_task(f"  chain {k + 1}", detail=""))
            self.bars.update(
                self.chains[k], total=chain.total, completed=chain.done, detail=_detail(chain)
            )


def _detail(chain: ChainStep) -> str:
    """What a chain's sampler tells, in few words."""
    pieces = [f"{chain.done:,} of {chain.total:,}"]
    if chain.tuning:
        pieces.append("warm-up")
    if chain.divergences:
        pieces.append(f"{chain.divergences:,} divergent")
    if chain.step_size:
        pieces.append(f"step {chain.step_size:.2g}")
    if chain.gradients:
        pieces.append(f"{chain.gradients} gradients")
    return ", ".join(pieces)
