"""What `hlm run` prints: the model, engines side by side, checks, and where all of it is."""

import math
from typing import TYPE_CHECKING

from hlm_models.cli.blocks import Block, Table, filled
from hlm_models.cli.fits import checks, fit
from hlm_models.cli.numbers import number

if TYPE_CHECKING:
    from hlm_models.api.runs import Run
    from hlm_models.comparison.agreement import Agreement
    from hlm_models.comparison.samplers import Samplers

__all__ = ["run"]


def run(finished: "Run") -> list[Block]:
    """What `hlm run` prints."""
    from hlm_models.spec.describe import describe

    blocks: list[Block] = [describe(finished.spec).text()]
    if finished.samplers is not None:
        blocks.append(_samplers(finished.samplers))
    if finished.agreement is not None:
        blocks.append(_agreement(finished.agreement))
    else:
        for one in finished.fits.values():
            blocks += fit(one)[:-1]
    blocks += [checks(one.checks, f"Checks of {name}") for name, one in finished.fits.items()]
    state = "Finished before, and reused (--force computes anew)" if finished.reused else "Saved"
    return [*blocks, f"{state}: {finished.folder}\nPage: {finished.shown_page}", ""]


def _samplers(found: "Samplers") -> Table:
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
    return Table([*head, "z"], rows, right=range(1, len(head) + 1), before=filled(legend))


def _agreement(found: "Agreement") -> Table:
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
        filled(f"{row.parameter}: {row.why}", first="  ", rest="    ")
        for row in found.rows
        if row.why
    ]
    legend = (
        f"Posterior (mean, sd) against {name} (estimate, se); d: difference in posterior sd, "
        "ratio: posterior sd over standard error"
    )
    return Table(head, rows, right=range(1, 7), before=filled(legend), behind="\n".join(reasons))
