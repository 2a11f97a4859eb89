"""The log posterior of a model of one factor as a C function, callable from any thread."""

import numpy as np
from numba import carray

from hlm_models.algebra.compiled import c_function
from hlm_models.target.arrays import (
    DENSITY,
    FAILED,
    START,
    TABLE,
    cube,
    floats_of,
    gaussian_of,
    matrix,
    places_of,
)
from hlm_models.target.log_posterior import log_posterior_one

__all__ = ["one_factor"]

ARRAYS = START + 3


@c_function(DENSITY, error_model="numpy")
def one_factor(size, z_, gradient_, value_, user_data):  # type: ignore[no-untyped-def]
    """`log_posterior_one`; `user_data` is a `hlm_models.target.arrays.table`."""
    t = carray(user_data, (1 + ARRAYS * TABLE,), np.int64)
    blocks = (cube(t, START), cube(t, START + 1), matrix(t, START + 2))
    value_[0] = log_posterior_one(
        carray(z_, (size,)),
        floats_of(t),
        places_of(t),
        blocks,
        gaussian_of(t),
        carray(gradient_, (size,)),
        np.empty(t[0]),
    )
    return 0 if value_[0] > -np.inf else FAILED
