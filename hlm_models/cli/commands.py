"""The commands. What is heavy is imported by the command that needs it."""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hlm_models.api import models
from hlm_models.cli import lists, terminal, zoo_commands
from hlm_models.errors import InputErrors, Problem

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="The datasets.")
app.add_typer(data_app, name="data")
app.add_typer(zoo_commands.zoo_app, name="zoo")

Name = Annotated[str, typer.Argument(help="A model of the zoo, or the path of a model file.")]
Names = Annotated[list[str], typer.Argument(help="Models of the zoo, or paths of model files.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Set = Annotated[
    list[str], typer.Option("--set", metavar="KEY.PATH=VALUE", help="Override a key of the file.")
]
Configs = Annotated[
    list[Path], typer.Option("--configs", metavar="DIR", help="A further folder of model files.")
]
Force = Annotated[bool, typer.Option("--force", help="Compute anew and write over.")]
Over = Annotated[bool, typer.Option("--force", help="Write over a file that exists.")]
Keep = Annotated[
    bool, typer.Option("--log-likelihood", help="Keep the log likelihood of every row and draw.")
]


Df = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="Degrees of freedom: satterthwaite (the default), kenward-roger (reml only).",
    ),
]
Anova = Annotated[bool, typer.Option("--anova", help="Type III F tests of the terms.")]
Intervals = Annotated[
    str | None,
    typer.Option(metavar="KIND", help="Intervals of all parameters: profile, bootstrap."),
]
Draws = Annotated[
    int | None,
    typer.Option("--bootstrap-draws", min=2, help="Refits of the bootstrap; 1000 by default."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Processes of the bootstrap; one by default.")
]
Resume = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Keep the bootstrap's refits there, and go on from them."),
]


def _print_json(value: Any) -> None:
    document = json.dumps(value, indent=1, ensure_ascii=False)
    # JSON lets these characters stand in a text, and a terminal takes them for commands.
    print(re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found.group()):04x}", document))


def _version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        print(f"hlm_models {metadata.version('hlm-models')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="The version.")
    ] = False,
) -> None:
    """Hierarchical linear models: posterior, REML fit and agreement from one YAML file."""


@app.command("list")
def list_command(as_json: Json = False, configs: Configs = []) -> None:
    """The models of the zoo."""
    summaries = models.registry(configs).summaries()
    if as_json:
        keys = ("name", "about", "formula", "source")
        _print_json({"models": [{key: getattr(one, key) for key in keys} for one in summaries]})
        return
    terminal.show(lists.models(summaries))


@app.command()
def show(
    model: Name,
    latex: Annotated[
        bool, typer.Option("--latex", help="The equations as LaTeX, and nothing else.")
    ] = False,
    as_json: Json = False,
    overrides: Set = [],
    configs: Configs = [],
) -> None:
    """One model: question, equations, sizes, priors as used, and the engines that can fit it."""
    from hlm_models.cli.card import card, document
    from hlm_models.engines.find import ENGINES, find
    from hlm_models.spec.describe import describe

    if latex and as_json:
        raise InputErrors.one("print one of the two", key="--latex, --json")
    spec = models.build(model, overrides=overrides, folders=configs)
    description = describe(spec)
    if latex:
        print(description.latex_source())
        return
    engines = {name: list(find(name).refusals(spec)) for name in ENGINES}
    # What is overridden is not the model that the references are of.
    references = () if overrides else models.read_config(model, folders=configs)[0].reference
    if as_json:
        _print_json(document(spec, description, engines, references))
        return
    options = [("--set", one) for one in overrides] + [("--configs", str(one)) for one in configs]
    command = [model, *(word for option in options for word in option)]
    terminal.show(*card(spec, description, engines, command, references))


@app.command()
def check(
    names: Names,
    as_json: Json = False,
    overrides: Set = [],
    configs: Configs = [],
) -> int:
    """Read everything, fit nothing; every problem at once."""
    from hlm_models.api.references import check_references
    from hlm_models.cli.problems import tell

    problems: list[Problem] = []
    for name in names:
        try:
            spec = models.build(name, overrides=overrides, folders=configs)
            if not overrides:  # what is overridden is not the model that the references are of
                check_references(name, spec, folders=configs)
        except InputErrors as error:
            problems += error.problems
            continue
        if not as_json:
            notes = [f"{name}: note: {note}" for note in spec.notes]
            terminal.show("\n".join([f"{name}: {spec.sizes}: ok", *notes]))
    if as_json:
        keys = ("file", "line", "key", "message")
        _print_json({"problems": [{key: getattr(p, key) for key in keys} for p in problems]})
    else:
        tell(problems, overrides)
    return 2 if problems else 0


