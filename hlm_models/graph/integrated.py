"""The likelihood of the variance parameters as a PyTensor operation.

Value and gradient are two outputs of one pass of the compiled kernel.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type, grad_not_implemented
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import numba_njit, register_funcify_and_cache_key

from hlm_models.algebra import integrated as kernels
from hlm_models.algebra.compiled import compiled
from hlm_models.algebra.integrated import one_factor_density, one_factor_work
from hlm_models.types import FloatArray, frozen

__all__ = ["Integrated"]

GAUSSIAN = 4
"""Inputs that stand last: Q, loc, precision and constants."""


class Integrated(Op):  # type: ignore[misc]
    """(lam, log_sigma, m, *blocks, *gaussian) -> (value, gradient), see docs/marginal.md.

    value () is differentiable, once, in lam (sum q_f^2,), log_sigma () and m (p,); gradient
    (sum q_f^2 + 1 + p,) holds these derivatives. `several` says for how many factors the blocks
    are.
    """

    __props__ = ("several",)

    def __init__(self, *, several: bool) -> None:
        self.several = several

    def make_node(self, *inputs: Any) -> Apply:
        variables = [pt.as_tensor_variable(one) for one in inputs]
        return Apply(self, variables, [pt.dscalar(), pt.dvector()])

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:  # noqa: ARG002
        output_storage[0][0], output_storage[1][0] = self.evaluate(*inputs)

    def evaluate(self, lam: Any, log_sigma: Any, m: Any, *arrays: Any) -> tuple[Any, FloatArray]:
        """Value and gradient of the inputs, as NumPy arrays or what becomes such."""
        density, work_size = self.kernel
        # As they are in a sampler, so that the kernel is compiled for them once.
        kept = tuple(frozen(np.ascontiguousarray(array).view()) for array in arrays)
        blocks, gaussian = kept[:-GAUSSIAN], kept[-GAUSSIAN:]
        gradient = np.empty(len(lam) + 1 + len(m))
        work = np.empty(work_size(blocks, gaussian[0].shape[1]))
        value = density(
            np.array(lam), float(log_sigma), np.array(m), blocks, gaussian, gradient, work
        )
        return np.asarray(value), gradient

    @property
    def kernel(self) -> tuple[Callable[..., Any], Callable[..., Any]]:
        """The compiled density, and the length of its scratch array from (blocks, d)."""
        if not self.several:
            return one_factor_density, _one_factor_work
        # With its compiled loops it takes long to import, and one factor does without it.
        from hlm_models.algebra.crossed_pass import several_factors_density, several_work

        return several_factors_density, several_work

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        return [[True, True]] * 3 + [[False, False]] * (len(node.inputs) - 3)

    def pullback(
        self, inputs: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any]
    ) -> list[Any]:
        by_value, by_gradient = cotangents
        rest = [disconnected_type() for _ in inputs[3:]]
        if not isinstance(by_gradient.type, DisconnectedType):
            return [grad_not_implemented(self, i, inputs[i]) for i in range(3)] + rest
        slopes, at = by_value * outputs[1], inputs[0].shape[0]
        return [slopes[:at], slopes[at], slopes[at + 1 :], *rest]


@compiled()
def _one_factor_work(blocks, d):  # type: ignore[no-untyped-def]
    q, k, _ = blocks[1].shape
    return one_factor_work(q, k, d)


@register_funcify_and_cache_key(Integrated)  # type: ignore[untyped-decorator]
def _numba(op: Integrated, node: Apply, **_: Any) -> tuple[Any, str]:
    density, work_size = op.kernel
    first = len(node.inputs) - 3 - GAUSSIAN

    @numba_njit
    def integrated(lam, log_sigma, m, *arrays):  # type: ignore[no-untyped-def]
        blocks, gaussian = arrays[:first], arrays[first:]
        gradient = np.empty(len(lam) + 1 + len(m))
        work = np.empty(work_size(blocks, gaussian[0].shape[1]))
        value = density(lam.copy(), log_sigma.item(), m.copy(), blocks, gaussian, gradient, work)
        return np.asarray(value), gradient

    return integrated, f"{op.several}_{_version()}"


def _version() -> str:
    """A hash of all that is compiled: PyTensor keeps what it made of it, and looks at no source."""
    sources = [Path(__file__), *sorted(Path(kernels.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
