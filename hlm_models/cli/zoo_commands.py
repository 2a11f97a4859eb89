"""The commands about the zoo as a whole: held against its references, and shown as a site."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hlm_models.cli import terminal
from hlm_models.cli.blocks import Block, Table
from hlm_models.cli.numbers import number

if TYPE_CHECKING:
    from hlm_models.api.verify import Verification

__all__ = ["verify", "zoo_app"]

zoo_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The zoo as a whole.")

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Configs = Annotated[
    list[Path], typer.Option("--configs", metavar="DIR", help="A further folder of model files.")
]


def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="Models of the zoo, or paths of model files; by default all.", show_default=False
        ),
    ] = None,
    engines: Annotated[
        str | None,
        typer.Option(help="Engines, with commas between; by default all. With some, no badges."),
    ] = None,
    badges: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Badges to renew; by default runs/verified.json."),
    ] = None,
    as_json: Json = False,
    configs: Configs = [],
) -> int:
    """Fit models anew and hold them against the published numbers in their files."""
    from hlm_models.api.verify import verify as verified
    from hlm_models.cli.progress import shown

    chosen = None if engines is None else [word.strip() for word in engines.split(",")]
    with shown("verify") as progress:
        found = verified(
            names or None, engines=chosen, badges=badges, folders=configs, progress=progress
        )
    if as_json:
        print(json.dumps(found.document(), indent=1, ensure_ascii=False))
    else:
        terminal.show(*_told(found))
    return 1 if found.failed else 0


def _told(found: "Verification") -> list[Block]:
    """What `hlm verify` prints: a line a model, the failures in full, and what was not verified."""
    rows, failures = [], []
    for one in found.models:
        badge, worst = one.badge, one.badge.worst
        where = "" if worst is None else f"{worst.name} by {worst.engine}"
        rows.append(
            [
                badge.model,
                badge.status,
                str(len(one.verdict.differences)),
                number(None if worst is None else worst.units),
                where,
                f"{badge.seconds:.1f}",
            ]
        )
        failures += [f"{badge.model}: {check}" for check in badge.failed]
        failures += [
            f"{badge.model}: {each.name} by {each.engine} is {number(each.found)}, and "
            f"{number(each.reference)} +- {number(each.tolerance)} in: {each.source}"
            for each in one.verdict.beyond
        ]
    pieces: list[Block] = [
        Table(["model", "status", "held", "worst", "where", "seconds"], rows, right=[2, 3, 5]),
        "\n".join(failures),
        "\n".join(f"{name}: not verified: {why}" for name, why in found.absent.items()),
        "" if found.path is None else f"Badges: {found.path}",
    ]
    return [piece for piece in pieces if piece]


@zoo_app.command("build")
def build(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder of the site.")] = Path(
        "site"
    ),
    badges: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Badges; by default the newest of the zoo's and runs/verified.json.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a site.")] = False,
    as_json: Json = False,
    configs: Configs = [],
) -> None:
    """A small static site of the zoo: a page a model, a page a dataset, and their table."""
    from hlm_models.api.zoo import build_zoo
    from hlm_models.cli.progress import shown

    with shown("zoo") as progress:
        index = build_zoo(out, badges=badges, force=force, folders=configs, progress=progress)
    print(json.dumps({"page": str(index)}) if as_json else index)
