"""Where the REML criterion or the deviance is least: the search over theta."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from hlm_models.algebra.search import Found, evaluate, minimise
from hlm_models.errors import FitError
from hlm_models.spec.marginal import Marginal, lower_factor
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

__all__ = ["check_response", "optimum"]

STARTS = tuple(10.0 ** (-k / 2) for k in (1, -1, 2, 0, 3, -2, 4, 5, *range(6, 18)))
"""Relative standard deviations, in scaled columns, that the searches start from, in turn."""

SCATTERED = 12
"""Further starts where the best end so far is singular: there other basins may be deeper."""

CLOSE = 1e-7
"""How near, in units of the criterion, each start's search comes before the best is polished."""

SAME = 1e-4
"""Ends on a sample of the levels whose criteria differ by less count as one."""

LARGE = 1e140
"""Sums of squares of a response end below this and above its inverse: variances are squared too."""

ROUNDS = 3
"""Times that a search which ran out of steps is taken up again, with a new curvature."""


@dataclass(frozen=True, slots=True)
class Start:
    """Theta (scaled columns) to search from, and what the curvature may be like."""

    theta: FloatArray
    curvature: FloatArray | None = None


def optimum(spec: ModelSpec, *, reml: bool) -> tuple[FloatArray, tuple[float, ...]]:
    """Theta (scaled columns) of the best optimum, and the criterion that every start reached.

    Where `reml.theta` is given, that theta and its criterion.

    Raises
    ------
    FitError
        sigma tends to zero, or the criterion is not finite anywhere.
    """
    marginal = spec.marginal
    function = partial(marginal.objective, reml=reml)
    offset = marginal.offset(reml=reml)
    if spec.reml.theta is not None:
        here = marginal.scaled_theta(spec.reml.theta, key="reml.theta")
        return here, (_finite([evaluate(function, here)])[0].value + offset,)
    found = _searches(marginal, _starts(spec), reml=reml)
    asked = spec.reml.starts is not None or spec.reml.start is not None
    if not asked and _on_boundary(marginal, found):
        found += _searches(marginal, _scattered(marginal), reml=reml)
    best = min(_finite(found), key=lambda one: one.value)
    best = minimise(function, best)
    best = _snapped(marginal, best, function)
    return best.x, tuple(min(one.value, np.inf) + offset for one in found)


def _searches(marginal: Marginal, starts: Sequence[Start], *, reml: bool) -> list[Found]:
    """Where the search from each start ends.

    With very many levels each goes over a sample of them first, and those that it leads to the
    same place go on as one.
    """
    search = partial(_search, partial(marginal.objective, reml=reml))
    if marginal.sample is None:
        ends: list[Found] = []
        for start in starts:
            curvature = start.curvature
            # Differences for a curvature cost most where an evaluation does: the last end's serves.
            if curvature is None and ends and len(marginal.structures) > 1:
                curvature = ends[-1].hessian if np.isfinite(ends[-1].decrease) else None
            ends.append(search(start.theta, curvature))
        return ends
    near = partial(_search, partial(marginal.sample.objective, reml=reml))
    found: list[tuple[float, Found]] = []
    for start in starts:
        first = near(start.theta)
        if not np.isfinite(first.value):
            found.append((np.nan, search(start.theta)))
            continue
        same = [end for value, end in found if abs(value - first.value) < SAME]
        curvature = first.hessian * (marginal.products.n / marginal.sample.products.n)
        found.append((first.value, same[0] if same else search(first.x, curvature)))
    return [end for _, end in found]


def _search(
    function: Callable[[FloatArray], tuple[float, FloatArray]],
    start: FloatArray,
    curvature: FloatArray | None = None,
) -> Found:
    """Where a search ends; with many parameters it may take several rounds."""
    end = minimise(function, start, curvature=curvature, tolerance=CLOSE)
    for _ in range(ROUNDS):
        if not np.isfinite(end.value) or end.decrease < SAME:
            break
        end = minimise(function, end.x, tolerance=CLOSE)
    return end


def check_response(spec: ModelSpec) -> None:
    """Whether sums of squares of the response, and of what X leaves of it, can be worked with.

    Raises
    ------
    FitError
        they, or their squares, are too large or too small for a number, or not finite; or the
        coefficients alone fit the response exactly, and sigma is a parameter.
    """
    left = float(spec.marginal.products.T[-1, -1])
    if np.isnan(left) or np.isnan(spec.design.y_square):
        raise _not_finite()
    if not 1 / LARGE < max(left, spec.design.y_square) < LARGE:
        raise FitError(
            f"the response has values of about {float(np.abs(spec.design.y).max()):.0e}, too far "
            "from 1 to square them twice: give it in another unit"
        )
    if spec.design.sigma is None and left <= 1e-26 * spec.design.y_square:
        raise _exact_fit()


def _exact_fit() -> FitError:
    """The failure of a model whose residuals vanish."""
    return FitError("the model fits the data exactly: sigma tends to zero and no fit exists")


