"""Compiled functions whose cache on disk knows every file that they are made of.

numba keeps a compiled function by the state of the file it stands in. A function that calls
another file's would stay as it was when that file changes: here its cache is keyed by all of them.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from numba import njit
from numba.core.caching import FunctionCache
from numba.core.ccallback import CFunc
from numba.core.extending import _Intrinsic
from numba.core.registry import CPUDispatcher

__all__ = ["c_function", "compiled", "sources", "uninterrupted"]


class SourcesCache(FunctionCache):  # type: ignore[misc]
    """One whose entries hold as long as no file in `sources` has changed."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        # Now, not before: what stands below in the same file was not there when this was made.
        stamps = [Path(file).stat() for file in sorted(sources(self._py_func))]
        self._cache_file._source_stamp = tuple((one.st_mtime, one.st_size) for one in stamps)
        try:
            return super().load_overload(sig, target_context)
        except (AttributeError, ImportError):
            # numba looks at the stamp after the entries: these name a class that has moved since.
            self.flush()
            return None


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """`numba.njit`, cached on disk and without the global lock; `options` are numba's."""

    def wrap(function: Callable[..., Any]) -> Any:
        found = njit(nogil=True, **options)(function)
        found._cache = SourcesCache(function)
        return found

    return wrap


def c_function(signature: Any, **options: Any) -> Callable[[Callable[..., Any]], CFunc]:
    """`numba.cfunc`, cached on disk: a function that C code can call by its `address`."""

    def wrap(function: Callable[..., Any]) -> CFunc:
        found = CFunc(function, (signature.args, signature.return_type), {}, options)
        found._cache = SourcesCache(function)  # type: ignore[attr-defined]
        found.compile()
        return found

    return wrap


def sources(function: Callable[..., Any]) -> frozenset[str]:
    """Files of a function and of all compiled functions and intrinsics that it calls.

    Constants that it takes from another file are not followed: a compiled function hands them over.
    """
    assert isinstance(function, FunctionType)
    found, waiting = {function}, [function]
    while waiting:
        one = waiting.pop()
        names = one.__code__.co_names
        known = [one.__globals__.get(name) for name in names]
        modules = [value for value in known if isinstance(value, ModuleType)]
        known += [getattr(module, name, None) for module in modules for name in names]
        called = {value.py_func for value in known if isinstance(value, CPUDispatcher)}
        called |= {value._defn for value in known if isinstance(value, _Intrinsic)}
        waiting += called - found
        found |= called
    return frozenset(one.__code__.co_filename for one in found)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A context that a Ctrl-C ends, and not before: the compiler loses one, or fails at it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt
