"""Datasets: each is a card NAME.yaml with its source, licence and columns, and a file beside it.

A dataset that may not be passed on has a card only, which says where the user's copy is to lie.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml

from hlm_models.errors import InputErrors, nearest

__all__ = ["Dataset", "DatasetColumn", "find", "names"]


@dataclass(frozen=True, slots=True)
class DatasetColumn:
    """One column; `level` is `row`, or the group within which the column is constant."""

    name: str
    kind: Literal["label", "number"]
    level: str
    unit: str
    about: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """What the card of a dataset says; `groups` holds the number of levels of each group."""

    name: str
    title: str
    about: str
    source: str
    taken_from: str
    licence: str
    file: str | None
    external_file: str | None
    external_help: str
    rows: int
    groups: Mapping[str, int]
    columns: tuple[DatasetColumn, ...]

    @property
    def path(self) -> Path | None:
        """The bundled file; None if the user has to bring it."""
        return None if self.file is None else _folder() / self.file


def names() -> tuple[str, ...]:
    """Names of all datasets, sorted; no card is read."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def find(name: str) -> Dataset:
    """Dataset of this name.

    Raises
    ------
    InputErrors
        There is none; names the nearest and lists them all.
    """
    known = names()
    if name not in known:
        raise InputErrors.one(
            f"there is no dataset {name!r}{nearest(name, known)} (there are: {', '.join(known)})"
        )
    card: dict[str, Any] = yaml.safe_load((_folder() / f"{name}.yaml").read_text("utf-8"))
    external = card.get("external", {})
    return Dataset(
        name=card["name"],
        title=card["title"],
        about=card["about"],
        source=card["source"],
        taken_from=card["taken_from"],
        licence=card["licence"],
        file=card.get("file"),
        external_file=external.get("file"),
        external_help=external.get("help", ""),
        rows=card["rows"],
        groups=dict(card["groups"]),
        columns=tuple(
            DatasetColumn(
                name=column,
                kind=entry["kind"],
                level=entry["level"],
                unit=entry.get("unit", ""),
                about=entry["about"],
            )
            for column, entry in card["columns"].items()
        ),
    )


def _folder() -> Path:
    return Path(str(files(__name__)))
