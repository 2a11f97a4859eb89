"""Real sampling against other software: tolerances are Monte Carlo standard errors.

Four combined standard errors: with 24 numbers a model the chance that a correct sampler fails is
below one in five hundred, and the seed is fixed, so a pass stays a pass on one platform.
"""

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from monte_carlo import SUMMARIES, summarised

import hlm_models as hlm
from hlm_models.cli import main
from hlm_models.errors import FitError
from hlm_models.results.summary import parameter_draws

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "golden"
STAN = json.loads((GOLDEN / "stan_reference.json").read_text())["models"]
QUADRATURE = json.loads((GOLDEN / "radon_quadrature.json").read_text())

NAMES = {
    "sleepstudy-slopes": {
        "sd[Intercept]": "sd_subject[Intercept]",
        "sd[days]": "sd_subject[days]",
        "corr": "corr_subject[Intercept, days]",
    },
    "hsb-random-coefficients": {
        "sd[Intercept]": "sd_school[Intercept]",
        "sd[cses]": "sd_school[cses]",
        "corr": "corr_school[Intercept, cses]",
    },
}
"""Stan's names that differ from ours, by model."""

FORMS = {"marginal": 5000, "noncentered": 1500}
"""Both ways to sample, with the number of draws."""


@pytest.fixture(
    scope="module", params=[(model, form) for model in STAN for form in FORMS], ids="-".join
)
def sampled(request):
    """A zoo model's name and its posterior, in one of the forms."""
    model, form = request.param
    fit = hlm.fit(model, engine="nuts", seed=11, draws=FORMS[form], parameterization=form)
    assert fit.parameterization == form
    return model, fit


def test_the_form_that_these_models_take_by_themselves_is_marginal():
    assert {hlm.build(model).parameterization for model in STAN} == {"marginal"}


@pytest.mark.parametrize("model", list(STAN))
def test_default_priors_are_those_that_stan_was_given(model):
    spec, expected = hlm.build(model), STAN[model]["priors"]

    def same(prior, numbers):
        assert prior.kind == numbers["kind"]
        for key, value in numbers.items():
            if key != "kind":
                assert getattr(prior, key) == pytest.approx(value, rel=1e-6, abs=1e-12)

    for name, prior in zip(spec.design.coef, spec.priors.beta, strict=True):
        same(prior, expected["beta"][name])
    [block], [[covariance]] = spec.blocks, [one.terms for one in spec.priors.blocks]
    for effect, prior in zip(block.effects, covariance.sd_priors(), strict=True):
        same(prior, expected["sd"][effect])
    assert (covariance.kind, covariance.eta) == (expected["corr"]["kind"], expected["corr"]["eta"])
    same(spec.priors.sigma, expected["sigma"])


def test_the_posterior_is_that_of_stan(sampled):
    model, fit = sampled
    draws = parameter_draws(fit)
    assert len(draws) == len(STAN[model]["parameters"])
    apart = {}
    for theirs, reference in STAN[model]["parameters"].items():
        name = NAMES[model].get(theirs, theirs)
        for which in SUMMARIES:
            ours, error = summarised(draws[name], which)
            combined = math.hypot(error, reference[f"mcse_{which}"])
            apart[f"{which} of {name}"] = (ours - reference[which]) / combined
    assert {what: z for what, z in apart.items() if not abs(z) < 4} == {}


def test_the_chains_of_a_zoo_model_have_converged(sampled):
    _, fit = sampled
    by_code = {check.code: check for check in fit.checks}
    assert by_code["r_hat"].value < 1.01
    assert fit.divergences == 0
    assert fit.converged
    assert {"r_hat", "ess_bulk", "ess_tail", "divergences", "energy", "tree_depth"} <= set(by_code)
    assert set(fit.seconds) == {"read", "build", "graph", "compile", "fit", "draw"}
    # The marginal form of these models needs no graph.
    took = {name for name, seconds in fit.seconds.items() if seconds > 0}
    assert set(fit.seconds) - took == ({"graph"} if fit.parameterization == "marginal" else set())


def test_a_real_posterior_has_all_groups_and_named_dims(sampled):
    _, fit = sampled
    [block] = fit.spec.blocks
    g = block.group
    assert set(fit.data.children) == {
        "prior", "posterior", "posterior_predictive", "sample_stats", "observed_data",
    }  # fmt: skip
    dims = {name: one.dims for name, one in fit.data["posterior"].data_vars.items()}
    in_time = ("chain", "draw")
    assert dims == {
        "beta": (*in_time, "coef"),
        "sigma": in_time,
        f"sd_{g}": (*in_time, f"effect_{g}"),
        f"corr_{g}": (*in_time, f"effect_{g}", f"effect_{g}_2"),
        f"b_{g}": (*in_time, g, f"effect_{g}"),
    }
    assert fit.data["posterior"].coords[g].values.tolist() == list(block.labels)
    assert fit.data["posterior"].coords["coef"].values.tolist() == list(fit.spec.design.coef)


