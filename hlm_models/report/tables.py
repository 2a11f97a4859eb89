"""Finished numbers as tables of text, with digits that a reader can use."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from hlm_models.comparison.agreement import Agreement, AgreementRow
from hlm_models.comparison.samplers import WARN, Samplers
from hlm_models.comparison.sensitivity import SensitivityRow
from hlm_models.data.table import NumberColumn
from hlm_models.design.formula import names_in
from hlm_models.parts.datasets import Dataset
from hlm_models.report.findings import Interval, VarianceSplit
from hlm_models.results.checks import Check
from hlm_models.results.fits import PointFit, PosteriorFit
from hlm_models.results.summary import DrawRow, PointRow
from hlm_models.spec.describe import Description
from hlm_models.spec.model import ModelSpec

__all__ = [
    "Column",
    "Table",
    "agreement_table",
    "answer_table",
    "check_table",
    "column_table",
    "factor_table",
    "interval",
    "number",
    "percent",
    "point_table",
    "posterior_table",
    "prior_table",
    "rounded",
    "samplers_table",
    "sensitivity_table",
    "short",
    "time_table",
    "variance_table",
]

ABSENT = "–"
FEW = 8
"""Labels of a column that are listed."""
NOT_THERE = f" {ABSENT}: absent, for the estimate is on the boundary."
VERDICTS = {
    "agree": "agree",
    "shifted": "shifted",
    "spread": "spread differs",
    "boundary": "boundary",
}


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and what stands below it; `side` says whose numbers they are."""

    title: str
    kind: Literal["name", "number", "text", "pill"] = "number"
    side: Literal["", "posterior", "reference"] = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; the caption names model and engine.

    Where a row is a level of a `group`, `levels` are their numbers in the design's order.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    group: str = ""
    levels: tuple[int, ...] = ()


def number(value: float | None, digits: int = 4) -> str:
    """The value with `digits` significant digits; a dash where there is none."""
    if value is None or math.isnan(value):
        return ABSENT
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if (value == int(value) and size < 1e7) or 10.0 ** (digits - 1) <= size < 1e7:
        text = f"{value:,.0f}"
    elif 1e-4 <= size < 1e7:
        text = f"{value:#.{digits}g}"
    else:
        text = f"{value:.{min(digits, 3)}g}"
    return text.replace("-", "−", 1) if value < 0 else text


def fixed(value: float, places: int, *, sign: bool = False) -> str:
    """The value with a fixed number of places; a dash where there is none."""
    if not math.isfinite(value):
        return number(value)
    if abs(value) >= 1e4:
        return ("+" if sign and value > 0 else "") + number(value, 3)
    value = round(value, places) + 0.0  # no minus zero
    return f"{value:{'+' if sign and value else ''},.{places}f}".replace("-", "−")


