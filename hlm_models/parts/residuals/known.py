"""Independent residuals whose standard deviations are known, as in a meta-analysis."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from hlm_models.parts.residuals._contract import Residual


class Known(Residual):
    """Cov(e) = diag(sd_i^2), sd_i being a column of the data."""

    written: ClassVar[str] = "{kind: known, sd: COLUMN}"
    known: ClassVar[bool] = True
    kind: Literal["known"] = "known"
    sd: str = Field(min_length=1, description="Column of residual standard deviations, above 0.")

    def scale(self, sigma: Any) -> Any:
        return sigma