def _finite(found: Sequence[Found]) -> list[Found]:
    finite = [one for one in found if np.isfinite(one.value)]
    if any(one.value == -np.inf for one in found):
        raise _exact_fit()
    if not finite:
        raise _not_finite()
    return finite


def _not_finite() -> FitError:
    """The failure of a criterion that is finite nowhere."""
    return FitError("the criterion is not finite anywhere: check the columns for huge values")


def _starts(spec: ModelSpec) -> list[Start]:
    """Every start that the settings ask for."""
    settings, marginal = spec.reml, spec.marginal
    given = (
        []
        if settings.start is None
        else [Start(marginal.scaled_theta(settings.start, key="reml.start"))]
    )
    number = settings.starts or (1 if given or not marginal.size else 2)
    if len(spec.blocks) > 1 and len(given) < number:
        theta, curvature = _each_alone(marginal)
        given += [Start(theta, curvature), Start(theta / 3)]
    given += [Start(marginal.start(size)) for size in STARTS]
    if settings.starts is None and settings.start is None:
        return given[:number] + _shared_starts(marginal)
    return given[:number]


def _shared_starts(marginal: Marginal) -> list[Start]:
    """For a variance that effects in far-apart units share: what suits the smallest and largest."""
    starts = []
    for index, parts in enumerate(marginal.parts):
        for part in parts:
            if part.weight is None or part.weight.max() <= 3 * part.weight.min():
                continue
            for weight in (part.weight.min(), part.weight.max()):
                factors = [STARTS[0] * np.eye(block.q) for block in marginal.design.blocks]
                here = (part.columns, part.columns)
                factors[index][here] = STARTS[0] * part.weight / weight
                starts.append(Start(marginal.theta(factors)))
    return starts


def _each_alone(marginal: Marginal) -> tuple[FloatArray, FloatArray]:
    """Theta and curvature of each group as if it were the only one: cheap, and often close."""
    from scipy.linalg import block_diag

    thetas, curvatures = [], []
    for block, structures in zip(marginal.design.blocks, marginal.structures, strict=True):
        alone = Marginal(replace(marginal.design, blocks=(block,)), (structures,))
        end = minimise(partial(alone.objective, reml=False), alone.start(0.3), tolerance=1e-2)
        # From zero nothing moves: the gradient in theta vanishes there.
        if not np.isfinite(end.value) or float(np.abs(end.x).max()) < 0.1:
            end = replace(end, x=alone.start(0.1))
        thetas.append(end.x)
        curvatures.append(end.hessian)
    return np.concatenate(thetas), np.asarray(block_diag(*curvatures))


def _on_boundary(marginal: Marginal, found: Sequence[Found]) -> bool:
    """Whether the best end has a nearly singular Lambda."""
    best = min(found, key=lambda one: one.value)
    if not np.isfinite(best.value):
        return False
    return any(
        part.size(Lambda) < 1e-3
        for Lambda, parts in zip(marginal.factors(best.x), marginal.parts, strict=True)
        for part in parts
    )


def _scattered(marginal: Marginal) -> list[Start]:
    """Further starts, large and of all kinds of correlations: the same ones in every fit.

    Where every effect has a variance by itself, two sizes are enough.
    """
    if all(len(part.columns) == 1 for parts in marginal.parts for part in parts):
        return [Start(marginal.start(size)) for size in (10.0, 100.0)]
    rng = np.random.default_rng(20_091)
    sizes = 10.0 ** (np.arange(SCATTERED) % 3 / 2 + 0.5)
    return [Start(x) for x in sizes[:, None] * rng.standard_normal((SCATTERED, marginal.size))]


def _snapped(
    marginal: Marginal,
    found: Found,
    function: Callable[[FloatArray], tuple[float, FloatArray]],
) -> Found:
    """The same optimum with every Lambda exactly singular, where that costs nothing."""
    candidates = []
    for block, structures, Lambda in zip(
        marginal.design.blocks, marginal.structures, marginal.factors(found.x), strict=True
    ):
        candidate = np.zeros_like(Lambda)
        for term, structure in zip(block.terms, structures, strict=True):
            here = (term.columns, term.columns)
            u, s, vt = np.linalg.svd(Lambda[here])
            if structure != "unstructured":
                diagonal = np.diag(Lambda[here])
                sizes = s[:1] if structure == "shared" else np.abs(diagonal)
                keep = sizes >= 1e-3 * max(1.0, float(s[0]))
                candidate[here] = np.diag(np.where(keep, diagonal, 0.0))
                continue
            small = s < 1e-3 * max(1.0, float(s[0]))
            kept = u @ np.diag(np.where(small, 0.0, s)) @ vt
            candidate[here] = lower_factor(kept) if small.any() else Lambda[here]
        candidates.append(candidate)
    theta = marginal.theta(candidates)
    if np.array_equal(theta, found.x):
        return found
    again = minimise(function, theta)
    tolerance = 1e-11 * max(abs(found.value), 1.0)
    return again if again.value <= found.value + tolerance else found
