"""Simulation-based calibration of the marginal form: b and beta drawn after the variances.

All ranks of a model are judged at once: by the bands of `hlm_models.calibration`, and Bonferroni's
bound over its quantities, a correct sampler fails with a probability of ERROR at most. The seeds
are fixed.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from hlm_models import build
from hlm_models.algebra.schur import one_thread
from hlm_models.algebra.uniformity import UniformRanks
from hlm_models.calibration.quantities import ranked, truth
from hlm_models.config.settings import FitSettings
from hlm_models.results.progress import silent
from hlm_models.spec.density import Point
from hlm_models.spec.integration import integration
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.simulate import draw_prior, draw_response
from hlm_models.target import conditional
from hlm_models.target.density import target
from hlm_models.target.draws import VarianceDraws
from hlm_models.target.nutpie import sample
from hlm_models.target.start import warm

ERROR = 0.01
"""Probability that a correct sampler fails, a model."""
SIMULATIONS, DRAWS = 250, 99
FIT = FitSettings(chains=2, draws=250, tune=300, cores=1)
THIN = 5


def made_up():
    """Rows (60) of ten levels and of five, unbalanced, with a weight; y is drawn anew."""
    rng = np.random.default_rng(17)
    g, h = np.repeat(np.arange(10), 6), rng.permutation(np.arange(60) % 5)
    h[g == 3] = 2
    return pd.DataFrame(
        {
            "y": rng.normal(size=60),
            "x": rng.normal(1.0, 1.0, 60),
            "g": [f"g{code}" for code in g],
            "h": [f"h{code}" for code in h],
            "w": rng.uniform(0.3, 3.0, 60),
        }
    )


NORMAL = {"kind": "normal", "loc": 0.5, "scale": 2.0}
SD = {"kind": "half_normal", "scale": 1.5}
SIGMA = {"kind": "half_student_t", "df": 5, "scale": 1.0}
SLOPES = {"kind": "lkj", "eta": 1.5, "sd": SD}
MODELS = {
    "correlated slopes": {
        "formula": "y ~ x + (x | g)",
        "priors": {"beta": NORMAL, "groups": {"g": SLOPES}, "sigma": SIGMA},
    },
    "a free coefficient": {
        "formula": "y ~ x + (x || g)",
        "weights": "w",
        "priors": {
            "beta": {
                "Intercept": NORMAL,
                "x": {"kind": "student_t", "df": 4, "loc": -0.5, "scale": 1.0},
            },
            "groups": {"g": {"kind": "diagonal", "sd": SD}},
            "sigma": SIGMA,
        },
    },
}
SEEDS = {"correlated slopes": 101, "a free coefficient": 103}


@dataclass(frozen=True)
class Simulated:
    """One set of unknowns, the model of the y drawn given them, and draws of its variances."""

    truth: Point
    spec: ModelSpec
    variances: VarianceDraws
    seed: np.random.SeedSequence


def simulated(name):
    """All simulations of a model; what is drawn after the variances is not in them."""
    spec = build({"schema": 1, "name": "m", "data": {"source": "frame"}, **MODELS[name]},
                 data=made_up())  # fmt: skip
    free = [spec.design.coef[k] for k in integration(spec).free]
    assert free == (["x"] if name == "a free coefficient" else [])
    found = []
    for seed in np.random.SeedSequence(SEEDS[name]).spawn(SIMULATIONS):
        rng = np.random.default_rng(seed)
        truth = draw_prior(spec, rng)
        model = spec.with_response(draw_response(spec, truth, rng))
        with one_thread():
            start = warm(target(model))
            x = sample(start, FIT.sampling(warm=True), int(rng.integers(2**63)), silent).x
        variances = start.coordinates.values(x[:, ::THIN])
        found.append(Simulated(truth, model, variances, seed.spawn(1)[0]))
    return tuple(found)


def ranks(done):
    """Ranks (simulations,) of every population parameter, of some b and of the log likelihood."""
    rows = []
    for one in done:
        drawn, _ = conditional.draw_posterior(one.spec, one.variances, one.seed)
        flat = {key: value.reshape(-1, *value.shape[2:])[1:] for key, value in drawn.items()}
        assert len(flat["sigma"]) == DRAWS
        draws = ranked(one.spec, flat)
        true = ranked(one.spec, truth(one.spec, one.truth))
        rows.append({key: np.sum(draws[key] < true[key]) for key in true})
    return pd.DataFrame(rows)


def strayed(done):
    """Quantities whose ranks among draws of beta and b made now are not uniform, with p values."""
    found, law = ranks(done), UniformRanks(SIMULATIONS, DRAWS)
    p = {key: law.strayed(found[key].to_numpy()).p for key in found}
    return {key: value for key, value in p.items() if value < ERROR / len(p)}


def half_the_variance_of_b(monkeypatch):
    real = conditional._fill

    def small(rng, out):
        real(rng, out)
        for one in out:
            np.multiply(one, np.sqrt(0.5), out=one)

    monkeypatch.setattr(conditional, "_fill", small)


def beta_at_its_mean(monkeypatch):
    real = conditional.coefficients_at
    monkeypatch.setattr(
        conditional,
        "coefficients_at",
        lambda spec, draws, normals: real(spec, draws, np.zeros_like(normals)),
    )


def b_given_the_beta_of_another_draw(monkeypatch):
    """Each by itself has the right distribution, or nearly; the two together have not."""
    real = conditional.effects_at
    monkeypatch.setattr(
        conditional,
        "effects_at",
        lambda spec, draws, beta, b: real(spec, draws, np.roll(beta, 1, axis=0), b),
    )


WRONG = {
    half_the_variance_of_b: {"log likelihood"},
    beta_at_its_mean: {"beta[Intercept]"},
    b_given_the_beta_of_another_draw: {"log likelihood"},
}
"""Versions that are not exact, and some of what must tell."""


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_all_ranks_are_uniform_and_those_of_wrong_versions_are_not(name, monkeypatch):
    done = simulated(name)
    assert strayed(done) == {}
    for wrong, telling in WRONG.items():
        with monkeypatch.context() as patched:
            wrong(patched)
            assert telling <= set(strayed(done)), wrong.__name__
