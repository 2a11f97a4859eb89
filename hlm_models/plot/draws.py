"""Draws of a posterior as ArviZ draws them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hlm_models.errors import InputErrors, RefusalError
from hlm_models.plot.asked import chosen
from hlm_models.plot.style import INK, MUTED, POSTERIOR, PRIOR, REFERENCE, WIDE, shortened, styled
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.point_only import posterior_only
from hlm_models.results.summary import drawn_parameters
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    from arviz_plots.plot_collection import PlotCollection
    from xarray import Dataset, DataTree

__all__ = ["ppc", "prior_posterior", "rank", "trace"]

MOST = 12
"""Parameters that are drawn where none are named."""
COLUMNS = 3


def trace(fit: PosteriorFit, names: str | Sequence[str] | None = None) -> "PlotCollection":
    """Draws of every chain over time, a panel a parameter; divergences are marked.

    What would look wrong: chains that stay apart; one that drifts, or stands still for long.

    Parameters
    ----------
    names : parameters as `hlm.summary` has them; by default all that vary, twelve at most

    Raises
    ------
    RefusalError
        the fit is a point fit: it has no draws.
    InputErrors
        there is no such parameter, or it does not vary.
    """
    from arviz_plots import plot_trace

    tree = _tree(posterior_only(fit, "plot.trace"), names)
    with styled():
        drawn: PlotCollection = plot_trace(
            tree, backend="matplotlib", visuals={"trace": {"width": 0.5}}, **_look(tree)
        )
    return drawn


def rank(fit: PosteriorFit, names: str | Sequence[str] | None = None) -> "PlotCollection":
    """How far the ranks of each chain's draws among all draws stray from uniform.

    ArviZ writes the p value of a test of uniformity in each panel.

    What would look wrong: a chain whose line goes far off, and a small p.

    Parameters
    ----------
    names : parameters as `hlm.summary` has them; by default all that vary, twelve at most

    Raises
    ------
    RefusalError
        the fit is a point fit: it has no draws.
    InputErrors
        there is no such parameter, or it does not vary.

    Source: Vehtari et al. (2021), doi:10.1214/20-BA1221, for ranks by chain.
    """
    from arviz_plots import plot_rank

    tree = _tree(posterior_only(fit, "plot.rank"), names)
    with styled():
        drawn: PlotCollection = plot_rank(tree, backend="matplotlib", **_look(tree))
    return drawn


def ppc(fit: PosteriorFit, *, replicates: int = 50) -> "PlotCollection":
    """The distribution of the response over those of replicated datasets.

    What would look wrong: data that run outside of the replicates: another shape, other tails.

    Parameters
    ----------
    replicates : datasets that are drawn, from 1 up

    Raises
    ------
    RefusalError
        the fit is a point fit, or was stored without replicated data.
    InputErrors
        `replicates` is no such number.

    Source: Gabry, Simpson, Vehtari, Betancourt and Gelman (2019), doi:10.1111/rssa.12378.
    """
    from arviz_plots import plot_ppc_dist

    fit = posterior_only(fit, "plot.ppc")
    if replicates < 1:
        raise InputErrors.one(f"replicates must be 1 or more, not {replicates!r}", key="replicates")
    if "posterior_predictive" not in fit.data.children:
        raise RefusalError("the fit has no replicated data: fit the model again to have them")
    with styled():
        drawn: PlotCollection = plot_ppc_dist(
            fit.data,
            num_samples=replicates,
            var_names="y_obs",
            backend="matplotlib",
            visuals={
                "predictive_dist": {"color": POSTERIOR, "width": 0.7},
                "observed_dist": {"color": INK, "width": 2.0},
                "title": False,
            },
            figure_kwargs={"layout": "constrained", "figsize": (WIDE, 3.0)},
        )
        ax = drawn.viz["plot"].to_dataset()["y_obs"].item()
        ax.set_xlabel(shortened(fit.spec.design.formula.response, 60))
    return drawn


def prior_posterior(
    fit: PosteriorFit, names: str | Sequence[str] | None = None
) -> "PlotCollection":
    """Densities of draws of the prior and of the posterior, a panel a parameter.

    What would look wrong: a posterior at the edge of its prior; one like its prior, of which the
    data say nothing.

    Parameters
    ----------
    names : parameters as `hlm.summary` has them; by default all that vary, twelve at most

    Raises
    ------
    RefusalError
        the fit is a point fit, or a prior is improper and has no draws.
    InputErrors
        there is no such parameter, or it does not vary.
    """
    from arviz_plots import plot_prior_posterior

    fit = posterior_only(fit, "plot.prior_posterior")
    if "prior" not in fit.data.children:
        raise RefusalError("the fit has no draws of the prior: one of the priors is improper")
    tree = _tree(fit, names, prior=True)
    with styled():
        drawn: PlotCollection = plot_prior_posterior(
            tree, backend="matplotlib", color=[PRIOR, POSTERIOR], **_look(tree, colour=False)
        )
    before, after = (tree[group].to_dataset() for group in ("prior", "posterior"))
    for name in after.data_vars:
        ax = drawn.viz["plot"].to_dataset()[name].item()
        ax.set_xlim(*_span(before[name].values, after[name].values))
    return drawn


def _span(before: FloatArray, after: FloatArray) -> tuple[float, float]:
    """All draws of the posterior, and as much of the prior's middle as leaves these seen."""
    low, high = float(after.min()), float(after.max())
    inner, outer = np.quantile(before, [0.05, 0.95])
    length = high - low
    return max(min(low, inner), low - 5 * length), min(max(high, outer), high + 5 * length)


def _look(tree: "DataTree", *, colour: bool = True) -> dict[str, Any]:
    count = len(tree["posterior"].data_vars)
    columns = min(COLUMNS, count)
    size = (2.9 * columns, 2.1 * -(-count // columns))
    look: dict[str, Any] = {"figure_kwargs": {"layout": "constrained", "figsize": size}}
    if colour:
        look["color"] = [POSTERIOR, REFERENCE, PRIOR, MUTED]
    return look | {"col_wrap": COLUMNS}


def _tree(
    fit: PosteriorFit, names: str | Sequence[str] | None, *, prior: bool = False
) -> "DataTree":
    """Parameters as variables of their own, by their names."""
    from xarray import DataTree

    drawn = _dataset(fit, "posterior")
    varying = [str(name) for name, one in drawn.items() if np.ptp(one.values) > 0]
    if not varying:
        raise InputErrors.one("no parameter varies over the draws")
    shown = chosen(varying, names, what="parameter that varies", most=MOST)
    groups: dict[str, Any] = {"posterior": drawn[shown]}
    if prior:
        groups["prior"] = _dataset(fit, "prior")[shown]
    else:
        groups["sample_stats"] = fit.data["sample_stats"].to_dataset()
    return DataTree.from_dict(groups)


def _dataset(fit: PosteriorFit, group: str) -> "Dataset":
    from xarray import Dataset

    drawn = fit.data[group].to_dataset()
    found = drawn_parameters(fit.spec, drawn)
    return Dataset(
        {name: (("chain", "draw"), one) for name, one in found.items()},
        {"chain": drawn["chain"], "draw": drawn["draw"]},
    )
