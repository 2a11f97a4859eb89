"""What is no fit, or not the kind of fit that a function needs, is refused with what to use."""

from hlm_models.errors import InputErrors, RefusalError
from hlm_models.results.fits import Fit, PointFit, PosteriorFit

__all__ = ["any_fit", "point_only", "posterior_only"]


def point_only(fit: object, what: str) -> PointFit:
    """The fit, once it is known to be a point fit; `what` is the function that needs one.

    Raises
    ------
    InputErrors
        it is no fit at all.
    RefusalError
        it is a posterior.
    """
    if isinstance(fit, PointFit):
        return fit
    if isinstance(fit, PosteriorFit):
        raise RefusalError(
            f"{what} takes a point fit, fit(model, engine='reml') or 'ml'; this is a posterior, "
            "whose draws are in fit.data['posterior']"
        )
    raise _no_fit(fit, what, "hlm.fit(model, engine='reml') or 'ml'")


def posterior_only(fit: object, what: str) -> PosteriorFit:
    """The fit, once it is known to be a posterior; `what` is the function that needs one.

    Raises
    ------
    InputErrors
        it is no fit at all.
    RefusalError
        it is a point fit.
    """
    if isinstance(fit, PosteriorFit):
        return fit
    if isinstance(fit, PointFit):
        raise RefusalError(
            f"{what} takes draws, fit(model, engine='nuts'); this is a point fit, which has none"
        )
    raise _no_fit(fit, what, "hlm.fit(model, engine='nuts')")


def any_fit(fit: object, what: str) -> Fit:
    """The fit, once it is known to be one of either kind.

    Raises
    ------
    InputErrors
        it is no fit at all.
    """
    if isinstance(fit, PointFit | PosteriorFit):
        return fit
    raise _no_fit(fit, what, "hlm.fit(model)")


def _no_fit(given: object, what: str, repair: str) -> InputErrors:
    return InputErrors.one(
        f"{what} takes a fit, and this is {type(given).__name__}: give {repair}", key="fit"
    )
