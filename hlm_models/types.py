"""Array aliases and the one way to make an array read-only."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["BoolArray", "FloatArray", "IntArray", "frozen"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def frozen[Scalar: np.generic](array: NDArray[Scalar]) -> NDArray[Scalar]:
    """Mark `array` read-only and hand it back; what passes between rooms is frozen.

    The array is the caller's own: a view of somebody else's data stays theirs to write.
    """
    array.flags.writeable = False
    return array
