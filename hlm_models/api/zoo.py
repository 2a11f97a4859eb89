"""The registry of models, the datasets and the badges to a folder of static pages."""

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.api.folders import refuse_existing, refuse_unwritable, whole
from hlm_models.api.models import build, fit, read_config, registry
from hlm_models.config.registry import default_folders
from hlm_models.errors import FitError, InputErrors, Problem, RefusalError
from hlm_models.results.progress import Progress, Step, silent

if TYPE_CHECKING:
    import pandas as pd

    from hlm_models.config.settings import ModelConfig
    from hlm_models.design.build import RandomBlock
    from hlm_models.design.formula import Formula
    from hlm_models.interpretation.effects import Effects
    from hlm_models.interpretation.pooling import Pooling
    from hlm_models.parts.datasets import Dataset
    from hlm_models.prediction.asked import Groups
    from hlm_models.report.sketches import Curve
    from hlm_models.report.zoo import Card, ColumnShape, Curves, GroupSizes, ModelPage, Status
    from hlm_models.results.fits import PointFit
    from hlm_models.spec.model import ModelSpec
    from hlm_models.types import IntArray
    from hlm_models.zoo.badges import Badge

__all__ = ["build_zoo"]

MARK = "zoo.json"
"""The file that tells a folder of the site; it lists the models for machines."""

LINES = 60
"""Levels that get a line; of more, so many evenly chosen."""

STEPS = 13
"""Points of a line."""

POINTS = 400
"""Rows that stand behind the lines; of more, so many evenly chosen."""

FIRST_ROWS = 6
BINS = 24


@dataclass(frozen=True)
class _Source:
    """A model before its data are read; `card` is that of its dataset, None for a user's file."""

    config: "ModelConfig"
    path: Path
    own: bool
    card: "Dataset | None"
    data: str

    @property
    def name(self) -> str:
        return self.config.name


def build_zoo(
    out: str | Path,
    *,
    badges: Path | None = None,
    force: bool = False,
    folders: Sequence[Path] = (),
    names: Sequence[str] | None = None,
    progress: Progress = silent,
) -> Path:
    """Write the site of the zoo: an index, a page a model, a page a dataset.

    The folder appears whole or not at all. Pictures are of REML fits, made here. A dataset that may
    not be passed on is described without its rows, and where it is absent its models have no
    pictures. The same models, data and badges give the same bytes.

    Parameters
    ----------
    out : folder of the site
    badges : file of what `hlm verify` found; by default of each model the newest of the badges that
        come with the zoo and those in `runs/verified.json`
    force : write over an existing site
    folders : further folders of model files
    names : models to show; by default all

    Returns
    -------
    the page to open first

    Raises
    ------
    InputErrors
        the folder may not be written over; model files with problems, all of them at once; a model
        that there is not.
    """
    target = Path(out).absolute()
    if target.exists():
        refuse_existing(target, what="zoo site", mark=MARK, force=force)
    else:
        refuse_unwritable(target.parent)
    sources = _sources(folders, names)
    found = _badges(badges)
    from hlm_models.parts import datasets
    from hlm_models.report.zoo import card, dataset_page, index_page, model_page

    shown = {one.card.name: one.card for one in sources if one.card is not None}
    if names is None:
        shown |= {name: datasets.find(name) for name in datasets.names()}
    shown = dict(sorted(shown.items()))
    total, cards = len(sources) + len(shown), []
    with whole(target) as part:
        for folder in ("models", "datasets"):
            (part / folder).mkdir()
        for k, source in enumerate(sources):
            progress(Step(f"model {source.name}", k, total, unit="pages"))
            page = _model(source, found.get(source.name))
            cards.append(card(page))
            related = [
                (other.name, _about(other)) for other in sources
                if other.data == source.data and other is not source
            ]  # fmt: skip
            _write(part / "models" / f"{source.name}.html", model_page(page, related))
            _write(part / "models" / f"{source.name}.yaml", page.file)
        for k, (name, dataset) in enumerate(shown.items(), len(sources)):
            progress(Step(f"dataset {name}", k, total, unit="pages"))
            used = [one for one in cards if one.dataset == name]
            frame = None if dataset.path is None else _frame(name)
            text = dataset_page(
                dataset,
                used,
                columns=() if frame is None else _shapes(dataset, frame),
                groups=() if frame is None else _group_sizes(dataset, frame),
                rows=() if frame is None else _first_rows(frame),
            )
            _write(part / "datasets" / f"{name}.html", text)
        _write(part / "index.html", index_page(cards, tuple(shown.values())))
        _write(part / MARK, json.dumps(_listed(cards), indent=1, ensure_ascii=False) + "\n")
    return target / "index.html"


