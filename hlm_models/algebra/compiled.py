"""Compiled functions whose cache on disk knows every file that they are made of.

numba keeps a compiled function by the state of the file it stands in. A function that calls
another file's would stay as it was when that file changes: here its cache is keyed by all of them.
"""

from collections.abc import Callable
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from numba import njit
from numba.core.ccallback import CFunc
from numba.core.extending import _Intrinsic
from numba.core.registry import CPUDispatcher

__all__ = ["c_function", "compiled", "sources"]


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit`, cached on disk and without the global lock; `options` are numba's."""

    def wrap(function: Callable[..., Any]) -> Any:
        found = njit(cache=True, nogil=True, **options)(function)
        _key(found, function)
        return found

    return wrap


def c_function(signature: Any, **options: Any) -> Callable[[Callable[..., Any]], CFunc]:
    """`numba.cfunc`, cached on disk: a function that C code can call by its `address`."""

    def wrap(function: Callable[..., Any]) -> CFunc:
        found = CFunc(function, (signature.args, signature.return_type), {}, options)
        found.enable_caching()
        _key(found, function)
        found.compile()
        return found

    return wrap


def _key(made: Any, function: Callable[..., Any]) -> None:
    stamps = [Path(file).stat() for file in sorted(sources(function))]
    made._cache._cache_file._source_stamp = tuple((one.st_mtime, one.st_size) for one in stamps)


def sources(function: Callable[..., Any]) -> frozenset[str]:
    """Files of a function and of all compiled functions and intrinsics that it calls."""
    assert isinstance(function, FunctionType)
    code, found = function.__code__, {function.__code__.co_filename}
    known = [function.__globals__.get(name) for name in code.co_names]
    modules = [value for value in known if isinstance(value, ModuleType)]
    known += [getattr(module, name, None) for module in modules for name in code.co_names]
    for value in known:
        if isinstance(value, CPUDispatcher) and value.py_func is not function:
            found |= sources(value.py_func)
        elif isinstance(value, _Intrinsic):
            found |= sources(value._defn)
    return frozenset(found)
