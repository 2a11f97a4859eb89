import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import hlm_models as hlm
from hlm_models.results import posterior as room
from hlm_models.results.posterior import (
    Redrawn,
    plain_draws,
    point_at,
    posterior_tree,
    stores_effects,
    variables,
)

CHAINS, DRAWS = 3, 40


@pytest.fixture(scope="module")
def spec():
    return hlm.build("sleepstudy-slopes")


def raw_tree(spec, *, sigma=5.0):
    """What a sampler hands over: other variables, other orders of dims, its own statistics."""
    rng = np.random.default_rng(3)
    [block] = spec.blocks
    size = (CHAINS, DRAWS)
    r = rng.uniform(-0.9, 0.9, size)
    corr = np.stack([np.stack([np.ones(size), r], -1), np.stack([r, np.ones(size)], -1)], -2)
    in_time = ("chain", "draw")
    posterior = xr.Dataset(
        {
            "z_subject": ((*in_time, "subject", "effect_subject"), rng.normal(size=(*size, 18, 2))),
            "beta": (("coef", "draw", "chain"), 250 + rng.normal(size=(2, DRAWS, CHAINS))),
            "sigma": (in_time, sigma * np.exp(0.1 * rng.normal(size=size))),
            "b_subject": ((*in_time, "subject", "effect_subject"), rng.normal(size=(*size, 18, 2))),
            "sd_subject": ((*in_time, "effect_subject"), np.exp(rng.normal(size=(*size, 2)))),
            "corr_subject": ((*in_time, "effect_subject", "effect_subject_2"), corr),
            "partial_subject": ((*in_time, "partial_subject_dim_0"), r[..., None]),
        },
        coords={
            "chain": range(CHAINS),
            "draw": range(DRAWS),
            "coef": list(spec.design.coef),
            "subject": list(block.labels),
            "effect_subject": list(block.effects),
            "effect_subject_2": list(block.effects),
        },
    )
    stats_ = xr.Dataset(
        {
            "diverging": (in_time, rng.random(size) < 0.1),
            "depth": (in_time, rng.integers(1, 6, size)),
            "maxdepth_reached": (in_time, np.zeros(size, dtype=bool)),
            "logp": (in_time, rng.normal(size=size)),
            "energy": (in_time, rng.normal(size=size)),
            "gradient": ((*in_time, "unconstrained"), rng.normal(size=(*size, 4))),
        },
        coords={"chain": range(CHAINS), "draw": range(DRAWS)},
    )
    return xr.DataTree.from_dict({"posterior": posterior, "sample_stats": stats_})


def tree(spec, raw=None, *, seed=1, log_likelihood=False):
    raw = raw_tree(spec) if raw is None else raw
    draws, stats = plain_draws(spec, raw)
    return posterior_tree(
        spec, draws, stats, np.random.SeedSequence(seed), with_log_likelihood=log_likelihood
    )


def test_the_tree_has_its_groups_and_log_likelihood_only_when_asked_for(spec):
    groups = {"prior", "posterior", "posterior_predictive", "sample_stats", "observed_data"}
    assert set(tree(spec).children) == groups
    assert set(tree(spec, log_likelihood=True).children) == groups | {"log_likelihood"}


def test_the_posterior_has_the_promised_variables_and_dims_only(spec):
    found, raw = tree(spec)["posterior"].to_dataset(), raw_tree(spec)["posterior"]
    assert {n: v.dims[2:] for n, v in found.data_vars.items()} == variables(spec)
    assert all(v.dims[:2] == ("chain", "draw") for v in found.data_vars.values())
    np.testing.assert_array_equal(found["beta"], raw["beta"].transpose("chain", "draw", "coef"))
    np.testing.assert_array_equal(found["b_subject"], raw["b_subject"])
    assert set(found.coords) == {
        "chain", "draw", "coef", "subject", "effect_subject", "effect_subject_2",
    }  # fmt: skip
    assert found.sel(coef="days", subject="308", effect_subject="days")["b_subject"].size == 120


def test_statistics_have_one_name_for_every_sampler(spec):
    found, raw = tree(spec)["sample_stats"], raw_tree(spec)["sample_stats"]
    assert set(found.data_vars) == {
        "diverging", "tree_depth", "reached_max_treedepth", "lp", "energy",
    }  # fmt: skip
    np.testing.assert_array_equal(found["tree_depth"], raw["depth"])
    np.testing.assert_array_equal(found["lp"], raw["logp"])


def test_the_data_are_kept_as_they_are(spec):
    np.testing.assert_array_equal(tree(spec)["observed_data"]["y_obs"], spec.design.y)


