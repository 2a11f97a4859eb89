"""What a residual structure must do."""

from typing import Any

from hlm_models.parts.shelf import Part

__all__ = ["Residual"]


class Residual(Part):
    """Structure of Cov(e_j) within a group; `iid` is sigma^2 I."""

    def scale(self, sigma: Any) -> Any:
        """Residual standard deviation of a row given sigma: a number, an array or a tensor."""
        raise NotImplementedError
