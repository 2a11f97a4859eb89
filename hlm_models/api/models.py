"""Names, files, mappings and frames to models, and models to fits."""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from hlm_models.config.registry import Registry, default_folders
from hlm_models.errors import InputErrors, Problem, nearest
from hlm_models.results.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd
    import pymc as pm

    from hlm_models.config.settings import FitSettings, ModelConfig
    from hlm_models.results.fits import Fit
    from hlm_models.spec.model import ModelSpec, Parameterization

__all__ = [
    "build",
    "fit",
    "list_models",
    "located",
    "model_path",
    "read_config",
    "registry",
    "to_pymc",
]


def list_models(folders: Sequence[Path] = ()) -> tuple[str, ...]:
    """Names of the models of the zoo, and of those in `folders`."""
    return registry(folders).names()


def registry(folders: Sequence[Path] = ()) -> Registry:
    """The zoo with further folders of model files."""
    return Registry((*default_folders(), *folders))


def read_config(
    model: "str | Path | Mapping[str, Any] | ModelConfig",
    *,
    overrides: Sequence[str] = (),
    folders: Sequence[Path] = (),
) -> "tuple[ModelConfig, Path]":
    """The settings of a model and the folder that its file paths refer to.

    `model` is a name of the zoo, a path to a YAML file, a mapping or a ModelConfig; `overrides`
    are `key.path=value` texts.
    """
    from hlm_models.config.load import config_from_mapping, load_config
    from hlm_models.config.settings import ModelConfig

    if isinstance(model, ModelConfig):
        model = model.model_dump(by_alias=True, exclude_unset=True, mode="json")
    if isinstance(model, Mapping):
        return config_from_mapping(model, overrides), Path.cwd()
    path = model_path(model, folders)
    return load_config(path, overrides), path.parent


def model_path(model: str | Path, folders: Sequence[Path] = ()) -> Path:
    """The file of a model: a path as it is, a name looked up in the zoo."""
    if isinstance(model, Path) or model.endswith((".yaml", ".yml")) or os.sep in model:
        return Path(model)
    return registry(folders).find(model)


def build(
    model: "str | Path | Mapping[str, Any] | ModelConfig | None" = None,
    *,
    formula: str | None = None,
    data: "pd.DataFrame | None" = None,
    overrides: Sequence[str] = (),
    folders: Sequence[Path] = (),
    progress: Progress = silent,
) -> "ModelSpec":
    """The resolved model: data read, design built, every default worked out.

    Parameters
    ----------
    model : name, path, mapping or ModelConfig; or leave it out and give `formula` and `data`
    formula : as lme4 writes it; with `data`
    data : a DataFrame; also in place of the data that `model` names
    overrides : further keys of the model file as "key.path=value", the value read as YAML
    folders : where else models are looked up by name

    Raises
    ------
    InputErrors
        every problem found, each with its place and its repair.

    Examples
    --------
    >>> import hlm_models as hlm
    >>> spec = hlm.build("sleepstudy-slopes")
    >>> spec.design.coef
    ('Intercept', 'days')
    """
    if (model is None) == (formula is None):
        raise InputErrors.one("give a model, or a formula with data")
    if data is not None and not hasattr(data, "columns"):
        raise InputErrors.one("data must be a pandas DataFrame")
    if (
        model is not None
        and not isinstance(model, str | Path | Mapping)
        and not hasattr(model, "model_dump")
    ):
        raise InputErrors.one("a model is a name, a path, a mapping or a ModelConfig")
    if formula is not None:
        if data is None:
            raise InputErrors.one("a formula needs its data: build(formula=..., data=frame)")
        model = {"schema": 1, "name": "model", "data": {"source": "frame"}, "formula": formula}
    assert model is not None
    config, folder = read_config(model, overrides=overrides, folders=folders)
    with located(model, folders, overrides):
        return _resolve(config, folder, data, progress)


def _resolve(
    config: "ModelConfig", folder: Path, data: "pd.DataFrame | None", progress: Progress
) -> "ModelSpec":
    from hlm_models.data.read import read_frame, transform
    from hlm_models.data.roles import check_macro, macro_columns
    from hlm_models.data.table import make_table
    from hlm_models.design.build import build_design
    from hlm_models.design.formula import names_in, parse
    from hlm_models.parts.families import FAMILIES
    from hlm_models.parts.residuals import RESIDUALS
    from hlm_models.parts.residuals.known import Known
    from hlm_models.results.progress import Step
    from hlm_models.spec.information import choose_parameterization
    from hlm_models.spec.model import ModelSpec
    from hlm_models.spec.priors import resolve_priors

    progress(Step("reading data"))
    started = time.perf_counter()
    formula = parse(config.formula)
    if data is None:
        data_dir = os.environ.get("HLM_DATA")
        frame = read_frame(
            config.data, folder=folder, data_dir=Path(data_dir) if data_dir else None
        )
    else:
        frame = transform(data, config.data)
    response, *others = names_in(formula.response)
    factors = tuple(dict.fromkeys(name for term in formula.random for name in term.factors))
    if formula.offset and config.offset:
        raise InputErrors.one("the formula has an offset too; leave one of them out", key="offset")
    residual = config.residual
    if isinstance(residual, str):
        residual = RESIDUALS[residual](kind=residual)
    known_sd = residual.sd if isinstance(residual, Known) else None
    numbers = {
        formula.offset: "formula",
        config.offset: "offset",
        config.weights: "weights",
        known_sd: "residual.sd",
    }
    table = make_table(
        frame,
        columns=[*formula.predictors, *others],
        groups=factors,
        response=response,
        missing=config.data.missing,
        source=_source(config) if data is None else "frame",
        numbers={name: key for name, key in numbers.items() if name},
    )
    del frame, data
    read = time.perf_counter()
    check_macro(table, config.macro)
    progress(Step("building the design"))
    design = build_design(
        formula,
        table,
        macro={group: macro_columns(table, group) for group in factors},
        allow_macro_in_z=config.allow_macro_in_z,
        weights=config.weights,
        contrasts=config.contrasts,
        offset=config.offset,
        known_sd=known_sd,
    )
    priors = resolve_priors(config.priors, design)
    parameterization, why = choose_parameterization(design, priors, config.fit.parameterization)
    used = config.model_dump(by_alias=True, mode="json")
    identity = {key: used[key] for key in ("formula", "priors", "family", "residual")}
    # Left out where not given: fits saved by versions without these keys stay readable.
    identity |= {key: used[key] for key in ("weights", "offset", "contrasts") if used[key]}
    if used["priors"]["preset"] == "weak":
        identity["priors"] = {key: one for key, one in used["priors"].items() if key != "preset"}
    return ModelSpec(
        name=config.name,
        about=config.about,
        design=design,
        priors=priors,
        family=FAMILIES[config.family](kind=config.family),
        residual=residual,
        parameterization=parameterization,
        parameterization_why=why,
        fit=config.fit,
        reml=config.reml,
        config=used,
        identity=json.dumps(identity, sort_keys=True),
        notes=(*formula.notes, *table.notes, *design.confounded, *priors.notes),
        seconds={"read": read - started, "build": time.perf_counter() - read},
    )


def _source(config: "ModelConfig") -> str:
    source = config.data.source
    return source if isinstance(source, str) else source.file


@contextmanager
def located(
    model: object,
    folders: Sequence[Path],
    overrides: Sequence[str],
) -> Iterator[None]:
    """Problems that are raised inside get the model file and the line of their key.

    Those of a key that was overridden get the override.
    """
    try:
        yield
    except InputErrors as error:
        raise _located(error, model, folders, overrides) from None


def _located(
    error: InputErrors,
    model: object,
    folders: Sequence[Path],
    overrides: Sequence[str],
) -> InputErrors:
    """The same problems with the model file and the line of their key, or the override's."""
    from hlm_models.config.located import read_yaml

    overridden = [override.partition("=")[0].strip() for override in overrides]
    located = read_yaml(model_path(model, folders)) if isinstance(model, str | Path) else None

    def place(problem: Problem) -> Problem:
        path = problem.key.split(".")
        for length in range(len(path), 0, -1):
            if ".".join(path[:length]) in overridden:
                return replace(problem, key=f"--set {problem.key}")
        if problem.file or located is None:
            return problem
        line = located.line(tuple(path))
        inside = [one for one in overridden if one.startswith(f"{problem.key}.")]
        if line is None and problem.key and inside:
            return replace(problem, key=f"--set {inside[0]}")
        return replace(problem, file=located.file, line=line)

    return InputErrors(place(problem) for problem in error.problems)


def fit(
    model: "ModelSpec | str | Path | Mapping[str, Any] | ModelConfig",
    engine: str = "nuts",
    *,
    progress: Progress = silent,
    log_likelihood: bool = False,
    **settings: Any,
) -> "Fit":
    """Fit a model with one engine.

    Parameters
    ----------
    engine : "nuts" or "gibbs" for the posterior, "reml" or "ml" for the bundled fitter
    log_likelihood : keep log p(y_i | beta, b, sigma) of every row and draw; of a posterior only
    settings : any of the keys of `fit` in a model file (chains, draws, tune, seed, ...) that the
        engine makes use of; for one that does not sample, the seed only

    Raises
    ------
    RefusalError
        the engine cannot fit this model; says why and which engines can.
    """
    from hlm_models.engines.find import require
    from hlm_models.spec.model import ModelSpec

    spec = model if isinstance(model, ModelSpec) else build(model, progress=progress)
    chosen = require(engine, spec)
    if log_likelihood and not chosen.draws:
        raise InputErrors.one(f"{engine} has no draws to keep the log likelihood of", key="engine")
    idle = [key for key in settings if key in chosen.idle]
    if idle:
        names = ", ".join(idle)
        raise InputErrors.one(
            f"{engine} makes no use of {names}: leave it out"
            if chosen.draws
            else f"{engine} does not sample, so {names} would have no effect",
            key="engine",
        )
    options = {"with_log_likelihood": True} if log_likelihood else {}
    return chosen.fit(spec, _settings(spec, settings), progress, **options)


def _settings(spec: "ModelSpec", changes: Mapping[str, Any]) -> "FitSettings":
    """The model's settings with some of them changed."""
    from pydantic import ValidationError

    kept: dict[str, Any] = spec.fit.model_dump()
    inside = {key: tuple(value) for key, value in kept.items() if isinstance(value, dict)}
    for key, value in changes.items():
        changes_inside = key in inside and isinstance(value, Mapping)
        kept[key] = {**kept[key], **value} if changes_inside else value
    try:
        return type(spec.fit).model_validate(kept)
    except ValidationError as error:
        raise InputErrors(
            Problem(
                "there is no such setting"
                + nearest(
                    str(one["loc"][-1]),
                    inside.get(str(one["loc"][0]), type(spec.fit).model_fields),
                )
                if one["type"] == "extra_forbidden"
                else one["msg"],
                key=f"fit.{'.'.join(str(place) for place in one['loc'])}",
            )
            for one in error.errors()
        ) from None


def to_pymc(spec: "ModelSpec", parameterization: "Parameterization | None" = None) -> "pm.Model":
    """The model as a plain `pm.Model`, to extend by hand.

    Variables: beta(coef), sigma, and for each group g sd_g(effect_g), corr_g(effect_g, effect_g_2),
    b_g(g, effect_g); the data are in `pm.Data`. The marginal form has no b_g, of the coefficients
    only those whose prior is neither normal nor flat, beta_free(coef_free), and its likelihood is
    a potential.

    Parameters
    ----------
    parameterization : "centered", "noncentered" or "marginal"; by default one that has all effects

    Raises
    ------
    InputErrors
        `spec` is no model that `build` made, or there is no such parameterization.
    """
    from hlm_models.spec.information import latent_parameterization
    from hlm_models.spec.model import ModelSpec, Parameterization

    if not isinstance(spec, ModelSpec):
        raise InputErrors.one(
            f"to_pymc takes a model, hlm.build(...), and this is {type(spec).__name__}", key="spec"
        )
    known = get_args(Parameterization)
    if parameterization is not None and parameterization not in known:
        raise InputErrors.one(
            f"{parameterization!r} is none of {', '.join(known)}"
            f"{nearest(str(parameterization), known)}",
            key="parameterization",
        )
    from hlm_models.graph.models import to_pymc

    chosen = parameterization or spec.parameterization
    if parameterization is None and chosen == "marginal":
        chosen, _ = latent_parameterization(spec.design)
    return to_pymc(spec, chosen)
