"""The cache of a compiled function knows the files of all that it calls."""

import subprocess
import sys
from pathlib import Path

import pytest

from hlm_models.algebra.compiled import sources

PACKAGE = {
    "__init__.py": "",
    "deep.py": """
from numba import njit

@njit
def add(x):
    return x + 1.0
""",
    "callee.py": """
from hlm_models.algebra.compiled import compiled
from package.deep import add

@compiled()
def twice(x):
    return 2.0 * add(x)
""",
    "caller.py": """
from numba import carray, types

from hlm_models.algebra.compiled import c_function, compiled
from package import callee
from package.callee import twice

@compiled()
def by_name(x):
    return twice(x)

@compiled()
def by_module(x):
    return callee.twice(x)

@compiled()
def by_another(x):
    return below(x)

@compiled()
def below(x):
    return twice(x)

@c_function(types.float64(types.float64))
def from_c(x):
    return twice(x)
""",
    "apart.py": """
from hlm_models.algebra.compiled import compiled

@compiled()
def alone(x):
    return x - 5.0
""",
}

RUN = """
from package import apart, caller
functions = caller.by_name, caller.by_module, caller.by_another, apart.alone
print(*(one(1.0) for one in functions), caller.from_c.ctypes(1.0))
print(*(sum(one.stats.cache_hits.values()) for one in functions), caller.from_c.cache_hits)
"""
NAMES = ("by_name", "by_module", "by_another", "alone", "from_c")


@pytest.fixture
def package(tmp_path):
    """A package of compiled functions that call each other across files, and a way to call it."""
    folder = tmp_path / "package"
    folder.mkdir()
    for name, text in PACKAGE.items():
        (folder / name).write_text(text)

    def call():
        """What the functions give, and those that came from the cache."""
        done = subprocess.run(
            [sys.executable, "-c", RUN], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        given, hits = ([float(word) for word in line.split()] for line in done.stdout.splitlines())
        return dict(zip(NAMES, given, strict=True)), {
            name for name, count in zip(NAMES, hits, strict=True) if count
        }

    return folder, call


def test_a_change_in_any_file_is_seen_and_without_one_the_cache_is_loaded(package):
    folder, call = package
    others = [name for name in NAMES if name != "alone"]
    before = {"alone": -4.0} | dict.fromkeys(others, 4.0)
    assert call() == (before, set())
    assert call() == (before, set(NAMES))
    # Two calls away, in a file that the callers do not even name.
    deep = folder / "deep.py"
    deep.write_text(PACKAGE["deep.py"].replace("x + 1.0", "x + 10.0"))
    assert call() == (before | dict.fromkeys(others, 22.0), {"alone"})
    callee = folder / "callee.py"
    callee.write_text(PACKAGE["callee.py"].replace("2.0 *", "-3.00 *"))
    assert call() == (before | dict.fromkeys(others, -33.0), {"alone"})


NAMED = """
from typing import NamedTuple
from hlm_models.algebra.compiled import compiled

class Pair(NamedTuple):
    left: float
    right: float

@compiled()
def left(pair):
    return pair.left

print(left(Pair(1.0, 2.0)), sum(left.stats.cache_hits.values()))
"""


def test_a_class_among_the_arguments_may_be_renamed(tmp_path):
    file = tmp_path / "named.py"

    def call():
        done = subprocess.run(
            [sys.executable, "-c", "import named"], cwd=tmp_path, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    for text in (NAMED, NAMED.replace("Pair", "Couple")):
        file.write_text(text)
        assert call() == ["1.0", "0"]
        assert call() == ["1.0", "1"]


def names(function):
    return {Path(file).name for file in sources(function)}


def test_sources_are_the_files_of_all_that_is_called():
    from hlm_models.target.log_posterior import log_posterior_one, prior_work

    assert names(prior_work.py_func) == {"log_posterior.py"}
    assert names(log_posterior_one.py_func) == {"log_posterior.py", "integrated.py", "kernel.py"}


def test_sources_are_those_of_functions_and_intrinsics_that_are_attributes_of_a_module():
    from hlm_models.algebra.crossed_pass import several_factors_density

    found = names(several_factors_density.py_func)
    assert found == {"crossed_pass.py", "integrated.py", "kernel.py", "lapack.py", "sparse.py"}
