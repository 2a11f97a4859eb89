"""Several models on one board: from fits, or from names, files and finished runs in one folder."""

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hlm_models.api.folders import is_run, page_file, refuse_existing, refuse_unwritable, whole
from hlm_models.api.models import build
from hlm_models.api.runs import DEFAULT_ENGINES, Run, load_run, run, versions
from hlm_models.comparison.board import Board, Entry, check_models, make_board
from hlm_models.elpd.pointwise import Focus
from hlm_models.engines.find import find, require
from hlm_models.errors import InputErrors, Problem
from hlm_models.results.document import plain
from hlm_models.results.fits import PointFit, PosteriorFit
from hlm_models.results.progress import Progress, Step, silent
from hlm_models.spec.model import ModelSpec

__all__ = ["Comparison", "compare", "compare_models", "write_comparison"]

FILES = ("comparison.html", "board.csv", "board.md", "board.json", "pointwise.csv")
"""What the folder of a board holds."""


def compare(
    fits: Mapping[str, PosteriorFit | Run],
    focus: Focus = "observation",
    by: str | None = None,
    *,
    kfold: int | None = None,
    evidence: bool = True,
    progress: Progress = silent,
) -> Board:
    """Models of the same data on one board, the best first.

    The order is by the expected log predictive density of what was left out. Beside it stand
    weights, WAIC, marginal likelihoods, and likelihoods, criteria and tests by our own fitter.

    Parameters
    ----------
    fits : posteriors, or finished runs that have one, by the names that the board shows
    focus : "observation" leaves out rows, one by one; "group" the rows of a group, its effects
        integrated out
    by : the group that is left out; needed where the models have several. A model without it is
        scored by it all the same
    kfold : leave out so many parts of the rows or groups in turn, with real refits, in place of
        leave-one-out
    evidence : compute log marginal likelihoods; a model that has none says why

    Raises
    ------
    InputErrors
        one model only, or one twice; other data or another response; a fit without draws; no such
        focus or group.
    RefusalError, FitError
        what an estimate cannot do or failed to do, with the model's name.
    """
    return _compare(
        fits,
        focus,
        by,
        kfold=kfold,
        evidence=evidence,
        command="hlm_models.compare(...), in Python",
        progress=progress,
    )


def write_comparison(board: Board, path: str | Path) -> Path:
    """Write the page of a board to `path`; returns it.

    Raises
    ------
    InputErrors
        the folder is not there.
    """
    from hlm_models.report.comparison import render

    target = page_file(path)
    target.write_text(render(board), encoding="utf-8")
    return target


@dataclass(frozen=True, eq=False)
class Comparison:
    """A board in its folder: comparison.html, board.csv, .md and .json, pointwise.csv."""

    document: Mapping[str, Any]
    folder: Path

    @property
    def page(self) -> Path:
        return self.folder / "comparison.html"

    def text(self, name: str) -> str:
        """One of the files."""
        return (self.folder / name).read_text(encoding="utf-8")


def compare_models(
    words: Sequence[str],
    focus: Focus = "observation",
    by: str | None = None,
    *,
    kfold: int | None = None,
    evidence: bool = True,
    out: Path | None = None,
    root: Path = Path("runs"),
    force: bool = False,
    overrides: Sequence[str] = (),
    folders: Sequence[Path] = (),
    progress: Progress = silent,
) -> Comparison:
    """Compare models by name, file or folder of a finished run, and write the board's folder.

    All models are built before any is fitted; what is not fitted yet is run by NUTS and REML, into
    `root`, and a finished run is reused. The folder is `out`, or `root/compare-HASH8`, which is
    reused too unless `force` is set.

    Raises
    ------
    InputErrors
        as `compare`; a problem of a model; `overrides` of a finished run; `out` exists and `force`
        is not set.
    RefusalError, FitError
        as `compare` and `run`.
    """
    if out is not None and out.exists():
        refuse_existing(out, what="comparison", mark="board.json", force=force)
    refuse_unwritable(root if out is None else out.parent)
    models = _read(words, overrides=overrides, folders=folders, progress=progress)
    specs = {name: one.spec for name, one in models.items()}
    _, block = check_models(specs, focus, by, kfold=kfold)
    _entries({name: one.run for name, one in models.items() if one.run})
    asked = [focus, block.group if block else None, kfold, evidence]
    folder = out or root / f"compare-{_hash(models, asked)[:8]}"
    if out is None and not force and all((folder / name).is_file() for name in FILES):
        return Comparison(_read_document(folder / "board.json") | {"reused": True}, folder)
    for one in models.values():
        if one.run is None:
            require("nuts", one.spec)
    for name, one in models.items():
        if one.run is None:
            engines = [word for word in DEFAULT_ENGINES if not find(word).refusals(one.spec)]
            models[name] = replace(
                one,
                run=run(
                    one.word,
                    engines=engines,
                    root=root,
                    overrides=overrides,
                    folders=folders,
                    progress=_named(name, progress),
                ),
            )
    board = _compare(
        {name: one.run for name, one in models.items() if one.run},
        focus,
        by,
        kfold=kfold,
        evidence=evidence,
        command=_command(
            words, focus, by, kfold, evidence=evidence, overrides=overrides, folders=folders
        ),
        progress=progress,
    )
    progress(Step("writing the page"))
    document = board.document() | {
        "runs": {name: str(one.run.folder) for name, one in models.items() if one.run},
        "folder": str(folder),
        "page": str(folder / "comparison.html"),
        "reused": False,
    }
    with whole(folder) as part:
        write_comparison(board, part / "comparison.html")
        board.to_csv(part / "board.csv")
        board.pointwise().to_csv(part / "pointwise.csv")
        (part / "board.md").write_text(board.markdown(), encoding="utf-8")
        text = json.dumps(plain(document), indent=1, ensure_ascii=False)
        (part / "board.json").write_text(text, encoding="utf-8")
    return Comparison(document, folder)


def _read_document(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputErrors.one(
            f"cannot be read: {error}; compute it anew with --force", file=str(path)
        ) from error
    return found


@dataclass(frozen=True, eq=False)
class _Given:
    """A model as it was given: its word, what it is, and the run where that is finished."""

    word: str
    spec: ModelSpec
    run: Run | None


def _read(
    words: Sequence[str], *, overrides: Sequence[str], folders: Sequence[Path], progress: Progress
) -> dict[str, _Given]:
    """The models that the words name, by their own names where these differ."""
    found: list[_Given] = []
    problems = [
        Problem("this model is given twice: name each once", key=word)
        for word in dict.fromkeys(words)
        if list(words).count(word) > 1
    ]
    if folders and all(map(is_run, words)):
        problems.append(Problem("has no effect on finished runs", key="--configs"))
    for word in dict.fromkeys(words):
        finished, told = is_run(word), _named(word, progress)
        if finished and overrides:
            problems.append(Problem(f"has no effect on the finished run {word}", key="--set"))
            continue
        try:
            if finished:
                loaded = load_run(word, progress=told)
                found.append(_Given(word, loaded.spec, loaded))
            else:
                spec = build(word, overrides=overrides, folders=folders, progress=told)
                found.append(_Given(word, spec, None))
        except InputErrors as error:
            problems += error.problems
    if problems:
        # What is wrong with an override is wrong with it in every model.
        raise InputErrors(dict.fromkeys(problems))
    names = [one.spec.name for one in found]
    return {one.spec.name if names.count(one.spec.name) == 1 else one.word: one for one in found}


def _compare(
    fits: Mapping[str, PosteriorFit | Run],
    focus: Focus,
    by: str | None,
    *,
    kfold: int | None,
    evidence: bool,
    command: str,
    progress: Progress,
) -> Board:
    return make_board(
        _entries(fits),
        focus,
        by,
        kfold=kfold,
        evidence=evidence,
        provenance={
            "command": command,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "python": sys.version.split()[0],
            "versions": versions(),
        },
        progress=progress,
    )


def _entries(fits: Mapping[str, PosteriorFit | Run]) -> dict[str, Entry]:
    """The draws of every model, and its REML fit where a run has one."""
    if not isinstance(fits, Mapping):
        raise InputErrors.one(
            "give the models by name: compare({'a': fit, 'b': other})", key="fits"
        )
    found, problems = {}, []
    for name, one in fits.items():
        own = list(one.fits.values()) if isinstance(one, Run) else [one]
        draws = [fit for fit in own if isinstance(fit, PosteriorFit)]
        points = [fit for fit in own if isinstance(fit, PointFit)]
        reml = [fit for fit in points if fit.engine == "reml"]
        if draws:
            found[str(name)] = Entry(draws[0], reml[0] if reml else None)
        elif points:
            problems.append(
                Problem(
                    f"this has no draws, only {' and '.join(fit.engine for fit in points)}: fit it "
                    f"with nuts too, as `hlm run {points[0].spec.name}` does",
                    key=str(name),
                )
            )
        else:
            problems.append(
                Problem(f"a posterior or a finished run is needed, not {type(one).__name__}",
                        key=str(name))
            )  # fmt: skip
    if problems:
        raise InputErrors(problems)
    return found


def _named(name: str, progress: Progress) -> Progress:
    def told(step: Step) -> None:
        progress(replace(step, stage=f"{name}: {step.stage}"))

    return told


def _hash(models: Mapping[str, _Given], asked: Sequence[Any]) -> str:
    identity = [
        [
            name,
            one.spec.digest,
            one.spec.fit.model_dump(mode="json", exclude={"cores"}),
            list(one.run.fits) if one.run else DEFAULT_ENGINES,
        ]
        for name, one in models.items()
    ]
    text = json.dumps([identity, asked, versions()["hlm-models"]], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _command(
    words: Sequence[str],
    focus: Focus,
    by: str | None,
    kfold: int | None,
    *,
    evidence: bool,
    overrides: Sequence[str],
    folders: Sequence[Path],
) -> str:
    """The words that would run the same again."""
    found = ["hlm", "compare", *words]
    if focus != "observation":
        found += ["--focus", focus]
    if by is not None:
        found += ["--by", by]
    if kfold is not None:
        found += ["--kfold", str(kfold)]
    if not evidence:
        found.append("--no-evidence")
    for override in overrides:
        found += ["--set", override]
    for folder in folders:
        found += ["--configs", str(folder)]
    return shlex.join(found)
