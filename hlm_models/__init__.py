"""Hierarchical linear models: one YAML file in; posterior, REML fit and their agreement out."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hlm_models.api.calibration import calibrate, write_calibration
    from hlm_models.api.models import build, fit, list_models, to_pymc
    from hlm_models.api.prior import prior_predictive, prior_summary, write_prior
    from hlm_models.api.runs import load_run, run, write_report
    from hlm_models.comparison.agreement import agreement
    from hlm_models.comparison.group_ols import ad_hoc, group_ols
    from hlm_models.comparison.ladder import ladder
    from hlm_models.comparison.samplers import samplers
    from hlm_models.comparison.sensitivity import sensitivity
    from hlm_models.elpd.pointwise import log_likelihood
    from hlm_models.errors import HlmError, InputErrors, RefusalError
    from hlm_models.inference.anova import anova
    from hlm_models.inference.bootstrap import bootstrap
    from hlm_models.inference.hypotheses import coefficient_tests, hypothesis
    from hlm_models.inference.likelihood_ratio import likelihood_ratio
    from hlm_models.inference.means import marginal_means
    from hlm_models.inference.profile import profile
    from hlm_models.inference.refit import refit
    from hlm_models.results.coef_table import coefficient_table
    from hlm_models.results.extract import coef, fitted, fixef, ranef, residuals, varcorr, vcov
    from hlm_models.results.influence import cooks_distance, leverage
    from hlm_models.results.predict import predict
    from hlm_models.results.save import load_fit, save_fit
    from hlm_models.results.simulate import simulate
    from hlm_models.results.summary import summary
    from hlm_models.results.variance import icc, r2

_WHERE = {
    "HlmError": "errors",
    "InputErrors": "errors",
    "RefusalError": "errors",
    "ad_hoc": "comparison.group_ols",
    "agreement": "comparison.agreement",
    "anova": "inference.anova",
    "bootstrap": "inference.bootstrap",
    "build": "api.models",
    "calibrate": "api.calibration",
    "coef": "results.extract",
    "coefficient_table": "results.coef_table",
    "coefficient_tests": "inference.hypotheses",
    "cooks_distance": "results.influence",
    "fit": "api.models",
    "fitted": "results.extract",
    "fixef": "results.extract",
    "group_ols": "comparison.group_ols",
    "hypothesis": "inference.hypotheses",
    "icc": "results.variance",
    "ladder": "comparison.ladder",
    "leverage": "results.influence",
    "likelihood_ratio": "inference.likelihood_ratio",
    "list_models": "api.models",
    "load_fit": "results.save",
    "load_run": "api.runs",
    "log_likelihood": "elpd.pointwise",
    "marginal_means": "inference.means",
    "predict": "results.predict",
    "prior_predictive": "api.prior",
    "prior_summary": "api.prior",
    "profile": "inference.profile",
    "r2": "results.variance",
    "ranef": "results.extract",
    "refit": "inference.refit",
    "residuals": "results.extract",
    "run": "api.runs",
    "samplers": "comparison.samplers",
    "save_fit": "results.save",
    "sensitivity": "comparison.sensitivity",
    "simulate": "results.simulate",
    "summary": "results.summary",
    "to_pymc": "api.models",
    "varcorr": "results.extract",
    "vcov": "results.extract",
    "write_calibration": "api.calibration",
    "write_prior": "api.prior",
    "write_report": "api.runs",
}

__all__ = [
    "HlmError",
    "InputErrors",
    "RefusalError",
    "ad_hoc",
    "agreement",
    "anova",
    "bootstrap",
    "build",
    "calibrate",
    "coef",
    "coefficient_table",
    "coefficient_tests",
    "cooks_distance",
    "fit",
    "fitted",
    "fixef",
    "group_ols",
    "hypothesis",
    "icc",
    "ladder",
    "leverage",
    "likelihood_ratio",
    "list_models",
    "load_fit",
    "load_run",
    "log_likelihood",
    "marginal_means",
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
    "simulate",
    "summary",
    "to_pymc",
    "varcorr",
    "vcov",
    "write_calibration",
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
