"""The zoo as a small static site: an index, a page a model, a page a dataset."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hlm_models.config.settings import Reference
from hlm_models.design.formula import names_in
from hlm_models.interpretation.effects import Effects
from hlm_models.interpretation.level_effects import LevelEffects
from hlm_models.interpretation.pooling import Pooling
from hlm_models.parts.datasets import Dataset
from hlm_models.report import sketches
from hlm_models.report.sketches import Curve
from hlm_models.report.tables import ABSENT, Column, Table, number, rounded, short
from hlm_models.report.template import filled
from hlm_models.results.fits import PointFit
from hlm_models.spec.describe import describe
from hlm_models.spec.model import ModelSpec
from hlm_models.types import IntArray
from hlm_models.zoo.badges import Badge
from hlm_models.zoo.estimates import Estimates
from hlm_models.zoo.judge import SLACK, Difference

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = [
    "STRUCTURES",
    "Card",
    "ColumnShape",
    "Curves",
    "GroupSizes",
    "ModelPage",
    "dataset_page",
    "index_page",
    "model_page",
]

Status = Literal["pass", "fail", "none", "stale", ""]
"""What a badge says; empty where a model was never verified."""

WORDS: Mapping[str, tuple[str, str]] = {
    "pass": ("pass", "agrees with published numbers"),
    "fail": ("fail", "differs from published numbers"),
    "none": ("no reference", "fitted; no published numbers to hold it against"),
    "stale": ("stale", "verified before the model, its data or the references changed"),
    "": ("not verified", "no badge yet"),
}
"""Of each status what stands on the badge, and what that means."""

STRUCTURES: Mapping[str, str] = {
    "pooled": "no groups: one regression of all rows",
    "one-way": "each group has its own mean, and there are no predictors",
    "random intercepts": "each group has its own level",
    "random slopes": "groups differ in what a predictor is worth",
    "nested": "groups within groups",
    "crossed": "two or more groups, neither within the other",
    "macro predictors": "predictors of whole groups",
    "known variances": "the standard error of each row is known",
}
"""What a model can be, in the order of the page, with what the word means."""

EXAMPLE = "sleepstudy-slopes"
"""The model that the first page begins with, where the site has it."""

ORDER = ("reml", "ml", "nuts", "gibbs")
"""Engines from left to right."""

EXTRA = ("zoo.css", "zoo.js")
"""What the pages have beside the style and the script of every page."""

HOVERED = 1000
"""Levels that hovering can tell apart."""

EFFECTS = 4
"""Effects of a group that have a picture."""

EXPECTED = (
    "Expected response with its 95% interval, of the REML fit. A pooled model has one line for all "
    "rows, whatever groups there are."
)
PANELS = (
    "Rows of some levels, and their lines by no, partial and complete pooling. Wrong would be rows "
    "that bend away from their line{}."
)
BETWEEN = ", or a partial line that is not between the other two"
SHRINKAGE = (
    "Each level of {} by its own least squares, and how far the REML fit moves it towards what the "
    "fixed part has for it. Wrong would be long arrows of levels with many rows."
)
LINES = (
    "Expected responses of levels of {} along {}, by REML; the thick line is that of the "
    "population. Wrong would be one line that leaves all others."
)
EFFECTS_SAY = (
    "How far each level stands from what the fixed part says, by REML, sorted, with 95% "
    "intervals. Wrong would be one level far from all others, or groups of levels with a gap."
)
"""Captions."""

NO_ROWS = "Rows of this dataset may not be passed on, so that none are shown here."


@dataclass(frozen=True, eq=False)
class Curves:
    """Expected responses of levels of a group, and of the population, along a predictor.

    `data` are rows behind them, where these may be shown; without a group there are no levels.
    """

    group: str
    predictor: str
    levels: tuple[Curve, ...]
    middle: Curve
    data: Curve | None


@dataclass(frozen=True, eq=False)
class ColumnShape:
    """A column in short: distinct values, the ends of numbers, the heights of a histogram.

    Of labels the heights are rows of a label, the most frequent first.
    """

    name: str
    distinct: int
    ends: tuple[float, float] | None
    heights: IntArray


@dataclass(frozen=True, eq=False)
class GroupSizes:
    """Rows of each level of a group, sorted."""

    group: str
    sizes: IntArray


@dataclass(frozen=True, eq=False)
class ModelPage:
    """What a page of a model is about.

    spec, fit : absent where the data are, or where the fit was refused; `why` says what for
    dataset : None for a file of the user, `source` by name
    curves, pooled, effects, expected : of the REML fit; of a dataset whose rows may not be shown
        the effects alone
    engines : why each engine refuses the model; empty where the data are absent
    references, badge : what was published, and what the last verification found
    differences : of the estimates in the badge to the references
    """

    name: str
    about: str
    formula: str
    source: str
    file: str
    own: bool
    dataset: Dataset | None
    structure: tuple[str, ...]
    spec: ModelSpec | None
    fit: PointFit | None
    why: str
    curves: Curves | None
    pooled: tuple[Pooling, ...]
    effects: tuple[LevelEffects, ...]
    expected: Effects | None
    engines: Mapping[str, Sequence[str]]
    references: tuple[Reference, ...]
    badge: Badge | None
    status: Status
    differences: tuple[Difference, ...]

    @property
    def public(self) -> bool:
        """Whether rows and levels may be shown: of a bundled dataset, and of the user's own."""
        return self.dataset is None or self.dataset.path is not None


