"""What `hlm prior` and `hlm calibrate` print."""

from collections import Counter
from typing import TYPE_CHECKING

from hlm_models.cli.blocks import Block, Table, filled
from hlm_models.cli.fits import checks
from hlm_models.cli.numbers import cell, number

if TYPE_CHECKING:
    from hlm_models.calibration.calibrate import Calibration
    from hlm_models.results.prior import ImpliedPrior

__all__ = ["calibration", "prior"]


def prior(found: "ImpliedPrior") -> list[Block]:
    """What `hlm prior` prints."""
    rows = [
        [one.name, *map(number, (one.mean, one.median, one.lower, one.upper, one.observed))]
        for one in found.quantities
    ]
    head = ["quantity", "mean", "median", "5%", "95%", "data"]
    findings = [filled(f"{name}: {sentence}", rest="    ") for name, sentence in found.findings]
    drawn = found.data["prior"].sizes["draw"]
    title = f"{found.spec.name}: {drawn:,} draws from the prior, seed {found.seed}"
    table = Table(head, rows, right=range(1, 6))
    return [title, table, *(["\n".join(findings)] if findings else []), ""]


def calibration(found: "Calibration") -> list[Block]:
    """What `hlm calibrate` prints."""
    rows = [
        [one.name, one.status, cell("p", one.p), f"{one.worst:.2f}", f"{one.difference:+.3f}"]
        for one in found.quantities
    ]
    settings = found.settings
    blocks: list[Block] = [
        f"{found.spec.name} by {found.engine}: {len(found.rows):,} simulations, seed {found.seed}, "
        f"{settings.chains} chains of {settings.draws:,} draws\n{found.spec.design.formula.text}",
        Table(["quantity", "status", "p", "worst", "difference"], rows, right=(2, 3, 4)),
        filled(
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
        blocks.append(Table(head, failed, right=(0,), folds=True))
    return [*blocks, checks(found.checks), ""]
