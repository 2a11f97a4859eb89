"""A process that is killed, with no chance to tidy up: nothing damaged is left, and the same
command again does all of it.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pseudo_terminal import on_terminal

import hlm_models as hlm
from hlm_models.cli import main

pytestmark = pytest.mark.slow

SHORT = ("--set", "fit.chains=2", "--set", "fit.draws=500")
FILES = [
    *("agreement.csv", "config.yaml", "fit-nuts.nc", "fit-reml.json", "provenance.json"),
    *("report.html", "run.json", "summary-nuts.csv", "summary-reml.csv"),
]

DYING = """
import os, signal, sys
import xarray
from pathlib import Path
from hlm_models.api import runs
from hlm_models.cli import main

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def half_a_file(real):
    def written(data, path, **how):
        real(data, path, **how)
        os.truncate(path, Path(path).stat().st_size // 2)
        die()
    return written

def rename(real):
    def replaced(self, target):
        if not Path(target).name.startswith("."):
            die()
        return real(self, target)
    return replaced

at = sys.argv[1]
if at == "posterior":
    xarray.DataTree.to_netcdf = half_a_file(xarray.DataTree.to_netcdf)
elif at == "page":
    runs.write = die
elif at == "last file":
    real = runs._dump
    runs._dump = lambda path, value: die() if path.name == "run.json" else real(path, value)
elif at == "rename":
    Path.replace = rename(Path.replace)
sys.exit(main(sys.argv[2:]))
"""
"""`hlm` that is killed at one step of the writing."""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def environment():
    roots = [str(Path(hlm.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, roots))}


def killed(at, *arguments):
    """Run `hlm` until it is killed at `at`."""
    done = subprocess.run(
        [sys.executable, "-c", DYING, at, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment(),
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


def shown(folder):
    """Names in a folder that are not hidden."""
    return sorted(one.name for one in folder.iterdir() if not one.name.startswith("."))


def assert_whole(folder):
    """A run that has every file, and loads."""
    assert shown(folder) == FILES
    again = hlm.load_run(folder)
    assert set(again.fits) == {"nuts", "reml"}
    posterior = again.fits["nuts"].data["posterior"]
    assert all(np.isfinite(values).all() for values in posterior.data_vars.values())
    assert "</html>" in (folder / "report.html").read_text("utf-8")[-20:]
    return again


def test_a_run_that_is_killed_while_it_samples_leaves_nothing_and_runs_again(folder):
    command = ["run", "dyestuff", "--set", "fit.draws=100000", "--set", "fit.cores=1"]
    told, code = on_terminal(command, folder, interrupt="dyestuff: sampling", by=signal.SIGKILL)
    assert code == -signal.SIGKILL, told
    assert list(folder.iterdir()) == []
    assert main(command) == 0
    [run] = [one for one in shown(folder / "runs") if one != "dyestuff"]
    assert_whole(folder / "runs" / run)


@pytest.mark.parametrize("at", ["posterior", "page", "last file", "rename"])
def test_a_run_that_is_killed_while_it_writes_is_not_there_and_runs_again(at, folder, capsys):
    command = ["run", "dyestuff", *SHORT]
    killed(at, *command)
    assert shown(folder) == ["runs"]
    assert shown(folder / "runs") == []
    assert main([*command, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["reused"] is False
    assert shown(folder / "runs") == sorted(["dyestuff", Path(done["folder"]).name])
    assert_whole(Path(done["folder"]))
    assert_whole(folder / "runs" / "dyestuff")


@pytest.mark.parametrize("at", ["posterior", "last file"])
def test_an_older_run_outlives_one_that_is_killed_while_it_writes_over_it(at, folder):
    command = ["run", "dyestuff", *SHORT, "--out", "there"]
    assert main(command) == 0
    before = {one.name: one.read_bytes() for one in (folder / "there").iterdir()}
    killed(at, *command, "--force")
    assert {one.name: one.read_bytes() for one in (folder / "there").iterdir()} == before
    assert main([*command, "--force"]) == 0
    assert_whole(folder / "there")


def test_a_saved_fit_outlives_a_command_that_is_killed_while_it_saves(folder):
    command = ["fit", "dyestuff", "--engine", "nuts", *SHORT, "--out", "fit.nc"]
    spec = hlm.build("dyestuff")
    killed("posterior", *command)
    assert shown(folder) == []
    assert main(command) == 0
    before = hlm.load_fit("fit.nc", spec)
    killed("posterior", *command, "--force")
    assert hlm.load_fit("fit.nc", spec).data["posterior"].identical(before.data["posterior"])
    assert main([*command, "--force"]) == 0
    assert [one.name for one in folder.iterdir()] == ["fit.nc"]


@pytest.mark.parametrize("model", ["dyestuff", "penicillin"])
def test_a_run_has_the_same_bits_whatever_its_cores_and_its_process(model, folder):
    command = ["run", model, *SHORT, "--out"]
    assert main([*command, "here", "--set", "fit.cores=2"]) == 0
    subprocess.run(
        [sys.executable, "-m", "hlm_models", *command, "there", "--set", "fit.cores=1"],
        check=True,
        capture_output=True,
        env=environment(),
    )
    one, other = (assert_whole(folder / name).fits["nuts"] for name in ("here", "there"))
    for group in one.data.children:
        # Attributes tell of settings and versions; the numbers are what must be the same.
        assert one.data[group].to_dataset().equals(other.data[group].to_dataset()), group
