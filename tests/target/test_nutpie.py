"""The sampler without PyMC: its draws, its failures, and what it leaves alone in the process."""

import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow
import pytest

import hlm_models as hlm
from hlm_models.config.settings import Sampling
from hlm_models.errors import FitError, InputErrors
from hlm_models.results.progress import silent
from hlm_models.target import nutpie
from hlm_models.target.density import target
from hlm_models.target.nutpie import STATISTICS, sample
from hlm_models.target.start import warm
from hlm_models.target.waiting import wait
from hlm_models.types import frozen


def settings(**changed):
    known = {"chains": 3, "draws": 60, "tune": 80, "target_accept": 0.8, "cores": 1}
    return Sampling(sampler="nutpie", **(known | changed))


@cache
def warmed(name):
    return warm(target(hlm.build(name)))


@pytest.mark.parametrize("name", ["dyestuff2", "sleepstudy-slopes", "penicillin"])
def test_a_seed_gives_the_same_bits_on_any_number_of_processors(name):
    found = warmed(name)
    with found.spec.marginal.one_thread():
        one, two, other = (
            sample(found, settings(cores=cores), seed, silent)
            for cores, seed in ((1, 7), (2, 7), (2, 8))
        )
    np.testing.assert_array_equal(one.x, two.x)
    assert one.steps == two.steps
    for key, values in one.statistics.items():
        np.testing.assert_array_equal(values, two.statistics[key], err_msg=key)
    assert not np.isin(one.x[..., 0], other.x[..., 0]).any()


def test_chains_are_different():
    found = sample(warmed("sleepstudy-slopes"), settings(), 7, silent)
    assert found.x.shape == (3, 60, 4)
    assert np.isfinite(found.x).all()
    for chain in range(1, 3):
        assert not np.isin(found.x[chain, :, 0], found.x[0, :, 0]).any()


def test_statistics_have_a_number_a_draw():
    target_, how = warmed("sleepstudy-slopes"), settings()
    found = sample(target_, how, 7, silent)
    assert set(found.statistics) == set(STATISTICS)
    for name, values in found.statistics.items():
        assert values.shape == (3, 60)
        assert values.dtype == STATISTICS[name]
    assert found.steps > found.statistics["n_steps"].sum()
    # `logp` is the value of the target, up to its sign of a folded standard deviation.
    fold = target_.fold > 0
    for x, value in zip(found.x[0, :5], found.statistics["logp"][0, :5], strict=True):
        u = x.copy()
        u[fold] = np.arcsinh(np.exp(x[fold]) / target_.fold[fold])
        z = np.linalg.solve(target_.whiten, u - target_.centre)
        assert target_(z)[0] == pytest.approx(value, rel=1e-10)


def test_draws_are_from_the_density():
    """Means and spreads of one sd are those of the density over a grid, in Monte Carlo errors."""
    found = warmed("dyestuff2")
    drawn = sample(found, settings(chains=4, draws=1000, tune=300), 3, silent)
    plain = target(found.spec)
    log_sd, log_sigma = np.linspace(-16, 5, 211), np.linspace(0.3, 3.5, 81)
    values = np.array([[plain(np.array([a, b]))[0] for b in log_sigma] for a in log_sd])
    mass = np.exp(values - values.max())
    mass /= mass.sum()
    for k, grid, weight in ((0, log_sd, mass.sum(axis=1)), (1, log_sigma, mass.sum(axis=0))):
        expected = weight @ np.exp(grid)
        # 4000 draws of which a tenth count: five standard errors.
        error = np.sqrt(weight @ (np.exp(grid) - expected) ** 2 / 400)
        assert abs(np.exp(drawn.x[..., k]).mean() - expected) < 5 * error


def test_progress_ends_with_all_draws_of_all_chains():
    steps = []
    sample(warmed("dyestuff2"), settings(), 7, steps.append)
    assert {step.stage for step in steps} == {"sampling"}
    assert (steps[-1].done, steps[-1].total, steps[-1].divergences) == (420, 420, 0)


