"""Fits to files and back; a file that belongs to another model is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from hlm_models.errors import InputErrors, ModelMismatchError
from hlm_models.results.checks import Check
from hlm_models.results.document import plain
from hlm_models.results.fits import Fit, PointFit, PosteriorFit, RandomEstimate
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray, frozen

__all__ = ["load_fit", "save_fit"]

FORMAT = 1


def save_fit(fit: Fit, path: str | Path) -> None:
    """Write a fit: a posterior as NetCDF, a point fit as JSON.

    The file appears whole or not at all: it is written beside its place and then renamed.

    Raises
    ------
    InputErrors
        the name does not end in .nc (posterior) or has that end (point fit), or has no folder.
    """
    path = Path(path)
    if (path.suffix == ".nc") != isinstance(fit, PosteriorFit):
        suffix = ".nc" if isinstance(fit, PosteriorFit) else ".json"
        raise InputErrors.one(f"a fit by {fit.engine} is saved as {suffix}", file=str(path))
    if not path.parent.is_dir():
        raise InputErrors.one(f"there is no folder {path.parent}", file=str(path))
    part = path.with_name(f".{path.name}.part")
    try:
        if isinstance(fit, PosteriorFit):
            data = fit.data.copy()
            data.attrs = {"hlm_models": json.dumps(plain(_posterior_header(fit)))}
            data.to_netcdf(part, engine="h5netcdf")
        else:
            part.write_text(json.dumps(plain(_point_content(fit)), indent=1), encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def load_fit(path: str | Path, spec: ModelSpec) -> Fit:
    """Read a fit of `spec` written by `save_fit`.

    Raises
    ------
    InputErrors
        there is no such file, or it is not one that `save_fit` wrote.
    ModelMismatchError
        the file's model, priors or data differ from those of `spec`.
    """
    path = Path(path)
    if not path.is_file():
        raise InputErrors.one("there is no such file", file=str(path))
    return _load_posterior(path, spec) if path.suffix == ".nc" else _load_point(path, spec)


def _check_header(header: Any, path: Path, spec: ModelSpec) -> None:
    if not isinstance(header, dict) or header.get("format") != FORMAT or "digest" not in header:
        raise InputErrors.one("this is not a fit that this version wrote", file=str(path))
    if header["digest"] != spec.digest:
        raise ModelMismatchError(
            f"{path}: this fit is of another model, other priors or other data than {spec.name}; "
            "fit again, or build the model that it was fitted from"
        )


def _header(fit: Fit) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "model": fit.spec.name,
        "digest": fit.spec.digest,
        "engine": fit.engine,
        "checks": [check.document() for check in fit.checks],
        "seconds": dict(fit.seconds),
        "seed": fit.seed,
    }


def _posterior_header(fit: PosteriorFit) -> dict[str, Any]:
    return _header(fit) | {
        "sampler": fit.sampler,
        "parameterization": fit.parameterization,
        "divergences": fit.divergences,
    }


def _load_posterior(path: Path, spec: ModelSpec) -> PosteriorFit:
    import xarray as xr

    try:
        data = xr.load_datatree(path, engine="h5netcdf")
        header = json.loads(data.attrs.get("hlm_models", "null"))
    except (OSError, ValueError) as error:
        raise InputErrors.one(f"cannot be read as a fit: {error}", file=str(path)) from error
    _check_header(header, path, spec)
    return PosteriorFit(
        spec=spec,
        engine=header["engine"],
        data=data,
        sampler=header["sampler"],
        parameterization=header["parameterization"],
        divergences=header["divergences"],
        checks=tuple(Check(**check) for check in header["checks"]),
        seconds=header["seconds"],
        seed=header["seed"],
    )


_ARRAYS = ("beta", "vcov_beta", "df", "vcov_slopes", "vcov_phi", "theta")
_RANDOM_ARRAYS = ("sd", "corr", "cov", "Lambda", "se_log_sd", "se_z_corr", "b", "b_cov")


def _point_content(fit: PointFit) -> dict[str, Any]:
    return _header(fit) | {
        "criterion": fit.criterion,
        "sigma": fit.sigma,
        "se_log_sigma": fit.se_log_sigma,
        "starts": fit.starts,
        **{name: getattr(fit, name) for name in _ARRAYS},
        "random": [
            {
                "group": estimate.group,
                "columns": estimate.columns,
                "singular": estimate.singular,
                **{name: getattr(estimate, name) for name in _RANDOM_ARRAYS},
            }
            for estimate in fit.random
        ],
    }


def _load_point(path: Path, spec: ModelSpec) -> PointFit:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputErrors.one(f"cannot be read as a fit: {error}", file=str(path)) from error
    _check_header(content, path, spec)
    lost = [name for name in (*_ARRAYS, "random", "criterion", "sigma") if name not in content]
    if lost:
        raise InputErrors.one(f"is not whole: it lacks {lost[0]}; fit again", file=str(path))
    arrays = {name: _array(content[name]).reshape(_shape(name, spec, content)) for name in _ARRAYS}
    # JSON has neither infinite degrees of freedom nor a standard error that is not a number.
    arrays["df"] = frozen(np.where(np.isnan(arrays["df"]), np.inf, arrays["df"]))
    return PointFit(
        spec=spec,
        engine=content["engine"],
        criterion=content["criterion"],
        sigma=content["sigma"],
        se_log_sigma=float(_array(content["se_log_sigma"])),
        starts=tuple(content["starts"]),
        random=tuple(
            RandomEstimate(
                group=entry["group"],
                columns=tuple(entry["columns"]),
                singular=entry["singular"],
                **{name: _array(entry[name]) for name in _RANDOM_ARRAYS},
            )
            for entry in content["random"]
        ),
        checks=tuple(Check(**check) for check in content["checks"]),
        seconds=content["seconds"],
        seed=content["seed"],
        **arrays,
    )


def _shape(name: str, spec: ModelSpec, content: Any) -> tuple[int, ...]:
    """Of an array of a point fit: a list cannot say the shape of what has no elements."""
    p, m = spec.design.p, len(content["theta"]) + 1
    return {
        "beta": (p,),
        "vcov_beta": (p, p),
        "df": (p,),
        "vcov_slopes": (m, p, p),
        "vcov_phi": (m, m),
        "theta": (m - 1,),
    }[name]


def _array(values: Any) -> FloatArray:
    return frozen(np.array(values, dtype=np.float64))
