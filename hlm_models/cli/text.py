"""Results as plain text for a terminal, and the documents of `show` and `data`."""

import math
import shutil
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hlm_models.api.inference import Inference, Intervals
    from hlm_models.api.prediction import Predicted
    from hlm_models.api.runs import Run
    from hlm_models.calibration.calibrate import Calibration
    from hlm_models.comparison.agreement import Agreement
    from hlm_models.comparison.samplers import Samplers
    from hlm_models.inference.f_tests import FTest
    from hlm_models.parts.datasets import Dataset
    from hlm_models.results.checks import Check
    from hlm_models.results.fits import Fit
    from hlm_models.results.prior import ImpliedPrior
    from hlm_models.spec.describe import Description
    from hlm_models.spec.model import ModelSpec

__all__ = [
    "calibration",
    "comparison",
    "dataset_document",
    "fit",
    "number",
    "prediction",
    "prior",
    "rows_and_levels",
    "run",
    "show",
    "show_document",
    "table",
]


def number(value: float | None) -> str:
    """Four significant digits; a dash where there is no number."""
    if value is None or not math.isfinite(value):
        return "-"
    if value != 0 and (abs(value) < 1e-4 or abs(value) >= 1e6):
        return f"{value:.3e}"
    digits = 0 if value == 0 else max(0, 3 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(digits, 7)}f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> str:
    """Columns aligned by spaces; those numbered in `right` to the right."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        cells = [
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return "\n".join([line(head), line(["-" * width for width in widths]), *map(line, rows)])


def wrapped(rows: Sequence[Sequence[str]], head: Sequence[str]) -> list[list[str]]:
    """The rows with their last cell folded to the terminal's width, over more rows."""
    before = sum(max(len(row[i]) for row in [head, *rows]) + 2 for i in range(len(head) - 1))
    folded: list[list[str]] = []
    for *cells, last in rows:
        first, *rest = textwrap.wrap(last, max(_width() - before, 30)) or [""]
        folded += [[*cells, first], *([""] * len(cells) + [piece] for piece in rest)]
    return folded


def show(
    spec: "ModelSpec", description: "Description", engines: Mapping[str, Sequence[str]]
) -> str:
    """What `hlm show` prints."""
    priors = [[row.parameter, row.prior] for row in description.priors]
    fitting = [
        f"{name}: " + ("can fit it" if not why else f"refuses: {'; '.join(why)}")
        for name, why in engines.items()
    ]
    sizes = ", ".join(f"{count:,} {what}" for what, count in description.sizes)
    macro = [
        f"constant within {group}: {', '.join(columns)}"
        for group, columns in spec.design.macro.items()
        if columns
    ]
    factors = [f"{one.name}: {one.text()}" for one in description.factors]
    pieces = [
        _wrapped(
            f"{description.name}: {description.about}" if description.about else description.name
        ),
        f"Formula\n    {description.formula}",
        description.text(),
        "Data\n" + _indented([f"{spec.design.table.source}: {sizes}", *macro, *description.notes]),
        *([f"Factors\n{_indented(factors)}"] if factors else []),
        *([f"Random terms\n{_indented(_random_terms(spec))}"] if spec.blocks else []),
        "Priors\n" + textwrap.indent(table(["parameter", "prior"], priors), "    "),
        "Engines\n" + _indented(fitting),
        f"Parameterisation for NUTS\n    {description.parameterization}",
    ]
    return "\n\n".join(pieces)


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


