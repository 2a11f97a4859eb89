"""One sweep as a pure function, by the same compiled code as the chains."""

import numpy as np

from hlm_models.gibbs.machine import machine
from hlm_models.gibbs.model import Scheme
from hlm_models.gibbs.state import Info, State, chain_of, info_of, state_of
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

__all__ = ["effects_law", "step"]


def step(
    rng: np.random.Generator, state: State, spec: ModelSpec, *, scheme: Scheme = "joint"
) -> tuple[State, Info]:
    """One sweep from `state`, which stays as it is, and the laws that it drew from.

    Raises
    ------
    FitError
        a draw has no law.
    RefusalError
        the scheme is not for this model.
    numpy.linalg.LinAlgError
        a Psi of the state is not positive definite.
    """
    works = machine(spec, scheme)
    chain = chain_of(state, works.model)
    b = tuple(np.array(one, dtype=np.float64, order="C") for one in state.b)
    works.record(rng, chain, b, works.room(1, with_effects=False))
    return state_of(spec, chain, b), info_of(works.model, works.sizes, works.laws, b)


def effects_law(
    spec: ModelSpec, state: State, beta: FloatArray, level: int
) -> tuple[FloatArray, FloatArray]:
    """Mean (q,) and precision (q, q) of b of one level given beta, and sigma and Psi of a state.

    Of a model with one group, where levels are independent; from the rows, and therefore slow.
    """
    [block], [Psi] = spec.blocks, state.Psi
    here = block.level == level
    z, X = block.z[here], spec.design.X[here]
    weights = np.ones(len(z)) if spec.design.weights is None else spec.design.weights[here]
    rest = (spec.design.y_net[here] - X @ beta) * weights / state.sigma**2
    precision = np.linalg.inv(Psi) + (z.T * weights) @ z / state.sigma**2
    return np.linalg.solve(precision, z.T @ rest), precision
