"""What Python prints of a model and of a fit: short texts, and tables for notebooks."""

import math
from collections import Counter
from html import escape

from hlm_models.results.fits import Fit, PointFit
from hlm_models.results.summary import parameter_draws, point_values, summary

__all__ = ["fit_html", "fit_text"]

MOST = 20
"""Parameters that are printed; the summary has all."""


def fit_text(fit: Fit) -> str:
    """A fit in a few lines: the model, its parameters, and how its checks ended."""
    values = _values(fit)
    shown = list(values.items())[:MOST]
    width = max((len(name) for name, _ in shown), default=0)
    lines = [f"{name:<{width}}  {_number(mean)} ({_number(sd)})" for name, (mean, sd) in shown]
    if len(values) > MOST:
        lines.append(f"and {len(values) - MOST:,} more")
    what = "estimate (se)" if isinstance(fit, PointFit) else "posterior mean (sd)"
    return "\n".join([_head(fit), fit.spec.design.formula.text, f"{what}:", *lines, _foot(fit)])


def fit_html(fit: Fit) -> str:
    """A fit as the table of its summary, with the model above and its checks below."""
    formula = escape(fit.spec.design.formula.text)
    head = f"<p>{escape(_head(fit))}<br><code>{formula}</code></p>"
    return f"{head}{summary(fit).to_html(float_format='{:.4g}'.format)}<p>{escape(_foot(fit))}</p>"


def _values(fit: Fit) -> dict[str, tuple[float, float]]:
    if isinstance(fit, PointFit):
        return point_values(fit)
    drawn = parameter_draws(fit)
    return {name: (float(one.mean()), float(one.std(ddof=1))) for name, one in drawn.items()}


def _number(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "-"


def _head(fit: Fit) -> str:
    return f"{type(fit).__name__} of {fit.spec.name} by {fit.engine}: {fit.spec.sizes}"


def _foot(fit: Fit) -> str:
    counts = Counter(check.status for check in fit.checks)
    told = ", ".join(f"{counts[one]} {one}" for one in ("fail", "warn", "pass") if counts[one])
    if isinstance(fit, PointFit):
        name = "REML criterion" if fit.engine == "reml" else "deviance"
        return f"{name} {fit.criterion:.4f}; checks: {told}"
    posterior = fit.data["posterior"].sizes
    draws = f"{posterior['chain']} chains of {posterior['draw']:,} draws"
    diverged = f", {fit.divergences} divergences" if fit.engine == "nuts" else ""
    return f"{draws}{diverged}; checks: {told}"
