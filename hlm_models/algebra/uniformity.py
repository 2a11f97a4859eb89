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

NEGLIGIBLE = 60.0
"""Steps of the chain that are by so much, in logarithms, less likely than the likeliest go."""
ROUNDING = 1e-13
"""What a probability is that sums over all paths lose to rounding."""


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
        tails = self._tail(counts, self.shares)
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

    def _tail(self, counts: FloatArray | IntArray, shares: FloatArray) -> FloatArray:
        """Two-sided tail probability of counts below shares of the ranks."""
        from scipy.special import bdtr, bdtrc

        counts = np.asarray(counts, dtype=np.float64)
        both = np.minimum(bdtr(counts, self.n, shares), bdtrc(counts - 1, self.n, shares))
        return np.asarray(np.minimum(2 * both, 1.0))

    @cached_property
    def _reach(self) -> FloatArray:
        """How far from its mean (m,) a count may be; farther ones have a tail below 1e-17.

        By Bernstein's inequality.
        """
        return 9 * np.sqrt(self.n * self.shares * (1 - self.shares)) + 40

    @cached_property
    def _first(self) -> IntArray:
        """The least count (m,) that may be."""
        return np.maximum(np.floor(self.n * self.shares - self._reach), 0).astype(np.int64)

    @cached_property
    def _tails(self) -> FloatArray:
        """Tail probability (m, w) of each count from the least one on; 0 above n."""
        counts = self._first[:, None] + np.arange(int(2 * self._reach.max()) + 2)
        tails = self._tail(np.minimum(counts, self.n), self.shares[:, None])
        return np.where(counts <= self.n, tails, 0.0)

    def _p(self, tail: float) -> float:
        """The probability of a smallest tail probability of `tail` or less."""
        if self.m * tail < ROUNDING:
            # The union bound.
            return self.m * tail
        return max(0.0, 1.0 - self._staying(self._above(tail * (1 + TIED))))

    def _above(self, tail: float) -> Band:
        """Counts whose tail probability is above `tail`; none where lower > upper."""
        inside = self._tails > tail
        some, last = inside.any(axis=1), inside.shape[1] - 1
        lower, upper = inside.argmax(axis=1), last - inside[:, ::-1].argmax(axis=1)
        return Band(
            np.where(some, self._first + lower, self.n + 1),
            np.where(some, self._first + upper, self.n),
        )

    def _staying(self, inside: Band) -> float:
        """The probability that all counts are inside a band.

        Given that a ranks are below k, those that are k are binomial: of the n - a left, each with
        a probability s of 1 / (m + 1 - k). The probability of b below k + 1,

            (n - a)! / ((b - a)! (n - b)!) s^(b - a) (1 - s)^(n - b)

        is a factor of a, one of b - a and one of b, so that a step is a convolution. Powers of the
        middle n - a, which cancel, keep the factors within reach of floating point.
        """
        from scipy.special import gammaln

        log_factorial = gammaln(np.arange(self.n + 1) + 1.0)
        before, mass = np.zeros(1, dtype=np.int64), np.ones(1)
        for k, (lower, upper) in enumerate(zip(inside.lower, inside.upper, strict=True)):
            after = np.arange(lower, upper + 1)
            if not (after.size and before.size):
                return 0.0
            share, middle = 1 / (self.m + 1 - k), float(before.mean())
            tilt = np.log(max(self.n - middle, 1.0))
            more = np.arange(after[-1] - before[0] + 1)
            here = log_factorial[self.n - before] + tilt * (before - middle)
            step = more * (np.log(share) + tilt) - log_factorial[more]
            left = self.n - after
            there = left * np.log1p(-share) - log_factorial[left] - tilt * (after - middle)
            largest = here.max(), step.max()
            kept = slice(0, int(np.flatnonzero(step > largest[1] - NEGLIGIBLE)[-1]) + 1)
            moved = np.convolve(mass * np.exp(here - largest[0]), np.exp(step[kept] - largest[1]))
            at = after - before[0]
            found = np.where(
                (at >= 0) & (at < len(moved)), moved[np.clip(at, 0, len(moved) - 1)], 0
            )
            with np.errstate(divide="ignore"):
                mass = np.exp(np.log(found) + there + sum(largest))
            before = after
        return float(mass.sum())