def _sources(folders: Sequence[Path], names: Sequence[str] | None) -> tuple[_Source, ...]:
    """The models to show, by name; raises InputErrors for all broken files at once."""
    known = registry(folders)
    zoo = {folder.resolve() for folder in default_folders()}
    found: list[_Source] = []
    problems: list[Problem] = []
    for name in known.names() if names is None else sorted(set(names)):
        path = known.find(name)
        try:
            config, folder = read_config(path)
        except InputErrors as error:
            problems += error.problems
            continue
        found.append(_Source(config, path, folder.resolve() not in zoo, *_data(config, path)))
    if problems:
        raise InputErrors(problems)
    return tuple(found)


def _data(config: "ModelConfig", path: Path) -> "tuple[Dataset | None, str]":
    """The dataset of a model, and what tells the same data: its name, or the file's path."""
    from hlm_models.parts import datasets

    source = config.data.source
    if isinstance(source, str):
        try:
            return datasets.find(source), source
        except InputErrors as error:
            raise InputErrors(
                Problem(one.message, key="data.source", file=str(path)) for one in error.problems
            ) from None
    return None, str((path.parent / source.file).resolve())


def _about(source: _Source) -> str:
    return source.config.about


def _badges(path: Path | None) -> "dict[str, Badge]":
    from hlm_models.api.verify import BADGES
    from hlm_models.zoo.badges import newest, packaged_badges, read_badges

    if path is None:
        return newest(packaged_badges(), read_badges(BADGES))
    if not path.is_file():
        raise InputErrors.one(f"there is no file {path}; `hlm verify` makes one", key="--badges")
    return read_badges(path)


def _absent(card: "Dataset | None") -> bool:
    """Whether a dataset that the user has to bring is not there."""
    if card is None or card.path is not None:
        return False
    folder = os.environ.get("HLM_DATA")
    return folder is None or not (Path(folder) / (card.external_file or "")).is_file()


def _model(source: _Source, badge: "Badge | None") -> "ModelPage":
    from hlm_models.design.formula import parse
    from hlm_models.engines.find import ENGINES, find
    from hlm_models.interpretation.level_effects import level_effects
    from hlm_models.report.zoo import ModelPage
    from hlm_models.zoo.judge import judge

    spec = None if _absent(source.card) else build(source.path)
    point, why = (None, "") if spec is None else _fitted(spec)
    config = source.config
    return ModelPage(
        name=config.name,
        about=config.about,
        formula=config.formula,
        source=config.data.source
        if isinstance(config.data.source, str)
        else config.data.source.file,
        file=_file(source.path),
        own=source.own,
        dataset=source.card,
        structure=_structure(config, parse(config.formula)),
        spec=spec,
        fit=point,
        why=why,
        curves=None if point is None else _curves(point, public=_public(source.card)),
        pooled=() if point is None or not _public(source.card) else _pooled(point),
        effects=()
        if point is None
        else tuple(level_effects(point, block.group) for block in point.spec.blocks),
        expected=None if point is None or point.spec.blocks else _along(point),
        engines={} if spec is None else {one: find(one).refusals(spec) for one in ENGINES},
        references=config.reference,
        badge=badge,
        status=_status(config, spec, badge),
        differences=() if badge is None else judge(config.reference, badge.estimates).differences,
    )


