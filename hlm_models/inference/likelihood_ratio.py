"""Likelihood-ratio tests of nested models, variances on their boundary included."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hlm_models.errors import FitError, RefusalError
from hlm_models.inference.draws import quick_fit
from hlm_models.inference.nesting import more, written
from hlm_models.inference.workers import collect
from hlm_models.results.arguments import checked_count, checked_seed
from hlm_models.results.fits import PointFit
from hlm_models.results.optimum_only import optimum_only
from hlm_models.results.point_only import point_only
from hlm_models.results.progress import Progress, silent
from hlm_models.results.simulate import Source
from hlm_models.spec.marginal import Marginal
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LikelihoodRatio", "likelihood_ratio"]

DRAWS = 1000
"""Responses simulated where no distribution is known."""


@dataclass(frozen=True, slots=True)
class LikelihoodRatio:
    """The test of a smaller model within a larger one.

    statistic : twice the difference of the (restricted) log likelihoods
    df : how many parameters the larger model has more; `coefficients` of them are coefficients,
        and `effects` variances that are zero in the smaller model
    p : from the `reference` distribution; p_se its Monte Carlo error, NaN where it is exact
    p_naive : from the chi-square on `df`, as if no variance were on its boundary
    draws, failed : simulated responses, and how many of them a model could not be fitted to
    note : what to know before p is believed; may be empty
    """

    smaller: str
    larger: str
    engine: str
    statistic: float
    df: int
    coefficients: int
    effects: int
    reference: str
    p: float
    p_se: float
    p_naive: float
    draws: int
    failed: int
    note: str

    def frame(self) -> "pd.DataFrame":
        """One row with the test."""
        import pandas as pd

        shown = ("statistic", "df", "p", "p_se", "p_naive", "reference", "note")
        return pd.DataFrame(
            [{key: getattr(self, key) for key in shown}],
            index=pd.Index([self.larger], name="larger"),
        )

    def __str__(self) -> str:
        error = f" (Monte Carlo error {self.p_se:.2g})" if self.draws else ""
        lines = [
            f"{self.smaller}  against  {self.larger}, by {self.engine.upper()}",
            f"likelihood ratio {self.statistic:.4f} on {self.df} df",
            f"p = {self.p:.4g}{error}, from {self.reference}",
            f"naive p = {self.p_naive:.4g}, from the chi-square on {self.df} df",
        ]
        return "\n".join([*lines, self.note] if self.note else lines)


def likelihood_ratio(
    smaller: PointFit,
    larger: PointFit,
    *,
    simulate: int | None = None,
    seed: int = 1,
    workers: int | None = None,
    progress: Progress = silent,
) -> LikelihoodRatio:
    """Test a model within a larger one, both fitted to the same data by the same criterion.

    Where the larger model has no variance that is zero in the smaller one, the reference is the
    chi-square on the number of further parameters d. With one such variance (one effect added to
    a term, or a term of one effect), it is the 50:50 mixture of chi-squares on d - 1 and d, since
    the estimate is on its boundary half of the time. With several it has no simple form, and is
    simulated: responses drawn from the smaller fit, and both models refitted to each; unless the
    chi-square on d, whose p is an upper bound then, says already that p is below what so many
    responses can tell.

    Parameters
    ----------
    simulate : number of responses to simulate, whatever is tested; by default none where the
        distribution is known or the bound is enough, else 1000
    seed : of the simulation
    workers : processes for the simulation, as in `bootstrap`

    Raises
    ------
    InputErrors
        other data, or the same model twice; a fit that was evaluated at `reml.theta`; a number of
        responses, a seed or workers that are none.
    RefusalError
        the models are not nested; one is by ML and the other by REML; REML with different fixed
        parts, whose criteria are not comparable.
    FitError
        the larger fit has the smaller likelihood.

    Source: Self and Liang (1987), doi:10.1080/01621459.1987.10478472; Stram and Lee (1994),
    doi:10.2307/2533455; the simulated p as in Davison and Hinkley (1997), Bootstrap Methods and
    their Application, section 4.2.
    """
    smaller, larger = (
        optimum_only(point_only(one, "likelihood_ratio"), "likelihood_ratio")
        for one in (smaller, larger)
    )
    seed = checked_seed(seed)
    if workers is not None:
        checked_count(workers, "workers")
    asked = None if simulate is None else checked_count(simulate, "simulate")
    if smaller.engine != larger.engine:
        raise RefusalError(
            f"the smaller model was fitted by {smaller.engine.upper()} and the larger by "
            f"{larger.engine.upper()}: fit both by ML"
        )
    found = more(smaller.spec, larger.spec)
    reml = smaller.engine == "reml"
    if reml and found.coefficients:
        raise RefusalError(
            "REML criteria of different fixed parts are not comparable: fit both models by ML "
            "(engine='ml')"
        )
    statistic = _criterion(smaller) - _criterion(larger)
    if statistic < -1e-5:
        raise FitError(
            f"the larger model's criterion is {-statistic:.3g} above the smaller's: it has not "
            "reached its optimum; fit it again with more starts (reml.starts)"
        )
    statistic = max(statistic, 0.0)
    naive = _tail(found.df, statistic)
    draws = asked or (DRAWS if found.effects > 1 and naive * (DRAWS + 1) > 1 else 0)
    error, failed = math.nan, 0
    if draws:
        task = _Null(
            Source.of(smaller, seed),
            smaller.spec.marginal.scaled_theta(smaller.theta),
            larger.spec.marginal,
            larger.spec.marginal.scaled_theta(larger.theta),
            reml,
        )
        rows = np.array(collect(
            task, draws, workers=workers, done={}, keep=lambda index, row: None,  # noqa: ARG005
            stage="simulating the smaller model", progress=progress,
        ))  # fmt: skip
        drawn = rows[np.isfinite(rows[:, 0]), 0]
        failed = draws - len(drawn)
        if not len(drawn):
            raise FitError(f"all {draws} refits to simulated responses failed")
        p = float(1 + np.sum(drawn >= statistic)) / (1 + len(drawn))
        error = math.sqrt(p * (1 - p) / len(drawn))
        reference = f"{len(drawn)} responses simulated from the smaller model"
    elif found.effects == 1:
        p = (_tail(found.df - 1, statistic) + naive) / 2
        reference = f"the 50:50 mixture of chi-squares on {found.df - 1} and {found.df} df"
    else:
        p, reference = naive, f"the chi-square on {found.df} df"
        if found.effects > 1:
            reference += ", an upper bound"
    names = written(smaller.spec, larger.spec)
    return LikelihoodRatio(
        smaller=names[0],
        larger=names[1],
        engine=smaller.engine,
        statistic=statistic,
        df=found.df,
        coefficients=found.coefficients,
        effects=found.effects,
        reference=reference,
        p=p,
        p_se=error,
        p_naive=naive,
        draws=draws,
        failed=failed,
        note=_note(smaller, simulated=bool(draws)),
    )


def _criterion(fit: PointFit) -> float:
    """The criterion in scaled columns: REML's does not depend there on how X is written."""
    return fit.criterion - fit.spec.marginal.offset(reml=fit.engine == "reml")


def _tail(df: int, value: float) -> float:
    """P(chi-square on df >= value); on 0 df it is 0 for certain."""
    from scipy.special import chdtrc

    return float(chdtrc(df, value)) if df else float(value <= 0)


def _note(smaller: PointFit, *, simulated: bool) -> str:
    if not smaller.singular or simulated:
        return ""
    return (
        "the smaller fit is singular: its own variances are on their boundary, and the "
        "distribution need not hold; give a number of responses to simulate"
    )


@dataclass(frozen=True, eq=False)
class _Null:
    """Row i: the likelihood ratio of response i under the smaller model; NaN where a fit failed."""

    source: Source
    start: FloatArray
    larger: Marginal
    larger_start: FloatArray
    reml: bool

    def row(self, index: int) -> FloatArray:
        y = self.source.response(index)
        marginals = (self.source.spec.marginal, self.larger)
        small, large = (
            quick_fit(marginal, y, start=start, reml=self.reml)
            for marginal, start in zip(marginals, (self.start, self.larger_start), strict=True)
        )
        if small is None or large is None:
            return np.array([math.nan])
        return np.array([max(small.criterion - large.criterion, 0.0)])
