"""Made-up disagreements: each must be found, named and measured."""

import math
import runpy
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

import hlm_models as hlm
from hlm_models.comparison.agreement import Verdict, agreement, half_sample_mode, judge
from hlm_models.errors import ModelMismatchError
from hlm_models.results.summary import parameter_draws, point_values

CANNED = Path(__file__).parents[1] / "report" / "canned.py"
canned_posterior = runpy.run_path(str(CANNED))["canned_posterior"]
SIZE = (4, 1000)

# Quantiles of the standard normal in random order: their mean is 0 and their sd 1 by construction,
# so that d and the spread ratio are known and no test hangs on a seed.
GRID = special.ndtri((np.arange(4000) + 0.5) / 4000)
GRID = GRID / GRID.std(ddof=1)


def normal(mean=0.0, sd=1.0, seed=0):
    return mean + sd * np.random.default_rng(seed).permuted(GRID).reshape(SIZE)


def slow(rho, seed=0):
    """Draws with mean 0 and sd 1 that follow each other closely: few are effective."""
    rng = np.random.default_rng(seed)
    z = np.empty(SIZE)
    z[:, 0] = rng.normal(size=4)
    for i in range(1, SIZE[1]):
        z[:, i] = rho * z[:, i - 1] + math.sqrt(1 - rho**2) * rng.normal(size=4)
    return (z - z.mean()) / z.std(ddof=1)


# ---- one parameter ----


def test_the_same_place_and_spread_agree():
    row = judge("beta[x]", normal(2.1, 0.5), 2.0, 0.5)
    assert (row.verdict, row.cause, row.why) == ("agree", "", "")
    assert row.d == pytest.approx(0.2)
    assert row.spread_ratio == pytest.approx(1.0)
    assert (row.estimate, row.se) == (2.0, 0.5)
    assert row.mean == pytest.approx(2.1)
    assert row.sd == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("mean", "estimate", "cause"),
    [(0.2, 1.0, "prior"), (-0.2, -1.0, "prior"), (-1.0, 0.2, "unexplained")],
)
def test_a_coefficient_nearer_to_zero_is_pulled_there_by_a_prior_of_several(mean, estimate, cause):
    row = judge("beta[x]", normal(mean, 0.5), estimate, 0.5, pulled_by="horseshoe")
    assert (row.verdict, row.cause) == ("shifted", cause)
    assert ("horseshoe pulls it towards 0" in row.why) == (cause == "prior")


@pytest.mark.parametrize(
    ("d", "ratio", "verdict"),
    [
        (0.24, 1.0, "agree"),
        (-0.24, 1.0, "agree"),
        (0.26, 1.0, "shifted"),
        (-0.26, 1.0, "shifted"),
        (0.0, 0.81, "agree"),
        (0.0, 0.79, "spread"),
        (0.0, 1.24, "agree"),
        (0.0, 1.26, "spread"),
        (0.3, 2.0, "shifted"),
    ],
)
def test_the_thresholds_are_those_of_the_design(d, ratio, verdict):
    row = judge("beta[x]", normal(d), 0.0, 1 / ratio)
    assert row.verdict == verdict
    assert row.d == pytest.approx(d, abs=1e-12)
    assert row.spread_ratio == pytest.approx(ratio)


def conjugate():
    """Draws from N(1, .5) times N(0, .5), their estimate 1 +- .5, and the log prior.

    The posterior of a normal likelihood at 1 and a normal prior at 0 with equal precisions is
    N(0.5, 0.5 / sqrt(2)): d is -sqrt(2).
    """
    return normal(0.5, 0.5 / math.sqrt(2)), 1.0, 0.5, stats.norm(0, 0.5).logpdf


def test_a_prior_that_pulls_is_named():
    draws, estimate, se, log_prior = conjugate()
    row = judge("beta[x]", draws, estimate, se, log_prior=log_prior)
    assert (row.verdict, row.cause) == ("shifted", "prior")
    assert row.d == pytest.approx(-math.sqrt(2), rel=1e-6)
    assert row.spread_ratio == pytest.approx(1 / math.sqrt(2), rel=1e-6)
    assert "prior" in row.why
    assert "below REML" in row.why


