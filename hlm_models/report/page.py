"""A finished run as one HTML page that needs no network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hlm_models.comparison.agreement import Agreement
from hlm_models.comparison.samplers import Samplers
from hlm_models.comparison.sensitivity import SensitivityRow
from hlm_models.report import pictures, tables
from hlm_models.report.answer import answer, estimates
from hlm_models.report.findings import Findings, GroupFindings
from hlm_models.report.levels import LevelTable, level_tables, level_texts
from hlm_models.report.origin import model_file, readable_time
from hlm_models.report.remedies import REMEDIES
from hlm_models.report.template import cut, filled
from hlm_models.report.tree import group_tree
from hlm_models.results.checks import Check
from hlm_models.results.fits import Fit, PointFit, PosteriorFit
from hlm_models.results.summary import draw_rows, point_rows
from hlm_models.spec.describe import describe
from hlm_models.spec.model import ModelSpec

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["Run", "render", "write"]


@dataclass(frozen=True, eq=False)
class Run:
    """What a page is about: at least one fit, and where it came from.

    `others` are posteriors by other engines, which `samplers` holds beside the first. `findings`
    are of the posterior, or of the point fit where there is no posterior.
    `provenance` holds model, command, created (ISO time), versions {package: version}, seed, data
    {source, rows, digest}, digest, seconds {engine: {stage: s}} and config (as used); what is
    absent is left out of the page.
    """

    posterior: PosteriorFit | None
    reference: PointFit | None
    agreement: Agreement | None
    provenance: Mapping[str, Any]
    sensitivity: Sequence[SensitivityRow] = ()
    others: tuple[PosteriorFit, ...] = ()
    samplers: Samplers | None = None
    findings: Findings = field(default_factory=Findings)

    def __post_init__(self) -> None:
        if not self.fits:
            raise ValueError("a page needs a posterior or a point fit")

    @property
    def fits(self) -> tuple[Fit, ...]:
        known = (self.posterior, *self.others, self.reference)
        return tuple(fit for fit in known if fit is not None)

    @property
    def spec(self) -> ModelSpec:
        return self.fits[0].spec

    @property
    def engines(self) -> str:
        *first, last = (fit.engine for fit in self.fits)
        return f"{', '.join(first)} and {last}" if first else last

    @property
    def checks(self) -> tuple[tuple[str, Check], ...]:
        """Checks of every fit, each with its engine."""
        return tuple((fit.engine, check) for fit in self.fits for check in fit.checks)


@dataclass(frozen=True, eq=False)
class _GroupPart:
    """What a page has of one group."""

    group: str
    texts: list[str]
    effects: "tuple[pictures.Effect, ...]"
    planes: "tuple[Markup, ...]"
    tables: tuple[LevelTable, ...]
    lines: "tuple[tuple[Markup, Markup], ...]"
    unequal: bool
    checks: "tuple[Markup, ...]"
    refused: tuple[str, ...]


def write(run: Run, path: Path) -> None:
    """Write the page."""
    path.write_text(render(run), encoding="utf-8")


def render(run: Run) -> str:
    """The page as text; the same run gives the same text."""
    return filled("page.html", _context(run))


def _context(run: Run) -> dict[str, Any]:
    spec, posterior, reference, findings = run.spec, run.posterior, run.reference, run.findings
    design, units = spec.design, run.findings.units
    description = describe(spec)
    draws = draw_rows(posterior) if posterior else ()
    points = point_rows(reference) if reference else ()
    found = run.agreement if run.agreement and run.agreement.rows else None
    name = reference.engine.upper() if reference else ""
    seconds = run.provenance.get("seconds")
    config = run.provenance.get("config")
    response = design.formula.response
    groups = _groups(run)
    flagged = {check.code for _, check in run.checks if check.status != "pass"}
    return {
        "description": description,
        "engines": run.engines,
        "posterior_name": ", ".join(fit.engine for fit in (posterior, *run.others) if fit),
        "reference": name,
        "created": readable_time(run.provenance.get("created")),
        "failed": [one for one in run.checks if one[1].status == "fail"],
        "warned": [one for one in run.checks if one[1].status == "warn"],
        "count": len(run.checks),
        "remedies": [(code, text) for code, text in REMEDIES.items() if code in flagged],
        "sentences": [
            _with_short_names(sentence)
            for sentence in answer(
                design,
                {one.name: one for one in estimates(draws, points)},
                units=units,
                split=findings.variance,
                agreement=found,
                engines=[fit.engine for fit in run.fits],
                checks=run.checks,
            )
        ],
        "answer": tables.answer_table(
            spec, draws, points, found, engines=run.engines, reference=name, units=units
        ),
        "priors": tables.prior_table(description, engine=posterior.engine) if posterior else None,
        "table": design.table,
        "dataset": findings.dataset,
        "response": response,
        "unit": units.get(response, ""),
        "tree_of": group_tree(design),
        "columns": tables.column_table(spec, findings.dataset, units),
        "factors": tables.factor_table(spec) if design.factors else None,
        "agreement": tables.agreement_table(found) if found else None,
        "samplers": tables.samplers_table(run.samplers, points, name) if run.samplers else None,
        "disagreeing": sum(row.verdict in ("shifted", "spread") for row in found.rows)
        if found
        else 0,
        "agreeing": sum(row.verdict == "agree" for row in found.rows) if found else 0,
        "forest": pictures.forest(spec, draws, points, name) if draws and points else None,
        "groups": groups,
        "has_effects": any(part.effects for part in groups),
        "has_lines": any(part.lines for part in groups),
        "has_checks": any(part.checks for part in groups),
        "variance_picture": pictures.variance(spec, findings.variance)
        if findings.variance
        else None,
        "variance": tables.variance_table(spec, run.fits[0].engine, findings.variance, units)
        if findings.variance
        else None,
        "posterior": tables.posterior_table(posterior, draws) if posterior else None,
        "others": [tables.posterior_table(fit, draw_rows(fit)) for fit in run.others],
        "points": tables.point_table(reference, points) if reference else None,
        "sensitivity": tables.sensitivity_table(posterior, run.sensitivity)
        if posterior and run.sensitivity
        else None,
        "overlays": pictures.overlays(posterior, run.sensitivity) if posterior else (),
        "overlaid": pictures.OVERLAID if len(draws) > pictures.OVERLAID else 0,
        "traces": pictures.traces(posterior, draws) if posterior else (),
        "traced": pictures.TRACED if len(draws) > pictures.TRACED else 0,
        "trace_step": pictures.trace_step(posterior),
        "predictive": pictures.predictive(posterior) if posterior else None,
        "checks": tables.check_table(spec.name, run.engines, run.checks) if run.checks else None,
        "facts": _facts(run.provenance),
        "command": run.provenance.get("command"),
        "versions": run.provenance.get("versions") or {},
        "cite": _cited(run),
        "times": tables.time_table(spec.name, seconds) if seconds else None,
        "config": model_file(config) if config else "",
        "short": tables.short,
    }


def _groups(run: Run) -> list[_GroupPart]:
    spec, units = run.spec, run.findings.units
    response = spec.design.formula.response
    known = {one.group: one for one in run.findings.groups}
    parts = []
    for block in spec.blocks:
        found = known.get(block.group, GroupFindings(block.group))
        parts.append(
            _GroupPart(
                group=block.group,
                texts=level_texts(block, found, units, response),
                effects=pictures.effects(spec, found, units),
                planes=pictures.planes(spec, block, found, units),
                tables=level_tables(spec.name, block, found, unit=units.get(response, "")),
                lines=pictures.lines(spec, block, found, units),
                unequal=len(set(block.sizes.tolist())) > 1,
                checks=pictures.by_group(spec, found, units),
                refused=found.refused,
            )
        )
    return parts


def _with_short_names(sentence: str) -> "Markup":
    """The sentence with the middle of very long names left out."""
    from markupsafe import Markup

    return Markup(" ").join(Markup.escape(cut(word, 60)) for word in sentence.split(" "))


def _facts(provenance: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The plain facts of a run that are there, in reading order."""
    data = provenance.get("data") or {}
    found = [
        ("model", provenance.get("model")),
        ("created", readable_time(provenance.get("created"))),
        ("seed", provenance.get("seed")),
        ("data", data.get("source")),
        ("rows", f"{data['rows']:,}" if "rows" in data else None),
        ("digest of the data", data.get("digest")),
        ("digest of the model", provenance.get("digest")),
    ]
    return [(label, str(value)) for label, value in found if value is not None]


def _cited(run: Run) -> str:
    """A sentence that says which fit of which model this is."""
    versions = run.provenance.get("versions") or {}
    version = versions.get("hlm-models")
    digest = run.spec.digest[:12]
    package = f"hlm-models {version}" if version else "hlm-models"
    return (
        f"Model {run.spec.name} ({digest}), fitted by {run.engines} in {package}"
        f"{'' if 'seed' not in run.provenance else ', seed ' + str(run.provenance['seed'])}."
    )
