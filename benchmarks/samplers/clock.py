"""Where the seconds of one cold process go, and what it found, as JSON for its parent.

Imports are counted wherever they happen, those inside functions too, by the outermost of every
chain of them; their seconds are taken out of the stage they fall in. The interpreter's own start
counts as import.
"""

import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any


class Clock:
    """Seconds since the parent started this process; make it before all other imports.

    Arguments of the process: the folder of the case (`case.json`, `data.csv`), the folder to write
    to, and settings as JSON: chains, draws, tune (None: the package's own default), cores, seed.
    """

    def __init__(self) -> None:
        self.started = float(os.environ["BENCHMARK_STARTED"])
        folder, out, settings = sys.argv[1:4]
        self.folder, self.out = Path(folder), Path(out)
        self.settings: dict[str, Any] = json.loads(settings)
        self.case: dict[str, Any] = json.loads((self.folder / "case.json").read_text("utf-8"))
        self.imports = time.time() - self.started
        self.stages: dict[str, float] = {}
        self.total = 0.0
        self._inside = False
        bootstrap: Any = importlib._bootstrap  # type: ignore[attr-defined]
        self._find: Callable[[str, Any], Any] = bootstrap._find_and_load
        bootstrap._find_and_load = self._timed

    def _timed(self, name: str, import_: Any) -> Any:
        if self._inside or threading.current_thread() is not threading.main_thread():
            return self._find(name, import_)
        self._inside, before = True, time.time()
        try:
            return self._find(name, import_)
        finally:
            self._inside = False
            self.imports += time.time() - before

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the seconds of the block, less imports, to stage `name`."""
        before = time.time() - self.imports
        yield
        self.stages[name] = self.stages.get(name, 0.0) + time.time() - self.imports - before

    def stop(self) -> None:
        """The posterior is saved: whatever comes now is not counted."""
        self.total = time.time() - self.started

    def tell(
        self,
        population: dict[str, Any],
        *,
        sampling: float,
        tuning: int,
        steps: int | None,
        steps_kept: int,
        divergences: int,
        packages: tuple[str, ...],
        more: dict[str, Any] | None = None,
    ) -> None:
        """Write `population.npz`, draws (chain, draw) by parameter, and `result.json`.

        `steps` are leapfrog steps with tuning, None where not known, `steps_kept` without it.
        """
        import numpy as np

        assert self.total, "stop the clock first"
        np.savez(self.out / "population.npz", **population)
        found = {
            "wall": self.total,
            "imports": self.imports,
            "sampling": sampling,
            "stages": self.stages,
            "tuning": tuning,
            "steps": steps,
            "steps_kept": steps_kept,
            "divergences": divergences,
            "versions": {package: version(package) for package in packages},
            **(more or {}),
        }
        (self.out / "result.json").write_text(json.dumps(found), encoding="utf-8")


def count_nutpie_steps() -> Callable[[], int]:
    """Leapfrog steps of all chains with tuning, from what nutpie tells its progress callback."""
    import nutpie

    steps: dict[int, int] = {}
    sample = nutpie.sample

    def counted(*arguments: Any, progress_callback: Any = None, **settings: Any) -> Any:
        def watch(chains: list[Any]) -> None:
            for i, chain in enumerate(chains):
                steps[i] = chain.total_num_steps
            if progress_callback is not None:
                progress_callback(chains)

        return sample(*arguments, progress_callback=watch, **settings)

    nutpie.sample = counted
    return lambda: sum(steps.values())
