"""The main job: every engine, their agreement, checks and page, in one folder."""

import hashlib
import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from hlm_models.api.findings import findings
from hlm_models.api.folders import page_file, refuse_existing, refuse_unwritable, whole
from hlm_models.api.models import build, fit, read_config
from hlm_models.comparison.agreement import Agreement, agreement
from hlm_models.comparison.samplers import Samplers, samplers
from hlm_models.comparison.sensitivity import SensitivityRow, sensitivity_checks, sensitivity_rows
from hlm_models.config.load import config_from_mapping
from hlm_models.config.located import read_yaml
from hlm_models.config.settings import FileSource, ModelConfig
from hlm_models.engines.find import find, require
from hlm_models.errors import InputErrors
from hlm_models.report.page import Run as Page
from hlm_models.report.page import write
from hlm_models.results.document import document, plain
from hlm_models.results.fits import Fit, PointFit, PosteriorFit
from hlm_models.results.progress import Progress, Step, silent
from hlm_models.results.save import load_fit, save_fit
from hlm_models.results.summary import summary
from hlm_models.spec.model import ModelSpec

__all__ = ["DEFAULT_ENGINES", "Run", "load_run", "run", "versions", "write_report"]

DEFAULT_ENGINES = ("nuts", "reml")
PACKAGES = (
    "hlm-models", "pymc", "pytensor", "nutpie", "arviz", "numpy", "scipy", "pandas", "numba",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its fits by engine, their agreement, and where everything was written.

    `agreement` and `sensitivity` are of the first posterior; `samplers` holds all posteriors where
    there are several.
    """

    spec: ModelSpec
    fits: Mapping[str, Fit]
    agreement: Agreement | None
    folder: Path
    provenance: Mapping[str, Any]
    reused: bool
    sensitivity: tuple[SensitivityRow, ...] = ()
    samplers: Samplers | None = None

    @property
    def page(self) -> Path:
        return self.folder / "report.html"

    @property
    def shown_page(self) -> Path:
        """The page by the run's short name, where that name points to this run."""
        short = self.folder.parent / self.spec.name
        points_here = short.is_symlink() and short.resolve() == self.folder.resolve()
        return (short if points_here else self.folder) / "report.html"

    def document(self) -> dict[str, Any]:
        """The document of `hlm run --json`."""
        return {
            "fits": {engine: document(one) for engine, one in self.fits.items()},
            "agreement": _agreement_document(self.agreement),
            "sensitivity": list(plain([asdict(row) for row in self.sensitivity])),
            "samplers": _samplers_document(self.samplers),
            "folder": str(self.folder),
            "page": str(self.page),
            "reused": self.reused,
        }


def run(
    model: str | Path | Mapping[str, Any] | ModelConfig,
    *,
    engines: Sequence[str] = DEFAULT_ENGINES,
    out: str | Path | None = None,
    root: str | Path = "runs",
    force: bool = False,
    overrides: Sequence[str] = (),
    folders: Sequence[Path] = (),
    log_likelihood: bool = False,
    progress: Progress = silent,
) -> Run:
    """Fit a model by every engine named, compare them, and write the run's folder.

    The folder is `root/NAME-HASH8`, the hash being of model, data, settings and version, and
    `root/NAME` points to it; a finished one is reused. It appears whole or not at all.

    Parameters
    ----------
    engines : names, from nuts, gibbs, reml, ml; each fits the model
    out : the run's folder, in place of `root/NAME-HASH8`; no link is made then
    root : the folder of all runs
    force : compute anew, and write over a run that is there
    overrides : further keys of the model file as "key.path=value"
    folders : where else models are looked up by name
    log_likelihood : keep the log likelihood of every row and draw
    progress : called with every step

    Raises
    ------
    InputErrors
        a problem of the model, or `out` exists and `force` is not set.
    RefusalError
        an engine cannot fit the model.
    FitError
        the numbers could not be computed.
    ModelMismatchError
        a finished run that would be reused does not fit its data any more.
    """
    engines = tuple(dict.fromkeys(engines))
    if not engines:
        raise InputErrors.one("name at least one engine, as nuts,reml", key="--engines")
    out, root = Path(out) if out is not None else None, Path(root)
    if out is not None and out.exists():
        refuse_existing(out, what="run", mark="run.json", force=force)
    refuse_unwritable(out.parent if out is not None else root)
    spec = build(model, overrides=overrides, folders=folders, progress=progress)
    for engine in engines:
        require(engine, spec)
    if log_likelihood and not any(find(engine).draws for engine in engines):
        raise InputErrors.one(
            f"{', '.join(engines)} has no draws to keep the log likelihood of",
            key="--log-likelihood",
        )
    config, source_folder = read_config(model, overrides=overrides, folders=folders)
    folder = out or root / f"{spec.name}-{_hash(spec, engines, log_likelihood)[:8]}"
    if out is None and (folder / "run.json").is_file() and not force:
        found = load_run(folder, progress=progress)
        _point_to(root / spec.name, folder)
        return replace(found, reused=True)
    fits: dict[str, Fit] = {}
    for engine in engines:
        keep = log_likelihood and find(engine).draws
        fits[engine] = fit(spec, engine, progress=progress, log_likelihood=keep)
    rows = {}
    for engine, one in fits.items():
        if isinstance(one, PosteriorFit):
            progress(Step("sensitivity to the prior"))
            rows[engine] = sensitivity_rows(one)
            fits[engine] = replace(one, checks=(*one.checks, *sensitivity_checks(rows[engine])))
    side_by_side = _samplers(fits)
    if side_by_side is not None:
        last = fits[side_by_side.engines[-1]]
        fits[last.engine] = replace(last, checks=(*last.checks, side_by_side.check))
    finished = Run(
        spec=spec,
        fits=fits,
        agreement=_agreement(fits),
        folder=folder,
        provenance=_provenance(spec, fits, _command(model, engines, overrides)),
        reused=False,
        sensitivity=next(iter(rows.values()), ()),
        samplers=side_by_side,
    )
    progress(Step("writing the page"))
    _write(finished, _portable(config, source_folder))
    if out is None:
        _point_to(root / spec.name, folder)
    return finished


def load_run(folder: str | Path, *, progress: Progress = silent) -> Run:
    """A finished run from its folder, without fitting anything.

    Raises
    ------
    InputErrors
        the folder is not a finished run.
    ModelMismatchError
        the data or the model have changed since.
    """
    folder = Path(folder)
    if not (folder / "run.json").is_file():
        raise InputErrors.one("this is not the folder of a finished run", file=str(folder))
    provenance = _read_provenance(folder / "provenance.json")
    config = config_from_mapping(read_yaml(folder / "config.yaml").data)
    spec = build(config, progress=progress)
    fits = {
        engine: load_fit(folder / Path(file).name, spec)
        for engine, file in provenance["fits"].items()
    }
    return Run(
        spec,
        fits,
        _agreement(fits),
        folder,
        provenance,
        reused=True,
        sensitivity=_sensitivity(fits),
        samplers=_samplers(fits),
    )


def _read_provenance(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputErrors.one(f"cannot be read: {error}; run again", file=str(path)) from error
    if not isinstance(found, dict) or not isinstance(found.get("fits"), dict):
        raise InputErrors.one("does not say which fits the run has; run again", file=str(path))
    return found


def write_report(fit: Fit | Run, path: str | Path, *, reference: PointFit | None = None) -> Path:
    """Write the page of a fit (or of a finished run) to `path`; returns it.

    Parameters
    ----------
    fit : a fit, or a finished run
    path : the .html file; written over if it is there
    reference : a point fit of the same model, to be held against a posterior

    Raises
    ------
    InputErrors
        `fit` is neither, a run is given a further reference, or the folder is not there.
    ModelMismatchError
        `reference` is of another model or other data.
    """
    target = page_file(path)
    if not isinstance(fit, Run | PosteriorFit | PointFit):
        raise InputErrors.one(f"write_report takes a fit or a run, not {type(fit).__name__}")
    if isinstance(fit, Run):
        if reference is not None:
            raise InputErrors.one("a run has its own point fit: leave it out", key="reference")
        write(_page(fit), target)
        return target
    fits: dict[str, Fit] = {fit.engine: fit}
    if reference is not None:
        fits[reference.engine] = reference
    finished = Run(
        fit.spec,
        fits,
        _agreement(fits),
        target.parent,
        _provenance(fit.spec, fits),
        reused=False,
        sensitivity=_sensitivity(fits),
    )
    write(_page(finished), target)
    return target


def _agreement(fits: Mapping[str, Fit]) -> Agreement | None:
    posterior = [one for one in fits.values() if isinstance(one, PosteriorFit)]
    point = [one for one in fits.values() if isinstance(one, PointFit)]
    return agreement(posterior[0], point[0]) if posterior and point else None


def _samplers(fits: Mapping[str, Fit]) -> Samplers | None:
    posterior = [one for one in fits.values() if isinstance(one, PosteriorFit)]
    return samplers(posterior) if len(posterior) > 1 else None


def _samplers_document(found: Samplers | None) -> list[dict[str, Any]]:
    if found is None:
        return []
    rows = [
        {"parameter": row.parameter, "z": row.z}
        | {
            engine: {"mean": mean, "sd": sd, "mcse_mean": mcse}
            for engine, mean, sd, mcse in zip(
                found.engines, row.mean, row.sd, row.mcse, strict=True
            )
        }
        for row in found.rows
    ]
    return list(plain(rows))


def _sensitivity(fits: Mapping[str, Fit]) -> tuple[SensitivityRow, ...]:
    posterior = [one for one in fits.values() if isinstance(one, PosteriorFit)]
    return sensitivity_rows(posterior[0]) if posterior else ()


def _agreement_document(found: Agreement | None) -> list[dict[str, Any]]:
    if found is None:
        return []
    rows = [
        {
            "parameter": row.parameter,
            "posterior": {"mean": row.mean, "sd": row.sd},
            "reml": {"estimate": row.estimate, "se": row.se},
            "d": row.d,
            "d_mcse": row.d_mcse,
            "spread_ratio": row.spread_ratio,
            "verdict": row.verdict,
            "cause": row.cause,
            "why": row.why,
        }
        for row in found.rows
    ]
    return list(plain(rows))


def _page(finished: Run) -> Page:
    posterior = [one for one in finished.fits.values() if isinstance(one, PosteriorFit)]
    point = [one for one in finished.fits.values() if isinstance(one, PointFit)]
    return Page(
        posterior=posterior[0] if posterior else None,
        others=tuple(posterior[1:]),
        reference=point[0] if point else None,
        agreement=finished.agreement,
        provenance=finished.provenance,
        sensitivity=finished.sensitivity,
        samplers=finished.samplers,
        findings=findings(posterior[0], *point[:1]) if posterior else findings(point[0]),
    )


def _hash(spec: ModelSpec, engines: Sequence[str], log_likelihood: bool) -> str:
    # What no engine of the run reads makes no other run of it.
    idle = set.intersection(*(set(find(engine).idle) for engine in engines)) | {"cores"}
    settings = spec.fit.model_dump(mode="json", exclude=idle)
    searching = spec.reml.model_dump(mode="json")
    identity = [
        spec.name,
        spec.digest,
        settings,
        searching,
        list(engines),
        log_likelihood,
        _version(),
    ]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    return {name: _installed(name) for name in PACKAGES}


def _version() -> str:
    return _installed("hlm-models")


def _installed(name: str) -> str:
    """Version of an installed package; a checkout that is not installed has none."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def _command(
    model: str | Path | Mapping[str, Any] | ModelConfig,
    engines: Sequence[str],
    overrides: Sequence[str],
) -> str:
    """The words that would run the same again; of a model given in Python, the function's name."""
    if not isinstance(model, str | Path):
        return "hlm_models.run(...), in Python"
    words = ["hlm", "run", str(model)]
    if tuple(engines) != DEFAULT_ENGINES:
        words += ["--engines", ",".join(engines)]
    for override in overrides:
        words += ["--set", override]
    return shlex.join(words)


def _provenance(
    spec: ModelSpec, fits: Mapping[str, Fit], command: str = "hlm_models.fit(...), in Python"
) -> dict[str, Any]:
    return {
        "model": spec.name,
        "command": command,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "versions": versions(),
        "seed": spec.fit.seed,
        "data": {
            "source": spec.design.table.source,
            "rows": spec.design.n,
            "digest": spec.design.table.digest,
        },
        "digest": spec.digest,
        "seconds": {engine: dict(one.seconds) for engine, one in fits.items()},
        "fits": {engine: _file_name(engine, one) for engine, one in fits.items()},
        "config": dict(spec.config),
    }


def _file_name(engine: str, one: Fit) -> str:
    return f"fit-{engine}.nc" if isinstance(one, PosteriorFit) else f"fit-{engine}.json"


def _portable(config: ModelConfig, folder: Path) -> dict[str, Any]:
    """The settings as used, with the user's file as an absolute path."""
    used = config.model_dump(by_alias=True, mode="json", exclude_none=True)
    if isinstance(config.data.source, FileSource):
        used["data"]["source"] = {"file": str((folder / config.data.source.file).resolve())}
    return used


def _write(finished: Run, config: Mapping[str, Any]) -> None:
    """Write all files of the run's folder."""
    with whole(finished.folder) as part:
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        (part / "config.yaml").write_text(text, encoding="utf-8")
        for engine, one in finished.fits.items():
            save_fit(one, part / _file_name(engine, one))
            summary(one).to_csv(part / f"summary-{engine}.csv")
        if finished.agreement is not None:
            import pandas as pd

            rows = pd.DataFrame([asdict(row) for row in finished.agreement.rows])
            rows.to_csv(part / "agreement.csv", index=False)
        write(_page(finished), part / "report.html")
        _dump(part / "provenance.json", finished.provenance)
        _dump(part / "run.json", finished.document())


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(plain(value), indent=1, ensure_ascii=False), encoding="utf-8")


def _point_to(link: Path, folder: Path) -> None:
    """Make `link` a symbolic link to `folder`, unless something else stands there."""
    if link.exists() and not link.is_symlink():
        return
    fresh = link.with_name(f".{link.name}.link")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(folder.name, target_is_directory=True)
    fresh.replace(link)
