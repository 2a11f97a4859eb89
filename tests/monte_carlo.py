"""Summaries of draws with their Monte Carlo standard errors, for tests of samplers."""

import numpy as np

__all__ = ["SUMMARIES", "summarised"]

SUMMARIES = {
    "mean": (np.mean, {"method": "mean"}),
    "sd": (lambda draws: np.std(draws, ddof=1), {"method": "sd"}),
    "q05": (lambda draws: np.quantile(draws, 0.05), {"method": "quantile", "prob": 0.05}),
    "q95": (lambda draws: np.quantile(draws, 0.95), {"method": "quantile", "prob": 0.95}),
}
"""What is compared: the number, and how arviz_stats computes its Monte Carlo standard error."""


def summarised(draws, which):
    """One number of draws (chains, draws), and its Monte Carlo standard error."""
    from arviz_stats.base.array import array_stats

    number, how = SUMMARIES[which]
    error = array_stats.mcse(draws, chain_axis=0, draw_axis=1, **how)
    return float(number(draws)), float(error)
