"""The engine: draws in the tree that every posterior has, the same bits on any number of cores."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.errors import FitError
from hlm_models.results import posterior as posteriors
from hlm_models.results.document import document
from hlm_models.target.conditional import effects

SHORT = {"chains": 3, "draws": 40, "tune": 60, "seed": 5}
MATRIX = "priors.groups.subject={kind: inverse_wishart, scale: [[600, 0], [0, 35]]}"


def sleepstudy(*overrides):
    return hlm.build("sleepstudy-slopes", overrides=[MATRIX, *overrides])


def same(left, right):
    for name, values in left.data["posterior"].data_vars.items():
        assert np.array_equal(values.values, right.data["posterior"][name].values), name


@pytest.mark.parametrize("name", ["sleepstudy", "penicillin", "pastes"])
def test_the_number_of_cores_changes_no_bit(name):
    spec = sleepstudy() if name == "sleepstudy" else hlm.build(name)
    one, two = (hlm.fit(spec, engine="gibbs", **SHORT, cores=cores) for cores in (1, 2))
    same(one, two)
    draws = one.data["posterior"]["sigma"].values
    assert len(np.unique(draws)) == draws.size


def test_another_seed_gives_other_draws():
    spec = hlm.build("dyestuff")
    one = hlm.fit(spec, engine="gibbs", **SHORT)
    other = hlm.fit(spec, engine="gibbs", **{**SHORT, "seed": 6})
    assert not np.any(one.data["posterior"]["sigma"] == other.data["posterior"]["sigma"])


def test_the_posterior_is_the_tree_of_every_posterior():
    fit = hlm.fit(sleepstudy(), engine="gibbs", **SHORT, log_likelihood=True)
    assert (fit.engine, fit.sampler, fit.parameterization) == ("gibbs", "gibbs", "joint")
    assert fit.divergences == 0
    assert set(fit.data.children) == {
        "prior", "posterior", "posterior_predictive", "sample_stats", "observed_data",
        "log_likelihood",
    }  # fmt: skip
    assert dict(fit.data["posterior"].sizes) == {
        "chain": 3, "draw": 40, "coef": 2, "subject": 18, "effect_subject": 2,
        "effect_subject_2": 2,
    }  # fmt: skip
    corr = fit.data["posterior"]["corr_subject"].values
    assert np.all(np.diagonal(corr, axis1=2, axis2=3) == 1.0)
    assert np.all(np.abs(corr) <= 1.0)
    assert {"r_hat", "ess_bulk", "ess_tail"} <= {check.code for check in fit.checks}
    assert not {"divergences", "energy", "tree_depth"} & {check.code for check in fit.checks}
    assert {"read", "build", "compile", "fit", "draw"} == set(fit.seconds)


def test_a_fit_is_saved_and_described(tmp_path):
    fit = hlm.fit(sleepstudy(), engine="gibbs", **SHORT, gibbs={"scheme": "coefficients"})
    hlm.save_fit(fit, tmp_path / "fit.nc")
    again = hlm.load_fit(tmp_path / "fit.nc", fit.spec)
    assert (again.engine, again.parameterization) == ("gibbs", "coefficients")
    same(fit, again)
    found = document(fit)
    assert found["scheme"] == "coefficients"
    assert not {"divergences", "parameterization", "sampler"} & set(found)
    assert json.dumps(found)


def test_thinning_keeps_every_so_many_sweeps():
    """A draw is the same whether those between are kept or not."""
    spec = hlm.build("dyestuff")
    every = hlm.fit(spec, engine="gibbs", **{**SHORT, "draws": 120})
    third = hlm.fit(spec, engine="gibbs", **SHORT, gibbs={"thin": 3})
    for name, values in third.data["posterior"].data_vars.items():
        assert np.array_equal(values.values, every.data["posterior"][name].values[:, 2::3]), name


def test_progress_counts_every_sweep():
    steps = []
    hlm.fit("dyestuff", engine="gibbs", **SHORT, gibbs={"thin": 2}, progress=steps.append)
    counted = [step for step in steps if step.stage == "sampling"]
    assert (counted[-1].done, counted[-1].total) == (3 * (60 + 80), 3 * (60 + 80))
    assert counted[-1].unit == "sweeps"
    assert counted[-1].divergences is None
    assert [step.done for step in counted] == sorted(step.done for step in counted)


def test_effects_that_are_too_many_are_drawn_again(monkeypatch):
    spec = sleepstudy()
    stored = hlm.fit(spec, engine="gibbs", **SHORT)
    monkeypatch.setattr(posteriors, "STORED_EFFECTS", 100)
    fit = hlm.fit(spec, engine="gibbs", **SHORT)
    assert "b_subject" not in fit.data["posterior"]
    for name in ("beta", "sigma", "sd_subject"):
        assert np.array_equal(fit.data["posterior"][name], stored.data["posterior"][name])
    drawn = effects(fit)["b_subject"].values
    assert np.array_equal(drawn, effects(fit)["b_subject"].values)
    # Another draw of the same law: as far from the other as two draws are.
    gap = (drawn - stored.data["posterior"]["b_subject"].values).mean(axis=(0, 1))
    spread = drawn.std(axis=(0, 1)) * np.sqrt(2 / (3 * 40))
    assert np.all(np.abs(gap) < 5 * spread)


def test_a_known_sigma_is_one_and_no_parameter():
    fit = hlm.fit("eight-schools", engine="gibbs", **SHORT)
    assert np.all(fit.data["posterior"]["sigma"].values == 1.0)
    assert "sigma" not in hlm.summary(fit).index


def test_columns_with_huge_values_are_fine_and_a_broken_response_is_not():
    import pandas as pd

    rng = np.random.default_rng(1)
    x, g = 1e6 + 1e3 * rng.normal(size=60), np.repeat(np.arange(6), 10)
    y = 3 + 1e-3 * (x - 1e6) + rng.normal(size=6)[g] + rng.normal(size=60)
    frame = pd.DataFrame({"x": x, "y": y, "g": [f"g{i}" for i in g]})
    fit = hlm.fit(hlm.build(formula="y ~ x + (1 | g)", data=frame), engine="gibbs", seed=2)
    slope = fit.data["posterior"]["beta"].values[..., 1]
    assert abs(slope.mean() - 1e-3) < 5 * slope.std()
    with pytest.raises(FitError, match="too far from 1"):
        hlm.fit(
            hlm.build(formula="y ~ x + (1 | g)", data=frame.assign(y=y * 1e150)), engine="gibbs"
        )


CTRL_C = """
import os, signal, sys
import hlm_models as hlm

asked = []

def progress(step):
    if not asked and step.done:
        asked.append(True)
        os.kill(os.getpid(), signal.SIGINT)

try:
    hlm.fit(MODEL, engine="gibbs", chains=2, draws=DRAWS, tune=60, cores=2, progress=progress)
except KeyboardInterrupt:
    print("interrupted", bool(asked))
"""


@pytest.mark.parametrize(("model", "draws"), [("dyestuff", 3_000_000), ("penicillin", 200_000)])
def test_a_ctrl_c_ends_all_chains(model, draws):
    code = CTRL_C.replace("MODEL", repr(model)).replace("DRAWS", str(draws))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False,
        env=dict(os.environ),
    )  # fmt: skip
    assert done.stdout.split() == ["interrupted", "True"], done.stderr


def test_a_fit_imports_neither_pymc_nor_plots():
    code = """
import sys
import hlm_models as hlm
hlm.fit("dyestuff", engine="gibbs", chains=1, draws=20, tune=50)
unwanted = {"pymc", "pytensor", "arviz", "arviz_plots", "matplotlib", "nutpie"}
print(*sorted(unwanted & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.split() == []
