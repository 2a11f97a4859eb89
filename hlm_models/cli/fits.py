"""What `hlm fit` prints: estimates, tests, intervals and checks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from hlm_models.cli.blocks import Block, Table
from hlm_models.cli.numbers import cell, number

if TYPE_CHECKING:
    from hlm_models.api.inference import Inference, Intervals
    from hlm_models.inference.f_tests import FTest
    from hlm_models.results.checks import Check
    from hlm_models.results.fits import Fit
    from hlm_models.spec.model import ModelSpec

__all__ = ["checks", "fit"]


def fit(found: "Fit", inference: "Inference | None" = None) -> list[Block]:
    """What `hlm fit` prints, with what was asked about the fit."""
    from hlm_models.results.fits import PointFit
    from hlm_models.results.summary import summary

    if inference is not None:
        found = inference.fit
    spec = found.spec
    head = [f"{spec.name} by {found.engine}: {spec.sizes}"]
    head += [spec.design.formula.text, *_beside_formula(spec)]
    frame = summary(found)
    rows = [
        [str(name), *(cell(column, value) for column, value in zip(frame, row, strict=True))]
        for name, row in zip(frame.index, frame.itertuples(index=False), strict=True)
    ]
    table = Table(["parameter", *map(str, frame)], rows, right=range(1, frame.shape[1] + 1))
    blocks: list[Block] = ["\n".join(head), table]
    if inference is not None:
        blocks += _inference(inference)
    if isinstance(found, PointFit):
        from hlm_models.results.variance import icc, r2

        name = "REML criterion" if found.engine == "reml" else "deviance"
        share = r2(found)
        together = f"ICC {icc(found)['adjusted'].iloc[-1]:.3f}, " if spec.blocks else ""
        blocks.append(
            f"{name} {found.criterion:.4f}, log likelihood {found.loglik:.4f}, "
            f"AIC {found.aic:.2f}, AICc {found.aicc:.2f}, BIC {found.bic:.2f}\n"
            f"{together}R2 marginal {share.marginal:.3f}, conditional {share.conditional:.3f}"
        )
    else:
        manner = f"{found.sampler}, {found.parameterization}"
        if found.engine == "nuts":
            manner += f", {found.divergences} divergences"
        blocks.append(manner)
    return [*blocks, checks(found.checks), ""]


def checks(found: Sequence["Check"], before: str = "") -> Table:
    """The checks, one a line, gravest first."""
    order = {"fail": 0, "warn": 1, "pass": 2}
    rows = [
        [one.status, one.code, number(one.value), _threshold(one), one.message]
        for one in sorted(found, key=lambda one: order[one.status])
    ]
    head = ["check", "code", "value", "threshold", "what"]
    return Table(head, rows, right=(2, 3), before=before, folds=True)


def _inference(found: "Inference") -> list[Block]:
    """The method of the degrees of freedom, and the tables that were asked for."""
    blocks: list[Block] = [f"Degrees of freedom of the coefficients: {found.method}"]
    if found.terms is not None:
        blocks.append(_terms(found.terms))
    if found.intervals is not None:
        blocks.append(_intervals(found.intervals))
    return blocks


def _terms(tests: "Mapping[str, FTest]") -> Block:
    """Type III tests; in words where there is no term."""
    if not tests:
        return "Type III tests: none, for the intercept is the only term"
    rows = [
        [
            term,
            str(test.num_df),
            cell("df", test.den_df),
            number(test.F),
            cell("p", test.p),
        ]
        for term, test in tests.items()
    ]
    head = ["term", "num_df", "den_df", "F", "p"]
    return Table(head, rows, right=range(1, 5), before="Type III tests")


def _intervals(found: "Intervals") -> Table:
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
    noted = any(row.note for row in found.rows)
    if not noted:
        head, rows = head[:-1], [row[:-1] for row in rows]
    title = f"{found.level:.0%} {found.kind} intervals ({how})"
    return Table(head, rows, right=range(1, 4), before=title, folds=noted)


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


def _threshold(one: "Check") -> str:
    return "-" if one.threshold is None else f"{one.threshold:g}"