def rounded(value: float, error: float) -> str:
    """The value with the places that two significant digits of its error have."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return number(value)
    places = 1 - math.floor(math.log10(error))
    size = abs(value)
    if places > 6 or size >= 1e7:
        ahead = math.floor(math.log10(size)) if size > 0 else -places
        return number(value, min(max(ahead + places + 1, 2), 12))
    value = round(value, places) + 0.0  # no minus zero
    return f"{value:,.{max(places, 0)}f}".replace("-", "−")


def interval(lower: float, upper: float, error: float = math.nan) -> str:
    """Both ends, as exact as `error` allows; a dash where there is no interval."""
    if math.isnan(lower):
        return ABSENT
    return f"{rounded(lower, error)} to {rounded(upper, error)}"


def percent(one: Interval) -> str:
    """`12% (10% to 14%)`."""
    if not math.isfinite(one.lower):
        return _whole(one.middle)
    text, lower, upper = map(_whole, (one.middle, one.lower, one.upper))
    return text if lower == upper else f"{text} ({lower} to {upper})"


def _whole(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.5:
        return "under 1%"
    return "over 99%" if 99.5 <= percent < 100 else f"{percent:.0f}%"


def answer_table(
    spec: ModelSpec,
    draws: Sequence[DrawRow],
    points: Sequence[PointRow],
    agreement: Agreement | None,
    *,
    engines: str,
    reference: str,
    units: Mapping[str, str] = MappingProxyType({}),
) -> Table:
    """The coefficients: both answers and the verdict, as far as there are any."""
    by_name = {row.name: row for row in draws}
    point_by_name = {row.name: row for row in points}
    verdicts = {row.parameter: row for row in agreement.rows} if agreement else {}
    columns = [Column("coefficient", "name")]
    if draws:
        columns += [Column("posterior mean", side="posterior"), Column("95%", side="posterior")]
    if points:
        columns += [Column(reference, side="reference"), Column("95%", side="reference")]
    if verdicts:
        columns.append(Column("verdict", "pill"))
    rows = []
    for name in spec.design.coef:
        key = f"beta[{name}]"
        cells = [name]
        if draws:
            draw = by_name[key]
            cells += [rounded(draw.mean, draw.sd), interval(draw.lower, draw.upper, draw.sd)]
        if points:
            point = point_by_name[key]
            cells += [
                rounded(point.estimate, point.se),
                interval(point.lower, point.upper, point.se),
            ]
        if verdicts:
            cells.append(_verdict(verdicts.get(key)))
        rows.append(tuple(cells))
    response = spec.design.formula.response
    unit = f", {response} in {units[response]}" if response in units else ""
    caption = f"{spec.name}, {engines}: the coefficients{unit}"
    return Table(caption, tuple(columns), tuple(rows))


def _verdict(row: AgreementRow | None) -> str:
    return ABSENT if row is None else VERDICTS[row.verdict]


def prior_table(description: Description, *, engine: str) -> Table:
    """The prior of every parameter, with its numbers."""
    return Table(
        f"{description.name}, {engine}: priors as used",
        (Column("parameter", "name"), Column("prior", "text")),
        tuple((row.parameter, row.prior) for row in description.priors),
    )


def factor_table(spec: ModelSpec) -> Table:
    """How each factor is coded: its contrasts, the level without a column, all levels."""
    full = any(one.reference is None for one in spec.design.factors)
    return Table(
        f"{spec.name}, all engines: coding of factors",
        (
            Column("factor", "name"),
            Column("contrasts", "text"),
            Column("reference level", "text"),
            Column("levels", "text"),
        ),
        tuple(
            (one.name, one.contrast, one.reference or ABSENT, ", ".join(one.levels))
            for one in spec.design.factors
        ),
        f"{ABSENT}: each level has a column of its own." if full else "",
    )


def column_table(spec: ModelSpec, dataset: Dataset | None, units: Mapping[str, str]) -> Table:
    """Every column that the model reads: what it is there for, where it is constant, its range."""
    design = spec.design
    cards = {one.name: one for one in dataset.columns} if dataset else {}
    derived = set(spec.config["data"]["derive"])
    rows = []
    for name, column in design.table.columns.items():
        if isinstance(column, NumberColumn):
            values = " to ".join(
                short(float(end)) for end in (column.values.min(), column.values.max())
            )
        else:
            some = ", ".join(column.labels) if len(column.labels) <= FEW else ""
            values = f"{len(column.labels):,} levels" + (f": {some}" if some else "")
        about = "derived by the model file" if name in derived else ""
        if name in cards and not about:
            about = cards[name].about
        rows.append((name, _role(spec, name), values, units.get(name, ABSENT), about or ABSENT))
    columns = [
        Column("column", "name"),
        Column("role", "text"),
        Column("values", "text"),
        Column("unit", "text"),
        Column("what it is", "text"),
    ]
    # What nobody has said anything about is no column of the table.
    kept = [k for k in range(5) if k < 3 or any(row[k] != ABSENT for row in rows)]
    return Table(
        f"{spec.name}, all engines: the columns that the model reads",
        tuple(columns[k] for k in kept),
        tuple(tuple(row[k] for k in kept) for row in rows),
    )


def _role(spec: ModelSpec, name: str) -> str:
    design = spec.design
    roles = {
        "response": name in names_in(design.formula.response),
        "predictor": name in design.formula.predictors,
        "group": any(name in block.factors for block in design.blocks),
        "weights": name == design.weights_column,
        "offset": name == design.offset_column,
        "known residual sd": name == design.known_sd_column,
    }
    return ", ".join(role for role, held in roles.items() if held) or ABSENT


def variance_table(
    spec: ModelSpec, engine: str, split: VarianceSplit, units: Mapping[str, str]
) -> Table:
    """Standard deviation, variance and share of every group and of the residual."""
    response = spec.design.formula.response
    unit = f", {response} in {units[response]}" if response in units else ""
    known = spec.design.sigma is not None
    rows = [
        (
            "residual (known)" if row is split.residual and known else row.group,
            _spread(row.sd),
            _spread(row.variance),
            *((_spread(row.share, 100),) if spec.blocks else ()),
        )
        for row in (*split.groups, split.residual)
    ]
    note = f"R2: {percent(split.marginal)} of the variance is that of the fixed part"
    if spec.blocks:
        note += f", {percent(split.conditional)} that of fixed part and groups together"
    slopes = any(block.effects != ("Intercept",) for block in spec.blocks)
    return Table(
        f"{spec.name}, {engine}: where the variance lies{unit}",
        (
            Column("between", "name"),
            Column("standard deviation"),
            Column("variance"),
            *((Column("share, %"),) if spec.blocks else ()),
        ),
        tuple(rows),
        ("Share: of what the fixed part leaves (intraclass correlation). " if spec.blocks else "")
        + ("Of slopes, variances are means over the rows. " if slopes else "")
        + f"{note}."
        + (
            " In brackets: 95% intervals."
            if math.isfinite(split.residual.sd.lower) or math.isfinite(split.marginal.lower)
            else ""
        ),
    )


def _spread(one: Interval, times: float = 1) -> str:
    """A number with its interval in brackets, where it has one."""
    middle, lower, upper = times * one.middle, times * one.lower, times * one.upper
    if not math.isfinite(lower) or lower == upper:
        return number(middle, 3)
    error = (upper - lower) / 4
    return f"{rounded(middle, error)} ({interval(lower, upper, error)})"


def agreement_table(found: Agreement) -> Table:
    """Posterior against point estimate: numbers, verdict and, where there are any, reasons."""
    name = found.reference.upper()
    reasons = any(row.why for row in found.rows)
    absent = any(math.isnan(row.d) for row in found.rows)
    columns = (
        Column("parameter", "name"),
        Column("mean", side="posterior"),
        Column("sd", side="posterior"),
        Column(name, side="reference"),
        Column("se", side="reference"),
        Column("d"),
        Column("spread"),
        Column("verdict", "pill"),
        *((Column("why", "text"),) if reasons else ()),
    )
    rows = tuple(
        (
            row.parameter,
            rounded(row.mean, row.sd),
            number(row.sd, 2),
            rounded(row.estimate, row.se if math.isfinite(row.se) else row.sd),
            number(row.se, 2),
            fixed(row.d, 2, sign=True),
            fixed(row.spread_ratio, 2),
            _verdict(row),
            *((row.why,) if reasons else ()),
        )
        for row in found.rows
    )
    note = (
        f"d: posterior mean minus {name}, in posterior sds. spread: posterior sd over standard "
        "error. Both on the scale of the verdict: a coefficient itself, log sd, Fisher's z of a "
        "correlation, log sigma."
    )
    caption = f"{found.model}, {found.posterior} against {found.reference}"
    return Table(caption, columns, rows, note + (NOT_THERE if absent else ""))


def samplers_table(found: Samplers, points: Sequence[PointRow], reference: str) -> Table:
    """Posterior means and sds by every engine, and the point estimates where there are any."""
    by_name = {row.name: row for row in points}
    columns = [Column("parameter", "name")]
    for engine in found.engines:
        columns += [Column(f"{engine} mean", side="posterior"), Column("sd", side="posterior")]
    columns.append(Column("z"))
    if points:
        columns += [Column(reference, side="reference"), Column("se", side="reference")]
    rows = []
    for row in found.rows:
        cells = [row.parameter]
        for mean, sd in zip(row.mean, row.sd, strict=True):
            cells += [rounded(mean, sd), number(sd, 2)]
        cells.append(fixed(row.z, 1, sign=True))
        if points:
            point = by_name[row.parameter]
            cells += [rounded(point.estimate, point.se), number(point.se, 2)]
        rows.append(tuple(cells))
    absent = any(math.isnan(row.se) for row in points)
    return Table(
        f"{found.model}, {' against '.join(found.engines)}: one posterior by several samplers",
        tuple(columns),
        tuple(rows),
        "z: largest difference of two means or two log sds, in Monte Carlo standard errors (of log "
        f"sd, Fisher's z, log sigma); beyond {WARN:g} it is more than chance."
        + (NOT_THERE if absent else ""),
    )


def posterior_table(fit: PosteriorFit, rows: Sequence[DrawRow]) -> Table:
    """Posterior of the population parameters with their diagnostics."""
    sizes = fit.data["posterior"].sizes
    divergences = f", {fit.divergences} divergences" if fit.engine == "nuts" else ""
    return Table(
        f"{fit.spec.name}, {fit.engine} ({fit.sampler}, {fit.parameterization}): "
        f"{sizes['chain']} chains of {sizes['draw']:,} draws{divergences}",
        (
            Column("parameter", "name"),
            Column("mean", side="posterior"),
            Column("sd", side="posterior"),
            Column("95%", side="posterior"),
            Column("mcse"),
            Column("ess bulk"),
            Column("ess tail"),
            Column("r_hat"),
        ),
        tuple(
            (
                row.name,
                rounded(row.mean, row.sd),
                number(row.sd, 2),
                interval(row.lower, row.upper, row.sd),
                number(row.mcse_mean, 2),
                fixed(row.ess_bulk, 0),
                fixed(row.ess_tail, 0),
                fixed(row.r_hat, 3),
            )
            for row in rows
        ),
        "95%: equal-tailed interval. mcse: Monte Carlo standard error of the mean. ess: effective "
        "number of draws, in the bulk and in the tails.",
    )


def sensitivity_table(fit: PosteriorFit, rows: Sequence[SensitivityRow]) -> Table:
    """How far each posterior moves with the prior and with the likelihood."""
    told = any(row.diagnosis for row in rows)
    return Table(
        f"{fit.spec.name}, {fit.engine}: sensitivity to prior and likelihood",
        (
            Column("parameter", "name"),
            Column("prior"),
            Column("likelihood"),
            Column("tail"),
            Column("overlap"),
            Column("width"),
            *((Column("diagnosis", "text"),) if told else ()),
        ),
        tuple(
            (
                row.parameter,
                fixed(row.prior, 3),
                fixed(row.likelihood, 3),
                fixed(row.tail, 2),
                fixed(row.overlap, 2),
                fixed(row.width, 3),
                *((row.diagnosis or ABSENT,) if told else ()),
            )
            for row in rows
        ),
        "prior, likelihood: how far the posterior moves as one of them is raised to a power near "
        "1; above 0.05 it counts as moved. tail: mass of the prior beyond the posterior's median, "
        "of all on that side of the prior's mode; below 0.05 the two disagree. overlap: the mass "
        "that prior and posterior have in common. width: of the posterior's middle 90%, over that "
        "of the prior's.",
    )


def point_table(fit: PointFit, rows: Sequence[PointRow]) -> Table:
    """Estimates with standard errors, tests of the coefficients and criteria."""
    absent = any(math.isnan(row.se) for row in rows)
    return Table(
        f"{fit.spec.name}, {fit.engine}: criterion {fixed(fit.criterion, 2)}, "
        f"log likelihood {fixed(fit.loglik, 2)}, AIC {fixed(fit.aic, 2)}, "
        f"AICc {fixed(fit.aicc, 2)}, BIC {fixed(fit.bic, 2)}",
        (
            Column("parameter", "name"),
            Column("estimate", side="reference"),
            Column("se", side="reference"),
            Column("95%", side="reference"),
            Column("df"),
            Column("t"),
            Column("p"),
        ),
        tuple(
            (
                row.name,
                rounded(row.estimate, row.se),
                number(row.se, 2),
                interval(row.lower, row.upper, row.se),
                fixed(row.df, 1),
                fixed(row.statistic, 2),
                p_value(row.p),
            )
            for row in rows
        ),
        "95%: Wald interval, for coefficients by t with Satterthwaite's degrees of freedom, for "
        "the others on the log scale or Fisher's z." + (NOT_THERE if absent else ""),
    )


def p_value(p: float) -> str:
    """The value with three places; a dash where there is none."""
    return ABSENT if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def check_table(model: str, engines: str, checks: Iterable[tuple[str, Check]]) -> Table:
    """Every check, the gravest first."""
    order = {"fail": 0, "warn": 1, "pass": 2}
    return Table(
        f"{model}, {engines}: all checks",
        (
            Column("check", "name"),
            Column("engine", "text"),
            Column("status", "pill"),
            Column("value"),
            Column("threshold"),
            Column("message", "text"),
        ),
        tuple(
            (
                check.code,
                engine,
                check.status,
                short(check.value),
                short(check.threshold),
                check.message,
            )
            for engine, check in sorted(checks, key=lambda pair: order[pair[1].status])
        ),
    )


def short(value: float | None) -> str:
    """The value of a check or its threshold, without idle zeros."""
    if value is None or not 1e-4 <= abs(value) < 1e4:
        return number(value, 3)
    return f"{value:.4g}".replace("-", "−")


def time_table(model: str, seconds: Mapping[str, Mapping[str, Any]]) -> Table:
    """Wall time of every stage of every engine."""
    stages = tuple(dict.fromkeys(stage for one in seconds.values() for stage in one))
    rows = []
    for engine, one in seconds.items():
        cells = [number(one[s], 2) if s in one else ABSENT for s in stages]
        rows.append((engine, *cells, number(float(sum(one.values())), 2)))
    columns = (Column("engine", "name"), *(Column(stage) for stage in stages), Column("sum"))
    return Table(f"{model}, {', '.join(seconds)}: seconds by stage", columns, tuple(rows))
