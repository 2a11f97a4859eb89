"""Calibration by samplers that are right, wrong, stuck and failing, and its journal."""

import json
from dataclasses import replace

import numpy as np
import pytest
from toys import Toy, engine, model

from hlm_models.calibration import calibrate as module
from hlm_models.calibration.calibrate import ERROR, Calibration, calibrate
from hlm_models.calibration.quantities import ranked, thinned, truth
from hlm_models.calibration.simulations import DRAWS, LONGER, Failed, Ranked
from hlm_models.engines.find import find
from hlm_models.errors import FitError, InputErrors, ModelMismatchError
from hlm_models.inference.journal import NAME
from hlm_models.results.progress import silent
from hlm_models.results.summary import parameters
from hlm_models.spec.density import log_likelihood
from hlm_models.spec.simulate import draw_prior


@pytest.fixture(scope="module")
def spec():
    return model()


@pytest.fixture(scope="module")
def right(spec):
    return calibrate(spec, engine(Toy()), 80, seed=1)


def status(found, name):
    [one] = [one for one in found.checks if one.code == name]
    return one.status


def failing(found):
    return {one.name for one in found.quantities if one.status == "fail"}


def test_an_exact_sampler_passes(right):
    assert failing(right) == set()
    assert status(right, "ranks") == "pass"
    assert right.ranks.shape == (80, 3 + 3 + 1)


def test_a_wrong_number_of_degrees_of_freedom_is_caught(spec):
    """As if the coefficients took some of the residuals' degrees of freedom, given themselves."""
    found = calibrate(spec, engine(Toy(sigma_df=-5)), 80, seed=1)
    assert {"sigma", "log likelihood"} <= failing(found)
    assert status(found, "ranks") == "fail"
    # Too few degrees of freedom give draws of sigma that are too large: the truth ranks low.
    [sigma] = [one for one in found.quantities if one.name == "sigma"]
    assert sigma.difference > 0


def test_a_missing_jacobian_is_caught(spec):
    """A density of sd taken for that of log sd has a factor 1 / sd: one degree of freedom more."""
    found = calibrate(spec, engine(Toy(sd_df=1)), 80, seed=1)
    assert "sd_g[Intercept]" in failing(found)
    assert status(found, "ranks") == "fail"


def test_all_that_is_ranked_has_its_name(spec, right):
    [block] = spec.blocks
    names = [one.name for one in parameters(spec)]
    assert names == ["beta[Intercept]", "sd_g[Intercept]", "sigma"]
    effects = [f"b_g[{block.labels[level]}, Intercept]" for level in (0, 2, 3)]
    assert right.names == (*names, *effects, "log likelihood")


def test_what_is_ranked_of_a_model_with_correlations():
    slopes = model(formula="y ~ 1 + (x | g)", data={"source": "frame", "derive": {"x": "y * y"}},
                   priors={})  # fmt: skip
    point = draw_prior(slopes, np.random.default_rng(1))
    found = ranked(slopes, truth(slopes, point))
    assert found["corr_g[Intercept, x]"] == point.corr[0][1, 0]
    assert found["sd_g[x]"] == point.sd[0][1]
    assert found["b_g[d, x]"] == point.b[0][3, 1]
    assert found["log likelihood"] == pytest.approx(np.sum(log_likelihood(slopes, point)))


def test_a_rank_is_the_number_of_thinned_draws_below_the_truth(spec):
    toy = Toy()
    fit = toy.fit(spec, spec.fit, silent)
    draws = thinned(fit, DRAWS)
    assert len(draws["sigma"]) == DRAWS
    kept = fit.data["posterior"]["sigma"].values[:, np.linspace(0, 99, 50).round().astype(int)]
    np.testing.assert_array_equal(draws["sigma"], kept.reshape(-1)[1:])
    values = ranked(spec, draws)
    assert all(value.shape == (DRAWS,) for value in values.values())
    np.testing.assert_array_equal(values["b_g[c, Intercept]"], draws["b_g"][:, 2, 0])


