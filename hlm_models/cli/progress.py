"""Progress on stderr: a bar on a terminal, else a line when the stage changes."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from hlm_models.results.progress import Progress, Step

__all__ = ["shown"]


@contextmanager
def shown(name: str) -> Iterator[Progress]:
    """A `Progress` that shows what a fit of model `name` is doing."""
    if not sys.stderr.isatty():
        last = ""

        def line(step: Step) -> None:
            nonlocal last
            if step.stage != last:
                last = step.stage
                print(f"{name}: {step.stage}", file=sys.stderr)

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[detail]}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(compact=True),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(f"{name}: starting", total=None, detail="")

        def bar(step: Step) -> None:
            detail = f"{step.done:,} of {step.total:,} {step.unit}"
            if step.divergences is not None:
                detail += f", {step.divergences} divergent"
            bars.update(
                task,
                description=f"{name}: {step.stage}",
                total=step.total or None,
                completed=step.done,
                detail=detail if step.total else "",
            )

        yield bar