def _status(config: "ModelConfig", spec: "ModelSpec | None", badge: "Badge | None") -> "Status":
    """What the badge says of the model as it is now; without the data, of its references."""
    from hlm_models.zoo.references import digest_of

    if badge is None:
        return ""
    digest = badge.digest if spec is None else spec.digest
    return badge.standing(digest=digest, references=digest_of(config.reference))


def _fitted(spec: "ModelSpec") -> "tuple[PointFit | None, str]":
    """The REML fit, or why there is none."""
    from hlm_models.results.fits import PointFit

    try:
        point = fit(spec, "reml")
    except (FitError, RefusalError) as error:
        return None, str(error)
    assert isinstance(point, PointFit)
    return point, ""


def _public(card: "Dataset | None") -> bool:
    """Whether rows may be shown: those of a bundled dataset, and the user's own."""
    return card is None or card.path is not None


def _file(path: Path) -> str:
    """The model file without the line for editors, whose path means nothing elsewhere."""
    lines = path.read_text("utf-8").splitlines()
    return "\n".join(one for one in lines if not one.startswith("# yaml-language-server")) + "\n"


def _structure(config: "ModelConfig", formula: "Formula") -> tuple[str, ...]:
    """What the model is, in the words of `report.zoo.STRUCTURES`."""
    groups = [frozenset(term.factors) for term in formula.random]
    pairs = [(a, b) for k, a in enumerate(groups) for b in groups[:k] if a != b]
    slopes = any(term.effects.replace(" ", "") not in ("1", "+1") for term in formula.random)
    bare = not formula.predictors
    residual = config.residual
    is_a = {
        "pooled": not groups,
        "one-way": bool(groups) and bare and not pairs,
        "random intercepts": bool(groups) and not slopes and not bare,
        "random slopes": slopes,
        "nested": any(a < b or b < a for a, b in pairs),
        "crossed": any(not (a < b or b < a) for a, b in pairs),
        "macro predictors": bool(config.macro) or config.allow_macro_in_z,
        "known variances": not isinstance(residual, str) and residual.kind == "known",
    }
    return tuple(word for word, holds in is_a.items() if holds)


def _curves(point: "PointFit", *, public: bool) -> "Curves | None":
    """Lines of the levels of the first group with slopes, or of the one group, along a predictor.

    None where no predictor varies within levels.
    """
    from hlm_models.data.table import NumberColumn
    from hlm_models.design.formula import names_in
    from hlm_models.report.zoo import Curves

    design = point.spec.design
    numbers = {n for n, one in design.table.columns.items() if isinstance(one, NumberColumn)}
    micro = numbers - {name for names in design.macro.values() for name in names}
    blocks: list[tuple[RandomBlock | None, Sequence[str]]] = [
        (one, [name for name in one.effects if name != "Intercept"]) for one in design.blocks
    ]
    if len(blocks) < 2:
        blocks.append((blocks[0][0] if blocks else None, design.formula.predictors))
    for block, read in blocks:
        along = [name for one in read for name in names_in(one) if name in micro]
        if along:
            levels, middle = _expected(point, block, along[0])
            column = design.table.columns[along[0]]
            assert isinstance(column, NumberColumn)
            rows = _some(design.n, POINTS)
            data = (column.values[rows], design.y[rows]) if public else None
            group = "" if block is None else block.group
            return Curves(group, along[0], levels, middle, data)
    return None


def _expected(
    point: "PointFit", block: "RandomBlock | None", along: str
) -> "tuple[tuple[Curve, ...], Curve]":
    """Expected responses along a column; the other columns as in the level, or in all rows."""
    import pandas as pd

    from hlm_models.prediction.predict import predict

    everything = _frame_of(point)
    whole = np.linspace(everything[along].min(), everything[along].max(), STEPS)
    middle = pd.DataFrame([_typical(everything)] * STEPS).assign(**{along: whole})
    response = predict(point, middle, groups="population").mean
    if block is None:
        return (), (whole, response)
    kinds: dict[str, Groups] = {one.group: "population" for one in point.spec.blocks}
    kinds[block.group] = "existing"
    rows, places = [], []
    for j in _some(block.J, LINES):
        own = everything[block.level == j]
        places.append(np.linspace(own[along].min(), own[along].max(), STEPS))
        rows.append(pd.DataFrame([_typical(own)] * STEPS).assign(**{along: places[-1]}))
    new = pd.concat(rows, ignore_index=True)
    means = predict(point, new, groups=kinds).mean
    curves = tuple(zip(places, means.reshape(-1, STEPS), strict=True))
    return curves, (whole, response)