def test_predictive_draws_are_thinned_evenly_and_keep_the_place_of_their_draw(spec, monkeypatch):
    monkeypatch.setattr(room, "PREDICTIVE_NUMBERS", 5 * CHAINS * spec.design.n)
    found = tree(spec, raw_tree(spec, sigma=1e-9))
    drawn = found["posterior_predictive"]["y_obs"]
    assert drawn.dims == ("chain", "draw", "obs")
    assert drawn.shape == (CHAINS, 5, 180)
    assert drawn["draw"].values.tolist() == [0, 9, 19, 29, 39]
    # Without noise a replicate is the linear predictor of its own draw.
    posterior = found["posterior"].to_dataset().sel(draw=drawn["draw"])
    [block] = spec.blocks
    mean = np.einsum("np,cdp->cdn", spec.design.X, posterior["beta"].values)
    b = posterior["b_subject"].values[:, :, block.level]
    np.testing.assert_allclose(
        drawn, mean + np.einsum("nq,cdnq->cdn", block.z, b), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize(("numbers", "kept"), [(0, 1), (1, 1), (10**9, DRAWS)])
def test_at_least_one_predictive_draw_is_kept_and_at_most_all(numbers, kept, spec, monkeypatch):
    monkeypatch.setattr(room, "PREDICTIVE_NUMBERS", numbers)
    assert tree(spec)["posterior_predictive"].sizes["draw"] == kept


def test_predictive_noise_has_the_spread_of_sigma(spec):
    found = tree(spec, raw_tree(spec, sigma=50.0))
    posterior = found["posterior"].to_dataset()
    [block] = spec.blocks
    mean = np.einsum("np,cdp->cdn", spec.design.X, posterior["beta"].values)
    mean += np.einsum("nq,cdnq->cdn", block.z, posterior["b_subject"].values[:, :, block.level])
    z = (found["posterior_predictive"]["y_obs"].values - mean) / posterior["sigma"].values[
        ..., None
    ]
    assert z.size == CHAINS * DRAWS * 180
    # 21600 standard normals: the mean has standard error 0.007 and the sd 0.005; five of each.
    assert abs(z.mean()) < 0.034
    assert abs(z.std() - 1) < 0.024


def test_the_prior_is_drawn_from_the_model(spec):
    prior = tree(spec)["prior"].to_dataset()
    assert dict(prior.sizes)["draw"] == room.PRIOR_DRAWS
    assert set(prior.data_vars) == {"beta", "sigma", "sd_subject", "corr_subject"}
    assert prior["sd_subject"].dims == ("chain", "draw", "effect_subject")
    assert (prior["sigma"] > 0).all()
    scale = spec.priors.beta[1].scale
    # 500 draws: the mean of the slope has standard error scale / sqrt(500); five of them.
    assert abs(float(prior["beta"].sel(coef="days").mean())) < 5 * scale / np.sqrt(500)
    assert float(np.abs(prior["corr_subject"]).max()) <= 1


def test_an_improper_prior_has_no_draws():
    flat = hlm.build("sleepstudy-slopes", overrides=["priors.beta={kind: flat}"])
    assert "prior" not in tree(flat).children


def test_the_same_seed_gives_the_same_tree_and_another_seed_another(spec):
    first, again, other = tree(spec), tree(spec), tree(spec, seed=2)
    for group in first.children:
        xr.testing.assert_identical(first[group].to_dataset(), again[group].to_dataset())
    for group in ("prior", "posterior_predictive"):
        assert not first[group].to_dataset().equals(other[group].to_dataset())


def test_a_longer_list_of_predictive_draws_does_not_change_the_prior(spec, monkeypatch):
    first = tree(spec)
    monkeypatch.setattr(room, "PREDICTIVE_NUMBERS", 1)
    xr.testing.assert_identical(first["prior"].to_dataset(), tree(spec)["prior"].to_dataset())


def test_the_log_likelihood_is_that_of_scipys_normal(spec):
    whole = tree(spec, log_likelihood=True)
    posterior, found = whole["posterior"].to_dataset(), whole["log_likelihood"]["y_obs"]
    assert found.dims == ("chain", "draw", "obs")
    [block] = spec.blocks
    for chain, draw in ((0, 0), (1, 7), (2, 39)):
        beta = posterior["beta"].values[chain, draw]
        b = posterior["b_subject"].values[chain, draw]
        mean = spec.design.X @ beta + (block.z * b[block.level]).sum(axis=1)
        expected = stats.norm(mean, posterior["sigma"].values[chain, draw]).logpdf(spec.design.y)
        np.testing.assert_allclose(found.values[chain, draw], expected, rtol=1e-12)


def test_a_draw_becomes_a_point_with_its_own_values(spec):
    posterior = tree(spec)["posterior"].to_dataset()
    point = point_at(spec, posterior, 2, 5)
    assert point.sigma == posterior["sigma"].values[2, 5]
    np.testing.assert_array_equal(point.beta, posterior["beta"].values[2, 5])
    np.testing.assert_array_equal(point.corr[0], posterior["corr_subject"].values[2, 5])
    np.testing.assert_array_equal(point.b[0], posterior["b_subject"].values[2, 5])


def prior_of(covariance, *, formula="y ~ x + I(x ** 2) + (x + I(x ** 2) | g)"):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"y": rng.normal(size=40), "x": rng.normal(size=40), "g": list("abcd") * 10}
    )
    model = {
        "schema": 1,
        "name": "m",
        "data": {"source": "frame"},
        "formula": formula,
        "priors": {"groups": {"g": covariance}},
    }
    spec = hlm.build(model, data=frame)
    draws = {"sigma": np.ones((1, 2)), "beta": np.zeros((1, 2, 3))}
    draws |= {"sd_g": np.ones((1, 2, 3)), "corr_g": np.tile(np.eye(3), (1, 2, 1, 1))}
    draws |= {"b_g": np.zeros((1, 2, 4, 3))}
    seed = np.random.SeedSequence(5)
    return spec, posterior_tree(spec, draws, {}, seed, with_log_likelihood=False)["prior"]


