"""Fits as JSON documents; the keys are a contract (docs/json.md)."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from hlm_models.design.build import RandomBlock
from hlm_models.results.fits import Fit, PointFit, PosteriorFit
from hlm_models.results.summary import coefficient_rows, draw_row, draw_rows, hyperparameters
from hlm_models.results.variance import icc, r2
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

__all__ = ["document", "plain"]


def document(fit: Fit) -> dict[str, Any]:
    """The document of `hlm fit --json`."""
    found = _common(fit) | (_point(fit) if isinstance(fit, PointFit) else _posterior(fit))
    whole: dict[str, Any] = plain(found | {"checks": [one.document() for one in fit.checks]})
    return whole


def plain(value: Any) -> Any:
    """The same with NumPy values as Python's, and not-finite numbers as None: strict JSON."""
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _common(fit: Fit) -> dict[str, Any]:
    spec: ModelSpec = fit.spec
    return {
        "model": spec.name,
        "engine": fit.engine,
        "formula": spec.design.formula.text,
        "n": spec.design.n,
        "p": spec.design.p,
        "groups": {block.group: block.J for block in spec.blocks},
        "weights": spec.design.weights_column,
        "offset": spec.design.offset_column,
        "known_sd": spec.design.known_sd_column,
        "sigma_known": spec.design.sigma is not None,
        "factors": [asdict(factor) for factor in spec.design.factors],
        "converged": fit.converged,
        "singular": fit.singular,
        "seed": fit.seed,
        "seconds": dict(fit.seconds),
    }


def _point(fit: PointFit) -> dict[str, Any]:
    return {
        "criterion": {"name": fit.engine, "value": fit.criterion},
        "loglik": fit.loglik,
        "aic": fit.aic,
        "aicc": fit.aicc,
        "bic": fit.bic,
        "icc": icc(fit).reset_index().to_dict("records"),
        "r2": asdict(r2(fit)),
        "df_method": "satterthwaite",
        "beta": [asdict(row) for row in coefficient_rows(fit)],
        "vcov_beta": fit.vcov_beta,
        "theta": fit.theta,
        "random": [
            {
                "group": estimate.group,
                "columns": estimate.columns,
                "sd": estimate.sd,
                "corr": estimate.corr,
                "cov": estimate.cov,
            }
            for estimate in fit.random
        ],
        "sigma": fit.sigma,
    }


def _posterior(fit: PosteriorFit) -> dict[str, Any]:
    posterior = fit.data["posterior"].to_dataset()

    def cell(draws: FloatArray) -> dict[str, float]:
        row = draw_row("", draws)
        return {"mean": row.mean, "sd": row.sd, "ess_bulk": row.ess_bulk, "r_hat": row.r_hat}

    def entry(block: RandomBlock) -> dict[str, Any]:
        sd = np.asarray(posterior[f"sd_{block.group}"].values)
        corr = np.asarray(posterior[f"corr_{block.group}"].values)
        cov = sd[..., :, None] * corr * sd[..., None, :]
        at = range(block.q)
        return {
            "group": block.group,
            "columns": block.effects,
            "sd": [cell(sd[..., i]) for i in at],
            "corr": [[cell(corr[..., i, j]) for j in at] for i in at],
            "cov": [[cell(cov[..., i, j]) for j in at] for i in at],
        }

    rows = draw_rows(fit)
    beta = [
        asdict(row) | {"name": row.name.removeprefix("beta[").removesuffix("]")}
        for row in rows
        if row.name.startswith("beta[")
    ]
    shown = {one.name for one in hyperparameters(fit.spec)}
    return {
        "beta": beta,
        "hyperparameters": [asdict(row) for row in rows if row.name in shown],
        "random": [entry(block) for block in fit.spec.blocks],
        "sigma": cell(np.asarray(posterior["sigma"].values)),
        **_manner(fit),
    }


def _manner(fit: PosteriorFit) -> dict[str, Any]:
    """How an engine went about it."""
    if fit.engine == "gibbs":
        return {"scheme": fit.parameterization}
    return {
        "divergences": fit.divergences,
        "parameterization": fit.parameterization,
        "sampler": fit.sampler,
    }
