"""An estimate of the expected log pointwise predictive density, whatever method it is by."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from hlm_models.elpd.pointwise import Focus
from hlm_models.results.checks import Check, graded
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Elpd", "How", "Method"]

Method = Literal["loo", "waic", "kfold"]
"""Leave-one-out, the widely applicable information criterion, or K-fold cross-validation."""

WIDEST = 0.4
"""The variance of a log likelihood up to which WAIC can be relied on."""

How = Literal["psis", "integrated", "refit", "waic"]
"""Where one pointwise value comes from: importance weights on the log likelihood asked for, the
same with b integrated given the group's other rows, a fit without what is left out, or the
variance of the log likelihood."""


@dataclass(frozen=True, eq=False)
class Elpd:
    """Expected log predictive density of what was left out, one value a row or a group.

    names (size,) : what each column is: rows by number from 0, levels of `by` by label
    pointwise (size,) : log predictive density of each, as estimated; the sum is `elpd`
    lpd (size,) : log mean density of each under the whole posterior, on the same columns
    pareto_k (size,) : shape of the tail of the importance weights; NaN where there are none. Where
        `how` is "refit" it is that of the weights which were not good enough
    good_k : the k up to which weights of so many draws can be relied on
    how (size,) : where each value comes from
    draws : of all chains together
    folds : of K-fold cross-validation; 0 else
    checks : of the sampling of all refits, of each code the gravest

    Source: Vehtari, Gelman and Gabry (2017), doi:10.1007/s11222-016-9696-4.
    """

    model: str
    method: Method
    focus: Focus
    by: str | None
    names: Sequence[int] | Sequence[str]
    pointwise: FloatArray
    lpd: FloatArray
    pareto_k: FloatArray
    good_k: float
    how: tuple[How, ...]
    draws: int
    folds: int = 0
    checks: tuple[Check, ...] = ()

    @property
    def size(self) -> int:
        return len(self.pointwise)

    @property
    def elpd(self) -> float:
        return float(np.sum(self.pointwise))

    @property
    def se(self) -> float:
        """Standard error of `elpd`: what other rows or groups would have given."""
        return math.sqrt(self.size) * float(np.std(self.pointwise, ddof=1))

    @property
    def p(self) -> float:
        """Effective number of parameters: how much better the posterior knows what it has seen."""
        return float(np.sum(self.lpd - self.pointwise))

    @property
    def refits(self) -> int:
        """Columns that the model was fitted again without; of K-fold all of them."""
        return sum(one == "refit" for one in self.how)

    @property
    def bad(self) -> int:
        """Columns whose value rests on weights that are not good enough."""
        left = np.array([one != "refit" for one in self.how])
        return int(np.sum(left & (self.pareto_k > self.good_k)))

    def check(self) -> Check:
        """Whether all values can be relied on: those by weights, or those of WAIC.

        Source: Vehtari et al. (2024), JMLR 25(72), for k; Vehtari, Gelman and Gabry (2017),
        doi:10.1007/s11222-016-9696-4, section 2.2, for the variances.
        """
        what = "rows" if self.by is None else f"levels of {self.by}"
        if self.method == "waic":
            wide = int(np.sum(~(self.lpd - self.pointwise <= WIDEST)))
            return graded(
                "p_waic",
                wide,
                warn=0.0,
                message=f"{what} whose log likelihood has a variance above {WIDEST} "
                f"({wide:,} of {self.size:,})",
            )
        return graded(
            "pareto_k",
            self.bad,
            warn=0.0,
            message=f"{what} whose weights have a k above {self.good_k:.2f} "
            f"({self.bad:,} of {self.size:,})",
        )

    @property
    def question(self) -> str:
        """The question that the estimate answers, as a sentence."""
        if self.focus == "group":
            return f"How well does the model foresee all rows of a new {self.by}?"
        return "How well does the model foresee a new row in the groups that it has seen?"

    def frame(self) -> "pd.DataFrame":
        """One row a column of the log likelihood: elpd, p, pareto_k, how."""
        import pandas as pd

        return pd.DataFrame(
            {
                "elpd": self.pointwise,
                "p": self.lpd - self.pointwise,
                "pareto_k": self.pareto_k,
                "how": list(self.how),
            },
            index=pd.Index(list(self.names), name=self.by or "row"),
        )
