"""A file of finished rows, to which an interrupted run comes back."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from hlm_models.errors import InputErrors, ModelMismatchError

__all__ = ["journal"]

NAME = "draws.jsonl"


@contextmanager
def journal[Row](
    folder: Path | str | None,
    header: Mapping[str, object],
    *,
    encode: Callable[[Row], object],
    decode: Callable[[object], Row],
    others: str,
) -> Iterator[tuple[dict[int, Row], Callable[[int, Row], None]]]:
    """Rows of earlier runs by number, and a function that writes one more.

    The file's first line is `header`, which says what the rows are of; then one line a row. A line
    that an interrupted run left unfinished, or that is no row, is dropped. Without a folder
    nothing is kept.

    Parameters
    ----------
    encode : a row as what JSON can hold
    decode : the row again; a ValueError where it is none
    others : what the file holds if its header is another one, in the words of a message

    Raises
    ------
    ModelMismatchError
        the folder holds rows of something else.
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
        done = _read(path, lines, first.encode(), decode, others)
        if lines[-1:] != [b""] or len(lines) != len(done) + 2:
            _write_anew(path, [first, *(_line(index, encode(row)) for index, row in done.items())])
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise InputErrors.one(
            f"draws cannot be kept there: {error.strerror}", file=str(path)
        ) from None

    def write(index: int, row: Row) -> None:
        file.write(_line(index, encode(row)) + "\n")
        file.flush()

    with file:
        yield done, write


def _line(index: int, row: object) -> str:
    return json.dumps([index, row])


def _read[Row](
    path: Path,
    lines: list[bytes],
    first: bytes,
    decode: Callable[[object], Row],
    others: str,
) -> dict[int, Row]:
    """Finished rows by number; without a complete first line there are none."""
    if not lines or (len(lines) == 1 and first.startswith(lines[0])):
        return {}
    if lines[0] != first:
        raise ModelMismatchError(
            f"{path} holds {others}: choose another folder, or remove the file"
        )
    done: dict[int, Row] = {}
    for line in lines[1:-1]:
        try:
            match json.loads(line):
                case [int(index), row]:
                    done[index] = decode(row)
        except ValueError:
            continue
    return done


def _write_anew(path: Path, lines: Sequence[str]) -> None:
    """The file with complete lines only; it takes the old one's place in one step."""
    new = path.with_suffix(".new")
    new.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    new.replace(path)
