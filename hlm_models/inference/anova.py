"""Type III F tests, one a term of the fixed part."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from hlm_models.inference.approximation import Approximation, Method, approximation
from hlm_models.inference.f_tests import FTest
from hlm_models.inference.type_three import type_three
from hlm_models.results.fits import PointFit

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Anova", "anova", "term_tests"]


@dataclass(frozen=True)
class Anova:
    """The F test of each term but the intercept, in the order of X."""

    method: Method
    terms: tuple[str, ...]
    tests: tuple[FTest, ...]

    def frame(self) -> "pd.DataFrame":
        """One row a term: num_df, den_df, F, p."""
        import pandas as pd

        rows = [asdict(test) for test in self.tests]
        columns = ["num_df", "den_df", "F", "p"]
        index = pd.Index(self.terms, name="term")
        return pd.DataFrame(rows, columns=columns, index=index)


def anova(fit: PointFit, *, df: Method = "satterthwaite") -> Anova:
    """Type III F tests of the terms of the fixed part.

    A factor is tested averaged over the levels of the factors that it interacts with, whatever the
    coding; and where the predictors of its interactions are zero.

    Parameters
    ----------
    df : degrees of freedom by "satterthwaite" or, of a REML fit, by "kenward-roger"

    Raises
    ------
    RefusalError
        what Kenward and Roger's method cannot do.
    """
    tests = term_tests(fit, approximation(fit, df))
    return Anova(df, tuple(tests), tuple(tests.values()))


def term_tests(fit: PointFit, found: Approximation) -> dict[str, FTest]:
    """The type III test of each term, by one approximation of the fit."""
    contrasts = type_three(fit.spec.design)
    return {term: found.joint(L, L @ fit.beta) for term, L in contrasts.items()}
