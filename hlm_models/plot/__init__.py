"""Figures of fits and of what is computed from them, as matplotlib figures or ArviZ's plots."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hlm_models.plot.by_group import ppc_by_group
    from hlm_models.plot.deletion import influence
    from hlm_models.plot.draws import ppc, prior_posterior, rank, trace
    from hlm_models.plot.expected import effects, macro_effects
    from hlm_models.plot.intervals import agreement, coefficients
    from hlm_models.plot.levels import caterpillar
    from hlm_models.plot.lines import group_lines, group_panels
    from hlm_models.plot.pooled import pooling, shrinkage, shrinkage_plane
    from hlm_models.plot.shares import variance
    from hlm_models.plot.uniformity import loo_pit

_WHERE = {
    "agreement": "intervals",
    "caterpillar": "levels",
    "coefficients": "intervals",
    "effects": "expected",
    "group_lines": "lines",
    "group_panels": "lines",
    "influence": "deletion",
    "loo_pit": "uniformity",
    "macro_effects": "expected",
    "pooling": "pooled",
    "ppc": "draws",
    "ppc_by_group": "by_group",
    "prior_posterior": "draws",
    "rank": "draws",
    "shrinkage": "pooled",
    "shrinkage_plane": "pooled",
    "trace": "draws",
    "variance": "shares",
}

__all__ = [
    "agreement",
    "caterpillar",
    "coefficients",
    "effects",
    "group_lines",
    "group_panels",
    "influence",
    "loo_pit",
    "macro_effects",
    "pooling",
    "ppc",
    "ppc_by_group",
    "prior_posterior",
    "rank",
    "shrinkage",
    "shrinkage_plane",
    "trace",
    "variance",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import a figure when it is first asked for, so that matplotlib is not loaded before."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value