def test_a_prior_is_not_blamed_where_it_is_flat():
    draws, estimate, se, _ = conjugate()
    row = judge("beta[x]", draws, estimate, se, log_prior=stats.norm(0, 500).logpdf)
    assert (row.verdict, row.cause) == ("shifted", "unexplained")


def test_a_prior_is_not_blamed_where_it_pulls_the_other_way():
    draws, estimate, se, _ = conjugate()
    row = judge("beta[x]", draws, estimate, se, log_prior=stats.norm(2, 0.5).logpdf)
    assert (row.verdict, row.cause) == ("shifted", "unexplained")


@pytest.mark.parametrize("s", [0.4, 0.6, 1.0])
def test_a_skewed_posterior_whose_mode_is_at_the_estimate_is_named(s):
    # The mode of exp(N(m, s)) is exp(m - s^2): on the log scale the mean is s sds above it.
    draws = np.exp(normal(1.0, s))
    row = judge("sd_g[Intercept]", draws, math.exp(1.0 - s**2), math.exp(1.0 - s**2) * s)
    assert (row.verdict, row.cause) == ("shifted", "skew")
    assert row.d == pytest.approx(s, rel=1e-6)
    assert "skew" in row.why
    assert "above REML" in row.why


def test_a_shift_without_skew_and_prior_is_unexplained():
    row = judge("beta[x]", normal(3.0), 0.0, 1.0)
    assert (row.verdict, row.cause) == ("shifted", "unexplained")
    assert row.why.startswith("3 posterior sd above REML: ")


def test_an_unexplained_shift_beside_a_singular_fit_is_blamed_on_the_boundary():
    row = judge("beta[x]", normal(3.0), 0.0, 1.0, singular=True, reference="ML")
    assert (row.verdict, row.cause) == ("shifted", "boundary")
    assert "ML stands on the boundary" in row.why


def test_few_effective_draws_are_named_before_any_other_cause():
    draws = 0.5 + slow(0.995)
    row = judge("beta[x]", draws, 0.0, 1.0, log_prior=stats.norm(5, 0.1).logpdf)
    assert row.d == pytest.approx(0.5)
    assert abs(row.d_mcse) < 4
    assert (row.verdict, row.cause) == ("shifted", "monte carlo")
    assert "draw more" in row.why


def test_the_monte_carlo_error_is_that_of_the_effective_draws():
    from arviz_stats.base.array import array_stats

    draws = 0.3 + slow(0.9)
    row = judge("beta[x]", draws, 0.0, 1.0)
    error = float(array_stats.mcse(draws, chain_axis=0, draw_axis=1, method="mean"))
    assert row.d_mcse == pytest.approx(draws.mean() / error, rel=1e-6)


@pytest.mark.parametrize(("ratio", "word"), [(1.6, "wider"), (0.5, "narrower")])
def test_another_spread_at_the_same_place_is_named(ratio, word):
    row = judge("beta[x]", normal(0.1 * ratio, ratio), 0.0, 1.0)
    assert (row.verdict, row.cause) == ("spread", "")
    assert row.spread_ratio == pytest.approx(ratio)
    assert word in row.why


# ---- scales ----


@pytest.mark.parametrize("name", ["sd_g[x]", "sigma"])
def test_a_spread_is_judged_on_the_log_scale(name):
    draws = np.exp(normal(0.7, 0.3))
    row = judge(name, draws, 1.7, 0.4)
    assert row.d == pytest.approx((0.7 - math.log(1.7)) / 0.3, rel=1e-9)
    assert row.spread_ratio == pytest.approx(0.3 / (0.4 / 1.7), rel=1e-9)
    assert row.mean == pytest.approx(draws.mean())
    assert row.sd == pytest.approx(draws.std(ddof=1))


