"""Finished numbers as tables of text, with digits that a reader can use."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hlm_models.comparison.agreement import Agreement, AgreementRow
from hlm_models.comparison.samplers import WARN, Samplers
from hlm_models.comparison.sensitivity import SensitivityRow
from hlm_models.results.checks import Check
from hlm_models.results.fits import PointFit, PosteriorFit
from hlm_models.results.summary import DrawRow, PointRow
from hlm_models.results.variance import icc, r2
from hlm_models.spec.describe import Description
from hlm_models.spec.model import ModelSpec

__all__ = [
    "Column",
    "Table",
    "agreement_table",
    "answer_table",
    "check_table",
    "factor_table",
    "group_table",
    "number",
    "point_table",
    "posterior_table",
    "prior_table",
    "samplers_table",
    "sensitivity_table",
    "short",
    "time_table",
]

ABSENT = "–"
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
    """Cells as text; the caption names model and engine."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


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


def interval(lower: float, upper: float) -> str:
    """Both ends; a dash where there is no interval."""
    return ABSENT if math.isnan(lower) else f"{number(lower)} to {number(upper)}"


def answer_table(
    spec: ModelSpec,
    draws: Sequence[DrawRow],
    points: Sequence[PointRow],
    agreement: Agreement | None,
    *,
    engines: str,
    reference: str,
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
            cells += [number(draw.mean), interval(draw.lower, draw.upper)]
        if points:
            point = point_by_name[key]
            cells += [number(point.estimate), interval(point.lower, point.upper)]
        if verdicts:
            cells.append(_verdict(verdicts.get(key)))
        rows.append(tuple(cells))
    return Table(f"{spec.name}, {engines}: the coefficients", tuple(columns), tuple(rows))


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


def group_table(spec: ModelSpec) -> Table:
    """Levels, rows a level, varying effects and, where there are any, macro predictors."""
    macro = spec.design.macro
    rows = []
    for block in spec.blocks:
        sizes = block.sizes
        middle = float(np.median(sizes))
        rows.append(
            (
                block.group,
                f"{block.J:,}",
                f"{sizes.min():,}",
                number(middle) if middle == int(middle) else f"{middle:,.1f}",
                f"{sizes.max():,}",
                ", ".join(block.effects),
                *(
                    (", ".join(macro.get(block.group, ())) or ABSENT,)
                    if any(macro.values())
                    else ()
                ),
            )
        )
    titles = ("levels", "fewest rows", "median", "most")
    return Table(
        f"{spec.name}, all engines: groups and their rows a level",
        (
            Column("group", "name"),
            *(Column(title) for title in titles),
            Column("vary by level", "text"),
            *((Column("constant within", "text"),) if any(macro.values()) else ()),
        ),
        tuple(rows),
    )


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
            number(row.mean),
            number(row.sd),
            number(row.estimate),
            number(row.se),
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
            cells += [number(mean), number(sd)]
        cells.append(fixed(row.z, 1, sign=True))
        if points:
            point = by_name[row.parameter]
            cells += [number(point.estimate), number(point.se)]
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
                number(row.mean),
                number(row.sd),
                interval(row.lower, row.upper),
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
    share = r2(fit)
    together = f"ICC {icc(fit)['adjusted'].iloc[-1]:.3f} of all groups, " if fit.random else ""
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
                number(row.estimate),
                number(row.se),
                interval(row.lower, row.upper),
                fixed(row.df, 1),
                fixed(row.statistic, 2),
                p_value(row.p),
            )
            for row in rows
        ),
        "95%: Wald interval, for coefficients by t with Satterthwaite's degrees of freedom, for "
        "the others on the log scale or Fisher's z."
        + (NOT_THERE if absent else "")
        + f" {together}R2 {share.marginal:.3f} marginal and {share.conditional:.3f} conditional.",
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
