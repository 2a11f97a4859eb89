"""Simulation-based calibration of the marginal form: b and beta drawn after the variances.

Unknowns are drawn from the prior and y given them; among draws of the posterior given that y each
of them has a uniform rank, and so has every function of the unknowns and y. The log likelihood is
one that depends on all of them together. Source: Talts et al. (2018), arXiv:1804.06788; Modrak et
al. (2025), doi:10.1214/23-BA1404, for functions of the data.

All ranks of a model are judged at once: by the bands of `uniformity`, and Bonferroni's bound over
its quantities, a correct sampler fails with a probability of ERROR at most. The seeds are fixed.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hlm_models import build
from hlm_models.algebra.schur import one_thread
from hlm_models.config.settings import FitSettings
from hlm_models.results.progress import silent
from hlm_models.results.summary import parameters
from hlm_models.spec.density import Point, log_likelihood
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
SIMULATIONS = 250
RANKS, INTERVALS = 100, 20
"""Ranks among 99 draws, judged at the ends of 20 intervals of five ranks each."""
FIT = FitSettings(chains=2, draws=250, tune=300, cores=1)
THIN = 5


def made_up():
    """Rows (60) of two crossed factors, unbalanced, with a weight; y is drawn anew."""
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
    "crossed": {
        "formula": "y ~ x + (x | g) + (1 | h)",
        "priors": {
            "beta": NORMAL,
            "groups": {"g": SLOPES, "h": {"kind": "diagonal", "sd": SD}},
            "sigma": SIGMA,
        },
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
SEEDS = {name: 101 + k for k, name in enumerate(MODELS)}


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
        assert len(flat["sigma"]) == RANKS - 1
        true = quantities(one.spec, one.truth)
        draws = [quantities(one.spec, point(one.spec, flat, i)) for i in range(RANKS - 1)]
        rows.append({key: sum(draw[key] < true[key] for draw in draws) for key in true})
    return pd.DataFrame(rows)


def point(spec, draws, i):
    def of_all(variable):
        return tuple(draws[f"{variable}_{block.group}"][i] for block in spec.blocks)

    return Point(draws["beta"][i], draws["sigma"][i], of_all("sd"), of_all("corr"), of_all("b"))


def quantities(spec, at):
    """The numbers that are ranked, by name."""
    values = {"beta": at.beta, "sigma": np.asarray(at.sigma)}
    found = {}
    for block, sd, corr, b in zip(spec.blocks, at.sd, at.corr, at.b, strict=True):
        values |= {f"sd_{block.group}": sd, f"corr_{block.group}": corr}
        for level in (0, block.J // 2, block.J - 1):
            for effect, value in zip(block.effects, b[level], strict=True):
                found[f"b_{block.group}[{block.labels[level]}, {effect}]"] = value
    found |= {one.name: values[one.variable][one.index] for one in parameters(spec)}
    return found | {"log likelihood": np.sum(log_likelihood(spec, at))}


@cache
def steps():
    """P(R_i = c | R_(i-1) = a) (INTERVALS, N + 1, N + 1), R_i the ranks up to interval i of N."""
    N = SIMULATIONS
    a = np.arange(N + 1)
    share = 1 / (INTERVALS - np.arange(INTERVALS))
    return stats.binom.pmf(a[None, :] - a[:, None], N - a[:, None], share[:, None, None])


def uniformity(found):
    """The p value of ranks (simulations,): how seldom uniform ones stray so far, anywhere.

    The number R_i of ranks up to the end of interval i is binomial; the statistic is the smallest
    two-sided tail probability over all i. Its distribution is exact, by the chain of the R_i.

    Source: Sailynoja, Burkner and Vehtari (2022), doi:10.1007/s11222-022-10090-6.
    """
    assert len(found) == SIMULATIONS
    N, counts = SIMULATIONS, np.arange(SIMULATIONS + 1)
    ends = np.arange(1, INTERVALS) / INTERVALS
    law = stats.binom(N, ends[:, None])
    tail = 2 * np.minimum(law.cdf(counts), law.sf(counts - 1))
    seen = np.array([np.sum(found < end * RANKS) for end in ends])
    observed = tail[np.arange(len(ends)), seen].min()
    at = np.zeros(N + 1)
    at[0] = 1.0
    for step, inside in zip(steps(), tail > observed * (1 + 1e-9), strict=False):
        at = (at @ step) * inside
    return 1.0 - at.sum()


def strayed(done):
    """Quantities whose ranks among draws of beta and b made now are not uniform, with p values."""
    found = ranks(done)
    p = {key: uniformity(found[key].to_numpy()) for key in found}
    return {key: value for key, value in p.items() if value < ERROR / len(p)}


def test_uniform_ranks_pass_as_often_as_stated():
    rng = np.random.default_rng(5)
    p = [uniformity(rng.integers(RANKS, size=SIMULATIONS)) for _ in range(400)]
    for error in (0.5, 0.1, 0.02):
        # The statistic is discrete, so a little less often is right; four standard errors.
        spread = 4 * np.sqrt(error * (1 - error) / len(p))
        assert 0.8 * error - spread < np.mean(np.array(p) < error) < error + spread


def test_ranks_that_are_not_uniform_stray():
    rng = np.random.default_rng(6)
    for a, b in ((2.2, 2.2), (0.5, 0.5), (1.8, 1.0)):
        crooked = np.floor(RANKS * rng.beta(a, b, SIMULATIONS))
        assert uniformity(crooked) < 1e-3


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
