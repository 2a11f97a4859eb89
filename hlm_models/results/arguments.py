"""Arguments that are counts, seeds and levels: one check and one wording for all functions."""

from typing import TypeGuard

import numpy as np

from hlm_models.errors import InputErrors

__all__ = ["checked_count", "checked_level", "checked_seed"]


def checked_count(value: object, key: str, *, least: int = 1) -> int:
    """A whole number of at least `least`.

    Raises
    ------
    InputErrors
        it is none; names `key`.
    """
    if not _whole(value) or value < least:
        raise InputErrors.one(
            f"a whole number of at least {least} is needed, not {value!r}", key=key
        )
    return int(value)


def checked_seed(value: object) -> int:
    """A whole number from 0 on, so that the same draws can be had again.

    Raises
    ------
    InputErrors
        it is none.
    """
    if not _whole(value) or value < 0:
        raise InputErrors.one(f"a whole number from 0 on is needed, not {value!r}", key="seed")
    return int(value)


def checked_level(value: object) -> float:
    """A level of confidence, between 0 and 1.

    Raises
    ------
    InputErrors
        it is none.
    """
    if not isinstance(value, float | np.floating) or not 0 < value < 1:
        raise InputErrors.one(f"a number between 0 and 1 is needed, not {value!r}", key="level")
    return float(value)


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