class Results:
    """What a sampler hands over: tables of the draws and of the statistics of each chain."""

    def __init__(self, *chains):
        self.chains = chains

    def get_arrow_trace(self):
        draws, statistics = [], []
        for tuning, z in self.chains:
            rows = [list(one) for one in z]
            draws.append(pyarrow.record_batch({"z": pyarrow.array(rows)}))
            columns = {name: np.arange(len(z)).astype(kind) for name, kind in STATISTICS.items()}
            statistics.append(pyarrow.record_batch({"tuning": tuning} | columns))
        return draws, statistics


def test_draws_of_the_tuning_are_left_out():
    found, z = warmed("dyestuff2"), np.random.default_rng(1).normal(size=(4, 2))
    kept = nutpie._collect(
        found,
        settings(chains=2, draws=2),
        Results(([True] * 2 + [False] * 2, z), ([True, False, True, False], z[::-1])),
    )
    np.testing.assert_array_equal(kept.x, found.points(np.array([z[2:], z[[2, 0]]])))
    np.testing.assert_array_equal(kept.statistics["n_steps"], [[2, 3], [1, 3]])
    assert kept.steps == 12


def test_a_chain_that_is_too_short_is_an_error():
    results = Results(([False] * 2, np.zeros((2, 2))), ([True, False], np.zeros((2, 2))))
    with pytest.raises(FitError, match=r"^chain 2 gave 1 of 2 draws$"):
        nutpie._collect(warmed("dyestuff2"), settings(chains=2, draws=2), results)


# --- failures ---


def test_a_sampler_that_finds_no_start_is_an_error_of_one_line():
    found = replace(warmed("dyestuff2"), centre=frozen(np.full(2, np.nan)))
    with pytest.raises(FitError) as caught:
        sample(found, settings(), 7, silent)
    assert str(caught.value) == "the sampler stopped: All initialization points failed"


class Broken:
    """A sampler that, asked whether it is done, raises this and that, the last of it for ever."""

    def __init__(self, *errors):
        self.errors, self.aborted = list(errors), False

    def poll(self):
        error = self.errors.pop(0) if len(self.errors) > 1 else self.errors[0]
        if error is not None:
            raise error

    def abort(self):
        self.aborted = True


def test_ctrl_c_ends_the_chains_and_goes_on():
    sampler = Broken(TimeoutError(), TimeoutError(), KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        wait(sampler.poll, sampler.abort)
    assert sampler.aborted


def test_a_chain_that_breaks_is_an_error_of_one_line():
    sampler = Broken(TimeoutError(), RuntimeError("chain 2 is lost\n  at line 7"))
    with pytest.raises(FitError, match=r"^the sampler stopped: chain 2 is lost$"):
        wait(sampler.poll, sampler.abort)


def test_a_sampler_that_is_done_is_waited_for_no_more():
    sampler = Broken(TimeoutError(), None)
    wait(sampler.poll, sampler.abort)
    assert not sampler.aborted


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ({"sampler": "stan"}, "fit.sampler: Input should be 'nutpie', 'pymc'"),
        ({"step": 3}, "fit.step: there is no such setting"),
        ({"draws": 3}, "fit.draws: Input should be greater than or equal to 10"),
        ({"tune": "some"}, "fit.tune"),
        ({"parameterization": "folded"}, "fit.parameterization"),
    ],
)
def test_settings_that_are_none_are_refused(setting, told):
    with pytest.raises(InputErrors) as caught:
        hlm.fit("dyestuff", engine="nuts", **setting)
    assert told in str(caught.value)


# --- in a process of its own ---


def run(script):
    """What a script prints, in a new process."""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


