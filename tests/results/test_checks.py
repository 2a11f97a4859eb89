import math
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import hlm_models as hlm
from hlm_models.results.checks import Check, graded, worst
from hlm_models.results.design_checks import design_checks
from hlm_models.results.sampling_checks import bfmi, sampling_checks
from hlm_models.results.summary import r_hat

CANNED = Path(__file__).parents[1] / "report" / "canned.py"
canned_posterior = runpy.run_path(str(CANNED))["canned_posterior"]


@pytest.mark.parametrize(
    ("value", "status", "threshold"),
    [
        (1.0, "pass", 1.01),
        (1.01, "pass", 1.01),
        (1.0100001, "warn", 1.01),
        (1.05, "warn", 1.01),
        (1.06, "fail", 1.05),
        (math.inf, "fail", 1.05),
        (math.nan, "fail", 1.05),
    ],
)
def test_a_value_is_graded_by_the_threshold_that_it_crosses(value, status, threshold):
    found = graded("r_hat", value, warn=1.01, fail=1.05, message="")
    assert (found.status, found.threshold) == (status, threshold)


@pytest.mark.parametrize(
    ("value", "status"),
    [(400, "pass"), (399.9, "warn"), (100, "warn"), (99.9, "fail"), (math.nan, "fail")],
)
def test_some_values_should_not_fall_below(value, status):
    assert graded("ess", value, warn=400, fail=100, below=True, message="").status == status


def test_with_one_threshold_alone_what_is_not_a_number_crosses_it():
    assert graded("a", math.nan, warn=1.0, message="").status == "warn"
    assert graded("a", math.nan, fail=1.0, message="").status == "fail"


def test_the_worst_of_several_is_the_gravest():
    checks = [Check("a", status, None, None, "") for status in ("pass", "warn", "fail")]
    assert [worst(checks[:end]) for end in range(4)] == ["pass", "pass", "warn", "fail"]


# ---- sampling checks on made-up draws ----


@pytest.fixture(scope="module")
def sound():
    """A posterior of 4 x 1000 independent draws, with the statistics of a healthy sampler."""
    ref = hlm.fit("dyestuff", engine="reml")
    rng = np.random.default_rng(12)
    fit = canned_posterior(ref.spec, ref, rng, draws=1000, replicates=8)
    in_time, size = ("chain", "draw"), (4, 1000)
    stats = xr.Dataset(
        {
            "diverging": (in_time, np.zeros(size, dtype=bool)),
            "energy": (in_time, rng.normal(size=size)),
            "reached_max_treedepth": (in_time, np.zeros(size, dtype=bool)),
        }
    )
    return changed(fit, sample_stats=stats)


def changed(fit, **groups):
    return replace(
        fit, data=xr.DataTree.from_dict({n: g.to_dataset() for n, g in fit.data.items()} | groups)
    )


def with_sigma(fit, draws):
    posterior = fit.data["posterior"].to_dataset()
    return changed(fit, posterior=posterior.assign(sigma=(("chain", "draw"), draws)))


def with_statistic(fit, name, values):
    stats = fit.data["sample_stats"].to_dataset()
    return changed(fit, sample_stats=stats.assign({name: (("chain", "draw"), values)}))


def status(fit):
    return {check.code: check.status for check in sampling_checks(fit)}


def test_sound_draws_pass_every_check(sound):
    assert status(sound) == dict.fromkeys(
        ["r_hat", "ess_bulk", "ess_tail", "divergences", "energy", "tree_depth"], "pass"
    )


def apart(sound, wanted):
    """Draws of sigma whose chains stand so far apart that their R-hat is `wanted`."""
    noise = np.random.default_rng(1).normal(size=(4, 1000))
    places = np.array([-1.0, -0.3, 0.4, 0.9])[:, None]
    low, high = 0.0, 5.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if r_hat(noise + middle * places) < wanted else (low, middle)
    return 50 + noise + low * places


@pytest.mark.parametrize(("value", "expected"), [(1.005, "pass"), (1.02, "warn"), (1.2, "fail")])
def test_chains_apart_are_found_by_r_hat(value, expected, sound):
    fit = with_sigma(sound, apart(sound, value))
    [check] = [check for check in sampling_checks(fit) if check.code == "r_hat"]
    assert check.value == pytest.approx(value, abs=1e-3)
    assert check.status == expected
    if expected != "pass":
        assert "sigma" in check.message


