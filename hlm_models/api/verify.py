"""Models held against the numbers of others, and the badges that say how that went."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hlm_models.api.models import build, fit, read_config, registry
from hlm_models.api.references import check_references
from hlm_models.api.runs import versions
from hlm_models.config.settings import Reference
from hlm_models.engines.find import eligible, find
from hlm_models.errors import FitError, InputErrors, Problem
from hlm_models.results.document import plain
from hlm_models.results.progress import Progress, silent
from hlm_models.spec.model import ModelSpec
from hlm_models.zoo.badges import Badge, read_badges, renew_badges
from hlm_models.zoo.estimates import estimates
from hlm_models.zoo.judge import Verdict, judge
from hlm_models.zoo.references import digest_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BADGES", "Verification", "Verified", "verify"]

BADGES = Path("runs", "verified.json")
"""The file of badges of whoever runs `hlm verify`."""


@dataclass(frozen=True, eq=False)
class Verified:
    """One model: its verdict, and the badge that keeps it."""

    verdict: Verdict
    badge: Badge


@dataclass(frozen=True, eq=False)
class Verification:
    """What `verify` found.

    `absent` are the models whose data are not here, with what would help; `path` the file of
    badges, None where only some engines were asked for.
    """

    models: tuple[Verified, ...]
    absent: Mapping[str, str]
    path: Path | None

    @property
    def failed(self) -> bool:
        """Whether a model failed, or was not verified because its data are not here."""
        return bool(self.absent) or any(one.badge.status == "fail" for one in self.models)

    def frame(self) -> "pd.DataFrame":
        """One row a number that was held: model, engine, name, found, reference, units, ..."""
        import pandas as pd

        rows = [
            {"model": one.badge.model} | asdict(difference) | {"units": difference.units}
            for one in self.models
            for difference in one.verdict.differences
        ]
        return pd.DataFrame(
            rows,
            columns=[
                *("model", "engine", "name", "found", "reference"),
                *("tolerance", "units", "source"),
            ],
        )

    def document(self) -> dict[str, Any]:
        """The document of `hlm verify --json`."""
        found: dict[str, Any] = plain(
            {
                "models": [
                    _document(one.badge, len(one.verdict.differences)) for one in self.models
                ],
                "absent": [{"name": name, "why": why} for name, why in self.absent.items()],
                "badges": None if self.path is None else str(self.path),
            }
        )
        return found


def _document(badge: Badge, held: int) -> dict[str, Any]:
    worst = badge.worst
    return {
        "name": badge.model,
        "status": badge.status,
        "worst": None if worst is None else worst.units,
        "where": None if worst is None else asdict(worst),
        "held": held,
        "failed": list(badge.failed),
        "engines": [one.engine for one in badge.estimates],
        "seconds": badge.seconds,
    }


def verify(
    names: Sequence[str | Path] | None = None,
    *,
    engines: Sequence[str] | None = None,
    badges: str | Path | None = None,
    folders: Sequence[Path] = (),
    progress: Progress = silent,
) -> Verification:
    """Fit models anew and hold them against the references in their files.

    Parameters
    ----------
    names : of the zoo, or paths of model files; all of the zoo by default, and then those whose
        data are not here are told and not fitted
    engines : which may fit; by default every engine that can. With some only, no badge is made
    badges : the file of badges to renew; `runs/verified.json` by default

    Raises
    ------
    InputErrors
        a problem of a model, of its references or of the file of badges; or the data of a model
        that was named are not here. Nothing is fitted then.
    """
    path = Path(badges) if badges is not None else BADGES
    if engines is not None:
        if badges is not None:
            raise InputErrors.one(
                "badges are of all engines: leave --engines out, or --badges", key="--badges"
            )
        if not engines:
            raise InputErrors.one("name at least one engine, as reml,ml", key="--engines")
        for engine in engines:
            find(engine)
    else:
        read_badges(path)
    asked = list(dict.fromkeys(registry(folders).names() if names is None else names))
    specs, absent = _built(asked, named=names is not None, folders=folders, progress=progress)
    found = []
    for spec, references in specs:
        one = _verified(spec, references, engines, progress)
        found.append(one)
        if engines is None:
            renew_badges(path, [one.badge])
    return Verification(tuple(found), absent, path if engines is None else None)


def _built(
    asked: Sequence[str | Path], *, named: bool, folders: Sequence[Path], progress: Progress
) -> tuple[list[tuple[ModelSpec, tuple[Reference, ...]]], dict[str, str]]:
    """All models with their references, before any is fitted, and those without their data."""
    specs, absent = [], {}
    reading = _within("reading models and data", progress)
    problems: list[Problem] = []
    for model in asked:
        try:
            why = None if named else _absent(model, folders)
            if why:
                absent[str(model)] = why
                continue
            spec = build(model, folders=folders, progress=reading)
            specs.append((spec, check_references(model, spec, folders=folders)))
        except InputErrors as error:
            problems += error.problems
    if problems:
        raise InputErrors(problems)
    return specs, absent


def _within(stage: str, progress: Progress) -> Progress:
    """A `Progress` that tells the steps of one fit as one stage of many."""
    return lambda step: progress(replace(step, stage=stage))


def _absent(model: str | Path, folders: Sequence[Path]) -> str:
    """What is to be done where the model's dataset is registered only, and is not here."""
    import os

    from hlm_models.parts import datasets

    source = read_config(model, folders=folders)[0].data.source
    if not isinstance(source, str) or source not in datasets.names():
        return ""
    file, folder = datasets.find(source).external_file, os.environ.get("HLM_DATA")
    if file is None or (folder and Path(folder, file).is_file()):
        return ""
    return f"HLM_DATA names no folder with {file}"


def _verified(
    spec: ModelSpec,
    references: Sequence[Reference],
    engines: Sequence[str] | None,
    progress: Progress,
) -> Verified:
    found, failed = [], []
    for engine in eligible(spec):
        if engines is not None and engine not in engines:
            continue
        stage = f"{spec.name} by {engine}"
        try:
            found.append(estimates(fit(spec, engine, progress=_within(stage, progress))))
        except FitError as error:
            failed.append(f"{engine}: {error}")
    verdict = judge(references, found)
    verdict = Verdict(verdict.differences, (*failed, *verdict.failed))
    badge = Badge(
        model=spec.name,
        status=verdict.status,
        worst=verdict.worst,
        failed=verdict.failed,
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
        digest=spec.digest,
        references=digest_of(references),
        n=spec.design.n,
        p=spec.design.p,
        groups={block.group: block.J for block in spec.blocks},
        estimates=tuple(found),
    )
    return Verified(verdict, badge)
