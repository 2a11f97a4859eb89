"""What a command loads: PyMC and its kin are imported by sampling alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"pymc", "pytensor", "nutpie", "arviz", "bambi"}
CODE = """
import sys
sys.argv = ["hlm", *{arguments!r}]
from hlm_models.cli import main
code = main()
assert code == 0, code
print("LOADED", *sys.modules)
"""


def loaded(code: str, folder: Path) -> set[str]:
    """Modules, and their top-level packages, that a new process has loaded when `code` has run."""
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=folder
    )
    assert run.returncode == 0, run.stderr
    last = run.stdout.splitlines()[-1]
    assert last.startswith("LOADED ")
    names = last.split()[1:]
    return {name.partition(".")[0] for name in names} | set(names)


def by_command(arguments: list[str], folder: Path) -> set[str]:
    return loaded(CODE.format(arguments=arguments), folder)


def test_importing_the_package_loads_nothing_heavy(tmp_path):
    found = loaded("import hlm_models, sys; print('LOADED', *sys.modules)", tmp_path)
    assert "hlm_models" in found
    assert (HEAVY | {"numpy", "pandas", "pydantic", "scipy", "numba"}) & found == set()


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["show", "radon-slopes"],
        ["check", "radon-slopes"],
        ["fit", "radon-slopes", "--engine", "reml"],
        ["prior", "radon-slopes"],
        ["data", "list"],
        ["schema"],
    ],
    ids=" ".join,
)
def test_a_command_that_does_not_sample_never_loads_pymc(arguments, tmp_path):
    found = by_command(arguments, tmp_path)
    assert HEAVY & found == set()
    assert "hlm_models" in found


FORMULAS_AND_SQL = {"duckdb", "formulaic"}
INFERENCE = {
    *("hlm_models.inference", "hlm_models.api.inference", "hlm_models.algebra.crossed"),
    *("scipy.stats", "scipy.optimize", "multiprocessing"),
}


def test_a_plain_point_fit_loads_no_inference(tmp_path):
    model = "nels-slopes" if "HLM_DATA" in os.environ else "hsb-random-coefficients"
    found = by_command(["fit", model, "--engine", "reml"], tmp_path)
    assert (FORMULAS_AND_SQL | INFERENCE) & found == set()


def test_an_option_loads_the_inference_that_it_asks_for(tmp_path):
    found = by_command(["fit", "sleepstudy-slopes", "--engine", "reml", "--anova"], tmp_path)
    assert "hlm_models.inference.anova" in found
    assert HEAVY & found == set()


def test_listing_the_zoo_loads_neither_numpy_nor_pandas(tmp_path):
    found = by_command(["list"], tmp_path)
    assert {"numpy", "pandas", "scipy", "numba", "duckdb"} & found == set()


@pytest.mark.parametrize("arguments", [["data", "list"], ["--help"], ["run", "--help"]])
def test_words_about_commands_need_no_numbers(arguments, tmp_path):
    found = by_command(arguments, tmp_path)
    assert {"numpy", "pandas", "scipy", "numba", "duckdb"} & found == set()
