import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hlm_models import build
from hlm_models.errors import InputErrors
from hlm_models.spec.density import joint_log_density, linear_predictor
from hlm_models.spec.simulate import draw_prior, draw_response, improper

N, DRAWS = 40, 1500


def made_up():
    rng = np.random.default_rng(6)
    return pd.DataFrame(
        {
            "y": rng.normal(2.0, 3.0, N),
            "x": rng.normal(size=N),
            "school": [f"s{i % 8}" for i in range(N)],
            "room": [f"r{i % 5}" for i in range(N)],
        }
    )


def spec(formula="y ~ x + (x | school) + (1 | room)", **priors):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return build({**head, "priors": priors}, data=made_up())


@pytest.fixture(scope="module")
def model():
    return spec()


@pytest.fixture(scope="module")
def draws(model):
    rng = np.random.default_rng(21)
    return [draw_prior(model, rng) for _ in range(DRAWS)]


def test_drawn_coefficients_have_the_moments_of_their_priors(model, draws):
    beta = np.array([at.beta for at in draws])
    for k, prior in enumerate(model.priors.beta):
        z = (beta[:, k] - prior.loc) / prior.scale
        # Five standard errors of a mean and of a standard deviation; the seed is fixed.
        assert abs(z.mean()) < 5 / math.sqrt(DRAWS)
        assert abs(z.std() - 1) < 5 / math.sqrt(2 * DRAWS)
    assert abs(np.corrcoef(beta.T)[0, 1]) < 5 / math.sqrt(DRAWS)


def test_drawn_scales_have_their_priors(model, draws):
    half = {"sigma": (model.priors.sigma, [at.sigma for at in draws])}
    for g, block in enumerate(model.blocks):
        for k, prior in enumerate(model.priors.blocks[g].terms[0].sd_priors()):
            half[f"{block.group}{k}"] = (prior, [at.sd[g][k] for at in draws])
    assert len(half) == 4
    for prior, values in half.values():
        law = stats.t(3, scale=prior.scale)
        assert stats.kstest(values, lambda x, law=law: 2 * law.cdf(x) - 1).pvalue > 1e-4


def test_drawn_effects_have_the_covariance_drawn_with_them(model, draws):
    for g, block in enumerate(model.blocks):
        z = []
        for at in draws:
            factor = np.linalg.cholesky(at.sd[g][:, None] * at.corr[g] * at.sd[g])
            z.append(np.linalg.solve(factor, at.b[g].T).T)
        z = np.concatenate(z)
        assert z.shape == (DRAWS * block.J, block.q)
        bound = 5 / math.sqrt(len(z))
        np.testing.assert_allclose(z.mean(axis=0), 0.0, atol=bound)
        np.testing.assert_allclose(z.T @ z / len(z), np.eye(block.q), atol=math.sqrt(2) * bound)


def test_drawn_responses_scatter_about_the_linear_predictor(model, draws):
    rng = np.random.default_rng(22)
    z = np.concatenate(
        [
            (draw_response(model, at, rng) - linear_predictor(model, at)) / at.sigma
            for at in draws[:100]
        ]
    )
    assert stats.kstest(z, "norm").pvalue > 1e-4


def test_every_draw_has_a_density(model, draws):
    assert all(np.isfinite(joint_log_density(model, at)) for at in draws[:50])


def test_the_same_seed_draws_the_same(model):
    one, other = (draw_prior(model, np.random.default_rng(3)) for _ in range(2))
    assert one.sigma == other.sigma
    np.testing.assert_array_equal(one.b[0], other.b[0])


def test_what_has_an_improper_prior_is_named():
    found = spec(
        beta={"x": {"kind": "flat"}},
        sigma={"kind": "flat"},
        groups={"school": {"kind": "lkj", "sd": {"Intercept": {"kind": "flat"}}}},
    )
    names = ("beta[x]", "sd_school[Intercept]", "sigma")
    assert improper(found) == names
    with pytest.raises(InputErrors) as caught:
        draw_prior(found, np.random.default_rng(1))
    assert all(name in str(caught.value) for name in names)


def test_an_improper_prior_of_a_shared_sd_is_named_once():
    found = spec(
        "y ~ x + (x || school)", groups={"school": {"kind": "shared", "sd": {"kind": "flat"}}}
    )
    assert improper(found) == ("sd_school[x || school]",)


def test_effects_of_a_shared_variance_are_drawn_with_one():
    model = spec("y ~ x + (x || school)", groups={"school": {"kind": "shared"}})
    rng = np.random.default_rng(4)
    draws = [draw_prior(model, rng) for _ in range(DRAWS)]
    assert all(at.sd[0][0] == at.sd[0][1] for at in draws)
    z = np.concatenate([at.b[0] / at.sd[0] for at in draws])
    np.testing.assert_allclose(z.T @ z / len(z), np.eye(2), atol=5 * math.sqrt(2 / len(z)))


def test_proper_priors_have_nothing_to_name(model):
    assert improper(model) == ()
