"""What `hlm predict` prints."""

from typing import TYPE_CHECKING

from hlm_models.cli.blocks import Block, Table, filled
from hlm_models.cli.fits import checks
from hlm_models.cli.numbers import number

if TYPE_CHECKING:
    from hlm_models.api.prediction import Predicted

__all__ = ["prediction"]

SHOWN = 40
"""Rows of a table of predictions; a file or the document has them all."""


def prediction(found: "Predicted") -> list[Block]:
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
    blocks: list[Block] = [
        "\n".join(
            [f"{spec.name} by {found.fit.engine}, {source}", spec.design.formula.text]
            + ([f"Effects of {effects}"] if effects else [])
        ),
        Table(head, rows, right=range(len(head))),
        filled(
            f"lower, upper: {level} interval of the expected response; pred_: of a new "
            "observation. parameter, group, residual: what the variance of a new observation "
            "comes of"
        ),
    ]
    if len(found.new) > SHOWN:
        blocks.insert(2, f"{len(found.new) - SHOWN:,} more rows: --out FILE or --json has all")
    troubled = [one for one in found.fit.checks if one.status != "pass"]
    if troubled:
        blocks.append(checks(troubled, "Checks of the fit"))
    return [*blocks, ""]


def _plain(value: object) -> str:
    """A value of the user's own table."""
    return f"{value:g}" if isinstance(value, float) else str(value)
