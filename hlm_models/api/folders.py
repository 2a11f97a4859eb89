"""Folders of results: they appear whole or not at all, and replace nothing else."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hlm_models.errors import HlmError, InputErrors

__all__ = ["is_run", "page_file", "refuse_existing", "refuse_unwritable", "whole"]


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `target` once all is in it.

    Raises
    ------
    HlmError
        there is no writing beside `target`.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    except OSError as error:
        raise HlmError(f"{target.parent}: cannot be written to: {error.strerror}") from error
    try:
        part.chmod(0o755)
        yield part
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent))
            target.replace(old / "old")
            part.replace(target)
            shutil.rmtree(old)
        else:
            part.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def is_run(word: str) -> bool:
    """Whether a word names the folder of a finished run, and not a model of the zoo."""
    folder = Path(word)
    return folder.is_dir() and (os.sep in word or (folder / "run.json").is_file())


def refuse_existing(out: Path, *, what: str, mark: str, force: bool) -> None:
    """An existing folder is written over only when asked for, and only if it is one of ours.

    Parameters
    ----------
    what : what it is the folder of, as "run"
    mark : the file that tells such a folder

    Raises
    ------
    InputErrors
        it may not be written over.
    """
    if not force:
        raise InputErrors.one(
            f"{out} exists; name another folder, or write over it with --force", key="--out"
        )
    if not out.is_dir() or (any(out.iterdir()) and not (out / mark).is_file()):
        raise InputErrors.one(
            f"{out} is not the folder of a {what}, so --force does not replace it", key="--out"
        )


def page_file(path: str | Path) -> Path:
    """The path of a page that is to be written.

    Raises
    ------
    InputErrors
        its folder is not there.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise InputErrors.one("there is no such folder: make it first", file=str(target.parent))
    return target


def refuse_unwritable(parent: Path) -> None:
    """Say now, and not after an hour of sampling, that the folder cannot be made.

    Raises
    ------
    InputErrors
        it cannot be made.
    """
    present = next(one for one in (parent.absolute(), *parent.absolute().parents) if one.exists())
    if not present.is_dir():
        raise InputErrors.one(f"{present} is a file, so no folder can be made in it", key="--out")
    if not os.access(present, os.W_OK):
        raise InputErrors.one(f"{present} cannot be written to", key="--out")
