"""The two ways to degrees of freedom, by name."""

from typing import Literal, Protocol

from hlm_models.errors import InputErrors, RefusalError, nearest
from hlm_models.inference.f_tests import FTest
from hlm_models.inference.kenward_roger import kenward_roger
from hlm_models.inference.satterthwaite import Satterthwaite
from hlm_models.results.fits import Fit
from hlm_models.results.point_only import point_only
from hlm_models.types import FloatArray

__all__ = ["METHODS", "Approximation", "Method", "approximation", "method"]

Method = Literal["satterthwaite", "kenward-roger"]

METHODS: tuple[Method, ...] = ("satterthwaite", "kenward-roger")


class Approximation(Protocol):
    """Variances and degrees of freedom of linear combinations of the coefficients."""

    @property
    def vcov_beta(self) -> FloatArray:
        """Var(beta) (p, p), adjusted where the method adjusts it."""

    def rows(self, L: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Variance and degrees of freedom of each row of L (r, p), taken one by one."""

    def joint(self, L: FloatArray, distance: FloatArray) -> FTest:
        """F test that all `distance` (r,) = L beta - rhs are zero."""


def approximation(fit: Fit, df: str) -> Approximation:
    """The approximation named `df` for a fit.

    Raises
    ------
    InputErrors
        there is no such method, or what is given is no fit or one without coefficients.
    RefusalError
        the fit is a posterior; the data do not tell its variances apart, so that degrees of freedom
        would depend on where the search began; Kenward and Roger's method of an ML fit, or of too
        many effects of several groups.
    """
    fit = point_only(fit, "a test of coefficients")
    if fit.spec.design.p == 0:
        raise InputErrors.one("this model has no coefficients to test", key="formula")
    for check in fit.checks:
        if check.code == "identified" and check.status != "pass":
            raise RefusalError(
                f"no degrees of freedom: {check.message}; leave out a random term, or what takes "
                "its place in the fixed part"
            )
    if method(df) == "satterthwaite" or (fit.engine == "reml" and not fit.spec.blocks):
        # Of a regression Kenward and Roger's method is the same: exact, on n - p df.
        return Satterthwaite(fit)
    return kenward_roger(fit)


def method(name: str) -> Method:
    """The method of that name.

    Raises
    ------
    InputErrors
        there is none.
    """
    for one in METHODS:
        if name == one:
            return one
    raise InputErrors.one(
        f"'{name}' is no method for degrees of freedom{nearest(name, METHODS)} "
        f"(methods: {', '.join(METHODS)})",
        key="df",
    )
