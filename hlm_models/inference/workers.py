"""Numbered rows from a task, made in this process or in several."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from typing import Protocol

from hlm_models.errors import FitError, HlmError
from hlm_models.results.arguments import checked_count
from hlm_models.results.progress import Progress, Step

__all__ = ["Task", "collect"]

THREADS = ("MKL_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""What keeps the linear algebra of a worker to one thread; read when NumPy is imported."""


class Task[Row](Protocol):
    """Makes row number `index`, the same one wherever and whenever it is asked."""

    def row(self, index: int) -> Row: ...


def collect[Row](
    task: Task[Row],
    draws: int,
    *,
    workers: int | None,
    done: Mapping[int, Row],
    keep: Callable[[int, Row], None],
    stage: str,
    progress: Progress,
    unit: str = "draws",
) -> list[Row]:
    """Rows 0 to `draws` - 1 of a task.

    Parameters
    ----------
    workers : processes; None for this one alone. The task must be picklable for more
    done : rows that need not be made again
    keep : is given each new row as soon as it is there
    unit : what the rows are called while they are counted

    Raises
    ------
    InputErrors
        less than one draw or worker.
    FitError
        a worker process ended before its work was done.
    """
    draws = checked_count(draws, "draws")
    workers = 1 if workers is None else checked_count(workers, "workers")
    rows = {index: row for index, row in done.items() if index < draws}
    left = [index for index in range(draws) if index not in rows]
    progress(Step(stage, len(rows), draws, unit=unit))
    made = _here(task, left) if workers == 1 else _spread(task, left, workers)
    for index, row in made:
        rows[index] = row
        keep(index, row)
        progress(Step(stage, len(rows), draws, unit=unit))
    return [rows[index] for index in range(draws)]


def _here[Row](task: Task[Row], indices: Sequence[int]) -> Iterator[tuple[int, Row]]:
    for index in indices:
        yield index, task.row(index)


def _spread[Row](
    task: Task[Row], indices: Sequence[int], workers: int
) -> Iterator[tuple[int, Row]]:
    context = multiprocessing.get_context("spawn")
    processes, pipes = [], []
    try:
        with _one_thread():
            for number in range(min(workers, len(indices))):
                here, there = context.Pipe(duplex=False)
                share = indices[number::workers]
                process = context.Process(target=_serve, args=(task, share, there), daemon=True)
                process.start()
                there.close()
                processes.append(process)
                pipes.append(here)
        left = len(indices)
        while pipes:
            for pipe in wait(pipes):
                assert isinstance(pipe, Connection)
                try:
                    found = pipe.recv()
                except EOFError:
                    pipes.remove(pipe)
                    continue
                if isinstance(found, HlmError):
                    raise found
                left -= 1
                yield found
        if left:
            raise FitError(
                f"worker processes ended with {left} rows to make (their errors are above); a "
                'script that asks for workers must start under `if __name__ == "__main__":`'
            )
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _serve[Row](task: Task[Row], indices: Sequence[int], pipe: Connection) -> None:
    """A worker's life. An interruption is for the parent to handle, who ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for index in indices:
            pipe.send((index, task.row(index)))
    except HlmError as error:
        pipe.send(error)
    pipe.close()


@contextmanager
def _one_thread() -> Iterator[None]:
    """An environment in which processes that start have one thread for linear algebra."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