BOTH = """
import sys
import hlm_models as hlm

def ours():
    fit = hlm.fit("dyestuff", engine="nuts", chains=1, draws=20, tune=50, cores=1)
    return fit.data["posterior"]["sigma"].values.tolist()

def theirs():
    import nutpie
    from nutpie import _lib
    from nutpie.compiled_pyfunc import from_pyfunc
    model = from_pyfunc(
        2,
        lambda: lambda x: (-0.5 * float(x @ x), -x),
        lambda *_: lambda x: {"x": x},
        ["float64"], [(2,)], ["x"],
    )
    nutpie.sample(model, draws=20, tune=50, chains=1, cores=1, progress_bar=False, seed=1)
    return _lib is nutpie._lib is sys.modules["nutpie._lib"]
"""


def test_a_fit_imports_no_pymc_and_no_plots_and_nutpie_can_come_later():
    out = run(
        BOTH
        + """
first = ours()
unwanted = {"pymc", "pytensor", "arviz", "arviz_plots", "matplotlib", "nutpie"}
print("loaded:", *sorted(unwanted & set(sys.modules)))
print(theirs(), ours() == first)
"""
    )
    assert out == ["loaded:", "True", "True"]


def test_nutpie_can_come_first():
    assert run(BOTH + "print(theirs(), len(ours()), theirs())") == ["True", "1", "True"]


CTRL_C = """
import os, signal, time
import hlm_models as hlm
from hlm_models.config.settings import Sampling
from hlm_models.target.density import target
from hlm_models.target.nutpie import sample
from hlm_models.target.start import warm

found, steps = warm(target(hlm.build("sleepstudy-slopes"))), []

def progress(step):
    # Once the chains are under way, as a user would.
    if len(steps) < 3 and step.done:
        os.kill(os.getpid(), signal.SIGINT)
        steps.extend([None] * 3)
    steps.append(step)

how = Sampling("nutpie", 2, 5_000_000, 300, 0.8, 2)
try:
    sample(found, how, 1, progress)
except KeyboardInterrupt:
    print("stopped")
told = len(steps)
time.sleep(1.0)
print("silent" if len(steps) == told else "goes-on", steps[-1].done < 10_000_000)
"""


def test_ctrl_c_stops_a_real_sampler_at_once():
    out = run(CTRL_C)
    assert out == ["stopped", "silent", "True"]


# --- the PyMC graph in its place ---


def names_and_dims(fit):
    return {name: one.dims for name, one in fit.data["posterior"].data_vars.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "beta"), [("sleepstudy-slopes", "{}"), ("penicillin", "{kind: student_t}")]
)
def test_pymc_samples_the_graph_of_the_marginal_form_with_the_same_variables(name, beta):
    overrides = [] if beta == "{}" else [f"priors.beta={beta}"]
    spec = hlm.build(name, overrides=overrides)
    how = {"engine": "nuts", "chains": 2, "draws": 30, "tune": 50, "cores": 1}
    fit = hlm.fit(spec, sampler="pymc", parameterization="marginal", **how)
    ours = hlm.fit(spec, **how)
    assert (fit.sampler, fit.parameterization) == ("pymc", "marginal")
    assert ours.parameterization == "marginal"
    assert names_and_dims(fit) == names_and_dims(ours)
    for one in fit.data["posterior"].data_vars.values():
        assert np.isfinite(one).all()
    assert {"diverging", "energy"} <= set(fit.data["sample_stats"].data_vars)


@pytest.mark.slow
def test_a_prior_that_compiled_code_does_not_know_is_sampled_as_a_graph(monkeypatch):
    from hlm_models.parts.priors.half_student_t import HalfStudentT

    spec = hlm.build("dyestuff")
    monkeypatch.setattr(HalfStudentT, "elementary", lambda self, *, place: None)
    fit = hlm.fit(spec, engine="nuts", chains=2, draws=300, tune=300, cores=1)
    monkeypatch.undo()
    ours = hlm.fit(spec, engine="nuts", chains=2, draws=300, tune=300, cores=1)
    assert names_and_dims(fit) == names_and_dims(ours)
    for name in ("sigma", "beta"):
        one, other = (found.data["posterior"][name].values.ravel() for found in (fit, ours))
        assert abs(one.mean() - other.mean()) < 0.4 * np.hypot(one.std(), other.std())