@app.command()
def prior(
    model: Name,
    draws: Annotated[int, typer.Option(min=2, help="Draws from the prior.")] = 1000,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the draws; fit.seed by default.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page (.html).")] = None,
    force: Over = False,
    as_json: Json = False,
    overrides: Set = [],
    configs: Configs = [],
) -> None:
    """What the priors say before the data: shares of the variance, and the range of y."""
    from hlm_models.api.prior import implied, write_prior
    from hlm_models.cli.progress import shown
    from hlm_models.cli.simulated import prior as prior_blocks

    _page_file(out, force=force)
    with shown(model) as progress:
        found = implied(
            model, draws, seed=seed, overrides=overrides, folders=configs, progress=progress
        )
    if out is not None:
        write_prior(found, out)
    if as_json:
        _print_json(found.document() | {"page": None if out is None else str(out)})
    else:
        terminal.show(*prior_blocks(found))
        if out is not None:
            terminal.show(f"Page: {out}")


@app.command()
def run(
    names: Names,
    engines: Annotated[str, typer.Option(help="Engines, with commas between.")] = "nuts,reml",
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The run's folder; by default a new one in runs."),
    ] = None,
    force: Force = False,
    keep: Keep = False,
    as_json: Json = False,
    overrides: Set = [],
    configs: Configs = [],
) -> int:
    """The main job: NUTS, REML, their agreement, checks and a page, in one folder."""
    from hlm_models.api import runs
    from hlm_models.cli.progress import shown
    from hlm_models.cli.runs import run as run_blocks
    from hlm_models.results.checks import worst

    if out is not None and len(names) > 1:
        raise InputErrors.one("--out names one folder, and there are several models", key="--out")
    chosen = [word.strip() for word in engines.split(",") if word.strip()]
    if chosen:
        _refuse_idle(overrides, chosen)
    finished = []
    for name in names:
        with shown(name) as progress:
            one = runs.run(
                name,
                engines=chosen,
                out=out,
                force=force,
                overrides=overrides,
                folders=configs,
                log_likelihood=keep,
                progress=progress,
            )
        finished.append(one)
        if not as_json:
            terminal.show(*run_blocks(one))
    if as_json:
        documents = [one.document() for one in finished]
        _print_json(documents[0] if len(documents) == 1 else documents)
    failed = any(worst(fit.checks) == "fail" for one in finished for fit in one.fits.values())
    return 1 if failed else 0


@app.command()
def fit(
    names: Names,
    engine: Annotated[str, typer.Option(help="nuts, gibbs, reml or ml.")] = "nuts",
    keep: Keep = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Save the fit: .nc for draws, .json else.")
    ] = None,
    force: Over = False,
    df: Df = None,
    anova: Anova = False,
    intervals: Intervals = None,
    draws: Draws = None,
    workers: Workers = None,
    resume: Resume = None,
    as_json: Json = False,
    overrides: Set = [],
    configs: Configs = [],
) -> int:
    """Fit by one engine and print the summary."""
    from hlm_models.cli.asked import asked
    from hlm_models.cli.fits import fit as fit_blocks
    from hlm_models.cli.progress import shown
    from hlm_models.engines.find import find
    from hlm_models.results.checks import worst
    from hlm_models.results.document import document
    from hlm_models.results.fits import PointFit
    from hlm_models.results.save import save_fit

    chosen = find(engine)
    _refuse_idle(overrides, [engine])
    further = asked(
        chosen,
        models=len(names),
        df=df,
        anova=anova,
        intervals=intervals,
        draws=draws,
        workers=workers,
        folder=resume,
    )
    suffix = ".nc" if chosen.draws else ".json"
    if out is not None and len(names) > 1:
        raise InputErrors.one("--out names one file, and there are several models", key="--out")
    if out is not None and out.suffix != suffix:
        raise InputErrors.one(
            f"a fit by {engine} is saved as {suffix}, not '{out.name}'", key="--out"
        )
    if out is not None:
        _free_file(out, force=force)
    documents, failed = [], False
    for name in names:
        spec = models.build(name, overrides=overrides, folders=configs)
        with shown(name) as progress:
            found = models.fit(spec, engine, progress=progress, log_likelihood=keep)
            inference = None
            if further is not None and isinstance(found, PointFit):
                from hlm_models.api.inference import infer

                inference = infer(found, further, progress=progress)
        failed |= worst(found.checks) == "fail"
        if out is not None:
            save_fit(found, out)
        if as_json:
            documents.append(document(found) if inference is None else inference.document())
        else:
            terminal.show(*fit_blocks(found, inference))
    if as_json:
        _print_json(documents[0] if len(documents) == 1 else documents)
    return 1 if failed else 0