@dataclass(frozen=True)
class Card:
    """A model in short, as the index shows it."""

    name: str
    about: str
    source: str
    dataset: str | None
    structure: tuple[str, ...]
    groups: tuple[tuple[str, int], ...]
    rows: int | None
    status: Status
    own: bool
    sketch: "Markup | None"

    @property
    def question(self) -> str:
        return question(self.about)

    @property
    def command(self) -> str:
        return command(self.name, own=self.own)

    @property
    def levels(self) -> int:
        """Of all groups together."""
        return sum(count for _, count in self.groups)


def question(about: str) -> str:
    """The first sentence."""
    found = re.match(r".*?[.?!](?=\s|$)", about, re.DOTALL)
    return found[0] if found else about


def command(name: str, *, own: bool) -> str:
    """What fits the model; of a user's model from the folder of its file."""
    return f"hlm run {name}.yaml" if own else f"hlm run {name}"


def card(page: ModelPage) -> Card:
    """The model in short."""
    design = None if page.spec is None else page.spec.design
    if design is not None:
        groups, rows = tuple((block.group, block.J) for block in design.blocks), design.n
    elif page.badge is not None:
        groups, rows = tuple(page.badge.groups.items()), page.badge.n
    else:
        groups, rows = (), None
    return Card(
        name=page.name,
        about=page.about,
        source=page.source,
        dataset=None if page.dataset is None else page.dataset.name,
        structure=page.structure,
        groups=groups,
        rows=rows,
        status=page.status,
        own=page.own,
        sketch=_sketch(page),
    )


def _sketch(page: ModelPage) -> "Markup | None":
    if page.curves is not None:
        return _lines(page, page.curves)
    if page.fit is None or not page.fit.random:
        return None
    panels = [
        (one.b[:, 0], 1.96 * np.sqrt(np.maximum(one.b_cov[:, 0, 0], 0))) for one in page.fit.random
    ]
    groups = ", ".join(one.group for one in page.fit.random)
    return sketches.caterpillars(panels, alt=f"{page.name}: effects of {groups}, sorted")


def _lines(page: ModelPage, found: Curves) -> "Markup":
    what = f"a line for each {found.group} and" if found.levels else "the line of"
    alt = f"{page.name}: {what} all rows along {found.predictor}"
    return sketches.lines(found.levels, found.middle, found.data, alt=alt)


def index_page(cards: Sequence[Card], datasets: Sequence[Dataset]) -> str:
    """The page that one opens first."""
    context = {
        "root": "",
        "cards": cards,
        "example": min(
            cards,
            key=lambda one: (one.name != EXAMPLE, one.name),
            default=None,
        ),
        "datasets": datasets,
        "sources": _counted(one.source for one in cards),
        "structures": [
            (word, count, STRUCTURES[word])
            for word, count in _counted(word for one in cards for word in one.structure)
        ],
        "statuses": [
            (status, WORDS[status], count)
            for status, count in _counted(one.status for one in cards)
        ],
        "used": {
            one.name: [card.name for card in cards if card.dataset == one.name] for one in datasets
        },
        "words": WORDS,
        "levels": _levels,
    }
    return filled("zoo_index.html", context, also=EXTRA)


