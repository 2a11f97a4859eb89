import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import hlm_models as hlm
from hlm_models.results.summary import draw_row, draw_rows, parameter_draws, parameters

CANNED = Path(__file__).parents[1] / "report" / "canned.py"
canned_posterior = runpy.run_path(str(CANNED))["canned_posterior"]
MODELS = ("dyestuff", "sleepstudy-slopes", "sleepstudy-uncorrelated", "dyestuff2")


@pytest.fixture(scope="module", params=MODELS)
def both(request):
    """A posterior and the REML fit that it was made around."""
    ref = hlm.fit(request.param, engine="reml")
    return canned_posterior(ref.spec, ref, np.random.default_rng(4), draws=100), ref


@pytest.fixture(scope="module")
def slopes():
    ref = hlm.fit("sleepstudy-slopes", engine="reml")
    return canned_posterior(ref.spec, ref, np.random.default_rng(4), draws=300), ref


def test_both_kinds_of_fit_have_the_same_rows(both):
    posterior, ref = both
    drawn, point = hlm.summary(posterior), hlm.summary(ref)
    assert list(drawn.index) == list(point.index) == [one.name for one in parameters(ref.spec)]
    assert drawn.index.is_unique
    assert drawn.index.name == point.index.name == "parameter"
    assert list(drawn) == [
        "mean", "sd", "lower", "upper", "ess_bulk", "ess_tail", "r_hat", "mcse_mean",
    ]  # fmt: skip
    assert list(point) == ["estimate", "se", "df", "statistic", "p", "lower", "upper"]


def test_rows_are_named_by_their_place_in_the_posterior(slopes):
    posterior, _ = slopes
    draws = parameter_draws(posterior)
    assert list(draws) == [
        *("beta[Intercept]", "beta[days]", "sd_subject[Intercept]", "sd_subject[days]"),
        *("corr_subject[Intercept, days]", "sigma"),
    ]
    data = posterior.data["posterior"]
    np.testing.assert_array_equal(draws["beta[days]"], data["beta"].sel(coef="days"))
    np.testing.assert_array_equal(
        draws["sd_subject[days]"], data["sd_subject"].sel(effect_subject="days")
    )
    np.testing.assert_array_equal(
        draws["corr_subject[Intercept, days]"],
        data["corr_subject"].sel(effect_subject="Intercept", effect_subject_2="days"),
    )
    assert all(one.shape == (4, 300) for one in draws.values())


def test_a_correlation_that_is_fixed_at_zero_has_no_row():
    names = [one.name for one in parameters(hlm.build("sleepstudy-uncorrelated"))]
    assert not [name for name in names if name.startswith("corr_")]


def test_a_row_of_draws_is_that_of_arviz(slopes):
    import arviz_stats

    posterior, _ = slopes
    theirs = arviz_stats.summary(
        posterior.data, var_names=["beta", "sigma"], ci_prob=0.95, ci_kind="eti", round_to="none"
    )
    # Its tails are at the ends of arviz's own interval; those of Vehtari et al. (2021) at 5%, 95%.
    tails = arviz_stats.ess(posterior.data["posterior"], method="tail", prob=(0.05, 0.95))
    by_name = {
        "beta[Intercept]": float(tails["beta"].sel(coef="Intercept")),
        "beta[days]": float(tails["beta"].sel(coef="days")),
        "sigma": float(tails["sigma"]),
    }
    ours = {row.name: row for row in draw_rows(posterior)}
    for name, tail in by_name.items():
        row, expected = ours[name], theirs.loc[name]
        assert row.mean == pytest.approx(expected["mean"], rel=1e-12)
        assert row.sd == pytest.approx(expected["sd"], rel=1e-12)
        assert row.lower == pytest.approx(expected["eti95_lb"], rel=1e-12)
        assert row.upper == pytest.approx(expected["eti95_ub"], rel=1e-12)
        assert row.ess_bulk == pytest.approx(expected["ess_bulk"], rel=1e-12)
        assert row.ess_tail == pytest.approx(tail, rel=1e-12)
        assert row.r_hat == pytest.approx(expected["r_hat"], rel=1e-12)
        assert row.mcse_mean == pytest.approx(expected["mcse_mean"], rel=1e-12)


def test_a_constant_has_no_diagnostics_but_a_place():
    row = draw_row("corr", np.full((4, 50), 0.25))
    assert (row.mean, row.sd, row.lower, row.upper) == (0.25, 0.0, 0.25, 0.25)
    assert all(math.isnan(v) for v in (row.ess_bulk, row.ess_tail, row.r_hat, row.mcse_mean))


def test_the_interval_of_draws_is_equal_tailed_and_holds_95_percent():
    draws = np.arange(4000.0).reshape(4, 1000)
    row = draw_row("x", np.random.default_rng(0).permuted(draws.ravel()).reshape(4, 1000))
    assert row.lower == pytest.approx(0.025 * 3999)
    assert row.upper == pytest.approx(0.975 * 3999)


def test_tests_of_coefficients_are_walds_with_satterthwaites_df(both):
    _, ref = both
    frame = hlm.summary(ref)
    for k, name in enumerate(ref.spec.design.coef):
        row = frame.loc[f"beta[{name}]"]
        se = math.sqrt(ref.vcov_beta[k, k])
        t = stats.t(ref.df[k])
        assert row["estimate"] == ref.beta[k]
        assert row["se"] == pytest.approx(se, rel=1e-14)
        assert row["statistic"] == pytest.approx(ref.beta[k] / se, rel=1e-14)
        assert row["p"] == pytest.approx(2 * t.sf(abs(ref.beta[k] / se)), rel=1e-9)
        assert row["lower"] == pytest.approx(ref.beta[k] - t.ppf(0.975) * se, rel=1e-9)
        assert row["upper"] == pytest.approx(ref.beta[k] + t.ppf(0.975) * se, rel=1e-9)


def test_other_intervals_are_on_the_log_and_fishers_scale(slopes):
    _, ref = slopes
    frame, [random] = hlm.summary(ref), ref.random
    z = stats.norm.ppf(0.975)
    sd = frame.loc["sd_subject[days]"]
    assert sd["se"] == pytest.approx(random.sd[1] * random.se_log_sd[1], rel=1e-14)
    assert sd["lower"] == pytest.approx(random.sd[1] * math.exp(-z * random.se_log_sd[1]))
    assert sd["upper"] == pytest.approx(random.sd[1] * math.exp(z * random.se_log_sd[1]))
    corr, r = frame.loc["corr_subject[Intercept, days]"], random.corr[1, 0]
    assert corr["estimate"] == r
    assert corr["se"] == pytest.approx((1 - r**2) * random.se_z_corr[1, 0], rel=1e-14)
    assert corr["lower"] == pytest.approx(math.tanh(math.atanh(r) - z * random.se_z_corr[1, 0]))
    sigma = frame.loc["sigma"]
    assert sigma["upper"] == pytest.approx(ref.sigma * math.exp(z * ref.se_log_sigma))
    assert frame.loc["sigma", ["df", "statistic", "p"]].isna().all()


def test_on_the_boundary_there_is_no_standard_error():
    ref = hlm.fit("dyestuff2", engine="reml")
    row = hlm.summary(ref).loc["sd_batch[Intercept]"]
    assert row["estimate"] == 0
    assert row[["se", "lower", "upper"]].isna().all()


def test_what_is_no_fit_is_refused(both):
    for given in (both[1].spec, "dyestuff", None):
        with pytest.raises(hlm.InputErrors, match=r"summary takes a fit, .* give hlm.fit\(model\)"):
            hlm.summary(given)