@app.command()
def compare(
    names: Annotated[
        list[str],
        typer.Argument(help="Models of the zoo, paths of model files, folders of finished runs."),
    ],
    focus: Annotated[
        str, typer.Option(help="What is left out: an observation, or a group.")
    ] = "observation",
    by: Annotated[
        str | None, typer.Option(metavar="GROUP", help="The group, where there are several.")
    ] = None,
    kfold: Annotated[
        int | None,
        typer.Option(min=2, metavar="K", help="K-fold with refits, not leave-one-out."),
    ] = None,
    no_evidence: Annotated[
        bool, typer.Option("--no-evidence", help="Leave out marginal likelihoods.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The board's folder; by default a new one in runs."),
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the rows as CSV too.")
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    force: Force = False,
    as_json: Json = False,
    overrides: Set = [],
    configs: Configs = [],
) -> int:
    """Several models of the same data on one board: which foresees new data best."""
    from hlm_models.api.comparison import compare_models
    from hlm_models.cli.boards import comparison
    from hlm_models.cli.progress import shown

    if markdown and as_json:
        raise InputErrors.one("print one of the two", key="--markdown, --json")
    if csv is not None:
        _free_file(csv, force=force, key="--csv")
    _refuse_idle(overrides, ["nuts"])
    with shown("compare") as progress:
        found = compare_models(
            names,
            focus,  # type: ignore[arg-type] # an unknown one is refused in words
            by,
            kfold=kfold,
            evidence=not no_evidence,
            out=out,
            force=force,
            overrides=overrides,
            folders=configs,
            progress=progress,
        )
    if csv is not None:
        csv.write_text(found.text("board.csv"), encoding="utf-8")
    if as_json:
        _print_json(found.document)
    else:
        terminal.show(*([found.text("board.md")] if markdown else comparison(found.document)))
    return 1 if any(one["status"] == "fail" for one in found.document["checks"]) else 0


@app.command()
def predict(
    model: Annotated[
        str,
        typer.Argument(
            help="A model of the zoo, the path of a model file, the folder of a finished run."
        ),
    ],
    new: Annotated[Path, typer.Option(metavar="FILE", help="The new rows: .csv, .parquet, ...")],
    groups: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Whose effects: existing, population, typical, borrowed; or GROUP=KIND,...",
        ),
    ] = "existing",
    borrow: Annotated[
        str | None,
        typer.Option(metavar="LEVEL", help="Whose are borrowed; or GROUP=LEVEL,..."),
    ] = None,
    level: Annotated[float, typer.Option(help="Of the intervals.")] = 0.95,
    engine: Annotated[
        str | None,
        typer.Option(help="nuts, gibbs, reml or ml; by default a run's posterior, else nuts."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write rows and predictions (.csv).")
    ] = None,
    force: Over = False,
    as_json: Json = False,
    overrides: Set = [],
    configs: Configs = [],
) -> int:
    """Expected responses and new observations of new rows, in existing and in new groups."""
    from hlm_models.api.prediction import predict_file
    from hlm_models.cli.predictions import prediction
    from hlm_models.cli.progress import shown
    from hlm_models.cli.words import by_group
    from hlm_models.results.checks import worst

    if out is None and force:
        raise InputErrors.one("has an effect with --out only", key="--force")
    if out is not None and out.suffix != ".csv":
        raise InputErrors.one(f"predictions are saved as .csv, not '{out.name}'", key="--out")
    if out is not None:
        _free_file(out, force=force)
    _refuse_idle(overrides, [engine or "nuts"])
    with shown(model) as progress:
        found = predict_file(
            model,
            new,
            groups=by_group(groups, key="--groups"),  # type: ignore[arg-type] # checked there
            borrow=None if borrow is None else by_group(borrow, key="--borrow"),
            level=level,
            engine=engine,
            overrides=overrides,
            folders=configs,
            progress=progress,
        )
    if out is not None:
        found.frame().to_csv(out, index=False)
    if as_json:
        _print_json(found.document())
    else:
        terminal.show(*prediction(found))
    return 1 if worst(found.fit.checks) == "fail" else 0


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="The folder of a finished run.")],
    as_json: Json = False,
) -> None:
    """Write the page of a finished run again, without fitting."""
    from hlm_models.api import runs

    found = runs.load_run(folder)
    page = runs.write_report(found, found.page)
    if as_json:
        _print_json({"page": str(page)})
    else:
        print(page)


