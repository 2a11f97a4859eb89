"""The state of a chain and the laws of a sweep, as frozen values for whoever looks at one step."""

from dataclasses import dataclass

import numpy as np

from hlm_models.gibbs.coefficients import Regression
from hlm_models.gibbs.model import Sizes
from hlm_models.gibbs.sweep import COEFFICIENTS, JOINT, Chain, Laws, Model
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray, IntArray, frozen

__all__ = [
    "Gamma",
    "Info",
    "InverseWishart",
    "NormalLaw",
    "Scaling",
    "Shear",
    "State",
    "chain_of",
    "info_of",
    "state_of",
]


@dataclass(frozen=True, eq=False)
class State:
    """Values of all unknowns and auxiliaries.

    beta (p,), sigma (); Psi (q, q) and b (J, q) of every group, raw columns. The auxiliaries: a
    (U, w) of the units of variance, in the order of groups, terms and effects, sigma_a () that of
    sigma, and the weights (p,) of the coefficients' priors, 1 where they are not Student t. Where a
    prior is no mixture its auxiliaries say nothing.
    """

    beta: FloatArray
    sigma: float
    Psi: tuple[FloatArray, ...]
    b: tuple[FloatArray, ...]
    a: FloatArray
    sigma_a: float
    weights: FloatArray


@dataclass(frozen=True, eq=False)
class NormalLaw:
    """Coefficients `places` (d,) are normal with this mean (d,) and precision (d, d)."""

    places: IntArray
    mean: FloatArray
    precision: FloatArray


@dataclass(frozen=True, eq=False)
class InverseWishart:
    """Psi (m, m) of the effects from `first` on is inverse Wishart(nu, scale); `drawn` came out.

    Effects of all groups are counted through. A variance that `count` effects share is one number.
    """

    first: int
    count: int
    nu: float
    scale: FloatArray
    drawn: FloatArray


@dataclass(frozen=True, slots=True)
class Gamma:
    """The inverse of a variance or of its auxiliary, or a weight, is gamma(shape, rate)."""

    shape: float
    rate: float


@dataclass(frozen=True, eq=False)
class Scaling:
    """A scaled effect, the `effect`-th of `unit`, was multiplied by exp(log_c).

    terms (4,) and curves (3, w) are those of the law's density, `hlm_models.gibbs.scaling`.
    """

    unit: int
    effect: int
    log_c: float
    terms: FloatArray
    curves: FloatArray


@dataclass(frozen=True, slots=True)
class Shear:
    """A scaled effect, the `effect`-th of `unit`, got t times the `other`-th; t is normal."""

    unit: int
    effect: int
    other: int
    mean: float
    precision: float
    t: float


@dataclass(frozen=True, eq=False)
class Info:
    """What a sweep drew from, in the order of the draws.

    coefficients : of scheme `joint` given sigma and Psi, before `b`; else given sigma and b, and
        of scheme `coefficients` first the others and then those that b is centred at
    b : the effects (J, q) of every group as they came from their own law, given beta, sigma and
        Psi as they were then (`hlm_models.gibbs.step.effects_law`)
    sigma, sigma_a : of 1 / sigma^2 and of 1 / its auxiliary; None where there is none
    weights : of the Student t coefficients, by place
    variances : of every unit
    scalings : of every effect, with scheme `joint`
    a : of 1 / a, by unit and effect
    shears : of every pair of correlated effects, with scheme `joint`
    """

    coefficients: tuple[NormalLaw, ...]
    b: tuple[FloatArray, ...]
    sigma: Gamma | None
    sigma_a: Gamma | None
    weights: dict[int, Gamma]
    variances: tuple[InverseWishart, ...]
    scalings: tuple[Scaling, ...]
    a: dict[tuple[int, int], Gamma]
    shears: tuple[Shear, ...]


