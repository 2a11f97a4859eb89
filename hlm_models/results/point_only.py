"""What is defined for point fits is refused for draws, with what to use in its place."""

from hlm_models.errors import RefusalError
from hlm_models.results.fits import Fit, PointFit

__all__ = ["point_only"]


def point_only(fit: Fit, what: str) -> PointFit:
    """The fit, once it is known to be a point fit; `what` is the function that needs one.

    Raises
    ------
    RefusalError
        it is a posterior.
    """
    if isinstance(fit, PointFit):
        return fit
    raise RefusalError(
        f"{what} takes a point fit, fit(model, engine='reml') or 'ml'; this is a posterior, whose "
        "draws are in fit.data['posterior']"
    )
