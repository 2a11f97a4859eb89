"""What a prior of the covariance of one random term must do."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from pydantic import Discriminator, Tag

from hlm_models.errors import InputErrors, nearest
from hlm_models.parts.priors import Prior, ScalePrior, VarianceForm
from hlm_models.parts.priors.half_student_t import HalfStudentT
from hlm_models.parts.shelf import Part
from hlm_models.types import FloatArray

__all__ = ["Covariance", "MatrixForm", "ScalePriors", "Separate", "Structure", "one_or_each"]

Structure = Literal["unstructured", "diagonal", "shared"]
"""Covariance of one term: free, independent effects, or independent with one variance for all."""


def one_or_each(value: object) -> str:
    """`one` for a prior that all share, `each` for a mapping from name to prior."""
    return (
        "one"
        if isinstance(value, Part) or (isinstance(value, dict) and "kind" in value)
        else "each"
    )


ScalePriors = Annotated[
    Annotated[ScalePrior, Tag("one")] | Annotated[dict[str, ScalePrior], Tag("each")],
    Discriminator(one_or_each),
]


class MatrixForm(NamedTuple):
    """A log density of Psi (q, q) by its lower triangle, as terms that compiled code knows.

    constant + log_det log|Psi| - tr(scale Psi^-1) / 2 - power sum_k log(1 + rate_k (Psi^-1)_kk)

    scale (q, q) symmetric, zeros where there is no such term; rate (q,).
    """

    constant: float
    log_det: float
    scale: FloatArray
    power: float
    rate: FloatArray


class Covariance(Part):
    """Prior of Psi = diag(sd) corr diag(sd), the covariance of one random term's q effects.

    `correlated` says whether the effects of a term may be correlated: the formula's bar decides,
    and the prior must match it. A prior for which `single` holds may be that of one effect too.
    Every method but `resolve` needs a resolved prior.
    """

    correlated: ClassVar[bool]
    single: ClassVar[bool] = True
    structure: ClassVar[Structure]

    def resolve(self, effects: Sequence[str], scales: Sequence[float]) -> Self:
        """The same prior with numbers in place of `auto`; `scales` (q,) are those of the sd.

        Raises
        ------
        InputErrors
            the settings do not fit these effects.
        """
        raise NotImplementedError

    def sd_priors(self) -> list[Prior]:
        """The marginal prior of each free standard deviation, one where the effects share it."""
        raise NotImplementedError

    def log_density(self, sd: FloatArray, corr: FloatArray) -> FloatArray:
        """Normalised log density (...) at sd (..., q) and corr (..., q, q).

        With respect to what is free in them: the strict lower triangle of corr, and each sd, or
        the one number that all of them are; `-inf` where they are no such covariance.
        """
        raise NotImplementedError

    def draw(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """One draw of sd (q,) and corr (q, q)."""
        raise NotImplementedError

    def pymc(self, label: str, dims: str | None) -> tuple[Any, Any]:
        """PyMC variables: sd (q,), named `sd_label`, and the Cholesky factor of corr (q, q)."""
        raise NotImplementedError

    def partial_shapes(self) -> FloatArray | None:
        """Shapes a (q (q - 1) / 2,) of independent canonical partial correlations, row by row.

        Each is 2 Beta(a, a) - 1, apart from the sd, which are independent; none where the effects
        are independent. None where the prior is of another kind.
        """
        return None

    def matrix_form(self) -> MatrixForm | None:
        """The density of Psi where the prior is one of Psi as a whole."""
        return None

    def variance_forms(self) -> list[VarianceForm | None]:
        """What Gibbs needs to know: of Psi as a whole, one; else one for each free sd.

        None for one that is not conjugate.
        """
        return [one.variance_form() for one in self.sd_priors()]

    def log_density_corr(self, r: FloatArray, row: int, column: int) -> FloatArray:
        """Marginal log density of one correlation, at each element of `r`."""
        raise NotImplementedError

    def rows(self, group: str, term: str, scales: Sequence[str]) -> list[tuple[str, str]]:
        """Names of what has a prior, and that prior in words; `scales` name the free sd."""
        raise NotImplementedError


class Separate(Covariance):
    """Independent priors of the standard deviations, apart from that of the correlations.

    `sd` is one prior for each effect alike, or a mapping from effect to prior; `resolve` makes
    it a mapping that names every effect.
    """

    sd: ScalePriors = HalfStudentT()

    def resolve(self, effects: Sequence[str], scales: Sequence[float]) -> Self:
        """The same prior with `sd` as a mapping over `effects` and numbers in place of `auto`."""
        given: Mapping[str, Prior] = (
            self.sd if isinstance(self.sd, dict) else dict.fromkeys(effects, self.sd)
        )
        unknown = [name for name in given if name not in effects]
        if unknown:
            raise InputErrors.one(
                f"sd names '{unknown[0]}', which is not an effect of this term"
                f"{nearest(unknown[0], effects)} (effects: {', '.join(effects)})",
                key="sd",
            )
        priors = {
            effect: given.get(effect, HalfStudentT()).resolve(loc=0.0, scale=scale)
            for effect, scale in zip(effects, scales, strict=True)
        }
        return self.model_copy(update={"sd": priors})

    def sd_priors(self) -> list[Prior]:
        assert isinstance(self.sd, dict), "covariance is not resolved yet"
        return list(self.sd.values())

    def rows(self, group: str, term: str, scales: Sequence[str]) -> list[tuple[str, str]]:
        return [(name, str(one)) for name, one in zip(scales, self.sd_priors(), strict=True)]

    def _log_density_sd(self, sd: FloatArray) -> FloatArray:
        total = np.zeros(sd.shape[:-1])
        for k, prior in enumerate(self.sd_priors()):
            total = total + prior.log_density(sd[..., k], place="scale")
        return total

    def _draw_sd(self, rng: np.random.Generator) -> FloatArray:
        return np.array([prior.draw(rng, 1, place="scale")[0] for prior in self.sd_priors()])
