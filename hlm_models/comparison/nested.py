"""Models on a board by (restricted) likelihood: tests of nested pairs, comparable criteria."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

from hlm_models.errors import FitError, InputErrors, RefusalError
from hlm_models.inference.likelihood_ratio import LikelihoodRatio, likelihood_ratio
from hlm_models.inference.nesting import More, more, outside
from hlm_models.results.fits import PointFit
from hlm_models.results.progress import Progress, Step
from hlm_models.spec.model import ModelSpec

__all__ = ["NestedTest", "comparable_criteria", "nested_tests", "same_fixed_parts"]

SIMULATED = 3000
"""Random effects of a model up to which 1000 refits to simulated responses are a matter of
seconds."""


@dataclass(frozen=True, slots=True)
class NestedTest:
    """The likelihood-ratio test of one model of the board within another, by their names."""

    smaller: str
    larger: str
    test: LikelihoodRatio


def nested_tests(
    fits: Mapping[str, Mapping[str, PointFit]], *, progress: Progress
) -> tuple[tuple[NestedTest, ...], tuple[str, ...]]:
    """Tests of all nested pairs, and sentences on those of them that could not be made.

    By ML; by REML too where both have the same coefficients and the distribution is known.

    Parameters
    ----------
    fits : of each model, by engine ("ml", "reml"), as far as there are any
    """
    tests, notes = [], []
    for smaller, larger in permutations(fits, 2):
        both = {
            engine: (fits[smaller][engine], fits[larger][engine])
            for engine in ("ml", "reml")
            if engine in fits[smaller] and engine in fits[larger]
        }
        if "ml" not in both:
            continue
        found = _more(both["ml"][0].spec, both["ml"][1].spec)
        if found is None:
            continue
        if found.effects > 1 and _effects(both["ml"][1].spec) > SIMULATED:
            notes.append(
                f"the test of {smaller} within {larger} needs refits to simulated responses, "
                "which take long here: hlm.likelihood_ratio makes it"
            )
            continue
        for engine, (small, large) in both.items():
            if engine == "reml" and (found.coefficients or found.effects > 1):
                continue
            progress(Step(f"likelihood ratio: {smaller} in {larger}"))
            try:
                test = likelihood_ratio(small, large, progress=progress)
            except (FitError, InputErrors, RefusalError) as error:
                notes.append(f"{smaller} within {larger}, by {engine.upper()}: {error}")
            else:
                tests.append(NestedTest(smaller, larger, test))
    return tuple(tests), tuple(notes)


def _more(smaller: ModelSpec, larger: ModelSpec) -> More | None:
    """What the larger model has more; None where the pair is not nested."""
    try:
        return more(smaller, larger)
    except (InputErrors, RefusalError):
        return None


def _effects(spec: ModelSpec) -> int:
    return sum(block.J * block.q for block in spec.blocks)


def same_fixed_parts(specs: Mapping[str, ModelSpec]) -> tuple[tuple[str, ...], ...]:
    """The models whose X spans the same space, together; in their order."""
    sets: list[list[str]] = []
    for name, spec in specs.items():
        X = spec.design.X
        for one in sets:
            other = specs[one[0]].design.X
            if other.shape == X.shape and not outside(X, other).size:
                one.append(name)
                break
        else:
            sets.append([name])
    return tuple(map(tuple, sets))


def comparable_criteria(
    fits: Mapping[str, PointFit], sets: tuple[tuple[str, ...], ...]
) -> dict[str, float]:
    """REML criterion of every model that has the fixed part of another one.

    In each set it is in the raw columns of the set's first model, however the others write theirs.
    """
    found = {}
    for names in sets:
        there = [name for name in names if name in fits]
        if len(there) < 2:
            continue
        volume = {name: _log_volume(fits[name].spec) for name in there}
        for name in there:
            found[name] = fits[name].criterion - volume[name] + volume[there[0]]
    return found


def _log_volume(spec: ModelSpec) -> float:
    """What the way in which X is written adds to the REML criterion."""
    return spec.marginal.offset(reml=True) - spec.marginal.offset(reml=False)
