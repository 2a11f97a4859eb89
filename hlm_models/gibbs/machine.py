"""One chain's sweeps of one model, for any number of factors."""

from dataclasses import dataclass

import numpy as np

from hlm_models.algebra.gram import Gram
from hlm_models.errors import FitError
from hlm_models.gibbs import one_factor
from hlm_models.gibbs.model import Scheme, Sizes, model, new_laws, new_scratch
from hlm_models.gibbs.sweep import Chain, Laws, Model, Scratch
from hlm_models.spec.model import ModelSpec
from hlm_models.types import FloatArray

__all__ = ["Kept", "Machine", "machine"]


@dataclass(frozen=True, eq=False)
class Kept:
    """Where draws go: one place a draw.

    beta (m, p), sigma (m,), Psi (m, Q, Q) of the effects of all groups side by side, and b (m, J,
    q) of every group, or (0, J, q) where it is not kept.
    """

    beta: FloatArray
    sigma: FloatArray
    Psi: FloatArray
    b: tuple[FloatArray, ...]

    def part(self, here: slice) -> "Kept":
        """Some of the places."""
        b = tuple(one[here] for one in self.b)
        return Kept(self.beta[here], self.sigma[here], self.Psi[here], b)


@dataclass(frozen=True, eq=False)
class Machine:
    """The arrays of a model and the room that one chain works in: for one thread at a time."""

    spec: ModelSpec
    model: Model
    sizes: Sizes
    laws: Laws
    scratch: Scratch

    def room(self, draws: int, *, with_effects: bool) -> Kept:
        """Empty places for so many draws."""
        p, Q, kept = self.sizes.p, self.sizes.Q, draws if with_effects else 0
        b = tuple(np.empty((kept, block.J, block.q)) for block in self.spec.blocks)
        return Kept(np.empty((draws, p)), np.empty(draws), np.empty((draws, Q, Q)), b)

    def record(
        self,
        rng: np.random.Generator,
        chain: Chain,
        b: tuple[FloatArray, ...],
        kept: Kept,
        *,
        thin: int = 1,
    ) -> None:
        """`thin` sweeps for every place of `kept`; the chain and its b (J, q) change in place.

        Raises
        ------
        FitError
            a draw has no law: a matrix is not positive definite, or a number not finite.
        """
        products = self.spec.marginal.products
        try:
            if isinstance(products, Gram):
                # Without groups there is one of no levels.
                [one] = b or (np.zeros((0, 0)),)
                [effects] = kept.b or (np.zeros((0, 0, 0)),)
                done = one_factor.record(
                    rng, self.model, one_factor.new_levels(products), chain, one[None], self.laws,
                    self.scratch, thin, (kept.beta, kept.sigma, kept.Psi, effects),
                )  # fmt: skip
            else:
                # With its sparse factorisations it takes long to import, and one group does
                # without it.
                from hlm_models.algebra.schur import one_thread
                from hlm_models.gibbs import several_factors

                with one_thread():
                    done = several_factors.record(
                        rng, self.model, products, chain, b, self.laws, self.scratch, thin,
                        (kept.beta, kept.sigma, kept.Psi, kept.b),
                    )  # fmt: skip
        except np.linalg.LinAlgError as error:
            raise _no_law() from error
        if done < len(kept.sigma):
            raise _no_law()


def machine(spec: ModelSpec, scheme: Scheme) -> Machine:
    """The sweeps of one model by one scheme, for a model that `refusals` has nothing against.

    Raises
    ------
    RefusalError
        the scheme is not for this model.
    """
    found, sizes = model(spec, scheme)
    return Machine(spec, found, sizes, new_laws(sizes), new_scratch(sizes))


def _no_law() -> FitError:
    return FitError(
        "gibbs: a draw has no law: a covariance is not positive definite, or a number not finite; "
        "state proper priors, and centre and scale columns with huge values"
    )
