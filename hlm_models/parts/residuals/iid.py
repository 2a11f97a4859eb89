"""Independent residuals of one variance."""

from typing import Any, ClassVar, Literal

from hlm_models.parts.residuals._contract import Residual


class IID(Residual):
    """Cov(e) = sigma^2 I."""

    written: ClassVar[str] = "iid"
    kind: Literal["iid"] = "iid"

    def scale(self, sigma: Any) -> Any:
        return sigma