@pytest.mark.parametrize("form", FORMS)
def test_the_posterior_of_minnesota_radon_is_that_of_exact_quadrature(form):
    spec = hlm.build(QUADRATURE["config"])
    assert spec.design.n == QUADRATURE["rows"]
    fit = hlm.fit(spec, engine="nuts", seed=11, draws=FORMS[form], parameterization=form)
    assert fit.parameterization == form
    draws = parameter_draws(fit)
    apart = {}
    for name, exact in QUADRATURE["parameters"].items():
        for which in ("mean", "sd"):
            ours, error = summarised(draws[name], which)
            apart[f"{which} of {name}"] = (ours - exact[which]) / error
    assert len(apart) == 2 * len(draws)
    assert {what: z for what, z in apart.items() if not abs(z) < 4} == {}


def short(model, chains=2, **how):
    return hlm.fit(model, engine="nuts", chains=chains, draws=60, tune=60, **how)


def assert_same_numbers(one, other):
    """Bit for bit, in every variable of every group."""
    assert set(one.data.children) == set(other.data.children)
    for group in one.data.children:
        for name, values in one.data[group].data_vars.items():
            np.testing.assert_array_equal(values, other.data[group][name], err_msg=str(name))


def test_the_same_seed_gives_the_same_draws_and_another_seed_others():
    first, again, other = (short("dyestuff", seed=seed) for seed in (3, 3, 4))
    assert_same_numbers(first, again)
    for name in ("beta", "sigma", "b_batch"):
        assert not np.array_equal(first.data["posterior"][name], other.data["posterior"][name])


@pytest.mark.parametrize(
    ("model", "form"),
    [
        ("sleepstudy-slopes", "marginal"),
        ("hsb-slopes-as-outcomes", "marginal"),
        ("pastes", "marginal"),
        ("penicillin", "marginal"),
        ("dyestuff", "noncentered"),
    ],
)
def test_the_number_of_cores_changes_no_bit(model, form):
    one, other = (
        short(model, seed=3, parameterization=form, chains=4, cores=cores) for cores in (1, 3)
    )
    assert {f"b_{block.group}" for block in one.spec.blocks} <= set(one.data["posterior"].data_vars)
    assert_same_numbers(one, other)


@pytest.mark.parametrize("form", FORMS)
def test_pymc_samples_too_and_is_recorded(form, tmp_path):
    fit = short("dyestuff", sampler="pymc", seed=3, cores=1, parameterization=form)
    assert (fit.sampler, fit.parameterization) == ("pymc", form)
    posterior = fit.data["posterior"]
    assert dict(posterior.sizes) == {
        "chain": 2, "draw": 60, "coef": 1, "batch": 6, "effect_batch": 1, "effect_batch_2": 1,
    }  # fmt: skip
    assert all(np.isfinite(values).all() for values in posterior.data_vars.values())
    assert {"diverging", "energy"} <= set(fit.data["sample_stats"].data_vars)
    assert {"r_hat", "energy", "tree_depth"} <= {check.code for check in fit.checks}
    hlm.save_fit(fit, tmp_path / "fit.nc")
    again = hlm.load_fit(tmp_path / "fit.nc", fit.spec)
    assert (again.sampler, again.parameterization) == ("pymc", form)


def test_a_sampler_that_is_not_installed_is_refused(tmp_path, monkeypatch, capsys):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "blackjax" else real(name, *rest),
    )
    monkeypatch.chdir(tmp_path)
    assert main(["run", "dyestuff", "--set", "fit.sampler=blackjax"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    told = [line for line in err.splitlines() if not line.startswith("dyestuff: ")]
    assert told == [
        "fit.sampler: blackjax is not installed: pip install 'hlm-models[samplers]', or use nutpie"
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_fits_exactly_is_refused_before_sampling():
    frame = pd.DataFrame({"x": np.arange(20.0), "g": [*"abcde"] * 4})
    spec = hlm.build(formula="y ~ x + (1 | g)", data=frame.assign(y=1 + 2 * frame["x"]))
    with pytest.raises(FitError, match=r"^the model fits the data exactly: sigma tends to zero"):
        hlm.fit(spec, engine="nuts")