def test_a_simulation_depends_on_the_seed_and_on_its_number_alone(spec, right):
    few = calibrate(spec, engine(Toy()), 20, seed=1)
    np.testing.assert_array_equal(few.ranks, right.ranks[:20])
    other = calibrate(spec, engine(Toy()), 20, seed=2)
    assert np.mean(other.ranks == few.ranks) < 0.1
    assert len(np.unique(right.ranks[:, -1])) > 40


def test_workers_change_nothing(spec, right):
    found = calibrate(spec, engine(Toy()), 20, seed=1, workers=2)
    assert found.rows == right.rows[:20]


def test_an_interrupted_calibration_is_taken_up(spec, right, tmp_path):
    calibrate(spec, engine(Toy(fails=True)), 20, seed=3, folder=tmp_path)
    path = tmp_path / NAME
    whole = path.read_text()
    assert '{"failed": ' in whole
    # The last line is cut off, and another is no row of this calibration.
    lines = whole[:-9].splitlines()
    lines[2] = '[1, {"ranks": [1, 2], "ess": 3.0, "divergences": 0}]'
    path.write_text("\n".join(lines))
    toy, steps = Toy(fails=True), []
    again = calibrate(spec, engine(toy), 30, seed=3, folder=tmp_path, progress=steps.append)
    assert (steps[0].done, steps[-1].done, steps[0].unit) == (18, 30, "simulations")
    fresh = calibrate(spec, engine(Toy(fails=True)), 30, seed=3)
    assert again.rows == fresh.rows
    assert 0 < len(again.failures) < 30
    steps.clear()
    calibrate(spec, engine(toy), 25, seed=3, folder=tmp_path, progress=steps.append)
    assert [step.done for step in steps] == [25]


def test_simulations_of_something_else_are_refused(spec, tmp_path):
    calibrate(spec, engine(Toy()), 20, seed=3, folder=tmp_path)
    others = [
        (spec, engine(Toy()), 4),
        (spec, replace(engine(Toy()), name="another"), 3),
        (model(fit={"draws": 300}), engine(Toy()), 3),
        (model(priors={}), engine(Toy()), 3),
    ]
    for other, chosen, seed in others:
        with pytest.raises(ModelMismatchError, match="simulations of another model, engine"):
            calibrate(other, chosen, 20, seed=seed, folder=tmp_path)
    # How many chains run at a time changes nothing.
    calibrate(model(fit={"cores": 2}), engine(Toy()), 20, seed=3, folder=tmp_path)


def test_failures_are_rows(spec, right):
    found = calibrate(spec, engine(Toy(fails=True)), 80, seed=1)
    assert 10 < len(found.failures) < 40
    assert set(found.failures.values()) == {"<b>too large</b> & more"}
    for i, row in enumerate(found.rows):
        assert isinstance(row, Failed) if i in found.failures else row == right.rows[i]
    assert len(found.ranks) + len(found.failures) == 80
    assert status(found, "failed_fits") == "fail"
    # They go by the response, so the ranks of the others stay uniform.
    assert status(found, "ranks") == "pass"


def with_rows(right, *rows):
    return replace(right, rows=rows)


def test_how_many_may_fail(right):
    rows = right.rows
    for failed, wanted in ((0, "pass"), (1, "warn"), (4, "warn"), (5, "fail")):
        found = with_rows(right, *rows[failed:], *[Failed("no")] * failed)
        assert status(found, "failed_fits") == wanted


def test_low_effective_sample_sizes_and_divergences_are_counted(right):
    ranks = right.rows[0].ranks

    def found(count, *, ess=200.0, divergences=0):
        odd = [Ranked(ranks, ess, divergences)] * count
        return with_rows(right, *odd, *[Ranked(ranks, 200.0, 0)] * (40 - count))

    for count, wanted in ((0, "pass"), (1, "warn"), (4, "warn"), (5, "fail")):
        assert status(found(count, ess=98.0), "low_ess") == wanted
    for count, wanted in ((2, "pass"), (3, "warn"), (40, "warn")):
        assert status(found(count, divergences=3), "divergent_fits") == wanted


