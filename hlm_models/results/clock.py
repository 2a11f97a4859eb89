"""The wall time of a fit by draws, by what was done."""

import time

from hlm_models.results.progress import Progress, Step

__all__ = ["Clock"]


class Clock:
    """Hands steps on and keeps the wall time by what was done.

    graph: importing PyMC and building its model; compile: compiling or loading what is compiled,
    and finding where to start; fit: sampling; draw: effects and predictive draws after it; after
    how the steps' stages begin. `graph` is left out of an engine that has none.
    """

    STAGES = (("importing PyMC", "graph"), ("compiling", "compile"), ("sampling", "fit"))

    def __init__(self, progress: Progress, *, graph: bool) -> None:
        self.progress = progress
        names = ("graph", "compile", "fit", "draw") if graph else ("compile", "fit", "draw")
        self.seconds = dict.fromkeys(names, 0.0)
        self.now, self.since = "compile", time.perf_counter()

    def __call__(self, step: Step) -> None:
        found = [name for start, name in self.STAGES if step.stage.startswith(start)]
        self.to(found[0] if found else "draw" if self.now == "fit" else self.now)
        self.progress(step)

    def to(self, name: str) -> None:
        """From now on time is counted as that of `name`."""
        at = time.perf_counter()
        self.seconds[self.now] += at - self.since
        self.now, self.since = name, at
