"""What `hlm list` and `hlm data list` print."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from hlm_models.cli.blocks import Table
from hlm_models.errors import InputErrors

if TYPE_CHECKING:
    from hlm_models.config.registry import Summary
    from hlm_models.parts.datasets import Dataset

__all__ = ["dataset_document", "datasets", "models", "structure"]


def models(summaries: Iterable["Summary"]) -> Table:
    """The models of the zoo."""
    rows = [[one.name, one.source, structure(one.formula), one.formula] for one in summaries]
    return Table(["model", "data", "groups", "formula"], rows)


def structure(formula: str) -> str:
    """What varies over which groups: `county (floor); plate (1)`."""
    from hlm_models.design.formula import merged, parse

    try:
        found = merged(parse(formula).random)
    except InputErrors:
        return "?"
    return "; ".join(
        f"{group} ({' + '.join(term.effects for term in terms)})" for group, terms in found.items()
    )


def datasets(found: Sequence["Dataset"]) -> Table:
    """The datasets of the zoo."""
    rows = [
        [
            one.name,
            f"{one.rows:,}",
            ", ".join(f"{n:,} {g}" for g, n in one.groups.items()),
            one.title,
        ]
        for one in found
    ]
    return Table(["dataset", "rows", "groups", "title"], rows, right=(1,))


def dataset_document(one: "Dataset") -> dict[str, Any]:
    """One dataset in the document of `hlm data list --json`."""
    keys = ("name", "title", "about", "source", "taken_from", "licence", "rows")
    return {key: getattr(one, key) for key in keys} | {
        "groups": dict(one.groups),
        "bundled": one.file is not None,
        "columns": [
            {key: getattr(column, key) for key in ("name", "kind", "level", "unit", "about")}
            for column in one.columns
        ],
    }