def chain_of(state: State, found: Model) -> Chain:
    """The arrays of a chain that stands at a state.

    Raises
    ------
    numpy.linalg.LinAlgError
        a Psi is not positive definite.
    """
    Q = len(found.R)
    C, at = np.zeros((Q, Q)), 0
    for Psi in state.Psi:
        C[at : at + len(Psi), at : at + len(Psi)] = np.linalg.cholesky(Psi)
        at += len(Psi)
    _, precision, _ = found.prior
    return Chain(
        beta=state.beta.copy(),
        weights=state.weights.copy(),
        precision=precision * state.weights,
        sigma=np.array([state.sigma, state.sigma_a]),
        C=C,
        a=state.a.copy(),
    )


def state_of(spec: ModelSpec, chain: Chain, b: tuple[FloatArray, ...]) -> State:
    """The state at which a chain stands, as copies."""
    Psi, at = [], 0
    for block in spec.blocks:
        C = chain.C[at : at + block.q, at : at + block.q]
        Psi.append(frozen(C @ C.T))
        at += block.q
    return State(
        beta=frozen(chain.beta.copy()),
        sigma=float(chain.sigma[0]),
        Psi=tuple(Psi),
        b=tuple(frozen(one.copy()) for one in b),
        a=frozen(chain.a.copy()),
        sigma_a=float(chain.sigma[1]),
        weights=frozen(chain.weights.copy()),
    )


def info_of(found: Model, sizes: Sizes, laws: Laws, b: tuple[FloatArray, ...]) -> Info:
    """The laws of the last sweep; `b` are the effects after it."""
    units, (_, _, df) = found.units, found.prior
    scheme = int(found.sizes[0])
    first = found.rest if scheme == COEFFICIENTS else found.every
    coefficients = [_normal(first, laws.mean, laws.precision)]
    if sizes.d:
        coefficients.append(_normal(found.centred, laws.centred_mean, laws.centred_precision))
    undone, at = [], 0
    for one in b:
        here = slice(at, at + one.shape[1])
        back = np.linalg.inv(laws.move[here, here])
        undone.append(frozen((one + laws.shift[here]) @ back.T))
        at = here.stop
    nu, _, sigma_df, _ = found.sigma
    variances, scalings, a, shears = [], [], {}, []
    for u, (f, m) in enumerate(zip(units.first.tolist(), units.size.tolist(), strict=True)):
        C = laws.C[f : f + m, f : f + m]
        variances.append(
            InverseWishart(
                first=f,
                count=int(units.width[u]),
                nu=float(units.nu[u] + units.seen[u]),
                scale=frozen(laws.scale[u, :m, :m].copy()),
                drawn=frozen(C @ C.T),
            )
        )
        for k in range(m):
            if units.df[u] > 0:
                a[u, k] = Gamma(float(units.nu[u] + 1) / 2, float(laws.a[u, k]))
            if scheme == JOINT:
                terms = laws.terms[f + k]
                curves = frozen(laws.curves[f + k].copy())
                scalings.append(Scaling(u, k, float(terms[4]), frozen(terms[:4].copy()), curves))
                for other in (j for j in range(m) if j != k):
                    precision, mean, t = laws.shears[u, k, other].tolist()
                    shears.append(Shear(u, k, other, mean, precision, t))
    return Info(
        coefficients=tuple(coefficients),
        b=tuple(undone),
        sigma=Gamma((nu + found.n) / 2, float(laws.sigma[0])) if found.sizes[1] else None,
        sigma_a=Gamma((nu + 1) / 2, float(laws.sigma[1])) if sigma_df > 0 else None,
        weights={
            k: Gamma(float(df[k] + 1) / 2, float(laws.weights[k]))
            for k in np.flatnonzero(df > 0).tolist()
        },
        variances=tuple(variances),
        scalings=tuple(scalings),
        a=a,
        shears=tuple(shears),
    )


def _normal(regression: Regression, mean: FloatArray, P: FloatArray) -> NormalLaw:
    """The law in raw columns."""
    places, _, back = regression
    d = len(places)
    forward = np.linalg.inv(back)
    precision = forward.T @ P[:d, :d] @ forward
    return NormalLaw(frozen(places.copy()), frozen(mean[:d].copy()), frozen(precision))
