"""What `hlm show` prints of a model, and its document."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from hlm_models.cli.blocks import Block, Heading, Section, Table

if TYPE_CHECKING:
    from hlm_models.config.settings import Reference
    from hlm_models.design.build import RandomBlock
    from hlm_models.parts.datasets import Dataset
    from hlm_models.spec.describe import Description
    from hlm_models.spec.model import ModelSpec

__all__ = ["card", "document"]

Engines = Mapping[str, Sequence[str]]
"""Why an engine refuses, by its name; nothing where it can fit the model."""


def card(
    spec: "ModelSpec",
    description: "Description",
    engines: Engines,
    command: Sequence[str],
    references: "Sequence[Reference]" = (),
) -> list[Block]:
    """The question, the equations, the data with their sizes, the priors, and who can fit it.

    `references` are the published numbers that it is held to; `command` are the words behind
    `hlm run` that fit it.
    """
    priors = [[row.parameter, row.prior] for row in description.priors]
    fitting = [
        f"{name}: " + ("can fit it" if not why else f"refuses: {'; '.join(why)}")
        for name, why in engines.items()
    ]
    macro = [
        f"constant within {group}: {', '.join(columns)}"
        for group, columns in spec.design.macro.items()
        if columns
    ]
    sections: dict[str, Table | Sequence[str]] = {
        "Formula": [description.formula],
        **dict(description.equations),
        "Data": [*_data(spec), *macro, *description.notes],
        "Sizes": _tree(spec),
        "Factors": [f"{one.name}: {one.text()}" for one in description.factors],
        "Random terms": _random_terms(spec),
        "Priors": Table(["parameter", "prior"], priors),
        "Engines": fitting,
        "Parameterisation for NUTS": [description.parameterization],
        "References": [f"{one.engine}: {one.source}" for one in references],
        "Run it": [shlex.join(["hlm", "run", *command])],
    }
    return [
        Heading(description.name, description.about),
        *(
            Section(
                title,
                body if isinstance(body, Table) else tuple(body),
                sentences=title in ("Data", "References"),
            )
            for title, body in sections.items()
            if body
        ),
    ]


def document(
    spec: "ModelSpec",
    description: "Description",
    engines: Engines,
    references: "Sequence[Reference]" = (),
) -> dict[str, Any]:
    """The document of `hlm show --json`."""
    dataset = _dataset(spec)
    told = ("name", "title", "source", "licence")
    return {
        "model": description.name,
        "about": description.about,
        "formula": description.formula,
        "equations": [
            {"level": heading, "lines": list(lines)} for heading, lines in description.equations
        ],
        "latex": description.latex_source(),
        "dataset": None if dataset is None else {key: getattr(dataset, key) for key in told},
        "priors": {row.parameter: row.prior for row in description.priors},
        "sizes": dict(description.sizes),
        "factors": [asdict(factor) for factor in description.factors],
        "terms": [term.text for block in spec.blocks for term in block.terms],
        "macro": {group: list(columns) for group, columns in spec.design.macro.items()},
        "engines": {
            name: {"eligible": not why, "refusals": list(why)} for name, why in engines.items()
        },
        "parameterization": description.parameterization,
        "notes": list(description.notes),
        "references": [{"engine": one.engine, "source": one.source} for one in references],
    }


def _dataset(spec: "ModelSpec") -> "Dataset | None":
    """The dataset of the zoo that the model reads."""
    from hlm_models.parts import datasets

    name = spec.config["data"]["source"]
    return datasets.find(name) if isinstance(name, str) and name in datasets.names() else None


def _data(spec: "ModelSpec") -> list[str]:
    dataset = _dataset(spec)
    if dataset is None:
        return [spec.design.table.source]
    return [
        f"{dataset.name}: {dataset.title}",
        f"source: {dataset.source}",
        f"licence: {dataset.licence}",
    ]


def _tree(spec: "ModelSpec") -> list[str]:
    """Rows and levels as a tree: groups below the group that they are nested in."""
    inside: dict[str | None, list[RandomBlock]] = {}
    for block in spec.blocks:
        around = [one for one in spec.blocks if one.J < block.J and _nested(block, one)]
        parent = max(around, key=lambda one: one.J).group if around else None
        inside.setdefault(parent, []).append(block)

    def below(parent: str | None, indent: str) -> list[str]:
        lines = []
        blocks = inside.get(parent, [])
        for k, block in enumerate(blocks):
            last = k == len(blocks) - 1
            lines.append(f"{indent}{'└' if last else '├'}─ {_sizes(block)}")
            lines += below(block.group, indent + ("   " if last else "│  "))
        return lines

    return [f"{spec.design.n:,} rows", *below(None, "")]


def _nested(block: "RandomBlock", around: "RandomBlock") -> bool:
    """Whether each level of `block` is within one level of the other."""
    import numpy as np

    pairs = block.level.astype(np.int64) * around.J + around.level
    return len(np.unique(pairs)) == len(np.unique(block.level))


def _sizes(block: "RandomBlock") -> str:
    import numpy as np

    rows = np.bincount(block.level, minlength=block.J)
    least, most = int(rows.min()), int(rows.max())
    each = f"{least:,} to {most:,} rows each, median {np.median(rows):,g}"
    if least == most:
        each = f"{least:,} row{'s' * (least != 1)} each"
    return f"{block.J:,} {block.group}: {each}"


def _random_terms(spec: "ModelSpec") -> list[str]:
    """Each term by the name that priors use for it, with its effects."""
    words = {
        "unstructured": " (correlated)",
        "diagonal": " (independent)",
        "shared": " (independent, one sd)",
    }
    return [
        f"{term.text}: {', '.join(block.effects[term.columns])}"
        + (words[covariance.structure] if term.q > 1 else "")
        for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True)
        for term, covariance in zip(block.terms, prior.terms, strict=True)
    ]
