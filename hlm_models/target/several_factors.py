"""The log posterior of a model of several factors as a C function, callable from any thread."""

import numpy as np
from numba import carray

from hlm_models.algebra.compiled import c_function, compiled
from hlm_models.algebra.crossed_pass import several_factors_density
from hlm_models.target.arrays import (
    DENSITY,
    FAILED,
    START,
    TABLE,
    cube,
    floats_of,
    gaussian_of,
    integers,
    matrix,
    places_of,
    table_of_integers,
    vector,
)
from hlm_models.target.log_posterior import finish, of_matrices, sigma_of, start, views

__all__ = ["several_factors"]

ARRAYS = START + 21


@compiled(error_model="numpy")
def log_posterior_several(z, floats, places, blocks, gaussian, gradient, work):  # type: ignore[no-untyped-def]
    """The log posterior at z (d,) for several factors; as `log_posterior_one`."""
    q = places[0]
    own, lam, factor, pull, m, slopes, back, rest = views(
        work, len(z), len(floats[5]), np.sum(q * q), np.sum(q)
    )
    value = start(z, floats, places, lam, m, factor, own)
    value += of_matrices(floats, places, factor, own, pull, rest)
    log_sigma = np.log(sigma_of(places, own))
    value += several_factors_density(lam, log_sigma, m, blocks, gaussian, slopes, rest)
    return finish(value, floats, places, factor, pull, own, slopes, gradient, back)


@compiled()
def blocks_of(t):  # type: ignore[no-untyped-def]
    """The arrays of `hlm_models.algebra.crossed_pass.several_blocks`."""
    at = START
    return (
        cube(t, at), cube(t, at + 1), matrix(t, at + 2), matrix(t, at + 3), integers(t, at + 4),
        integers(t, at + 5), matrix(t, at + 6), table_of_integers(t, at + 7), integers(t, at + 8),
        table_of_integers(t, at + 9), vector(t, at + 10), integers(t, at + 11),
        integers(t, at + 12), integers(t, at + 13), integers(t, at + 14), integers(t, at + 15),
        integers(t, at + 16), integers(t, at + 17), integers(t, at + 18), integers(t, at + 19),
        integers(t, at + 20),
    )  # fmt: skip


@c_function(DENSITY, error_model="numpy")
def several_factors(size, z_, gradient_, value_, user_data):  # type: ignore[no-untyped-def]
    """`log_posterior_several`; `user_data` is a `hlm_models.target.arrays.table`."""
    t = carray(user_data, (1 + ARRAYS * TABLE,), np.int64)
    value_[0] = log_posterior_several(
        carray(z_, (size,)),
        floats_of(t),
        places_of(t),
        blocks_of(t),
        gaussian_of(t),
        carray(gradient_, (size,)),
        np.empty(t[0]),
    )
    return 0 if value_[0] > -np.inf else FAILED
