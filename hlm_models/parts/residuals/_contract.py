"""What a residual structure must do."""

from typing import Any, ClassVar

from hlm_models.parts.shelf import Part

__all__ = ["Residual"]


class Residual(Part):
    """Structure of Cov(e_j) within a group; `iid` is sigma^2 I.

    `written` is how a model file says it. Where `known` holds, the weights of the rows are their
    inverse residual variances, and sigma is 1 and no parameter.
    """

    written: ClassVar[str]
    known: ClassVar[bool] = False

    def scale(self, sigma: Any) -> Any:
        """Residual standard deviation of a row of weight 1: a number, an array or a tensor."""
        raise NotImplementedError
