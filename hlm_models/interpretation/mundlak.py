"""Within and between: the model file of a model with group means of its predictors."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, get_args

from hlm_models.data.roles import macro_columns
from hlm_models.data.table import LabelColumn
from hlm_models.design.build import RandomBlock
from hlm_models.design.find_block import find_block
from hlm_models.design.formula import names_in
from hlm_models.errors import InputErrors, Problem, RefusalError, nearest
from hlm_models.spec.model import ModelSpec

__all__ = ["MundlakForm", "mundlak_changes"]

MundlakForm = Literal["within-between", "mundlak"]
"""x as x_within + x_between, or x itself with x_between beside it."""


def mundlak_changes(
    spec: ModelSpec, predictors: str | Sequence[str], group: str | None, form: MundlakForm
) -> dict[str, object]:
    """Changes to the model file of `spec`, by key: formula, macro, data.derive.

    Raises
    ------
    InputErrors
        a predictor that the model has not, of labels, or constant within the group; a name that is
        taken.
    RefusalError
        within-between of a predictor that stands in more than a term of its own.
    """
    if form not in get_args(MundlakForm):
        raise InputErrors.one(
            f"{form!r} is none of {', '.join(get_args(MundlakForm))}"
            f"{nearest(form, get_args(MundlakForm))}",
            key="form",
        )
    design = spec.design
    block = find_block(design, group)
    names = [predictors] if isinstance(predictors, str) else list(predictors)
    _refuse(spec, names, block.group)
    derived: dict[str, object] = {}
    common, random = design.formula.common, list(design.formula.random)
    for name in names:
        mean = _mean(spec, name, block.factors)
        between = _written(f"{name}_between")
        derived[f"{name}_between"] = mean
        if form == "mundlak":
            common = f"{common} + {between}"
            continue
        within = _written(f"{name}_within")
        derived[f"{name}_within"] = f"{_quoted(name)} - {mean}"
        _refuse_other_places(spec, name, block)
        common = _word(name).sub(f"{within} + {between}", common)
        random = [replace(term, effects=_word(name).sub(within, term.effects)) for term in random]
    terms = [
        f"({term.effects} {'|' if term.correlated else '||'} "
        f"{':'.join(_written(factor) for factor in term.factors)})"
        for term in random
    ]
    if design.formula.offset:
        terms.append(f"offset({_written(design.formula.offset)})")
    macro = [*spec.config["macro"].get(block.group, ()), *(f"{name}_between" for name in names)]
    return {
        "formula": f"{design.formula.response} ~ {' + '.join([common, *terms])}",
        "macro": {**spec.config["macro"], block.group: macro},
        "data.derive": {**spec.config["data"]["derive"], **derived},
    }


def _refuse_other_places(spec: ModelSpec, name: str, block: RandomBlock) -> None:
    """Nothing where x is a term of its own in the fixed part, and varies by this group only."""
    design = spec.design
    terms = {design.encoding.term(column) for column in design.coef}
    places = [":".join(term) for term in terms if name in names_in(":".join(term))]
    places = [place for place in places if place not in (name, _written(name))]
    for term in design.formula.random:
        inside = name in names_in(term.effects)
        if inside and (term.group != block.group or not _plain(term.effects, name)):
            places.append(f"({term.text})")
    if places:
        raise RefusalError(
            f"{name} stands in {places[0]} too, of which it is not plain what is within and what "
            "is between: write the formula with columns of data.derive, or take form='mundlak', "
            "which leaves it and adds the mean"
        )


def _plain(effects: str, name: str) -> bool:
    """Whether x is one of the summands of a random term."""
    return _written(name) in [piece.strip() for piece in effects.split("+")]


def _word(name: str) -> re.Pattern[str]:
    """A column's name as it stands in a formula."""
    return re.compile(rf"(?<![\w.`]){re.escape(_written(name))}(?![\w.`])")


def _refuse(spec: ModelSpec, names: Sequence[str], group: str) -> None:
    design = spec.design
    known, macro = design.encoding.columns, macro_columns(design.table, group)
    problems = []
    for name in names:
        column = design.table.columns.get(name)
        if name not in known or column is None:
            problems.append(
                f"{name!r} is not a predictor of this model{nearest(name, known)} (predictors: "
                f"{', '.join(known) or 'none'})"
            )
        elif isinstance(column, LabelColumn):
            problems.append(
                f"{name} holds labels, which have no mean: derive an indicator of each level, and "
                "name these"
            )
        elif name in macro:
            problems.append(f"{name} is constant within {group}: it has no within part")
        else:
            problems += [
                f"there is a column {made} already; rename it"
                for made in (f"{name}_between", f"{name}_within")
                if made in design.table.columns or made in spec.config["data"]["derive"]
            ]
    if len(set(names)) < len(names):
        problems.append("a predictor stands twice")
    if problems or not names:
        raise InputErrors(
            Problem(text, key="predictors") for text in problems or ["name a predictor"]
        )


def _mean(spec: ModelSpec, name: str, factors: Sequence[str]) -> str:
    """SQL of the mean of a column over the model's rows of each level, weighted as they are.

    Rows that miss a value are dropped after columns are derived, so that they must not count.
    """
    design = spec.design
    over = f"OVER (PARTITION BY {', '.join(_quoted(factor) for factor in factors)})"
    weight = "1"
    if design.known_sd_column:
        weight = f"1 / ({_quoted(design.known_sd_column)} * {_quoted(design.known_sd_column)})"
    elif design.weights_column:
        weight = _quoted(design.weights_column)
    used = ""
    if spec.config["data"]["missing"] == "drop":
        there = " AND ".join(f"{_quoted(column)} IS NOT NULL" for column in design.table.columns)
        used = f" FILTER (WHERE {there})"
    if weight == "1":
        return f"avg({_quoted(name)}){used} {over}"
    return f"sum({weight} * {_quoted(name)}){used} {over} / sum({weight}){used} {over}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _written(name: str) -> str:
    """A column as formulas write it."""
    return name if re.fullmatch(r"[^\W\d]\w*", name) else f"`{name}`"
