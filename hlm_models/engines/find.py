"""The one place where an engine is looked up by its name."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from hlm_models.errors import InputErrors, RefusalError, nearest
from hlm_models.results.fits import Fit
from hlm_models.spec.model import ModelSpec

__all__ = ["ENGINES", "Engine", "eligible", "find", "require"]

_MODULES = {
    "nuts": ("nuts", {}),
    "gibbs": ("gibbs", {}),
    "reml": ("likelihood", {"reml": True}),
    "ml": ("likelihood", {"reml": False}),
}
ENGINES = tuple(_MODULES)


@dataclass(frozen=True, slots=True)
class Engine:
    """One way of fitting: whether it gives draws, why it refuses a model, and the fit.

    `idle` are the keys of `fit` in a model file that it makes no use of.
    """

    name: str
    draws: bool
    refusals: Callable[[ModelSpec], tuple[str, ...]]
    fit: Callable[..., Fit]
    idle: frozenset[str] = frozenset()


def find(name: str) -> Engine:
    """The engine called `name`."""
    if name not in _MODULES:
        raise InputErrors.one(
            f"there is no engine '{name}'{nearest(name, ENGINES)} (engines: {', '.join(ENGINES)})",
            key="engine",
        )
    module_name, options = _MODULES[name]
    module = importlib.import_module(f"hlm_models.engines.{module_name}")
    fit = partial(module.fit, **options)
    return Engine(name, module.DRAWS, module.refusals, fit, module.IDLE)


def eligible(spec: ModelSpec) -> tuple[str, ...]:
    """Engines that can fit the model."""
    return tuple(name for name in ENGINES if not find(name).refusals(spec))


def require(name: str, spec: ModelSpec, *, drawing: bool = False) -> Engine:
    """The engine called `name`, or its reasons for refusing the model.

    With `drawing` only engines that give draws are named in its place.
    """
    engine = find(name)
    reasons = engine.refusals(spec)
    if reasons:
        others = (
            ", ".join(one for one in eligible(spec) if find(one).draws or not drawing) or "none"
        )
        raise RefusalError(
            "\n".join(f"{name}: refused: {reason}" for reason in reasons)
            + f"\n{' ' * len(name)}  eligible: {others}"
        )
    return engine