def test_a_correlation_is_judged_on_fishers_scale():
    draws = np.tanh(normal(0.9, 0.4))
    row = judge("corr_g[Intercept, x]", draws, 0.5, 0.2)
    assert row.d == pytest.approx((0.9 - math.atanh(0.5)) / 0.4, rel=1e-9)
    assert row.spread_ratio == pytest.approx(0.4 / (0.2 / (1 - 0.25)), rel=1e-9)


def test_a_coefficient_is_judged_as_it_is():
    row = judge("beta[x]", normal(-3.0, 2.0), -2.0, 1.8)
    assert row.d == pytest.approx(-0.5, rel=1e-9)
    assert row.spread_ratio == pytest.approx(2.0 / 1.8, rel=1e-9)


def test_draws_at_the_edge_of_a_correlation_are_still_judged():
    draws = np.tanh(normal(0.0, 1.0))
    draws[0, 0] = 1.0
    row = judge("corr_g[Intercept, x]", draws, 0.0, 1.0)
    assert math.isfinite(row.d)


@given(
    mean=st.floats(-1e3, 1e3),
    sd=st.floats(1e-3, 1e3),
    sign=st.sampled_from([-1.0, 1.0]),
    seed=st.integers(0, 99),
)
def test_a_shift_of_two_posterior_sds_is_always_called_shifted(mean, sd, sign, seed):
    draws = normal(mean, sd, seed)
    row = judge("beta[x]", draws + sign * 2 * sd, mean, sd)
    assert row.verdict == "shifted"
    assert row.d == pytest.approx(2 * sign, rel=1e-6)


@given(
    rho=st.floats(0, 0.99),
    prior=st.floats(-5, 5),
    singular=st.booleans(),
    seed=st.integers(0, 99),
)
def test_whatever_the_chains_and_the_prior_a_shift_is_called_one(rho, prior, singular, seed):
    row = judge(
        "beta[x]", 2.0 + slow(rho, seed), 0.0, 1.0,
        log_prior=stats.norm(prior, 1.0).logpdf, singular=singular,
    )  # fmt: skip
    assert row.verdict == "shifted"
    assert row.cause
    assert row.why


@pytest.mark.parametrize("name", ["sd_g[x]", "sigma", "corr_g[Intercept, x]"])
def test_a_shift_on_the_scale_of_the_verdict_is_always_called_shifted(name):
    back = np.tanh if name.startswith("corr") else np.exp
    for seed in range(10):
        row = judge(name, back(normal(0.3, 0.2, seed) + 0.4), float(back(0.3)), 0.2)
        assert row.verdict == "shifted"
        assert row.d == pytest.approx(2.0, rel=1e-6)


def test_the_mode_of_a_sample_is_where_it_is_densest():
    assert half_sample_mode(normal(3.0).ravel()) == pytest.approx(3.0, abs=0.1)
    exponential = -np.log1p(-(np.arange(10_000) + 0.5) / 10_000)
    assert half_sample_mode(exponential) < 0.05


# ---- whole fits ----


@pytest.fixture(scope="module")
def slopes():
    ref = hlm.fit("sleepstudy-slopes", engine="reml")
    return canned_posterior(ref.spec, ref, np.random.default_rng(6), draws=1000, replicates=4), ref


def with_draws(fit, **draws):
    """The same posterior with other draws of some variables."""
    posterior = fit.data["posterior"].to_dataset()
    values = {name: (posterior[name].dims, value) for name, value in draws.items()}
    groups = {name: group.to_dataset() for name, group in fit.data.items()}
    groups["posterior"] = posterior.assign(values)
    return replace(fit, data=xr.DataTree.from_dict(groups))