def _frame_of(point: "PointFit") -> "pd.DataFrame":
    """The rows of a model, its columns only."""
    import pandas as pd

    from hlm_models.data.table import NumberColumn

    return pd.DataFrame(
        {
            name: one.values if isinstance(one, NumberColumn) else one.categorical().astype("str")
            for name, one in point.spec.design.table.columns.items()
        }
    )


def _typical(rows: "pd.DataFrame") -> dict[str, object]:
    """Means of numbers, the most frequent of labels."""
    return {
        str(name): one.mean() if one.dtype.kind == "f" else one.mode()[0]
        for name, one in rows.items()
    }


def _some(count: int, most: int) -> "IntArray":
    """Numbers below `count`, at most so many, evenly chosen."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(np.int64))


def _pooled(point: "PointFit") -> "tuple[Pooling, ...]":
    """The levels of each group by no, partial and complete pooling, where they can be told."""
    from hlm_models.interpretation.pooling import pooling

    found = []
    for block in point.spec.blocks:
        try:
            found.append(pooling(point, block.group))
        except RefusalError:
            continue
    return tuple(found)


def _along(point: "PointFit") -> "Effects | None":
    """Expected responses along the first predictor; None where there is none."""
    from hlm_models.interpretation.effects import effects

    predictors = point.spec.design.formula.predictors
    return effects(point, predictors[0]) if predictors else None


def _frame(name: str) -> "pd.DataFrame":
    """All rows of a bundled dataset."""
    from hlm_models.config.settings import DataSettings
    from hlm_models.data.read import read_frame

    return read_frame(DataSettings(source=name), folder=Path.cwd(), data_dir=None)


def _shapes(dataset: "Dataset", frame: "pd.DataFrame") -> "tuple[ColumnShape, ...]":
    """Ends and a histogram of numbers, the count of labels and the rows of each."""
    from hlm_models.report.zoo import ColumnShape

    found = []
    for column in dataset.columns:
        values = frame[column.name]
        if column.kind == "label":
            sizes = np.asarray(values.value_counts(), dtype=np.int64)
            found.append(ColumnShape(column.name, len(sizes), None, sizes[_some(len(sizes), 80)]))
            continue
        low, high, distinct = float(values.min()), float(values.max()), values.nunique()
        heights, _ = np.histogram(values, bins=min(BINS, max(distinct, 2)))
        found.append(ColumnShape(column.name, distinct, (low, high), heights.astype(np.int64)))
    return tuple(found)


def _group_sizes(dataset: "Dataset", frame: "pd.DataFrame") -> "tuple[GroupSizes, ...]":
    from hlm_models.report.zoo import GroupSizes

    found = []
    for group in dataset.groups:
        sizes = np.sort(np.asarray(frame.groupby(group.split(":")).size(), dtype=np.int64))
        found.append(GroupSizes(group, sizes))
    return tuple(found)


def _first_rows(frame: "pd.DataFrame") -> tuple[tuple[str, ...], ...]:
    """The first rows as text, each number as the file has it, with a proper minus."""
    return tuple(
        tuple(
            one if isinstance(one, str) else f"{one:g}".replace("-", "\N{MINUS SIGN}")
            for one in row
        )
        for row in frame.head(FIRST_ROWS).itertuples(index=False)
    )


def _listed(cards: "Iterable[Card]") -> dict[str, object]:
    """What stands in the file for machines."""
    return {
        "models": [
            {
                "name": one.name,
                "data": one.source,
                "structure": list(one.structure),
                "rows": one.rows,
                "groups": dict(one.groups),
                "status": one.status or None,
                "page": f"models/{one.name}.html",
            }
            for one in cards
        ]
    }


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
