"""Profile likelihood intervals of the population parameters."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.algebra.search import minimise
from hlm_models.errors import FitError, InputErrors, Problem, nearest
from hlm_models.inference.slices import (
    Slice,
    coefficient,
    correlation,
    effect_sd,
    residual_sd,
)
from hlm_models.results.arguments import checked_level
from hlm_models.results.fits import PointFit
from hlm_models.results.optimum_only import optimum_only
from hlm_models.results.point_only import point_only
from hlm_models.results.progress import Progress, Step, silent
from hlm_models.results.summary import Parameter, parameters
from hlm_models.spec.marginal import Marginal
from hlm_models.spec.optimum import optimum
from hlm_models.types import FloatArray, frozen

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Curve", "Profile", "profile"]

SPACING = 0.5
"""Distance that the grid aims at between values, in zeta."""

BEYOND = 0.6
"""How far the grid goes beyond the ends of the interval, in zeta."""

FARTHEST = 200
"""Most values on either side of an estimate."""


@dataclass(frozen=True, eq=False)
class Curve:
    """The profile of one parameter.

    estimate : the ML estimate
    lower, upper : ends of the interval; NaN where there is none
    values, zeta : (m,) values in ascending order, and the signed root of how far the deviance,
        least over all other parameters, is above its minimum
    note : why an end is a bound of the parameter, or why there is no interval; else empty
    """

    name: str
    estimate: float
    lower: float
    upper: float
    values: FloatArray
    zeta: FloatArray
    note: str


@dataclass(frozen=True, eq=False)
class Profile:
    """Profiles of a fit's parameters, and intervals of confidence `level` from them.

    `deviance` is the minimum, minus twice the log likelihood at the ML estimates.
    """

    level: float
    deviance: float
    curves: tuple[Curve, ...]

    def __getitem__(self, parameter: str) -> Curve:
        for curve in self.curves:
            if curve.name == parameter:
                return curve
        names = [curve.name for curve in self.curves]
        raise InputErrors.one(f"'{parameter}' was not profiled{nearest(parameter, names)}")

    def frame(self) -> "pd.DataFrame":
        """One row a parameter: ML estimate, lower, upper and note."""
        import pandas as pd

        shown = ("estimate", "lower", "upper", "note")
        return pd.DataFrame(
            [{key: getattr(curve, key) for key in shown} for curve in self.curves],
            index=pd.Index([curve.name for curve in self.curves], name="parameter"),
            columns=list(shown),
        )

    def grid(self, parameter: str) -> "pd.DataFrame":
        """Values of one parameter and their zeta, to plot: a straight line is a normal likelihood.

        The ends of the interval are among them.
        """
        import pandas as pd

        curve = self[parameter]
        return pd.DataFrame({"value": curve.values, "zeta": curve.zeta})


def profile(
    fit: PointFit,
    parameters: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    progress: Progress = silent,
) -> Profile:
    """Profile likelihood intervals, as lme4's `confint(method = "profile")` gives them.

    The likelihood is the full one: of a REML fit, the model is fitted by ML first, and the
    estimates and intervals are ML's. For each value of a parameter, the deviance is minimised over
    all others; the interval holds the values whose deviance is less than the squared normal
    quantile of `level` above the minimum. Where a standard deviation of zero, or a correlation of
    -1 or 1, is inside, it is the end of the interval.

    Parameters
    ----------
    parameters : names as `summary` has them (`beta[x]`, `sd_g[x]`, `corr_g[x, y]`, `sigma`); all
        by default
    level : of the intervals

    Raises
    ------
    InputErrors
        a name that the model does not have; a level outside 0 to 1; a fit that was evaluated at
        `reml.theta`, which is no optimum.
    FitError
        the profile finds a deviance below that of the ML fit.

    Source: Bates et al. (2015), doi:10.18637/jss.v067.i01, section 5.1.
    """
    fit = optimum_only(point_only(fit, "profile"), "profile")
    spec, wanted, level = fit.spec, _wanted(fit, parameters), checked_level(level)
    marginal = spec.marginal
    progress(Step("profile: ML estimates"))
    if fit.engine == "ml":
        theta = marginal.scaled_theta(fit.theta)
        theta = minimise(lambda x: marginal.objective(x, reml=False), theta).x
    else:
        theta, _ = optimum(spec, reml=False)
    least = marginal.at(theta, reml=False).value
    cut = _normal_quantile((1 + level) / 2)
    curves = []
    for one in wanted:
        progress(Step(f"profile of {one.name}"))
        held = _slice(marginal, one, theta)
        curves.append(_undefined(one.name) if held is None else _curve(one.name, held, least, cut))
    return Profile(level, least + marginal.offset(reml=False), tuple(curves))


def _wanted(fit: PointFit, names: Sequence[str] | None) -> list[Parameter]:
    known = {one.name: one for one in parameters(fit.spec)}
    if names is None:
        return list(known.values())
    if not isinstance(names, Sequence):
        raise InputErrors.one(f"a list of names is needed, not {names!r}", key="parameters")
    chosen = [names] if isinstance(names, str) else list(names)
    problems = [
        Problem(f"'{name}' is not a parameter of this model{nearest(str(name), known)}")
        for name in chosen
        if name not in known
    ]
    if problems:
        raise InputErrors(problems)
    return [known[name] for name in chosen]


def _normal_quantile(probability: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(probability))


def _slice(marginal: Marginal, one: Parameter, theta: FloatArray) -> Slice | None:
    """The deviance with the parameter held; None where the parameter is undefined."""
    if one.variable == "beta":
        return coefficient(marginal, one.index[0], theta)
    if one.variable == "sigma":
        return residual_sd(marginal, theta)
    kind, _, group = one.variable.partition("_")
    index = [block.group for block in marginal.design.blocks].index(group)
    if kind == "sd":
        return effect_sd(marginal, index, one.index[0], theta)
    i, j = one.index
    return correlation(marginal, index, i, j, theta)


def _undefined(name: str) -> Curve:
    nothing = frozen(np.array([]))
    note = "a standard deviation is zero at the ML estimates: there is no correlation"
    return Curve(name, math.nan, math.nan, math.nan, nothing, nothing, note)


@dataclass(frozen=True, slots=True)
class _Stop:
    """The least deviance at one value: zeta without its sign, and where the search ended."""

    value: float
    zeta: float
    x: FloatArray


def _curve(name: str, held: Slice, least: float, cut: float) -> Curve:
    def stop(value: float, near: _Stop) -> _Stop:
        found = held.best(value, near.x)
        rise = found.value - least
        # Nearer than this, a lower deviance is what stopping the search leaves.
        if rise < -1e-6 * max(1.0, abs(least) * 1e-6):
            raise FitError(
                f"the profile of {name} finds a deviance {-rise:.3g} below that of the fit: the "
                "fit is no global optimum; fit again with more starts (reml.starts)"
            )
        return _Stop(value, math.sqrt(max(rise, 0.0)), found.x)

    origin = _Stop(held.estimate, 0.0, held.start)
    ends, notes, grid = [], [], [(origin.value, 0.0)]
    for sign, bound in ((-1, held.low), (1, held.high)):
        stops = _outward(name, stop, origin, sign * held.step, bound, cut)
        inner = [one for one in stops if one.zeta < cut]
        outer = [one for one in stops if one.zeta >= cut]
        if outer:
            end = _end(stop, inner[-1], outer[0], cut)
            stops.append(end)
            ends.append(end.value)
        else:
            ends.append(bound)
            notes.append(f"the interval reaches the bound {bound:g}")
        grid += [(one.value, sign * one.zeta) for one in stops if one is not origin]
    values, zeta = np.array(sorted(grid)).T
    return Curve(
        name, held.estimate, ends[0], ends[1], frozen(values), frozen(zeta), "; ".join(notes)
    )


def _outward(
    name: str,
    stop: Callable[[float, _Stop], _Stop],
    origin: _Stop,
    step: float,
    bound: float,
    cut: float,
) -> list[_Stop]:
    """Stops from the estimate in the direction of `step`, to beyond the cut or to the bound."""
    stops = [origin]
    while stops[-1].zeta < cut + BEYOND and stops[-1].value != bound:
        last = stops[-1]
        value = last.value + step
        if (value - bound) * step >= 0:
            value = bound
        found = stop(value, last)
        if not math.isfinite(found.zeta) or found.zeta - last.zeta > 3 * SPACING:
            step = (value - last.value) / 4
            if last.value + step == last.value:
                raise FitError(f"the deviance jumps in the profile of {name}, at {value:g}")
            continue
        stops.append(found)
        if len(stops) > FARTHEST:
            raise FitError(f"the profile of {name} does not reach the end of its interval")
        gained = max(found.zeta - last.zeta, 1e-3)
        step *= min(max(SPACING / gained, 0.25), 4.0)
    return stops


def _end(stop: Callable[[float, _Stop], _Stop], inner: _Stop, outer: _Stop, cut: float) -> _Stop:
    """The stop between two where zeta is `cut`."""
    from scipy.optimize import brentq

    known = {inner.value: inner, outer.value: outer}

    def beyond(value: float) -> float:
        if value not in known:
            known[value] = stop(value, min(known.values(), key=lambda at: abs(at.value - value)))
        return known[value].zeta - cut

    width = abs(outer.value - inner.value)
    return known[brentq(beyond, inner.value, outer.value, xtol=1e-7 * width, rtol=1e-14)]