def around(fit, ref):
    """A posterior that is normal around the estimate on every verdict's scale, spread as it is."""
    [random] = ref.random
    beta = np.stack(
        [normal(ref.beta[k], math.sqrt(ref.vcov_beta[k, k]), k) for k in range(2)], axis=-1
    )
    sd = np.stack(
        [random.sd[k] * np.exp(normal(0, random.se_log_sd[k], 10 + k)) for k in range(2)], axis=-1
    )
    r = np.tanh(normal(math.atanh(random.corr[1, 0]), random.se_z_corr[1, 0], 20))
    one = np.ones(SIZE)
    corr = np.stack([np.stack([one, r], axis=-1), np.stack([r, one], axis=-1)], axis=-1)
    sigma = ref.sigma * np.exp(normal(0, ref.se_log_sigma, 30))
    return with_draws(fit, beta=beta, sd_subject=sd, corr_subject=corr, sigma=sigma)


def test_a_posterior_made_around_its_own_reml_fit_agrees(slopes):
    fit, ref = slopes
    found = agreement(around(fit, ref), ref)
    assert (found.model, found.posterior, found.reference) == ("sleepstudy-slopes", "nuts", "reml")
    assert [row.parameter for row in found.rows] == list(parameter_draws(fit))
    for row in found.rows:
        assert row.verdict == "agree", row
        assert abs(row.d) < 1e-6
        assert row.spread_ratio == pytest.approx(1.0, abs=1e-6)


def test_the_canned_posterior_agrees_where_it_is_normal(slopes):
    rows = {row.parameter: row for row in agreement(*slopes).rows}
    for name in ("beta[Intercept]", "beta[days]", "sigma"):
        # 4000 independent draws: |d| has standard error 0.016.
        assert rows[name].verdict == "agree"
        assert abs(rows[name].d) < 0.08


def test_rows_carry_the_estimates_and_standard_errors_of_the_reference(slopes):
    fit, ref = slopes
    values = point_values(ref)
    for row in agreement(fit, ref).rows:
        assert (row.estimate, row.se) == values[row.parameter]


def test_one_shifted_coefficient_is_found_and_the_others_left_alone(slopes):
    fit, ref = slopes
    base = around(fit, ref)
    beta = base.data["posterior"]["beta"].values.copy()
    beta[..., 1] += 2 * beta[..., 1].std(ddof=1)
    rows = agreement(with_draws(base, beta=beta), ref).rows
    assert [row.parameter for row in rows if row.verdict != "agree"] == ["beta[days]"]
    assert {row.verdict for row in rows} == {"agree", "shifted"}


def test_the_own_prior_of_a_coefficient_is_looked_at(slopes):
    """N(10, 1) as the likelihood of the slope and N(0, 1) as its prior: half of it is the prior."""
    fit, ref = slopes
    spec = hlm.build(
        "sleepstudy-slopes", overrides=["priors.beta={days: {kind: normal, loc: 0, scale: 1}}"]
    )
    ref = replace(ref, spec=spec, beta=np.array([ref.beta[0], 10.0]), vcov_beta=np.eye(2))
    beta = np.stack([normal(ref.beta[0]), normal(5.0, math.sqrt(0.5), 1)], axis=-1)
    rows = agreement(with_draws(replace(fit, spec=spec), beta=beta), ref).rows
    [row] = [row for row in rows if row.parameter == "beta[days]"]
    assert (row.verdict, row.cause) == ("shifted", "prior")


def test_a_prior_on_an_sd_is_looked_at_on_its_own_scale(slopes):
    """Likelihood normal in u = log sigma, prior half_normal(5): the posterior of u by Laplace."""
    fit, ref = slopes
    spec = hlm.build("sleepstudy-slopes", overrides=["priors.sigma={kind: half_normal, scale: 5}"])
    at, s = math.log(ref.sigma), ref.se_log_sigma
    u = at
    for _ in range(100):
        u = at + s**2 * (1 - math.exp(2 * u) / 25)
    sigma = np.exp(normal(u, (1 / s**2 + 2 * math.exp(2 * u) / 25) ** -0.5, 3))
    base = with_draws(around(fit, ref), sigma=sigma)
    rows = agreement(replace(base, spec=spec), ref).rows
    [row] = [row for row in rows if row.parameter == "sigma"]
    assert (row.verdict, row.cause) == ("shifted", "prior")
    assert row.d < -1


