"""The posterior of the marginal form is that of the latent graph, or of Gibbs where that can be.

Both are sampled, for models of the whole zoo, and compared are the mean, the sd and the 5% and 95%
quantiles of every population parameter and of the effects of the first, middle and last level of
every group: some 600 numbers.
Each may differ by four combined Monte Carlo standard errors, which a correct sampler exceeds with a
probability of 6e-5 for a number, and of 4% at most for any of 600; the seeds are fixed. At about a
thousand effective draws of the latent form, which is the slower one to mix, four standard errors
of a mean are an eighth of the posterior's sd.
"""

import math

import numpy as np
import pytest
from monte_carlo import SUMMARIES, summarised

import hlm_models as hlm
from hlm_models.results.summary import parameter_draws

pytestmark = pytest.mark.slow

LATENT = {
    "dyestuff": {"parameterization": "noncentered", "draws": 1500},
    "sleepstudy-slopes": {"parameterization": "noncentered", "draws": 1000},
    "sleepstudy-uncorrelated": {"parameterization": "noncentered", "draws": 1000},
    "radon-uranium": {"parameterization": "noncentered", "draws": 1500},
    "pastes": {"parameterization": "noncentered", "draws": 1500, "target_accept": 0.95},
    "penicillin": {"parameterization": "noncentered", "draws": 4000},
}
"""How the latent form is sampled; pastes is nested, penicillin is crossed."""

CONJUGATE = {
    "dyestuff": {"draws": 3000},
    "sleepstudy-uncorrelated": {"draws": 3000},
    "oats": {"draws": 1000, "gibbs": {"thin": 4}},
    "pastes": {"draws": 1500, "gibbs": {"thin": 4}},
    "penicillin": {"draws": 1500},
}
"""How Gibbs sweeps, for models whose default priors are conjugate; oats is nested too."""

FREE = "priors.beta={days: {kind: student_t, df: 4, loc: 5.0, scale: 2.0}}"
"""A coefficient that is not integrated out, with a prior that matters beside 18 subjects."""


def draws_by_name(fit):
    """Draws (chains, draws) of every population parameter, and of some effects."""
    found = parameter_draws(fit)
    posterior = fit.data["posterior"]
    for block in fit.spec.blocks:
        b = np.asarray(posterior[f"b_{block.group}"])
        for level in (0, block.J // 2, block.J - 1):
            for k, effect in enumerate(block.effects):
                found[f"b_{block.group}[{block.labels[level]}, {effect}]"] = b[:, :, level, k]
    return found


def apart(one, other):
    """Differences in combined Monte Carlo standard errors, by what is compared."""
    assert one.keys() == other.keys()
    found = {}
    for name, draws in one.items():
        for which in SUMMARIES:
            ours, error = summarised(draws, which)
            theirs, their_error = summarised(other[name], which)
            found[f"{which} of {name}"] = (ours - theirs) / math.hypot(error, their_error)
    return found


def marginal_draws(spec):
    fit = hlm.fit(spec, engine="nuts", seed=31, parameterization="marginal", draws=3000)
    assert (fit.parameterization, fit.divergences) == ("marginal", 0)
    return draws_by_name(fit)


def latent_draws(spec, **how):
    latent = hlm.fit(spec, engine="nuts", seed=32, **how)
    assert latent.parameterization == how["parameterization"]
    # Divergences of the latent form would be a bias that its standard errors do not tell of.
    assert latent.divergences <= 0.001 * latent.data["posterior"]["sigma"].size
    return draws_by_name(latent)


def too_far(one, other):
    return {what: z for what, z in apart(one, other).items() if not abs(z) < 4}


@pytest.mark.parametrize("model", LATENT | CONJUGATE)
def test_the_marginal_form_has_the_posterior_of_the_latent_graph_and_of_gibbs(model):
    spec = hlm.build(model)
    marginal = marginal_draws(spec)
    if model in LATENT:
        assert too_far(marginal, latent_draws(spec, **LATENT[model])) == {}
    if model in CONJUGATE:
        gibbs = draws_by_name(hlm.fit(spec, engine="gibbs", seed=33, **CONJUGATE[model]))
        assert too_far(marginal, gibbs) == {}


def test_so_it_has_with_a_coefficient_that_is_sampled():
    spec = hlm.build("sleepstudy-slopes", overrides=[FREE])
    latent = latent_draws(spec, parameterization="noncentered", draws=2000)
    assert too_far(marginal_draws(spec), latent) == {}


WHOLE = {
    "inverse_wishart": "{kind: inverse_wishart, nu: 3.5, scale: [[900, -30], [-30, 40]]}",
    "wishart": "{kind: wishart, nu: 2.2, scale: [[0.002, 0], [0, 0.03]]}",
    "hierarchical": "{kind: hierarchical, scale: {Intercept: 30, days: 5}}",
}


@pytest.mark.parametrize("kind", WHOLE)
def test_so_it_has_with_a_prior_of_the_covariance_as_a_whole(kind):
    spec = hlm.build("sleepstudy-slopes", overrides=[f"priors.groups.subject={WHOLE[kind]}"])
    gibbs = draws_by_name(hlm.fit(spec, engine="gibbs", seed=33, draws=3000))
    assert too_far(marginal_draws(spec), gibbs) == {}


def test_a_posterior_that_is_a_little_off_is_told_apart():
    """Three tenths of an sd of the posterior, or an sd a fifth too large, do not pass."""
    fits = [hlm.fit("dyestuff", engine="nuts", seed=seed, draws=1000) for seed in (31, 32)]
    one, other = (draws_by_name(fit) for fit in fits)
    assert max(abs(z) for z in apart(one, other).values()) < 4
    for name in ("sigma", "beta[Intercept]", "b_batch[A, Intercept]"):
        draws = other[name]
        assert abs(apart(one, other | {name: draws + 0.3 * draws.std()})[f"mean of {name}"]) > 4
        wide = draws.mean() + 1.2 * (draws - draws.mean())
        assert abs(apart(one, other | {name: wide})[f"sd of {name}"]) > 4