@pytest.mark.parametrize(("rho", "expected"), [(0.0, "pass"), (0.9, "warn"), (0.99, "fail")])
def test_slow_chains_are_found_by_their_effective_size(rho, expected, sound):
    rng = np.random.default_rng(5)
    draws = np.empty((4, 1000))
    draws[:, 0] = rng.normal(size=4)
    for i in range(1, 1000):
        draws[:, i] = rho * draws[:, i - 1] + math.sqrt(1 - rho**2) * rng.normal(size=4)
    found = {c.code: c for c in sampling_checks(with_sigma(sound, 50 + draws))}
    # An AR(1) chain has (1 - rho) / (1 + rho) effective draws a draw: 4000, 210 and 20 here.
    assert found["ess_bulk"].status == expected
    if expected != "fail":  # with twenty effective draws even their number is rough
        assert found["ess_bulk"].value == pytest.approx(4000 * (1 - rho) / (1 + rho), rel=0.4)
    if expected != "pass":
        assert "sigma" in found["ess_bulk"].message


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "pass"), (1, "warn"), (4, "warn"), (5, "fail")]
)
def test_divergences_warn_and_fail_above_one_in_a_thousand(count, expected, sound):
    diverging = (np.arange(4000) < count).reshape(4, 1000)
    fit = replace(with_statistic(sound, "diverging", diverging), divergences=count)
    assert status(fit)["divergences"] == expected


@pytest.mark.parametrize(("rho", "expected"), [(0.0, "pass"), (0.87, "warn"), (0.95, "fail")])
def test_energy_that_moves_slowly_is_found_by_bfmi(rho, expected, sound):
    rng = np.random.default_rng(7)
    energy = np.empty((4, 1000))
    energy[:, 0] = rng.normal(size=4)
    for i in range(1, 1000):
        energy[:, i] = rho * energy[:, i - 1] + math.sqrt(1 - rho**2) * rng.normal(size=4)
    # 2 (1 - rho) in expectation: 2, 0.26 and 0.1; the check takes the smallest chain.
    assert status(with_statistic(sound, "energy", energy))["energy"] == expected


def test_bfmi_is_that_of_its_definition_for_the_worst_chain():
    energy = np.random.default_rng(2).normal(size=(3, 50))
    energy[1] = np.cumsum(energy[1])
    by_hand = [
        sum((e[i] - e[i - 1]) ** 2 for i in range(1, 50)) / 49 / np.var(e, ddof=1) for e in energy
    ]
    assert bfmi(energy) == pytest.approx(min(by_hand), rel=1e-12)
    assert np.argmin(by_hand) == 1


def test_long_paths_warn(sound):
    reached = (np.arange(4000) < 41).reshape(4, 1000)
    assert status(with_statistic(sound, "reached_max_treedepth", reached))["tree_depth"] == "warn"


def test_a_sampler_without_energy_or_depth_is_checked_by_the_rest(sound):
    bare = changed(sound, sample_stats=sound.data["sample_stats"].to_dataset()[["diverging"]])
    assert set(status(bare)) == {"r_hat", "ess_bulk", "ess_tail", "divergences"}


@pytest.mark.parametrize("share", [1, 4000])
def test_draws_that_are_not_numbers_fail(share, sound):
    draws = sound.data["posterior"]["sigma"].values.copy().ravel()
    draws[:share] = math.nan
    assert worst(sampling_checks(with_sigma(sound, draws.reshape(4, 1000)))) == "fail"


def test_a_parameter_that_never_moves_fails(sound):
    assert worst(sampling_checks(with_sigma(sound, np.full((4, 1000), 50.0)))) == "fail"


def test_energy_that_is_not_a_number_fails(sound):
    energy = sound.data["sample_stats"]["energy"].values.copy()
    energy[2, 5] = math.nan
    assert status(with_statistic(sound, "energy", energy))["energy"] == "fail"


# ---- checks of the design ----


def test_a_slope_far_from_its_zero_warns_and_names_the_repair():
    spec = hlm.build("orthodont-growth", overrides=["formula=distance ~ age + (age | subject)"])
    [check] = design_checks(spec)
    assert (check.code, check.status, check.threshold) == ("far_origin", "warn", 3.0)
    ages = np.array([8.0, 10.0, 12.0, 14.0])
    assert check.value == pytest.approx(ages.mean() / ages.std())
    assert "center(age)" in check.message


@pytest.mark.parametrize(
    "term", ["(center(age) | subject)", "(1 | subject)", "(0 + age | subject)"]
)
def test_no_warning_where_no_intercept_stands_far_away(term):
    spec = hlm.build("orthodont-growth", overrides=[f"formula=distance ~ age + {term}"])
    assert design_checks(spec) == ()


def test_a_macro_predictor_let_into_z_warns():
    overrides = [
        "formula=log_radon ~ log_uranium + (log_uranium | county)",
        "allow_macro_in_z=true",
    ]
    found = design_checks(hlm.build("radon-uranium", overrides=overrides))
    assert [(check.code, check.status) for check in found] == [("macro_in_z", "warn")]
    assert "log_uranium" in found[0].message