def test_on_the_boundary_the_share_of_the_posterior_near_it_is_named():
    ref = hlm.fit("dyestuff2", engine="reml")
    assert ref.singular
    fit = canned_posterior(ref.spec, ref, np.random.default_rng(1), draws=1000, replicates=4)
    # Of an intercept the typical size is its sd: 1400 of 4000 draws are below a tenth of sigma.
    sd = np.where(np.arange(4000) < 1400, 0.39, 0.41).reshape(*SIZE, 1)
    found = agreement(with_draws(fit, sigma=4.0 + 0.01 * normal(), sd_batch=sd), ref)
    rows = {row.parameter: row for row in found.rows}
    row = rows["sd_batch[Intercept]"]
    assert (row.verdict, row.cause, row.estimate) == ("boundary", "boundary", 0)
    assert "35% of the posterior" in row.why
    assert "0.1 sigma" in row.why
    assert all(math.isnan(v) for v in (row.se, row.d, row.d_mcse, row.spread_ratio))
    assert rows["beta[Intercept]"].verdict != "boundary"
    assert rows["sigma"].verdict != "boundary"


def singular(ref, r):
    """The reference with a covariance of rank one."""
    [random] = ref.random
    corr = np.array([[1.0, r], [r, 1.0]])
    return replace(
        ref,
        random=(
            replace(
                random,
                corr=corr,
                cov=np.outer(random.sd, random.sd) * corr,
                singular=True,
                se_log_sd=np.full(2, np.nan),
                se_z_corr=np.full((2, 2), np.nan),
            ),
        ),
    )


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_correlation_of_one_is_a_boundary_and_the_share_near_it_is_named(sign, slopes):
    fit, ref = slopes
    r = sign * np.where(np.arange(4000) < 880, 0.96, 0.94).reshape(SIZE)
    one = np.ones(SIZE)
    corr = np.stack([np.stack([one, r], axis=-1), np.stack([r, one], axis=-1)], axis=-1)
    found = agreement(with_draws(around(fit, ref), corr_subject=corr), singular(ref, sign))
    rows = {row.parameter: row for row in found.rows}
    row = rows["corr_subject[Intercept, days]"]
    assert (row.verdict, row.cause, row.estimate) == ("boundary", "boundary", sign)
    assert "22% of the posterior" in row.why
    assert "0.95" in row.why
    assert rows["sd_subject[days]"].verdict == "boundary"
    assert rows["beta[days]"].verdict == "agree"
    assert rows["sigma"].verdict == "agree"


def test_the_size_of_effects_that_share_a_variance_is_that_of_all_together():
    # Intercept and days together have the root mean square sqrt(1 + 28.5).
    name = "sd_subject[days || subject]"
    overrides = [
        "formula=reaction ~ days + (days || subject)",
        "priors.groups={subject: {kind: shared, sd: {kind: half_normal, scale: 1}}}",
    ]
    ref = hlm.fit(hlm.build("sleepstudy-slopes", overrides=overrides), engine="reml")
    fit = canned_posterior(ref.spec, ref, np.random.default_rng(6), draws=1000, replicates=4)
    edge = 0.1 * 25.0 / math.sqrt(29.5)
    sd = np.where(np.arange(4000) < 1000, 0.99 * edge, 1.01 * edge).reshape(SIZE)
    both, sigma = np.stack([sd, sd], axis=-1), 25.0 + 1e-3 * normal()
    near = agreement(with_draws(fit, sd_subject=both, sigma=sigma), singular(ref, 0.0))
    [row] = [row for row in near.rows if row.parameter.startswith("sd_")]
    assert (row.parameter, row.verdict) == (name, "boundary")
    assert " 25% of the posterior" in row.why
    # Its own prior is looked at: it is e^35 times as dense at 3 as at the estimate, 8.9.
    sd = 3 + 0.1 * normal()
    far = agreement(with_draws(fit, sd_subject=np.stack([sd, sd], axis=-1)), ref)
    [row] = [row for row in far.rows if row.parameter == name]
    assert (row.verdict, row.cause) == ("shifted", "prior")
    assert row.estimate == ref.random[0].sd[0]