@app.command()
def calibrate(
    model: Name,
    engine: Annotated[str, typer.Option(help="An engine that gives draws.")] = "nuts",
    simulations: Annotated[int, typer.Option(metavar="K", help="How many; 20 or more.")] = 200,
    workers: Annotated[
        int | None, typer.Option(metavar="W", help="Processes; one by default.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="By default fit.seed.")] = None,
    folder: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Keep finished simulations there, and go on from them."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page (.html).")] = None,
    force: Over = False,
    as_json: Json = False,
    overrides: Set = [],
    configs: Configs = [],
) -> int:
    """Simulation-based calibration: whether an engine's draws are those of the posterior."""
    from hlm_models.api.calibration import calibrate as calibrated
    from hlm_models.api.calibration import write_calibration
    from hlm_models.cli.progress import shown
    from hlm_models.cli.simulated import calibration
    from hlm_models.results.checks import worst

    _page_file(out, force=force)
    _refuse_idle(overrides, [engine])
    spec = models.build(model, overrides=overrides, folders=configs)
    with shown(model) as progress:
        found = calibrated(
            spec,
            engine,
            simulations,
            seed=seed,
            workers=workers,
            folder=folder,
            progress=progress,
        )
    if out is not None:
        write_calibration(found, out)
    if as_json:
        _print_json(found.document())
    else:
        terminal.show(*calibration(found))
    return 1 if worst(found.checks) == "fail" else 0


app.command()(zoo_commands.verify)


@app.command()
def schema() -> None:
    """The JSON schema of model files."""
    from hlm_models.config.schema import schema_text

    print(schema_text(), end="")


@data_app.command("list")
def data_list(as_json: Json = False) -> None:
    """The datasets: rows, groups and title; with --json also source, licence and columns."""
    from hlm_models.parts import datasets

    found = [datasets.find(name) for name in datasets.names()]
    if as_json:
        _print_json({"datasets": [lists.dataset_document(one) for one in found]})
        return
    terminal.show(lists.datasets(found))


@data_app.command("export")
def data_export(
    name: Annotated[str, typer.Argument(help="A dataset (`hlm data list`).")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A CSV file; else stdout.")
    ] = None,
    force: Over = False,
) -> None:
    """Write a dataset as CSV."""
    import os

    from hlm_models.config.settings import DataSettings
    from hlm_models.data.read import read_frame

    folder = os.environ.get("HLM_DATA")
    frame = read_frame(
        DataSettings(source=name), folder=Path.cwd(), data_dir=Path(folder) if folder else None
    )
    if out is None:
        frame.to_csv(sys.stdout, index=False)
        return
    _free_file(out, force=force)
    frame.to_csv(out, index=False)
    print(f"{out}: {len(frame):,} rows", file=sys.stderr)


def _page_file(out: Path | None, *, force: bool) -> None:
    """Whether a page can be written to `out`, before anything is computed."""
    if out is None and force:
        raise InputErrors.one("has an effect with --out only", key="--force")
    if out is not None and out.suffix != ".html":
        raise InputErrors.one(f"a page is saved as .html, not '{out.name}'", key="--out")
    if out is not None:
        _free_file(out, force=force)


def _free_file(out: Path, *, force: bool, key: str = "--out") -> None:
    """Whether a file can be written to `out`."""
    if out.is_dir():
        raise InputErrors.one(f"{out} is a folder: name a file", key=key)
    if out.exists() and not force:
        raise InputErrors.one(f"{out} exists; write over it with --force", key=key)
    if not out.parent.is_dir():
        raise InputErrors.one(f"there is no folder {out.parent}", key=key)
    if not os.access(out.parent, os.W_OK):
        raise InputErrors.one(f"{out.parent} cannot be written to", key=key)


def _refuse_idle(overrides: Sequence[str], engines: Sequence[str]) -> None:
    """A setting of `fit` that is asked for and that none of the samplers here would use."""
    from hlm_models.engines.find import find

    samplers = [name for name in engines if find(name).draws]
    if not samplers:
        return
    idle = frozenset.intersection(*(find(name).idle for name in samplers))
    for override in overrides:
        path = override.partition("=")[0].strip()
        top, _, key = path.partition(".")
        if top == "fit" and key.partition(".")[0] in idle:
            raise InputErrors.one(
                f"{' and '.join(samplers)} would make no use of it: leave it out",
                key=f"--set {path}",
            )
