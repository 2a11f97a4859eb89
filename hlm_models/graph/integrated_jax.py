"""The likelihood of the variance parameters for samplers that run on JAX; importing it imports JAX.

JAX calls the compiled kernel, which gives the gradient with the value.
"""

from typing import Any

import jax
import jax.numpy as jnp
from pytensor.link.jax.dispatch import jax_funcify

from hlm_models.graph.integrated import Integrated

__all__: list[str] = []


@jax_funcify.register(Integrated)  # type: ignore[untyped-decorator]
def _jax(op: Integrated, **_: Any) -> Any:
    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def integrated(lam: Any, log_sigma: Any, m: Any, *arrays: Any) -> Any:
        value = jax.ShapeDtypeStruct((), jnp.float64)
        gradient = jax.ShapeDtypeStruct((len(lam) + 1 + len(m),), jnp.float64)
        return jax.pure_callback(
            op.evaluate, (value, gradient), lam, log_sigma, m, *arrays, vmap_method="sequential"
        )

    def forward(*inputs: Any) -> Any:
        value, gradient = integrated(*inputs)
        return (value, gradient), (gradient, inputs)

    def backward(kept: Any, cotangents: Any) -> Any:
        gradient, inputs = kept
        slopes, at = cotangents[0] * gradient, len(inputs[0])
        return slopes[:at], slopes[at], slopes[at + 1 :], *[None] * (len(inputs) - 3)

    integrated.defvjp(forward, backward)
    return integrated
