"""Whether ranks are uniform: a band that holds their whole ECDF, and exact p values.

Of n uniform ranks from 0 to m, the number R_k below k is binomial with the share k / (m + 1). The
statistic is the smallest two-sided tail probability of the R_k over k = 1 to m; its distribution
is exact, by the Markov chain of the R_k.

Source: Säilynoja, Bürkner and Vehtari (2022), doi:10.1007/s11222-022-10090-6.
"""

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hlm_models.types import FloatArray, IntArray, frozen

__all__ = ["Band", "Strayed", "UniformRanks"]

TIED = 1e-9
"""Tail probabilities that are relatively so near to each other are one number, but for rounding."""


@dataclass(frozen=True, slots=True)
class Strayed:
    """How far an ECDF strays from that of uniform ranks.

    p : the probability that uniform ranks stray so far anywhere
    at : share of the ranks at which it is least likely
    difference : the ECDF there, less `at`
    """

    p: float
    at: float
    difference: float


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Fewest and most ranks (m,) below k = 1 to m that are inside."""

    lower: IntArray
    upper: IntArray


@dataclass(frozen=True)
class UniformRanks:
    """The law of n independent ranks, each uniform on 0 to m."""

    n: int
    m: int

    def strayed(self, ranks: IntArray) -> Strayed:
        """How far ranks (n,) stray from uniform ones."""
        counts = self.counts_below(ranks)
        tails = self._tails[np.arange(self.m), counts]
        k = int(np.argmin(tails))
        at = float(self.shares[k])
        return Strayed(self._p(float(tails[k])), at, float(counts[k]) / self.n - at)

    def band(self, level: float) -> Band:
        """The band that the ECDF leaves with a probability below `level`, as near to it as can be.

        All its points have the same pointwise probability, and an ECDF leaves it where, and only
        where, `strayed` finds a p value below `level`.
        """
        # A p value is at most m times the smallest tail probability: the union bound.
        tails = np.unique(self._tails[self._tails > level / self.m * (1 - TIED)])
        first = bisect_left(tails, level, key=lambda tail: self._p(float(tail)))
        return self._above(float(tails[first]) * (1 - TIED))

    def counts_below(self, ranks: IntArray) -> IntArray:
        """How many of the ranks (n,) are below k = 1 to m."""
        return np.cumsum(np.bincount(ranks, minlength=self.m + 1))[: self.m]

    @cached_property
    def shares(self) -> FloatArray:
        """The share (m,) of ranks that are expected below k = 1 to m."""
        return frozen(np.arange(1, self.m + 1) / (self.m + 1))

    @cached_property
    def _tails(self) -> FloatArray:
        """Two-sided tail probability (m, n + 1) of each count below k = 1 to m."""
        from scipy.special import bdtr, bdtrc

        counts, share = np.arange(self.n + 1.0), self.shares[:, None]
        tails = 2 * np.minimum(bdtr(counts, self.n, share), bdtrc(counts - 1, self.n, share))
        return np.asarray(np.minimum(tails, 1.0))

    def _p(self, tail: float) -> float:
        """The probability of a smallest tail probability of `tail` or less."""
        return max(0.0, 1.0 - self._staying(self._above(tail * (1 + TIED))))

    def _above(self, tail: float) -> Band:
        """Counts whose tail probability is above `tail`; none where lower > upper."""
        inside = self._tails > tail
        lower = np.where(inside.any(axis=1), inside.argmax(axis=1), self.n + 1)
        return Band(lower, self.n - inside[:, ::-1].argmax(axis=1))

    def _staying(self, inside: Band) -> float:
        """The probability that all counts are inside a band.

        Given that a ranks are below k, those that are k are binomial: of the n - a left, each with
        a probability of 1 / (m + 1 - k).
        """
        from scipy.special import gammaln

        log_factorial = gammaln(np.arange(self.n + 1) + 1.0)
        before, mass = np.zeros(1, dtype=np.int64), np.ones(1)
        for k, (lower, upper) in enumerate(zip(inside.lower, inside.upper, strict=True)):
            after = np.arange(lower, upper + 1)
            more, left = after - before[:, None], self.n - after
            step = (
                log_factorial[self.n - before][:, None]
                - log_factorial[np.maximum(more, 0)]
                - log_factorial[left]
                + left * np.log1p(-1 / (self.m + 1 - k))
                - more * np.log(self.m + 1 - k)
            )
            mass = mass @ np.exp(np.where(more >= 0, step, -np.inf))
            before = after
        return float(mass.sum())