def show_document(
    spec: "ModelSpec", description: "Description", engines: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """The document of `hlm show --json`."""
    return {
        "model": description.name,
        "about": description.about,
        "formula": description.formula,
        "equations": [
            {"level": heading, "lines": list(lines)} for heading, lines in description.equations
        ],
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
    }


def prior(found: "ImpliedPrior") -> str:
    """What `hlm prior` prints."""
    rows = [
        [one.name, *map(number, (one.mean, one.median, one.lower, one.upper, one.observed))]
        for one in found.quantities
    ]
    head = ["quantity", "mean", "median", "5%", "95%", "data"]
    findings = [
        textwrap.fill(f"{name}: {sentence}", _width(), subsequent_indent="    ")
        for name, sentence in found.findings
    ]
    drawn = found.data["prior"].sizes["draw"]
    return "\n".join(
        [
            f"{found.spec.name}: {drawn:,} draws from the prior, seed {found.seed}",
            "",
            table(head, rows, right=range(1, 6)),
            *(["", *findings] if findings else []),
            "",
        ]
    )


def rows_and_levels(spec: "ModelSpec") -> str:
    """Rows, and levels of each group: `919 rows, 85 county`."""
    groups = (f"{block.J:,} {block.group}" for block in spec.blocks)
    return ", ".join([f"{spec.design.n:,} rows", *groups])


def fit(found: "Fit", inference: "Inference | None" = None) -> str:
    """What `hlm fit` prints, with what was asked about the fit."""
    from hlm_models.results.fits import PointFit
    from hlm_models.results.summary import summary

    if inference is not None:
        found = inference.fit
    spec = found.spec
    head = f"{spec.name} by {found.engine}: {rows_and_levels(spec)}\n"
    head += "\n".join([spec.design.formula.text, *_beside_formula(spec)])
    frame = summary(found)
    rows = [
        [str(name), *(_cell(column, value) for column, value in zip(frame, row, strict=True))]
        for name, row in zip(frame.index, frame.itertuples(index=False), strict=True)
    ]
    body = table(["parameter", *map(str, frame)], rows, right=range(1, frame.shape[1] + 1))
    if inference is not None:
        body += f"\n\n{_inference(inference)}"
    if isinstance(found, PointFit):
        from hlm_models.results.variance import icc, r2

        name = "REML criterion" if found.engine == "reml" else "deviance"
        share = r2(found)
        together = f"ICC {icc(found)['adjusted'].iloc[-1]:.3f}, " if spec.blocks else ""
        body += (
            f"\n\n{name} {found.criterion:.4f}, log likelihood {found.loglik:.4f}, "
            f"AIC {found.aic:.2f}, AICc {found.aicc:.2f}, BIC {found.bic:.2f}\n"
            f"{together}R2 marginal {share.marginal:.3f}, conditional {share.conditional:.3f}"
        )
    else:
        manner = f"{found.sampler}, {found.parameterization}"
        if found.engine == "nuts":
            manner += f", {found.divergences} divergences"
        body += f"\n\n{manner}"
    return f"{head}\n\n{body}\n\n{checks(found.checks)}\n"


def _inference(found: "Inference") -> str:
    """The method of the degrees of freedom, and the tables that were asked for."""
    pieces = [f"Degrees of freedom of the coefficients: {found.method}"]
    if found.terms is not None:
        pieces.append(_terms(found.terms))
    if found.intervals is not None:
        pieces.append(_intervals(found.intervals))
    return "\n\n".join(pieces)


def _terms(tests: "Mapping[str, FTest]") -> str:
    """Type III tests; in words where there is no term."""
    if not tests:
        return "Type III tests: none, for the intercept is the only term"
    rows = [
        [
            term,
            str(test.num_df),
            _cell("df", test.den_df),
            number(test.F),
            _cell("p", test.p),
        ]
        for term, test in tests.items()
    ]
    head = ["term", "num_df", "den_df", "F", "p"]
    return "Type III tests\n" + table(head, rows, right=range(1, 5))


def _intervals(found: "Intervals") -> str:
    """Intervals of all parameters."""
    how = "estimates by ML"
    if found.kind == "bootstrap":
        how = ", ".join(f"{count:,} {what}" for what, count in found.counts.items())
        how = f"percentiles; {how}"
    rows = [
        [row.name, number(row.estimate), number(row.lower), number(row.upper), row.note]
        for row in found.rows
    ]
    head = ["parameter", "estimate", "lower", "upper", "note"]
    if not any(row.note for row in found.rows):
        head, rows = head[:-1], [row[:-1] for row in rows]
    else:
        rows = wrapped(rows, head)
    lines = table(head, rows, right=range(1, 4))
    return f"{found.level:.0%} {found.kind} intervals ({how})\n{lines}"


def _beside_formula(spec: "ModelSpec") -> list[str]:
    """What the formula does not say: weights, offset, and the coding of factors."""
    design = spec.design
    named = {
        "weights": design.weights_column,
        "offset": design.offset_column,
        "known residual sd": design.known_sd_column,
    }
    return [
        *(f"{role}: {column}" for role, column in named.items() if column),
        *(f"{factor.name}: {factor.text()}" for factor in design.factors),
    ]


def _cell(column: object, value: float) -> str:
    if column in ("df", "ess_bulk", "ess_tail") and math.isfinite(value):
        return f"{value:.1f}" if column == "df" else f"{value:.0f}"
    if column == "r_hat" and math.isfinite(value):
        return f"{value:.3f}"
    if column == "p" and math.isfinite(value):
        return f"{value:.3g}" if value >= 1e-4 else f"{value:.1e}"
    return number(value)


def checks(found: Sequence["Check"]) -> str:
    """The checks, one a line, gravest first."""
    order = {"fail": 0, "warn": 1, "pass": 2}
    rows = [
        [one.status, one.code, number(one.value), _threshold(one), one.message]
        for one in sorted(found, key=lambda one: order[one.status])
    ]
    head = ["check", "code", "value", "threshold", "what"]
    return table(head, wrapped(rows, head), right=(2, 3))


def _threshold(one: "Check") -> str:
    return "-" if one.threshold is None else f"{one.threshold:g}"


def run(finished: "Run") -> str:
    """What `hlm run` prints."""
    from hlm_models.spec.describe import describe

    description = describe(finished.spec)
    pieces = [description.text()]
    if finished.samplers is not None:
        pieces.append(samplers(finished.samplers))
    if finished.agreement is not None:
        pieces.append(agreement(finished.agreement))
    else:
        pieces += [fit(one).rstrip() for one in finished.fits.values()]
    for engine, one in finished.fits.items():
        pieces.append(f"Checks of {engine}\n{checks(one.checks)}")
    state = "Finished before, and reused (--force computes anew)" if finished.reused else "Saved"
    pieces.append(f"{state}: {finished.folder}\nPage: {finished.shown_page}")
    return "\n\n".join(pieces) + "\n"


def samplers(found: "Samplers") -> str:
    """Several posteriors side by side."""
    head = ["parameter"]
    for engine in found.engines:
        head += [engine, "sd"]
    rows = [
        [
            row.parameter,
            *(number(x) for pair in zip(row.mean, row.sd, strict=True) for x in pair),
            "-" if math.isnan(row.z) else f"{row.z:+.1f}",
        ]
        for row in found.rows
    ]
    legend = (
        f"{', '.join(found.engines)}: posterior mean and sd; z: largest difference of two means or "
        "log sds in Monte Carlo standard errors"
    )
    return "\n".join([legend, table([*head, "z"], rows, right=range(1, len(head) + 1))])


def agreement(found: "Agreement") -> str:
    """Posterior and point estimate side by side."""
    name = found.reference.upper()
    rows = [
        [
            row.parameter,
            number(row.mean),
            number(row.sd),
            number(row.estimate),
            number(row.se),
            "-" if math.isnan(row.d) else f"{row.d:+.2f}",
            "-" if math.isnan(row.spread_ratio) else f"{row.spread_ratio:.2f}",
            row.verdict,
        ]
        for row in found.rows
    ]
    head = ["parameter", "mean", "sd", name, "se", "d", "ratio", "verdict"]
    reasons = [
        textwrap.fill(
            f"{row.parameter}: {row.why}", _width(), initial_indent="  ", subsequent_indent="    "
        )
        for row in found.rows
        if row.why
    ]
    legend = (
        f"Posterior (mean, sd) against {name} (estimate, se); d: difference in posterior sd, "
        "ratio: posterior sd over standard error"
    )
    return "\n".join([legend, table(head, rows, right=range(1, 7)), *reasons])


def calibration(found: "Calibration") -> str:
    """What `hlm calibrate` prints."""
    rows = [
        [one.name, one.status, _cell("p", one.p), f"{one.worst:.2f}", f"{one.difference:+.3f}"]
        for one in found.quantities
    ]
    settings = found.settings
    pieces = [
        f"{found.spec.name} by {found.engine}: {len(found.rows):,} simulations, seed {found.seed}, "
        f"{settings.chains} chains of {settings.draws:,} draws\n{found.spec.design.formula.text}",
        table(["quantity", "status", "p", "worst", "difference"], rows, right=(2, 3, 4)),
        _wrapped(
            f"Ranks among {found.draws} draws. A quantity fails where p is below "
            f"{number(found.level)}, so that a correct engine fails with a probability of at most "
            f"{found.error:g}. worst: the share of the ranks where their ECDF is least "
            "likely; difference: the ECDF there, less that share"
        ),
    ]
    if found.failures:
        counts = Counter(found.failures.values()).most_common()
        failed = [[f"{count:,}", message] for message, count in counts]
        head = ["fits", "failed, saying"]
        pieces.append(table(head, wrapped(failed, head), right=(0,)))
    return "\n\n".join([*pieces, checks(found.checks)]) + "\n"


def comparison(found: Mapping[str, Any]) -> str:
    """What `hlm compare` prints of its document."""
    rows, data = found["models"], found["data"]
    others = "rows" if found["by"] is None else f"levels of {found['by']}"
    how = "leave-one-out" if found["method"] == "loo" else found["method"]
    head = (
        f"{found['question']}\n{how} over {others} of {data['source']}: {data['n']:,} rows, "
        f"response {data['response']}"
    )
    foreseen = [
        [
            row["name"],
            *(_tenths(row[key]) for key in ("elpd", "se", "elpd_diff", "dse", "p")),
            f"{row['weight']:.2f}",
            f"{row['weight_bma']:.2f}",
            str(row["k_bad"]),
            str(row["refits"]),
        ]
        for row in rows
    ]
    titles = ["model", "elpd", "se", "diff", "dse", "p", "weight", "BMA+", "bad k", "refits"]
    pieces = [head, table(titles, foreseen, right=range(1, 10)), _wrapped(found["winner"])]
    keys = ("elpd_waic", "log_marginal_likelihood", "log_bayes_factor", "loglik")
    fitted = [
        [
            row["name"],
            *(_tenths(row[key]) for key in keys),
            "-" if row["df"] is None else str(row["df"]),
            *(_tenths(row[key]) for key in ("aic", "bic", "reml")),
        ]
        for row in rows
    ]
    titles = ["model", "elpd_waic", "log ml", "log BF", "loglik", "df", "AIC", "BIC", "REML"]
    pieces.append(table(titles, fitted, right=range(1, 9)))
    tests = [
        [
            one["smaller"],
            one["larger"],
            one["engine"].upper(),
            number(one["statistic"]),
            str(one["df"]),
            _p_value(one["p"], one["draws"] - one["failed"]),
            _cell("p", one["p_naive"]),
        ]
        for one in found["likelihood_ratio"]
    ]
    if tests:
        titles = ["smaller", "within", "by", "LR", "df", "p", "naive p"]
        pieces.append(table(titles, tests, right=range(3, 7)))
    agreeing = [
        f"{row['name']} {row['agreement'].get('agree', 0)} of {sum(row['agreement'].values())}"
        for row in rows
        if row["agreement"]
    ]
    if agreeing:
        pieces.append(_wrapped(f"Parameters that agree with REML: {', '.join(agreeing)}"))
    absent = [
        f"{row['name']}: {what}: {row[key]}"
        for row in rows
        for key, what in (
            ("why_no_evidence", "no marginal likelihood"),
            ("why_no_likelihood", "no ML fit"),
        )
        if row[key] and row[key] != "not asked for"
    ]
    notes = [
        textwrap.fill(
            one, _width(), initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
        )
        for one in (
            *found["notes"],
            *(f"marginal likelihood of {note}" for note in found["evidence_notes"]),
            *absent,
        )
    ]
    if notes:
        pieces.append("\n".join(["Notes", *notes]))
    failing = [
        [one["status"], one["model"], one["code"], one["message"]]
        for status in ("fail", "warn")
        for one in found["checks"]
        if one["status"] == status
    ]
    if failing:
        head_of_checks = ["check", "model", "code", "what"]
        pieces.append(table(head_of_checks, wrapped(failing, head_of_checks)))
    state = "Made before, and reused (--force computes anew)" if found["reused"] else "Saved"
    pieces.append(f"{state}: {found['folder']}\nPage: {found['page']}")
    return "\n\n".join(pieces) + "\n"


def _p_value(p: float, drawn: int) -> str:
    """The value; a bound where none of the responses drawn was as far out."""
    return f"<{p:.1g}" if drawn and p * (1 + drawn) < 1.5 else _cell("p", p)


def _tenths(value: float | None) -> str:
    """One digit after the point, as differences of log densities need; a dash for no number."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.1f}"


SHOWN = 40
"""Rows of a table of predictions; a file or the document has them all."""


def prediction(found: "Predicted") -> str:
    """What `hlm predict` prints."""
    spec, frame = found.fit.spec, found.prediction.frame().head(SHOWN)
    given = [name for name in found.new if name in spec.design.table.columns]
    numbers = ["mean", "se", "lower", "upper", "pred_lower", "pred_upper"]
    shares = frame[["var_parameter", "var_group", "var_residual"]]
    shares = shares.div(shares.sum(axis=1), axis=0)
    rows = [
        [*map(_plain, own), *map(number, mine), *(f"{share:.0%}" for share in parts)]
        for own, mine, parts in zip(
            *(
                one.itertuples(index=False)
                for one in (found.new[given].head(SHOWN), frame[numbers], shares)
            ),
            strict=True,
        )
    ]
    head = [*map(str, given), *numbers, "parameter", "group", "residual"]
    source = f"the fit of {found.folder}" if found.folder else "a new fit"
    lent = {group: f" from {label}" for group, label in found.borrowed.items()}
    effects = ", ".join(f"{g}: {kind}{lent.get(g, '')}" for g, kind in found.groups.items())
    level = f"{100 * found.prediction.level:.10g}%"
    pieces = [
        "\n".join(
            [f"{spec.name} by {found.fit.engine}, {source}", spec.design.formula.text]
            + ([f"Effects of {effects}"] if effects else [])
        ),
        table(head, rows, right=range(len(head))),
        _wrapped(
            f"lower, upper: {level} interval of the expected response; pred_: of a new "
            "observation. parameter, group, residual: what the variance of a new observation "
            "comes of"
        ),
    ]
    if len(found.new) > SHOWN:
        pieces.insert(2, f"{len(found.new) - SHOWN:,} more rows: --out FILE or --json has all")
    troubled = [one for one in found.fit.checks if one.status != "pass"]
    if troubled:
        pieces.append(f"Checks of the fit\n{checks(troubled)}")
    return "\n\n".join(pieces) + "\n"


def _plain(value: object) -> str:
    """A value of the user's own table."""
    return f"{value:g}" if isinstance(value, float) else str(value)


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


def _width() -> int:
    return min(max(shutil.get_terminal_size((100, 24)).columns, 60), 110)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, _width())


def _indented(lines: Sequence[str]) -> str:
    return "\n".join(f"    {line}" for line in lines)