def _counted(values: Iterable[str]) -> list[tuple[str, int]]:
    """Each value with its count, in the order of the page."""
    order = {word: k for k, word in enumerate((*STRUCTURES, *WORDS))}
    return sorted(Counter(values).items(), key=lambda pair: (order.get(pair[0], 0), pair[0]))


def _levels(groups: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{group} ({count:,})" for group, count in groups) or "no groups"


def model_page(page: ModelPage, related: Sequence[tuple[str, str]]) -> str:
    """Everything about one model; `related` are names and abouts of others of the same data."""
    spec = page.spec
    first = question(page.about)
    context = {
        "root": "../",
        "page": page,
        "card": card(page),
        "question": first,
        "rest": page.about[len(first) :].strip(),
        "structures": STRUCTURES,
        "words": WORDS,
        "description": None if spec is None else describe(spec),
        "tree": () if spec is None else _tree(spec),
        "priors": None if spec is None else _priors(spec),
        "pictures": _pictures(page),
        "hovered": _hovered(page),
        "checks": [one for one in page.fit.checks if one.status != "pass"] if page.fit else [],
        "estimates": None if page.badge is None else _estimates(page),
        "related": [(name, question(about)) for name, about in related],
        "sources": _sources(page),
        "command": command(page.name, own=page.own),
        "file_name": f"{page.name}.yaml",
        "seconds": [f"{one.engine} {number(one.seconds, 2)}" for one in page.badge.estimates]
        if page.badge
        else [],
        "levels": _levels,
        "doi": doi_links,
        "no_rows": NO_ROWS,
        "short": short,
    }
    return filled("zoo_model.html", context, also=EXTRA)


def _sources(page: ModelPage) -> list[tuple[str, str]]:
    """Where the published numbers stand, each place once, with why more than digits is allowed."""
    whys: dict[str, list[str]] = {}
    for one in page.references:
        whys.setdefault(one.source, []).extend([one.why] if one.why else [])
    return [(source, "; ".join(dict.fromkeys(reasons))) for source, reasons in whys.items()]


def _estimates(page: ModelPage) -> Table:
    """Every parameter by every engine, beside what was published."""
    assert page.badge is not None
    found = sorted(page.badge.estimates, key=lambda one: ORDER.index(one.engine))
    places = [source for source, _ in _sources(page)]
    rows = []
    for reference in page.references:
        source = f"{reference.engine} [{places.index(reference.source) + 1}]"
        for name, text in _printed(reference).items():
            units = [
                one.units
                for one in page.differences
                if (one.name, one.source) == (name, reference.source)
                and reference.engine in (one.engine, "posterior")
            ]
            status = "pass" if max(units, default=math.inf) <= SLACK else "fail"
            distance = f"{max(units):.2f}" if units else ABSENT
            rows.append((name, text, source, distance, status if units else ABSENT))
    names = dict.fromkeys(name for one in found for name in one.parameters)
    held = {row[0] for row in rows}
    rows += [(name, ABSENT, ABSENT, ABSENT, ABSENT) for name in names if name not in held]
    order = {name: k for k, name in enumerate(names)}
    rows.sort(key=lambda row: order.get(row[0], len(order)))
    return Table(
        f"{page.name}: estimates of every engine"
        + (", beside published numbers" if page.references else ""),
        (
            Column("parameter", "name"),
            Column("published", side="reference"),
            Column("by", "text"),
            *(Column(one.engine) for one in found),
            Column("difference"),
            Column("status", "pill"),
        ),
        tuple((*row[:3], *(_estimate(one, row[0]) for one in found), *row[3:]) for row in rows),
    )


def _printed(reference: Reference) -> dict[str, str]:
    """The numbers of a reference as they were printed, or as exact as they are."""
    found: dict[str, str] = {}
    for name, value in reference.values.items():
        if isinstance(value, str):
            found[name] = value.replace("-", "\N{MINUS SIGN}")
            continue
        found[name] = rounded(value.mean, value.mcse)
        if value.sd is not None:
            found[f"sd of {name}"] = rounded(value.sd, value.mcse_sd or math.nan)
    return found


def _estimate(found: Estimates, name: str) -> str:
    """What an engine has by a name that references use."""
    plain = name.removeprefix("sd of ")
    if plain in found.criteria:
        return number(found.criteria[plain], 7)
    if plain not in found.parameters:
        one = found.parameters.get(f"beta{plain.removeprefix('se')}")
        return number(None if one is None or found.draws else one.error, 6)
    one = found.parameters[plain]
    if not found.draws:
        return number(one.value if plain == name else None, 6)
    value, mcse = (one.value, one.mcse) if plain == name else (one.error, one.mcse_error)
    return rounded(math.nan if value is None else value, mcse or math.nan)


def _hovered(page: ModelPage) -> list[tuple[str, list[str]]]:
    """What hovering tells of the levels of each group; nothing where rows may not be shown."""
    if page.spec is None or not page.public:
        return []
    return [
        (
            block.group,
            [
                f"{label}\n{size:,} {'row' if size == 1 else 'rows'}"
                for label, size in zip(block.labels, block.sizes.tolist(), strict=True)
            ],
        )
        for block in page.spec.blocks
        if block.J <= HOVERED
    ]


def _priors(spec: ModelSpec) -> Table:
    return Table(
        f"{spec.name}: priors with their numbers",
        (Column("parameter", "name"), Column("prior", "text")),
        tuple((row.parameter, row.prior) for row in describe(spec).priors),
    )


def _pictures(page: ModelPage) -> "list[tuple[Markup | list[Markup], str]]":
    """Pictures of the REML fit, each with its caption."""
    from hlm_models.plot.expected import effects
    from hlm_models.plot.levels import drawn_levels
    from hlm_models.plot.lines import group_panels
    from hlm_models.plot.pooled import shrinkage
    from hlm_models.report.markup import markup

    found: list[tuple[Markup | list[Markup], str]] = []
    if page.expected is not None:
        alt = f"{page.name}: expected {page.expected.response} along {page.expected.predictor}"
        found.append((markup(effects(page.expected), alt), EXPECTED))
    alone = page.pooled[0] if len(page.effects) == len(page.pooled) == 1 else None
    along = _straight(alone) if alone is not None else ""
    if alone is not None and along:
        alt = f"{page.name}: rows and lines of some levels of {alone.group} along {along}"
        labels = (_with_unit(page, along), _with_unit(page, alone.response))
        # With several predictors it need not be between them.
        say = PANELS.format(BETWEEN if len(alone.coefficients) <= 2 else "")
        found.append((markup(group_panels(alone, along, labels=labels), alt), say))
    elif page.curves is not None and page.curves.levels:
        lines = LINES.format(page.curves.group, page.curves.predictor)
        found.append(([_lines(page, page.curves)], lines))
    if alone is not None:
        [own] = page.effects
        varying = [name for name in alone.coefficients if name in own.effects]
        alt = f"{page.name}: {alone.group}, from no pooling to partial pooling"
        units = [_per_unit(page, name) for name in varying]
        picture = markup(shrinkage(alone, varying, labels=units), alt)
        found.append((picture, SHRINKAGE.format(alone.group)))
        if along:
            return found
    pictures = [
        markup(
            drawn_levels(each, name, label=_per_unit(page, name)),
            f"{page.name}: {name} of {each.group}, sorted",
        )
        for each in page.effects
        for name in each.effects[:EFFECTS]
    ]
    return [*found, (pictures, EFFECTS_SAY)] if pictures else found


def _straight(found: Pooling) -> str:
    """The first predictor that a line along says all of: no other column is made of it."""
    columns = {name: set(names_in(name)) for name in found.coefficients if name != "Intercept"}
    for name, read in columns.items():
        if not any(read & other for one, other in columns.items() if one != name):
            return name
    return ""


def _with_unit(page: ModelPage, name: str) -> str:
    known = {} if page.dataset is None else {one.name: one.unit for one in page.dataset.columns}
    unit = known.get(name, "")
    return f"{name} in {unit}" if unit and unit != name else name


def _per_unit(page: ModelPage, effect: str) -> str:
    """What an effect is in."""
    assert page.spec is not None
    response = _with_unit(page, page.spec.design.formula.response)
    return response if effect == "Intercept" else f"{response}, per unit of {effect}"


@dataclass(frozen=True)
class Node:
    """A group and what is in it; `each` says how many of the next are in one."""

    text: str
    each: str
    inside: "tuple[Node, ...]"


def _tree(spec: ModelSpec) -> tuple[Node, ...]:
    """Groups with those nested in them, by their names; rows at the ends."""
    rows = Node(f"{spec.design.n:,} rows", "", ())
    blocks = sorted(spec.blocks, key=lambda one: len(one.factors))

    def inside(outer: frozenset[str]) -> tuple[Node, ...]:
        within = [one for one in blocks if outer < frozenset(one.factors)]
        factors = [frozenset(one.factors) for one in within]
        return tuple(
            Node(f"{one.group} ({one.J:,})", _each(one.sizes), inside(own) or (rows,))
            for one, own in zip(within, factors, strict=True)
            if not any(other < own for other in factors)
        )

    return inside(frozenset()) or (rows,)


def _each(sizes: IntArray) -> str:
    low, high, middle = int(sizes.min()), int(sizes.max()), float(np.median(sizes))
    if low == high:
        return f"{low:,} {'row' if low == 1 else 'rows'} in each"
    return f"{low:,} to {high:,} rows in each, median {middle:,.12g}"


def dataset_page(
    dataset: Dataset,
    cards: Sequence[Card],
    *,
    columns: Sequence[ColumnShape],
    groups: Sequence[GroupSizes],
    rows: Sequence[Sequence[str]],
) -> str:
    """Everything about one dataset; without columns, groups and rows where these are not shown."""
    shapes = {one.name: one for one in columns}
    sizes = {one.group: one.sizes for one in groups}
    context = {
        "root": "../",
        "dataset": dataset,
        "cards": cards,
        "columns": [
            (one, _range(shapes.get(one.name)), _shape(shapes.get(one.name)))
            for one in dataset.columns
        ],
        "groups": [
            (group, count, _each(sizes[group]) if group in sizes else "", _sizes(group, sizes))
            for group, count in dataset.groups.items()
        ],
        "first": Table(
            f"{dataset.name}: the first {len(rows)} of {dataset.rows:,} rows",
            tuple(
                Column(one.name, "text" if one.kind == "label" else "number")
                for one in dataset.columns
            ),
            tuple(map(tuple, rows)),
        )
        if rows
        else None,
        "words": WORDS,
        "levels": _levels,
        "doi": doi_links,
        "no_rows": NO_ROWS,
    }
    return filled("zoo_dataset.html", context, also=EXTRA)


def _range(shape: ColumnShape | None) -> str:
    if shape is None:
        return ABSENT
    if shape.ends is None:
        return f"{shape.distinct:,} labels"
    low, high = (short(one) for one in shape.ends)
    return f"{low} to {high}"


def _shape(shape: ColumnShape | None) -> "Markup | None":
    if shape is None:
        return None
    what = "rows of each label, sorted" if shape.ends is None else "histogram"
    return sketches.bars(shape.heights, alt=f"{shape.name}: {what}")


def _sizes(group: str, sizes: Mapping[str, IntArray]) -> "Markup | None":
    if group not in sizes:
        return None
    found = sizes[group]
    some = found[np.unique(np.linspace(0, len(found) - 1, min(len(found), 80)).astype(int))]
    return sketches.bars(some, alt=f"{group}: rows of each level, sorted")


def doi_links(text: str) -> "Markup":
    """The text with its DOIs as links."""
    from markupsafe import Markup, escape

    found, end = Markup(""), 0
    for match in re.finditer(r"doi:(10\.\d{4,9}/[^\s;]*[^\s;,.])", text):
        link = Markup('<a href="https://doi.org/{}">{}</a>').format(match[1], match[0])
        found += escape(text[end : match.start()]) + link
        end = match.end()
    return found + escape(text[end:])