def test_chains_are_made_longer_until_they_are_enough(spec):
    toy = Toy(stuck=True)
    found = calibrate(spec, engine(toy), 20, seed=1)
    assert toy.asked == [250 * times for times in LONGER] * 20
    assert set(found.ess) == {0.0}
    assert status(found, "low_ess") == "fail"
    toy = Toy()
    calibrate(spec, engine(toy), 20, seed=1)
    assert toy.asked.count(250) == 20
    assert len(toy.asked) < 25


def test_settings_that_the_model_states_are_used():
    found = calibrate(model(fit={"draws": 150, "tune": 77}), engine(Toy()), 20, seed=1)
    assert (found.settings.chains, found.settings.draws, found.settings.cores) == (2, 150, 1)
    assert found.settings.tune == 77


def test_all_fits_failing_is_an_error(spec):
    def refuse(model, settings, progress):
        raise FitError("never")

    with pytest.raises(FitError, match="all 20 fits failed, the first one so: never"):
        calibrate(spec, replace(engine(Toy()), fit=refuse), 20, seed=1)


FLAT = {"kind": "flat"}
REFUSED = [
    ({"priors": {"beta": FLAT}}, "priors: beta.Intercept. has an improper prior.*kind: normal"),
    ({"priors": {"sigma": FLAT}}, "priors: sigma has an improper prior.*kind: half_student_t"),
    (
        {"priors": {"groups": {"g": {"kind": "diagonal", "sd": FLAT}}}},
        "priors: sd_g.Intercept. has an improper prior",
    ),
    ({"fit": {"chains": 1, "draws": 98}}, "fit.draws: 1 chains of 98 draws are fewer than the 99"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED)
def test_models_that_cannot_be_calibrated_are_refused(changes, message, monkeypatch):
    monkeypatch.setattr(module, "collect", None)
    with pytest.raises(InputErrors, match=message):
        calibrate(model(**changes), engine(Toy()), 20, seed=1)


def test_all_improper_priors_are_named_at_once():
    with pytest.raises(InputErrors) as caught:
        calibrate(model(priors={"beta": FLAT, "sigma": FLAT}), engine(Toy()), 20, seed=1)
    assert len(caught.value.problems) == 2


WRONG = [
    ({"simulations": 19}, "simulations: a whole number of at least 20 is needed, not 19"),
    ({"simulations": "30"}, "simulations: a whole number"),
    ({"seed": -1}, "seed: a whole number"),
    ({"workers": 0}, "workers: a whole number"),
    ({"folder": 5}, "folder: a path is needed, not 5"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_arguments_are_refused(spec, arguments, message):
    with pytest.raises(InputErrors, match=message):
        calibrate(spec, engine(Toy()), **{"simulations": 20, "seed": 1, **arguments})


@pytest.mark.parametrize("name", ["reml", "ml"])
def test_an_engine_without_draws_is_refused(spec, name):
    with pytest.raises(InputErrors, match=rf"engine: {name} has no draws.*\(engines with .*nuts"):
        calibrate(spec, find(name), 20, seed=1)


def test_the_error_is_that_of_all_quantities_together(right):
    assert isinstance(right, Calibration)
    assert right.level * len(right.names) == pytest.approx(ERROR)
    counts = np.array([right.uniform.counts_below(ranks) for ranks in right.ranks.T])
    leaves = np.any((counts < right.band.lower) | (counts > right.band.upper), axis=1)
    assert leaves.tolist() == [one.status == "fail" for one in right.quantities]


def test_the_document_is_strict_json(spec, right):
    found = calibrate(spec, engine(Toy(fails=True)), 20, seed=1)
    again = json.loads(json.dumps(found.document(), allow_nan=False))
    assert again["model"] == "toy"
    assert (again["simulations"], again["ranks"], again["seed"]) == (20, 100, 1)
    assert again["failed"] == len(again["failures"]) > 0
    assert set(again["quantities"][0]) == {"name", "status", "p", "worst", "difference"}
    assert [one["code"] for one in again["checks"]] == [
        "ranks",
        "failed_fits",
        "low_ess",
        "divergent_fits",
    ]
    assert right.frame().loc["sigma", "status"] == "pass"