def test_the_size_of_a_slope_near_the_boundary_is_that_of_its_typical_effect(slopes):
    # days runs over 0..9, with a root mean square of sqrt(28.5): by so much a slope moves y.
    fit, ref = slopes
    edge = 0.1 * 25.0 / math.sqrt(28.5)
    slope = np.where(np.arange(4000) < 1000, 0.99 * edge, 1.01 * edge).reshape(SIZE)
    sd = np.stack([np.full(SIZE, 25.0), slope], axis=-1)
    sigma = 25.0 + 1e-3 * normal()
    found = agreement(with_draws(around(fit, ref), sd_subject=sd, sigma=sigma), singular(ref, 1.0))
    why = {row.parameter: row.why for row in found.rows}
    assert " 25% of the posterior" in why["sd_subject[days]"]
    assert " 0% of the posterior" in why["sd_subject[Intercept]"]


def test_every_verdict_can_be_reached(slopes):
    draws, estimate, se, log_prior = conjugate()
    fit, ref = slopes
    reached = {
        judge("beta[x]", normal(), 0.0, 1.0).verdict,
        judge("beta[x]", draws, estimate, se, log_prior=log_prior).verdict,
        judge("beta[x]", normal(0.0, 2.0), 0.0, 1.0).verdict,
        *(row.verdict for row in agreement(fit, singular(ref, 1.0)).rows),
    }
    assert reached == set(get_args(Verdict))


def test_ml_is_named_as_such(slopes):
    fit, _ = slopes
    ml = hlm.fit(fit.spec, engine="ml")
    found = agreement(with_draws(fit, sigma=ml.sigma * np.exp(normal(1.0, 0.06))), ml)
    assert found.reference == "ml"
    assert any("above ML" in row.why for row in found.rows)
    assert not any("REML" in row.why for row in found.rows)


@pytest.mark.parametrize(
    "other",
    [
        ["formula=reaction ~ days + (1 | subject)"],
        ["formula=reaction ~ days + (days || subject)"],
        ["data.where=days < 9"],
    ],
)
def test_fits_of_another_model_or_other_data_are_refused(other, slopes):
    fit, _ = slopes
    reference = hlm.fit(hlm.build("sleepstudy-slopes", overrides=other), engine="reml")
    with pytest.raises(ModelMismatchError, match="nuts and reml did not fit the same model"):
        agreement(fit, reference)


def test_fits_of_changed_numbers_are_refused():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"y": rng.normal(size=40), "g": [f"g{i % 8}" for i in range(40)]})
    changed = frame.assign(y=frame["y"].where(frame.index != 3, 0.5))
    first, other = (
        hlm.fit(hlm.build(formula="y ~ 1 + (1 | g)", data=one), engine="reml")
        for one in (frame, changed)
    )
    fit = canned_posterior(first.spec, first, np.random.default_rng(2), draws=20)
    assert agreement(fit, first).rows
    with pytest.raises(ModelMismatchError):
        agreement(fit, other)


def test_a_correlation_follows_the_standard_deviation_that_a_prior_moves():
    """The sd of the slopes is held up; their covariance with the intercepts the data do know."""
    prior = "{kind: inverse_wishart, nu: 60, scale: [[40000, 0], [0, 3000]]}"
    spec = hlm.build("sleepstudy-slopes", overrides=[f"priors.groups.subject={prior}"])
    found = agreement(hlm.fit(spec, "nuts", seed=1), hlm.fit(spec, "reml"))
    [row] = [row for row in found.rows if row.parameter.startswith("corr_")]
    assert (row.verdict, row.cause) == ("shifted", "prior")
    assert "it follows sd_subject[days], which the prior moves" in row.why
    [sd] = [row for row in found.rows if row.parameter == "sd_subject[days]"]
    assert (sd.verdict, sd.cause) == ("shifted", "prior")
