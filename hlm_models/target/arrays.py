"""How compiled code reads a model: what the C functions that samplers call have in common.

All that it needs stands in a table of integers: for every array its address and its shape.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import carray, types
from numba.core import cgutils
from numba.extending import intrinsic

from hlm_models.algebra.compiled import c_function, compiled
from hlm_models.types import IntArray, frozen

__all__ = [
    "DENSITY",
    "FAILED",
    "START",
    "TABLE",
    "copy",
    "cube",
    "floats_of",
    "gaussian_of",
    "integers",
    "matrix",
    "places_of",
    "table",
    "table_of_integers",
    "vector",
]

TABLE = 4
"""Integers an array has in the table: its address, and a shape of up to three dimensions."""

FLOATS = types.CPointer(types.float64)
DENSITY = types.int64(types.uint64, FLOATS, FLOATS, FLOATS, types.voidptr)
EXPAND = types.int64(types.uint64, types.uint64, FLOATS, FLOATS, types.voidptr)

START = 19
"""Where the cross-products begin: after those of floats, places and gaussian."""

FAILED = 4
"""What nutpie takes for a point that cannot be: the step is rejected, sampling goes on."""


def table(arrays: Sequence[Any], work_size: int) -> IntArray:
    """The table of contiguous arrays of 64-bit numbers; its first number is `work_size`.

    It holds addresses only: the arrays must be kept as long as it is used.
    """
    rows = np.ones((len(arrays), TABLE), dtype=np.int64)
    for row, array in zip(rows, arrays, strict=True):
        assert array.flags.c_contiguous
        assert array.itemsize == 8
        assert array.ndim < TABLE
        row[0] = array.ctypes.data
        row[1 : 1 + array.ndim] = array.shape
    return frozen(np.append(np.int64(work_size), rows.ravel()))


@intrinsic
def _pointer(typing_context, address):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """The void pointer of an address."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]  # noqa: ARG001
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), generate


@compiled()
def cube(t, i):  # type: ignore[no-untyped-def]
    """Array i of the table, of three dimensions."""
    at = 1 + i * TABLE
    return carray(_pointer(t[at]), (t[at + 1], t[at + 2], t[at + 3]), np.float64)


@compiled()
def matrix(t, i):  # type: ignore[no-untyped-def]
    """Array i of the table, of two dimensions."""
    at = 1 + i * TABLE
    return carray(_pointer(t[at]), (t[at + 1], t[at + 2]), np.float64)


@compiled()
def vector(t, i):  # type: ignore[no-untyped-def]
    """Array i of the table, of one dimension."""
    at = 1 + i * TABLE
    return carray(_pointer(t[at]), (t[at + 1],), np.float64)


@compiled()
def integers(t, i):  # type: ignore[no-untyped-def]
    """Array i of the table, integers of one dimension."""
    at = 1 + i * TABLE
    return carray(_pointer(t[at]), (t[at + 1],), np.int64)


@compiled()
def table_of_integers(t, i):  # type: ignore[no-untyped-def]
    """Array i of the table, integers of two dimensions."""
    at = 1 + i * TABLE
    return carray(_pointer(t[at]), (t[at + 1], t[at + 2]), np.int64)


@compiled()
def floats_of(t):  # type: ignore[no-untyped-def]
    """The numbers of the priors and coordinates: `hlm_models.target.density.Target.floats`."""
    return (
        matrix(t, 0), matrix(t, 1), vector(t, 2), vector(t, 3), matrix(t, 4), vector(t, 5),
        vector(t, 6), matrix(t, 7), vector(t, 8),
    )  # fmt: skip


@compiled()
def places_of(t):  # type: ignore[no-untyped-def]
    """The indices of the coordinates: `hlm_models.target.density.Target.places`."""
    return (
        integers(t, 9), integers(t, 10), integers(t, 11), integers(t, 12), integers(t, 13),
        table_of_integers(t, 14),
    )  # fmt: skip


@compiled()
def gaussian_of(t):  # type: ignore[no-untyped-def]
    """What the kernels take as `gaussian`."""
    return matrix(t, 15), vector(t, 16), matrix(t, 17), vector(t, 18)


@c_function(EXPAND)
def copy(size, expanded, z_, out_, user_data):  # type: ignore[no-untyped-def]  # noqa: ARG001
    """A draw as it is stored: z itself."""
    z, out = carray(z_, (size,)), carray(out_, (size,))
    for i in range(size):
        out[i] = z[i]
    return 0
