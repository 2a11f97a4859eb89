"""Hierarchical linear models: one YAML file in; posterior, REML fit and their agreement out."""

import importlib
from typing import TYPE_CHECKING, Any

from hlm_models import plot

if TYPE_CHECKING:
    from hlm_models.api.bambi import from_bambi, to_bambi
    from hlm_models.api.calibration import calibrate, write_calibration
    from hlm_models.api.comparison import compare, write_comparison
    from hlm_models.api.models import build, fit, list_models, to_pymc
    from hlm_models.api.mundlak import mundlak
    from hlm_models.api.prior import prior_predictive, prior_summary, write_prior
    from hlm_models.api.runs import load_run, run, write_report
    from hlm_models.api.verify import verify
    from hlm_models.api.zoo import build_zoo
    from hlm_models.comparison.agreement import agreement
    from hlm_models.comparison.evidence import bayes_factor, log_marginal_likelihood
    from hlm_models.comparison.ladder import ladder
    from hlm_models.comparison.samplers import samplers
    from hlm_models.comparison.sensitivity import sensitivity
    from hlm_models.elpd.grouping import Grouping, grouping
    from hlm_models.elpd.influence import influence
    from hlm_models.elpd.kfold import kfold
    from hlm_models.elpd.loo import loo
    from hlm_models.elpd.loo_pit import loo_pit
    from hlm_models.elpd.pointwise import log_likelihood
    from hlm_models.elpd.waic import waic
    from hlm_models.errors import (
        FitError,
        HlmError,
        InputErrors,
        ModelMismatchError,
        RefusalError,
    )
    from hlm_models.inference.anova import anova
    from hlm_models.inference.bootstrap import bootstrap
    from hlm_models.inference.hypotheses import coefficient_tests, hypothesis
    from hlm_models.inference.likelihood_ratio import likelihood_ratio
    from hlm_models.inference.means import marginal_means
    from hlm_models.inference.profile import profile
    from hlm_models.inference.refit import refit
    from hlm_models.interpretation.bayes_r2 import bayes_r2
    from hlm_models.interpretation.contextual import contextual_effects
    from hlm_models.interpretation.effects import effects
    from hlm_models.interpretation.group_ols import ad_hoc, group_ols
    from hlm_models.interpretation.group_ppc import group_ppc
    from hlm_models.interpretation.macro_effects import macro_effects
    from hlm_models.interpretation.pooling import pooling
    from hlm_models.interpretation.shrinkage import shrinkage
    from hlm_models.interpretation.variance import icc, r2, variance_draws
    from hlm_models.interpretation.variance_explained import variance_explained
    from hlm_models.prediction.predict import predict
    from hlm_models.results.coef_table import coefficient_table
    from hlm_models.results.deletion import case_deletion
    from hlm_models.results.equations import equations
    from hlm_models.results.extract import coef, fitted, fixef, ranef, residuals, varcorr, vcov
    from hlm_models.results.influence import cooks_distance, leverage
    from hlm_models.results.save import load_fit, save_fit
    from hlm_models.results.simulate import simulate
    from hlm_models.results.summary import summary

_WHERE = {
    "FitError": "errors",
    "Grouping": "elpd.grouping",
    "HlmError": "errors",
    "InputErrors": "errors",
    "ModelMismatchError": "errors",
    "RefusalError": "errors",
    "ad_hoc": "interpretation.group_ols",
    "agreement": "comparison.agreement",
    "anova": "inference.anova",
    "bayes_factor": "comparison.evidence",
    "bayes_r2": "interpretation.bayes_r2",
    "bootstrap": "inference.bootstrap",
    "build": "api.models",
    "build_zoo": "api.zoo",
    "calibrate": "api.calibration",
    "case_deletion": "results.deletion",
    "coef": "results.extract",
    "coefficient_table": "results.coef_table",
    "coefficient_tests": "inference.hypotheses",
    "compare": "api.comparison",
    "contextual_effects": "interpretation.contextual",
    "cooks_distance": "results.influence",
    "effects": "interpretation.effects",
    "equations": "results.equations",
    "fit": "api.models",
    "fitted": "results.extract",
    "fixef": "results.extract",
    "from_bambi": "api.bambi",
    "group_ols": "interpretation.group_ols",
    "group_ppc": "interpretation.group_ppc",
    "grouping": "elpd.grouping",
    "hypothesis": "inference.hypotheses",
    "icc": "interpretation.variance",
    "influence": "elpd.influence",
    "kfold": "elpd.kfold",
    "ladder": "comparison.ladder",
    "leverage": "results.influence",
    "likelihood_ratio": "inference.likelihood_ratio",
    "list_models": "api.models",
    "load_fit": "results.save",
    "load_run": "api.runs",
    "log_likelihood": "elpd.pointwise",
    "log_marginal_likelihood": "comparison.evidence",
    "loo": "elpd.loo",
    "loo_pit": "elpd.loo_pit",
    "macro_effects": "interpretation.macro_effects",
    "marginal_means": "inference.means",
    "mundlak": "api.mundlak",
    "pooling": "interpretation.pooling",
    "predict": "prediction.predict",
    "prior_predictive": "api.prior",
    "prior_summary": "api.prior",
    "profile": "inference.profile",
    "r2": "interpretation.variance",
    "ranef": "results.extract",
    "refit": "inference.refit",
    "residuals": "results.extract",
    "run": "api.runs",
    "samplers": "comparison.samplers",
    "save_fit": "results.save",
    "sensitivity": "comparison.sensitivity",
    "shrinkage": "interpretation.shrinkage",
    "simulate": "results.simulate",
    "summary": "results.summary",
    "to_bambi": "api.bambi",
    "to_pymc": "api.models",
    "varcorr": "results.extract",
    "variance_draws": "interpretation.variance",
    "variance_explained": "interpretation.variance_explained",
    "vcov": "results.extract",
    "verify": "api.verify",
    "waic": "elpd.waic",
    "write_calibration": "api.calibration",
    "write_comparison": "api.comparison",
    "write_prior": "api.prior",
    "write_report": "api.runs",
}

__all__ = [
    "FitError",
    "Grouping",
    "HlmError",
    "InputErrors",
    "ModelMismatchError",
    "RefusalError",
    "ad_hoc",
    "agreement",
    "anova",
    "bayes_factor",
    "bayes_r2",
    "bootstrap",
    "build",
    "build_zoo",
    "calibrate",
    "case_deletion",
    "coef",
    "coefficient_table",
    "coefficient_tests",
    "compare",
    "contextual_effects",
    "cooks_distance",
    "effects",
    "equations",
    "fit",
    "fitted",
    "fixef",
    "from_bambi",
    "group_ols",
    "group_ppc",
    "grouping",
    "hypothesis",
    "icc",
    "influence",
    "kfold",
    "ladder",
    "leverage",
    "likelihood_ratio",
    "list_models",
    "load_fit",
    "load_run",
    "log_likelihood",
    "log_marginal_likelihood",
    "loo",
    "loo_pit",
    "macro_effects",
    "marginal_means",
    "mundlak",
    "plot",
    "pooling",
    "predict",
    "prior_predictive",
    "prior_summary",
    "profile",
    "r2",
    "ranef",
    "refit",
    "residuals",
    "run",
    "samplers",
    "save_fit",
    "sensitivity",
    "shrinkage",
    "simulate",
    "summary",
    "to_bambi",
    "to_pymc",
    "varcorr",
    "variance_draws",
    "variance_explained",
    "vcov",
    "verify",
    "waic",
    "write_calibration",
    "write_comparison",
    "write_prior",
    "write_report",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that importing the package is cheap."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
