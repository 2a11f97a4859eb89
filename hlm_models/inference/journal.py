"""A file of finished draws, to which an interrupted run comes back."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from hlm_models.errors import InputErrors, ModelMismatchError
from hlm_models.types import FloatArray

__all__ = ["journal"]

NAME = "draws.jsonl"


@contextmanager
def journal(
    folder: Path | str | None, header: Mapping[str, object], *, size: int
) -> Iterator[tuple[dict[int, FloatArray], Callable[[int, FloatArray], None]]]:
    """Draws of earlier runs by number, and a function that writes one more.

    The file's first line is `header`, which says what the draws are of; then one line a draw. A
    line that an interrupted run left unfinished, or that is no draw of `size` numbers, is dropped.
    Without a folder nothing is kept.

    Raises
    ------
    ModelMismatchError
        the folder holds draws of something else.
    InputErrors
        `folder` is no path, or cannot be made or written to.
    """
    if not isinstance(folder, str | Path | None):
        raise InputErrors.one(f"a path is needed, not {folder!r}", key="folder")
    if folder is None:
        yield {}, lambda index, row: None  # noqa: ARG005
        return
    path = Path(folder) / NAME
    first = json.dumps(header, sort_keys=True)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In bytes: whatever a damaged line holds, it spoils no other.
        lines = path.read_bytes().split(b"\n") if path.exists() else []
        done = _read(path, lines, first.encode(), size)
        if lines[-1:] != [b""] or len(lines) != len(done) + 2:
            _write_anew(path, first, done)
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise InputErrors.one(
            f"draws cannot be kept there: {error.strerror}", file=str(path)
        ) from None

    def write(index: int, row: FloatArray) -> None:
        file.write(_line(index, row) + "\n")
        file.flush()

    with file:
        yield done, write


def _line(index: int, row: FloatArray) -> str:
    return json.dumps([index, row.tolist()])


def _read(path: Path, lines: list[bytes], first: bytes, size: int) -> dict[int, FloatArray]:
    """Finished draws by number; without a complete first line there are none."""
    if not lines or (len(lines) == 1 and first.startswith(lines[0])):
        return {}
    if lines[0] != first:
        raise ModelMismatchError(
            f"{path} holds draws of another fit, seed or statistic: choose another folder, or "
            "remove the file"
        )
    done = {}
    for line in lines[1:-1]:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        match found:
            case [int(index), [*row]] if len(row) == size and all(
                isinstance(one, float) for one in row
            ):
                done[index] = np.array(row)
    return done


def _write_anew(path: Path, first: str, done: Mapping[int, FloatArray]) -> None:
    """The file with complete lines only; it takes the old one's place in one step."""
    lines = [first, *(_line(index, row) for index, row in done.items()), ""]
    new = path.with_suffix(".new")
    new.write_text("\n".join(lines), encoding="utf-8")
    new.replace(path)
