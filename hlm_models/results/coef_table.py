"""Fits side by side, for a paper: Markdown, LaTeX, or a frame of the numbers."""

import math
import re
from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import TYPE_CHECKING, Literal, overload

from hlm_models.errors import InputErrors
from hlm_models.results.fits import PointFit
from hlm_models.results.point_only import point_only
from hlm_models.results.summary import point_values

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["coefficient_table"]


class Part(IntEnum):
    """Parts of the table, from the top."""

    COEFFICIENTS = 0
    RANDOM = 1
    RESIDUAL = 2
    SIZES = 3
    CRITERIA = 4


Key = tuple[Part, str]
"""A row: its part and its label."""

Fits = PointFit | Sequence[PointFit] | Mapping[str, PointFit]


@overload
def coefficient_table(fits: Fits, format: Literal["markdown", "latex"] = "markdown") -> str: ...
@overload
def coefficient_table(fits: Fits, format: Literal["frame"]) -> "pd.DataFrame": ...
def coefficient_table(
    fits: Fits, format: Literal["markdown", "latex", "frame"] = "markdown"
) -> "str | pd.DataFrame":
    """One column a fit: coefficients, standard deviations and correlations, sigma, and sizes.

    Parameters
    ----------
    fits : one fit, several, or several by the name that their column gets
    format : "markdown" and "latex" give text, standard errors of the coefficients in parentheses
        with two significant digits; "frame" gives the numbers, columns estimate and se of each fit

    Raises
    ------
    InputErrors
        there is no fit, a name that is no text, or no such format.
    """
    named = _named(fits)
    rows = {name: _rows(fit) for name, fit in named.items()}
    keys = sorted(_order([list(one) for one in rows.values()]), key=lambda key: key[0])
    if format == "frame":
        return _frame(keys, rows)
    if format not in ("markdown", "latex"):
        raise InputErrors.one(f"format is markdown, latex or frame, not {format!r}", key="format")
    header = ["", *rows]
    body = [
        [key[1], *(_cell(key, one[key]) if key in one else "" for one in rows.values())]
        for key in keys
    ]
    return _markdown(header, body) if format == "markdown" else _latex(header, body)


def _named(fits: Fits) -> dict[str, PointFit]:
    if isinstance(fits, Mapping):
        for name in fits:
            if not isinstance(name, str):
                raise InputErrors.one(
                    f"the name of a column is a text, not {name!r}: write {str(name)!r}", key="fits"
                )
        found = dict(fits)
    else:
        several = list(fits) if isinstance(fits, Sequence) else [fits]
        several = [point_only(fit, "coefficient_table") for fit in several]
        names = [fit.spec.name for fit in several]
        if len(set(names)) < len(names):
            names = [f"{name} ({k})" for k, name in enumerate(names, start=1)]
        found = dict(zip(names, several, strict=True))
    if not found:
        raise InputErrors.one("a table needs at least one fit", key="fits")
    return {name: point_only(fit, "coefficient_table") for name, fit in found.items()}


def _rows(fit: PointFit) -> dict[Key, tuple[float, float]]:
    """Value and standard error of each row; NaN where there is none."""
    found: dict[Key, tuple[float, float]] = {}
    for name, pair in point_values(fit).items():
        coefficient = re.fullmatch(r"beta\[(.*)\]", name)
        if coefficient:
            found[Part.COEFFICIENTS, coefficient[1]] = pair
        else:
            found[Part.RESIDUAL if name == "sigma" else Part.RANDOM, name] = pair
    sizes: dict[Key, float] = {(Part.SIZES, "rows"): fit.spec.design.n}
    sizes |= {(Part.SIZES, f"levels of {block.group}"): block.J for block in fit.spec.blocks}
    criterion = "REML criterion" if fit.engine == "reml" else "deviance"
    sizes |= {(Part.CRITERIA, criterion): fit.criterion}
    sizes |= {(Part.CRITERIA, "AIC"): fit.aic, (Part.CRITERIA, "BIC"): fit.bic}
    return found | {key: (value, math.nan) for key, value in sizes.items()}


def _order(lists: Sequence[Sequence[Key]]) -> list[Key]:
    """All rows, each list's in its order: a new one comes after what it follows there."""
    found: list[Key] = []
    for keys in lists:
        place = 0
        for key in keys:
            if key not in found:
                found.insert(place, key)
            place = found.index(key) + 1
    return found


def _frame(
    keys: Sequence[Key], rows: Mapping[str, Mapping[Key, tuple[float, float]]]
) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(
        {
            (name, what): [one.get(key, (math.nan, math.nan))[k] for key in keys]
            for name, one in rows.items()
            for k, what in enumerate(("estimate", "se"))
        },
        index=[label for _, label in keys],
    )


def _cell(key: Key, pair: tuple[float, float]) -> str:
    part, (value, se) = key[0], pair
    if part in (Part.SIZES, Part.CRITERIA):
        return f"{value:.{0 if part == Part.SIZES else 1}f}"
    if part in (Part.RANDOM, Part.RESIDUAL):
        return _number(value, _places(value, 4))
    places = _places(se, 2)
    return f"{_number(value, places)} ({_number(se, places)})"


def _places(value: float, digits: int) -> int:
    """Decimal places that show `digits` significant digits of `value`."""
    return max(0, digits - 1 - math.floor(math.log10(abs(value)))) if value else 0


def _number(value: float, places: int) -> str:
    return f"{value:.{places}f}" if places <= 8 else f"{value:.3g}"


def _markdown(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        escaped = (
            re.sub(r"[\\|*<`]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\\g<0>", cell)
            for cell in cells
        )
        return "| " + " | ".join(escaped) + " |"

    rule = "|---|" + "---:|" * (len(header) - 1)
    return "\n".join([line(header), rule, *(line(row) for row in body)]) + "\n"


def _latex(header: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(_escaped(cell) for cell in cells) + r" \\"

    return "\n".join(
        [
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\hline",
            line(header),
            r"\hline",
            *(line(row) for row in body),
            r"\hline",
            r"\end{tabular}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    special |= {one: "\\" + one for one in "&%$#_{}"}
    escaped = "".join(special.get(one, one) for one in text)
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", escaped)
