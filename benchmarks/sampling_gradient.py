"""Microseconds of the compiled density: the value alone, and the value with its gradient.

Called in loops that are compiled themselves, so that no call from Python is measured. The value
alone is `add_levels` without derivatives, the pass over the levels and nothing else: no prior and
no integral over beta; the gradient is that of the whole log posterior.
"""

import statistics
import time
from typing import Any

import numpy as np
import sampling_cases
from numba import njit

import hlm_models as hlm
from hlm_models.algebra.kernel import add_levels, work_size
from hlm_models.target.density import target
from hlm_models.target.log_posterior import log_posterior_one

CALLS = 2000
REPEATS = 7


@njit
def passes(calls, Lambda, G, H, S, N, D, derivatives, work):
    total = 0.0
    for _ in range(calls):
        S[:] = 0.0
        total += add_levels(Lambda, G, H, S, N, D, derivatives, work)
    return total


@njit
def densities(calls, z, floats, places, blocks, gaussian, gradient, work):
    total = 0.0
    for _ in range(calls):
        total += log_posterior_one(z, floats, places, blocks, gaussian, gradient, work)
    return total


def microseconds(function: Any, *arguments: Any) -> float:
    function(2, *arguments)
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        function(CALLS, *arguments)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds) / CALLS * 1e6


def one(title: str, spec: Any) -> None:
    found = target(spec)
    assert found is not None
    gram = spec.marginal.products
    q, k, J = gram.H.shape
    Lambda = np.linalg.cholesky(0.1 * np.eye(q) + 0.05)
    S, N, D = np.zeros((k, k)), np.zeros((q, q)), np.zeros((q * k, q * k))
    work = np.empty(work_size(q, k))
    levels = (Lambda, gram.G, gram.H, S, N, D)
    value = microseconds(passes, *levels, False, work)
    with_derivatives = microseconds(passes, *levels, True, work)
    z = np.zeros(found.size)
    z[:] = found.coordinates.point(
        tuple(np.full(block.q, 1.0) for block in spec.blocks),
        tuple(np.eye(block.q) for block in spec.blocks),
        np.zeros(0),
        float(np.std(spec.design.y)),
    )
    whole = microseconds(
        densities,
        z,
        found.floats,
        found.places,
        found.blocks,
        found.coordinates.integration.gaussian,
        np.empty(found.size),
        np.empty(found.work_size),
    )
    started = time.perf_counter()
    for _ in range(CALLS):
        found(z)
    called = (time.perf_counter() - started) / CALLS * 1e6
    print(f"{title}: {spec.design.n:,} rows, {J:,} levels, q = {q}, p = {k - 1}, d = {found.size}")
    print(f"  value alone (pass over the levels)        {value:8.1f} us")
    print(f"  pass with derivatives                     {with_derivatives:8.1f} us")
    print(f"  log posterior with gradient               {whole:8.1f} us")
    print(f"  the same, called from Python              {called:8.1f} us")
    print(f"  ratio of gradient to value alone          {whole / value:8.2f}")


def main() -> None:
    nels = sampling_cases.MODELS["nels"]()
    slopes = hlm.build(formula="mscore ~ ses + (ses | school)", data=nels.design.table.frame())
    one("nels, 2 coefficients", slopes)
    one("nels, 4 coefficients", nels)
