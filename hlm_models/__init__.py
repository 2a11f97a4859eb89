"""Hierarchical linear models: one YAML file in; posterior, REML fit and their agreement out."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hlm_models.api.models import build, fit, list_models, to_pymc
    from hlm_models.api.runs import load_run, run, write_report
    from hlm_models.compare.agreement import agreement
    from hlm_models.errors import HlmError, InputErrors, RefusalError
    from hlm_models.results.save import load_fit, save_fit
    from hlm_models.results.summary import summary

_WHERE = {
    "HlmError": "errors",
    "InputErrors": "errors",
    "RefusalError": "errors",
    "agreement": "compare.agreement",
    "build": "api.models",
    "fit": "api.models",
    "list_models": "api.models",
    "load_fit": "results.save",
    "load_run": "api.runs",
    "run": "api.runs",
    "save_fit": "results.save",
    "summary": "results.summary",
    "to_pymc": "api.models",
    "write_report": "api.runs",
}

__all__ = [
    "HlmError",
    "InputErrors",
    "RefusalError",
    "agreement",
    "build",
    "fit",
    "list_models",
    "load_fit",
    "load_run",
    "run",
    "save_fit",
    "summary",
    "to_pymc",
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
