"""Estimates for a board that cost nothing: made-up log densities, whatever the draws are."""

from dataclasses import dataclass

import numpy as np

from hlm_models.comparison import board as board_module
from hlm_models.elpd.estimate import Elpd
from hlm_models.elpd.grouping import grouping

__all__ = ["BELOW", "CannedEvidence", "estimate", "install"]

BELOW = {"sleepstudy-intercept": 60.0, "sleepstudy-uncorrelated": 1.0, "sleepstudy-slopes": 0.0}
"""How far the estimate of a model is below the best."""


@dataclass(frozen=True)
class CannedEvidence:
    """As much of an `Evidence` as the board reads."""

    log_marginal_likelihood: float
    se: float = 0.01
    warnings: tuple[str, ...] = ("a warning",)


def estimate(fit, focus, by, *, method="loo", folds=0):
    """Log densities of every model around the same ones; the second was fitted without."""
    if focus == "group":
        levels = grouping(fit.spec, by)
        name, names = levels.name, levels.labels
        common = -np.bincount(levels.level, fit.spec.design.y) / 100
    else:
        name, names, common = None, range(fit.spec.design.n), -fit.spec.design.y / 60
    size, below = len(names), BELOW.get(fit.spec.name, 0.0)
    own = np.random.default_rng(len(fit.spec.name)).normal(0, 0.1, size)
    values = common + own - own.mean() - below / size
    k = np.random.default_rng(7).uniform(-0.1, 0.6, size)
    how = [{"loo": "psis", "waic": "waic", "kfold": "refit"}[method]] * size
    if method == "loo":
        k[1], how[1] = 0.9, "refit"
    return Elpd(
        model=fit.spec.name, method=method, focus=focus, by=name, names=names, pointwise=values,
        lpd=values + 0.1, pareto_k=k if method == "loo" else np.full(size, np.nan), good_k=0.7,
        how=tuple(how), draws=1000, folds=folds,
    )  # fmt: skip


def install(monkeypatch):
    """Put them in place of the real ones; returns a list of what they are asked for."""
    asked = []

    def loo(fit, focus="observation", by=None, *, progress):
        asked.append((fit.spec.name, focus, by))
        return estimate(fit, focus, by)

    def kfold(fit, k, by=None, *, seed, progress):
        asked.append((fit.spec.name, k, seed))
        focus = "observation" if by is None else "group"
        return estimate(fit, focus, by, method="kfold", folds=k)

    def waic(fit, focus, by):
        return estimate(fit, focus, by, method="waic")

    def evidence(fit, *, progress):
        return CannedEvidence(-900.0 - len(fit.spec.name))

    monkeypatch.setattr(board_module, "loo", loo)
    monkeypatch.setattr(board_module, "kfold_elpd", kfold)
    monkeypatch.setattr(board_module, "waic", waic)
    monkeypatch.setattr(board_module, "log_marginal_likelihood", evidence)
    return asked
