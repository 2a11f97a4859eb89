"""A calibration as one HTML page that needs no network."""

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from hlm_models.calibration.calibrate import Calibration
from hlm_models.report import tables
from hlm_models.report.origin import model_file
from hlm_models.report.tables import Column, Table
from hlm_models.report.template import filled
from hlm_models.spec.describe import describe

if TYPE_CHECKING:
    from markupsafe import Markup

__all__ = ["render"]


def render(found: Calibration) -> str:
    """The page as text; the same calibration gives the same text."""
    return filled("calibration.html", _context(found))


def _context(found: Calibration) -> dict[str, Any]:
    description = describe(found.spec)
    checks = [(found.engine, one) for one in found.checks]
    return {
        "description": description,
        "engine": found.engine,
        "simulations": len(found.rows),
        "ranked": len(found.ranked),
        "draws": found.draws,
        "error": found.error,
        "level": tables.number(found.level, 2),
        "outside": sum(one.status == "fail" for one in found.quantities),
        "failed": [one for one in checks if one[1].status == "fail"],
        "warned": [one for one in checks if one[1].status == "warn"],
        "pictures": _pictures(found),
        "quantities": _quantity_table(found),
        "checks": tables.check_table(found.spec.name, found.engine, checks),
        "failures": _failure_table(found) if found.failures else None,
        "priors": tables.prior_table(description, engine=found.engine),
        "facts": _facts(found),
        "command": _command(found),
        "file": model_file(found.spec.config),
        "short": tables.short,
    }


def _pictures(found: Calibration) -> "tuple[Markup, ...]":
    """One panel a quantity, all with the same scale."""
    from hlm_models.plot.uniformity import rank_difference
    from hlm_models.report.markup import markup

    n, shares = len(found.ranked), found.uniform.shares
    band = (found.band.lower / n - shares, found.band.upper / n - shares)
    lines = [found.uniform.counts_below(ranks) / n - shares for ranks in found.ranks.T]
    limit = 1.08 * float(np.max(np.abs([*band, *lines])))
    return tuple(
        markup(
            rank_difference(one.name, shares, line, band, fails=one.status == "fail", limit=limit),
            f"{found.spec.name}, {found.engine}: ranks of {one.name}, {one.status}",
        )
        for one, line in zip(found.quantities, lines, strict=True)
    )


def _quantity_table(found: Calibration) -> Table:
    return Table(
        f"{found.spec.name}, {found.engine}: ranks in {len(found.ranked):,} simulations",
        (
            Column("quantity", "name"),
            Column("status", "pill"),
            Column("p"),
            Column("worst at"),
            Column("difference"),
        ),
        tuple(
            (
                one.name,
                one.status,
                tables.number(one.p, 2),
                tables.fixed(one.worst, 2),
                tables.fixed(one.difference, 3, sign=True),
            )
            for one in found.quantities
        ),
        "p: the probability that uniform ranks stray as far. worst at: the share of the ranks at "
        "which the line is least likely. difference: the line there.",
    )


def _failure_table(found: Calibration) -> Table:
    """Messages of failed fits, the most frequent first."""
    counts = Counter(found.failures.values()).most_common()
    return Table(
        f"{found.spec.name}, {found.engine}: fits that failed",
        (Column("message", "text"), Column("fits")),
        tuple((message, f"{count:,}") for message, count in counts),
    )


def _facts(found: Calibration) -> list[tuple[str, str]]:
    """How it was made, in reading order."""
    settings = found.settings
    return [
        ("model", found.spec.name),
        ("engine", found.engine),
        ("simulations", f"{len(found.rows):,}"),
        ("seed", str(found.seed)),
        ("each fit", f"{settings.chains} chains of {settings.draws:,} draws, or longer ones"),
        ("smallest effective sample size", tables.number(float(found.ess.min()), 3)),
        ("data", found.spec.design.table.source),
        ("rows", f"{found.spec.design.n:,}"),
        ("digest of the model", found.spec.digest),
    ]


def _command(found: Calibration) -> str:
    """What finds the same again."""
    return (
        f"hlm calibrate model.yaml --engine {found.engine} --simulations {len(found.rows)} "
        f"--seed {found.seed} --out calibration.html"
    )
