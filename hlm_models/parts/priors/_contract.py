"""What a prior of one real number must do."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np

from hlm_models.parts.shelf import Part
from hlm_models.types import FloatArray

__all__ = ["Auto", "Elementary", "Place", "Prior", "VarianceForm", "pymc_vector"]

Auto = Literal["auto"]
Place = Literal["location", "scale"]


class Elementary(NamedTuple):
    """A log density as a sum of terms that compiled code knows, with its support.

    constant + linear x - quadratic (x - loc)^2 - weight log(1 + (x - loc)^2 / spread)
    + log_power log x - inverse_square / x^2, for lower < x < upper.
    """

    constant: float = 0.0
    lower: float = -math.inf
    upper: float = math.inf
    loc: float = 0.0
    linear: float = 0.0
    quadratic: float = 0.0
    weight: float = 0.0
    spread: float = 1.0
    log_power: float = 0.0
    inverse_square: float = 0.0


class VarianceForm(NamedTuple):
    """The law of a covariance Psi (m, m) whose conditional given its effects is of the same form.

    Psi | a ~ inverse Wishart(nu, scale + 2 df diag(1 / a)), a_k ~ inverse gamma(1/2, 1/spread_k^2);
    without a where df is 0. Of one number, inverse Wishart(nu, s) is inverse gamma(nu / 2, s / 2).
    scale (m, m), spread (m,).

    Source: Huang and Wand (2013), doi:10.1214/13-BA815, equation (2).
    """

    nu: float
    scale: FloatArray
    df: float
    spread: FloatArray


class Prior(Part):
    """A prior of one real number, on the scale that the user reads.

    Settings named `loc` and `scale` may be `auto`; `resolve` replaces them by numbers, and every
    other method needs a resolved prior. `places` says where the prior may stand: `location` (any
    real number: a coefficient) or `scale` (a positive number: a standard deviation).
    """

    places: ClassVar[frozenset[Place]]
    proper: ClassVar[bool] = True

    def resolve(self, *, loc: float, scale: float) -> Self:
        """The same prior with `loc` and `scale` in place of `auto`."""
        chosen = {"loc": loc, "scale": scale}
        auto = {key: chosen[key] for key in chosen if getattr(self, key, None) == "auto"}
        return self.model_copy(update=auto)

    def settled(self, key: str) -> float:
        """The number of a setting that may have been `auto`."""
        value = getattr(self, key)
        assert value != "auto", f"{self.kind}: {key} is not resolved yet"
        return float(value)

    def numbers(self) -> dict[str, float]:
        """The settings as numbers, in the order of the schema."""
        return {key: value for key, value in self.model_dump().items() if key != "kind"}

    def log_density(self, x: FloatArray, *, place: Place) -> FloatArray:
        """Normalised log density at each element of `x`; `-inf` outside the support."""
        raise NotImplementedError

    def draw(self, rng: np.random.Generator, size: int, *, place: Place) -> FloatArray:
        """`size` independent draws, shape (size,)."""
        raise NotImplementedError

    def normal_form(self) -> tuple[float, float] | None:
        """Mean and precision where the prior is normal, with precision 0 where it is flat.

        None for every other prior: such a coefficient cannot be integrated out.
        """
        return None

    def elementary(self, *, place: Place) -> Elementary | None:
        """The log density as elementary terms; None where it is no sum of such.

        Then the model is sampled as a PyMC graph, which needs no more than `pymc`.
        """
        return None

    def variance_form(self) -> VarianceForm | None:
        """The law of x^2, x a standard deviation, where it is conjugate: then Gibbs can draw it."""
        return None

    @classmethod
    def pymc(
        cls, name: str, settings: Mapping[str, FloatArray | float], *, place: Place, **keywords: Any
    ) -> Any:
        """A PyMC variable of this prior; each setting is a number or an array of them.

        `keywords` (dims, shape, default_transform) go to the PyMC distribution.
        """
        # As arrays: PyTensor takes a Python float that fits for single precision.
        exact = {key: np.asarray(value, dtype=np.float64) for key, value in settings.items()}
        return cls._pymc(name, exact, place=place, **keywords)

    @classmethod
    def _pymc(
        cls, name: str, settings: Mapping[str, FloatArray], *, place: Place, **keywords: Any
    ) -> Any:
        raise NotImplementedError

    def __str__(self) -> str:
        inner = ", ".join(f"{value:.6g}" for value in self.numbers().values())
        return f"{self.kind}({inner})"


def pymc_vector(
    name: str, priors: Sequence[Prior], *, place: Place, dims: str | None, **keywords: Any
) -> Any:
    """One PyMC vector `name` whose elements have the priors `priors`, in order.

    Where all are of one kind it is a free variable; else a Deterministic put together from one
    free variable a kind, named `name_kind`.
    """
    import pymc as pm
    import pytensor.tensor as pt

    kinds: dict[type[Prior], list[int]] = {}
    for position, prior in enumerate(priors):
        kinds.setdefault(type(prior), []).append(position)

    def free(kind: type[Prior], members: list[int], label: str, **words: Any) -> Any:
        columns = [priors[i].numbers() for i in members]
        settings = {key: np.array([column[key] for column in columns]) for key in columns[0]}
        return kind.pymc(label, settings, place=place, **words)

    if len(kinds) == 1:
        [(kind, members)] = kinds.items()
        where = {"dims": dims} if dims else {"shape": len(members)}
        return free(kind, members, name, **where, **keywords)
    pieces = [
        free(kind, members, f"{name}_{kind.model_fields['kind'].default}", shape=len(members))
        for kind, members in kinds.items()
    ]
    order = np.argsort(np.concatenate([np.array(members) for members in kinds.values()]))
    return pm.Deterministic(name, pt.concatenate(pieces)[order], dims=dims)