def test_prior_correlations_have_the_law_of_lkj():
    _, prior = prior_of({"kind": "lkj", "eta": 1.5})
    corr = prior["corr_g"].values[0]
    np.testing.assert_array_equal(np.diagonal(corr, axis1=1, axis2=2), 1.0)
    np.testing.assert_array_equal(corr, np.swapaxes(corr, 1, 2))
    assert (np.linalg.eigvalsh(corr) > -1e-12).all()
    for row, column in ((1, 0), (2, 0), (2, 1)):
        # Lewandowski, Kurowicka and Joe (2009): of q effects, Beta(eta + (q - 2) / 2) on (-1, 1).
        law = stats.beta(2.0, 2.0)
        assert stats.kstest((corr[:, row, column] + 1) / 2, law.cdf).pvalue > 1e-4
    # |corr| is the product of 1 - z^2 over the partial correlations z, Beta(a, a) on (-1, 1).
    shapes = np.array([2.0, 2.0, 1.5])
    left = np.prod(1 - 1 / (2 * shapes + 1))
    found = np.linalg.det(corr)
    assert abs(found.mean() - left) < 5 * found.std() / np.sqrt(len(found))


def test_prior_sds_are_one_for_all_effects_only_where_they_share_it():
    independent = "y ~ x + I(x ** 2) + (x + I(x ** 2) || g)"
    for kind in ("shared", "diagonal"):
        spec, prior = prior_of({"kind": kind}, formula=independent)
        sd = prior["sd_g"].values[0]
        assert np.array_equal(sd[:, 0], sd[:, 1]) == (kind == "shared")
        np.testing.assert_array_equal(
            prior["corr_g"].values[0], np.tile(np.eye(3), (len(sd), 1, 1))
        )
        [covariance] = spec.priors.blocks[0].terms
        law = covariance.sd_priors()[0]
        assert stats.kstest(sd[:, 0] / law.scale, lambda x: 2 * stats.t.cdf(x, 3) - 1).pvalue > 1e-4


def test_a_covariance_without_partial_correlations_is_drawn_one_by_one():
    _, prior = prior_of({"kind": "inverse_wishart", "scale": np.diag([4.0, 1.0, 9.0]).tolist()})
    corr, sd = prior["corr_g"].values[0], prior["sd_g"].values[0]
    # With nu = q + 1 and a diagonal scale correlations are uniform, and sd^2 inverse gamma.
    assert stats.kstest(corr[:, 2, 0], stats.uniform(-1, 2).cdf).pvalue > 1e-4
    assert stats.kstest(sd[:, 2] ** 2, stats.invgamma(1.0, scale=4.5).cdf).pvalue > 1e-4


def test_effects_that_are_not_stored_are_asked_for_and_their_seed_is_kept(spec):
    draws, statistics = plain_draws(spec, raw_tree(spec))
    b = draws.pop("b_subject")

    def blocks(at):
        for chain in range(CHAINS):
            for lo in range(0, len(at), 7):
                places = slice(lo, min(lo + 7, len(at)))
                yield chain, places, (b[chain, at[places]],)

    source = np.random.SeedSequence(11, spawn_key=(4, 2))
    found = posterior_tree(
        spec,
        draws,
        statistics,
        np.random.SeedSequence(1),
        with_log_likelihood=True,
        redrawn=Redrawn(source, blocks),
    )
    whole = tree(spec, log_likelihood=True)
    posterior = found["posterior"].to_dataset()
    assert "b_subject" not in posterior
    kept = json.loads(posterior.attrs[room.EFFECTS_SEED])
    sizes = {"chains": posterior.sizes["chain"], "draws": posterior.sizes["draw"]}
    assert kept == {"entropy": 11, "spawn_key": [4, 2]} | sizes
    for group in ("posterior_predictive", "log_likelihood"):
        np.testing.assert_allclose(found[group]["y_obs"], whole[group]["y_obs"], rtol=1e-12)
    assert room.EFFECTS_SEED not in whole["posterior"].attrs


def test_effects_are_stored_up_to_a_number_of_numbers(spec, monkeypatch):
    monkeypatch.setattr(room, "STORED_EFFECTS", 18 * 2 * 100)
    assert stores_effects(spec, 100)
    assert not stores_effects(spec, 101)
