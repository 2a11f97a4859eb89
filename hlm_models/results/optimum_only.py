"""What starts from an optimum is refused for a fit that was evaluated at a given theta."""

from hlm_models.errors import InputErrors
from hlm_models.results.fits import PointFit

__all__ = ["optimum_only"]


def optimum_only(fit: PointFit, what: str) -> PointFit:
    """The fit, once it is known to be one of a search; `what` is the function that needs one.

    Raises
    ------
    InputErrors
        it was evaluated at `reml.theta`.
    """
    if fit.spec.reml.theta is None:
        return fit
    raise InputErrors.one(
        f"{what} takes a fit at its optimum, and this one was evaluated at a given theta: fit "
        "without it",
        key="reml.theta",
    )
