"""Models without groups: R's lm, dense algebra, exact posteriors, and what needs a group."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dense_marginal import dense_marginal
from hypothesis import given
from hypothesis import strategies as st
from monte_carlo import SUMMARIES, summarised
from scipy import stats
from scipy.optimize import brentq

import hlm_models as hlm
from hlm_models import InputErrors, build, fit
from hlm_models.algebra.kernel import NoFactor
from hlm_models.cli import main
from hlm_models.elpd.integrated import integrated_log_likelihood
from hlm_models.engines.find import eligible
from hlm_models.errors import FitError, RefusalError
from hlm_models.report.page import Run, render
from hlm_models.results.document import document
from hlm_models.results.summary import parameter_draws
from hlm_models.spec.density import Point, joint_log_density
from hlm_models.spec.describe import describe
from hlm_models.target.density import target

R = json.loads((Path(__file__).parents[1] / "golden" / "pooled.json").read_text("utf-8"))
CARS = pd.DataFrame(R["cars"])
WEIGHTED = {"formula": "mpg ~ wt + cyl + offset(o)", "weights": "hp"}
KNOWN = {"formula": "mpg ~ wt", "residual": {"kind": "known", "sd": "sd"}}
MODELS = {
    "radon": lambda: build("radon-pooled"),
    "mean": lambda: cars(formula="mpg ~ 1"),
    "origin": lambda: cars(formula="mpg ~ 0 + wt"),
    "weighted": lambda: cars(**WEIGHTED),
}


def cars(**keys):
    head = {"schema": 1, "name": "cars", "data": {"source": "frame"}, "formula": "mpg ~ wt"}
    return build(head | keys, data=CARS.assign(o=CARS["qsec"] / 10))


def closed_form(design):
    """Least squares of the weighted rows: beta, (X'WX)^-1 and the residual sum of squares."""
    root = np.ones(design.n) if design.weights is None else np.sqrt(design.weights)
    X, y = design.X * root[:, None], (design.y - (0 if design.offset is None else design.offset))
    beta, *_ = np.linalg.lstsq(X, y * root, rcond=None)
    return beta, np.linalg.inv(X.T @ X), float(np.sum((y * root - X @ beta) ** 2))


@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize("name", MODELS)
def test_a_point_fit_is_least_squares_as_lm_has_it(name, engine):
    found, expected, n = fit(MODELS[name](), engine), R[name], MODELS[name]().design.n
    beta, inverse, rss = closed_form(found.spec.design)
    df = n - len(beta) if engine == "reml" else n
    np.testing.assert_allclose(found.beta, beta, rtol=1e-10)
    np.testing.assert_allclose(found.beta, np.ravel(expected["beta"]), rtol=1e-10)
    np.testing.assert_allclose(found.sigma, np.sqrt(rss / df), rtol=1e-12)
    np.testing.assert_allclose(found.vcov_beta, rss / df * inverse, rtol=1e-10)
    np.testing.assert_allclose(found.loglik, expected["loglik"][engine], rtol=1e-12)
    np.testing.assert_allclose(found.aic, expected["aic"][engine], rtol=1e-12)
    np.testing.assert_allclose(found.df, df, rtol=1e-12)
    assert (found.random, len(found.theta), found.starts) == ((), 0, (found.criterion,))
    assert [check.code for check in found.checks if check.code == "gradient"] == ["gradient"]
    if engine == "ml":
        np.testing.assert_allclose(found.bic, expected["bic"], rtol=1e-12)


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger"])
@pytest.mark.parametrize("name", MODELS)
def test_tests_of_coefficients_by_reml_are_those_of_lm(name, df):
    expected = R[name]
    rows = hlm.coefficient_tests(fit(MODELS[name](), "reml"), df=df).frame()
    np.testing.assert_allclose(rows["se"], np.ravel(expected["se"]), rtol=1e-10)
    np.testing.assert_allclose(rows["df"], expected["df"], rtol=1e-12)
    np.testing.assert_allclose(rows["p"], np.ravel(expected["p"]), rtol=1e-8)
    np.testing.assert_allclose(rows[["lower", "upper"]], expected["interval"], rtol=1e-10)


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger"])
def test_a_factor_is_tested_as_by_anova_of_two_lm(df):
    found = hlm.anova(fit(cars(formula="mpg ~ wt + cyl", weights="hp"), "reml"), df=df)
    test = found.tests[found.terms.index("cyl")]
    np.testing.assert_allclose([test.F, test.p], [R["cyl"]["F"], R["cyl"]["p"]], rtol=1e-9)
    assert (test.num_df, round(test.den_df, 9)) == (2, R["cyl"]["df"])


def test_leverage_cooks_distance_and_predictions_are_those_of_lm():
    found, expected = fit(MODELS["weighted"](), "reml"), R["weighted"]
    np.testing.assert_allclose(hlm.leverage(found), expected["leverage"], rtol=1e-9)
    np.testing.assert_allclose(hlm.cooks_distance(found), expected["cooks"], rtol=1e-9)
    new = pd.DataFrame(R["predicted"]["new"]).assign(hp=1.0)
    frame = hlm.predict(found, new.assign(o=new["qsec"] / 10)).frame()
    np.testing.assert_allclose(frame["mean"], R["predicted"]["mean"], rtol=1e-10)
    np.testing.assert_allclose(frame[["lower", "upper"]], R["predicted"]["interval"], rtol=1e-10)
    np.testing.assert_array_equal(frame["var_group"], 0)


@pytest.mark.parametrize("engine", ["reml", "ml"])
def test_known_residual_sds_leave_only_the_coefficients(engine):
    found, expected = fit(cars(**KNOWN), engine), R["known"]
    np.testing.assert_allclose(found.beta, expected["beta"], rtol=1e-10)
    np.testing.assert_allclose(found.vcov_beta, expected["vcov"], rtol=1e-10)
    np.testing.assert_allclose(found.loglik, expected["loglik"][engine], rtol=1e-12)
    assert found.parameters == 2
    np.testing.assert_array_equal(found.df, np.inf)
    np.testing.assert_array_equal(hlm.coefficient_tests(found).frame()["df"], np.inf)


def test_nothing_but_sigma_is_estimated_where_there_is_no_column():
    spec = cars(formula="mpg ~ 0")
    found = fit(spec, "ml")
    np.testing.assert_allclose(found.sigma**2, np.mean(spec.design.y**2), rtol=1e-12)
    expected = stats.norm.logpdf(spec.design.y, 0, found.sigma).sum()
    np.testing.assert_allclose(found.loglik, expected, rtol=1e-12)
    np.testing.assert_allclose(fit(spec, "reml").criterion, found.criterion, rtol=1e-12)


def test_a_regression_is_the_limit_of_a_mixed_model():
    """At theta = 0 the criterion of a mixed model is that of the pooled one."""
    held = build("radon-slopes", overrides=["reml.theta=[0, 0, 0]"])
    for engine in ("reml", "ml"):
        pooled, at_zero = fit("radon-pooled", engine), fit(held, engine)
        np.testing.assert_allclose(pooled.criterion, at_zero.criterion, rtol=1e-12)
        np.testing.assert_allclose(pooled.vcov_beta, at_zero.vcov_beta, rtol=1e-9)
        np.testing.assert_allclose(hlm.fitted(pooled), hlm.fitted(at_zero), rtol=1e-9)


def test_the_likelihood_ratio_of_pooled_in_intercepts_is_a_mixture_of_a_point_and_chi_square():
    pooled, intercepts = (fit(name, "reml") for name in ("radon-pooled", "radon-intercept"))
    found, expected = hlm.likelihood_ratio(pooled, intercepts), R["counties"]
    np.testing.assert_allclose(found.statistic, expected["statistic"], rtol=1e-7)
    np.testing.assert_allclose(found.p_naive, expected["naive"], rtol=1e-5)
    assert found.p == found.p_naive / 2
    assert found.reference == "the 50:50 mixture of chi-squares on 0 and 1 df"
    assert (found.effects, found.coefficients, found.df) == (1, 0, 1)
    with pytest.raises(RefusalError, match="no random effects of county"):
        hlm.likelihood_ratio(intercepts, pooled)


def test_a_null_model_is_simulated_and_refitted():
    small = build("dyestuff", overrides=["formula=yield ~ 1"])
    pooled, mixed = fit(small, "reml"), fit("dyestuff", "reml")
    found = hlm.likelihood_ratio(pooled, mixed, simulate=199, seed=2)
    # Half of the draws are at zero: the simulated p is near the mixture's.
    assert abs(found.p - found.p_naive / 2) < 4 * found.p_se + 0.02


def test_profiles_and_the_bootstrap_are_about_coefficients_and_sigma():
    found = fit(cars(), "ml")
    beta, inverse, rss = closed_form(found.spec.design)
    n, cut = found.spec.design.n, stats.chi2.ppf(0.95, 1)
    curves = hlm.profile(found)
    # The deviance rises by n log(1 + t^2 / rss), t in units of the root of (X'X)^-1.
    half = np.sqrt(rss * np.expm1(cut / n) * np.diag(inverse))
    for k, name in enumerate(("beta[Intercept]", "beta[wt]")):
        ends = curves[name].lower, curves[name].upper
        np.testing.assert_allclose(ends, beta[k] + half[k] * np.array([-1, 1]), rtol=1e-6)
    sigma = curves["sigma"]
    deviance = [2 * n * np.log(s) + rss / s**2 for s in (sigma.lower, found.sigma, sigma.upper)]
    np.testing.assert_allclose(np.subtract(deviance, deviance[1])[[0, 2]], cut, rtol=1e-5)
    draws = hlm.bootstrap(found, 200, seed=1).frame()
    assert list(draws.index) == ["beta[Intercept]", "beta[wt]", "sigma"]
    exact = np.sqrt(np.diag(found.vcov_beta))
    np.testing.assert_allclose(draws["se"].iloc[:2], exact, rtol=4 * np.sqrt(1 / 400))


def test_a_saved_fit_is_read_back(tmp_path):
    for engine, suffix in (("reml", "json"), ("gibbs", "nc")):
        spec, path = cars(**KNOWN), tmp_path / f"fit.{suffix}"
        settings = {"draws": 50} if engine == "gibbs" else {}
        found = fit(spec, engine, **settings)
        hlm.save_fit(found, path)
        pd.testing.assert_frame_equal(hlm.summary(hlm.load_fit(path, spec)), hlm.summary(found))


def test_it_is_described_without_groups_and_with_a_note(capsys):
    spec = build("radon-pooled")
    [(heading, lines)] = describe(spec).equations
    assert heading == "Rows i = 1..919"
    assert lines == ("log_radonᵢ = β[Intercept] + β[floor] floorᵢ + eᵢ,   eᵢ ~ N(0, σ²)",)
    assert any("no random term" in note for note in spec.notes)
    assert spec.parameterization == "marginal"
    assert spec.parameterization_why.startswith("1 number is sampled; coefficients are drawn")
    assert eligible(spec) == ("nuts", "gibbs", "reml", "ml")
    assert main(["check", "radon-pooled"]) == 0
    assert "radon-pooled: 919 rows: ok\nradon-pooled: note: the formula has" in (
        capsys.readouterr().out
    )
    assert main(["show", "radon-pooled"]) == 0
    assert "Random terms" not in capsys.readouterr().out
    assert main(["fit", "radon-pooled", "--engine", "reml"]) == 0
    shown = capsys.readouterr().out
    assert "radon-pooled by reml: 919 rows\n" in shown
    assert "R2 marginal 0.072" in shown
    assert "ICC" not in shown


def test_documents_and_page_have_no_group():
    point, drawn = fit("radon-pooled", "reml"), fit("radon-pooled", "gibbs", draws=200)
    for one in (document(point), document(drawn)):
        assert (one["groups"], one["random"]) == ({}, [])
        assert [row["name"] for row in one["beta"]] == ["Intercept", "floor"]
    assert set(drawn.data["posterior"].data_vars) == {"beta", "sigma"}
    page = render(Run(drawn, point, hlm.agreement(drawn, point), {}))
    for words in ("Group effects", "ICC", "groups and their rows"):
        assert words not in page
    assert "the formula has no random term" in page


@pytest.mark.parametrize(
    "ask",
    [
        hlm.coef,
        hlm.ladder,
        lambda point: hlm.cooks_distance(point, by="county"),
        lambda point: hlm.group_ols(point.spec),
    ],
    ids=["coef", "ladder", "cooks_distance", "group_ols"],
)
def test_what_is_about_a_group_says_that_there_is_none(ask):
    with pytest.raises(InputErrors) as caught:
        ask(fit("radon-pooled", "reml"))
    [problem] = caught.value.problems
    assert "no random term" in problem.message
    assert "(1 | group)" in problem.message


def test_parts_of_a_fit_that_groups_have_are_empty():
    found = fit("radon-pooled", "reml")
    assert list(hlm.ranef(found).columns) == ["group", "effect", "level", "b", "sd"]
    assert hlm.ranef(found).empty
    assert list(hlm.varcorr(found)["group"]) == ["Residual"]
    shares = hlm.r2(found)
    assert shares.marginal == shares.conditional
    assert not found.singular


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"formula": "mpg ~ 0", "residual": KNOWN["residual"]}, "nothing to estimate"),
        ({"priors": {"preset": "lecture"}}, "one grouping factor, and this model has none"),
        ({"priors": {"groups": {"g": {"kind": "lkj"}}}}, r"'g' is not a group .*groups: none"),
        ({"macro": {"cyl": ["wt"]}}, "the model has no group 'cyl'"),
        ({"reml": {"theta": [1.0]}}, "no random term, hence no theta"),
        ({"reml": {"start": [1.0]}}, "no random term, hence no theta"),
    ],
)
def test_settings_about_groups_are_refused(keys, words):
    with pytest.raises(InputErrors, match=words):
        fit(cars(**keys), "reml")


def test_the_scheme_that_centres_effects_is_refused():
    with pytest.raises(RefusalError, match="here are none: use joint or effects"):
        fit(cars(), "gibbs", gibbs={"scheme": "coefficients"})


def test_kenward_roger_of_an_ml_fit_is_refused_all_the_same():
    with pytest.raises(RefusalError, match="this is an ML fit"):
        hlm.coefficient_tests(fit(cars(), "ml"), df="kenward-roger")


@pytest.mark.parametrize("engine", ["reml", "ml", "nuts", "gibbs"])
def test_an_exact_fit_is_no_fit(engine):
    frame = pd.DataFrame({"x": np.arange(9.0), "y": 2 + 3 * np.arange(9.0)})
    with pytest.raises(FitError, match="fits the data exactly"):
        fit(build(formula="y ~ x", data=frame), engine)


def test_a_pass_without_factors_is_the_cross_products():
    marginal = build("radon-pooled").marginal
    found = marginal.sweep(np.zeros(0))
    assert isinstance(found, NoFactor)
    np.testing.assert_array_equal(found.S, marginal.products.T)
    assert (found.logdet, found.derivative(1.0, found.S), found.effects(found.S[0])) == (0, (), ())
    other = marginal.with_response(np.flip(marginal.design.y)).products
    again = build("radon-pooled").with_response(np.flip(marginal.design.y)).marginal.products
    one, two = (
        np.linalg.inv(part)[-1, -1] for part in (other.T, again.T)
    )  # one over the residual sum of squares
    np.testing.assert_allclose(one, two, rtol=1e-9)


BETA = {
    "Intercept": {"kind": "normal", "loc": 20.0, "scale": 4.0},
    "wt": {"kind": "normal", "loc": -2.0, "scale": 0.7},
}
VARIANCE = {"kind": "inverse_gamma", "shape": 3.0, "scale": 40.0}
CONJUGATE = {"formula": "mpg ~ wt + offset(o)", "weights": "sd"}


def conjugate(**keys):
    return cars(**CONJUGATE, priors={"beta": BETA, "sigma": VARIANCE} | keys)


@given(st.floats(-2.0, 3.0), st.floats(-3.0, 3.0))
def test_the_density_is_the_dense_normal_one(log_sigma, slope):
    free = {"kind": "student_t", "df": 4, "loc": -2.0, "scale": 0.7}
    for beta_free, spec in (([], conjugate()), ([slope], conjugate(beta=BETA | {"wt": free}))):
        found, sigma = target(spec), np.exp(log_sigma)
        x = np.array([*beta_free, log_sigma])
        expected = dense_marginal(spec, (), (), sigma, beta_free).value
        expected += float(spec.priors.sigma.log_density(np.array(sigma), place="scale"))
        expected += log_sigma
        for one in beta_free:
            expected += float(spec.priors.beta[1].log_density(np.array(one), place="location"))
        value, gradient = found(x)
        np.testing.assert_allclose(value, expected, rtol=1e-9)
        h = 1e-5
        by_z = [(found(x + h * e)[0] - found(x - h * e)[0]) / (2 * h) for e in np.eye(len(x))]
        np.testing.assert_allclose(gradient, by_z, rtol=1e-5, atol=1e-5)


def test_the_joint_density_is_prior_times_normal_rows():
    spec = conjugate()
    design, sigma, beta = spec.design, 2.5, np.array([18.0, -1.5])
    expected = stats.norm.logpdf(beta, [20.0, -2.0], [4.0, 0.7]).sum()
    expected += stats.invgamma.logpdf(sigma**2, 3.0, scale=40.0) + np.log(2 * sigma)
    mean, sd = design.X @ beta + design.offset, sigma / np.sqrt(design.weights)
    expected += stats.norm.logpdf(design.y, mean, sd).sum()
    np.testing.assert_allclose(joint_log_density(spec, Point(beta, sigma, (), (), ())), expected)


def exact(spec, loc, scale, log_prior, sigma):
    """The posterior of beta and sigma, by quadrature over sigma (m,) and the rest in closed form.

    Returns the mass (m,) at each sigma, and mean (m, p) and covariance (m, p, p) of beta given it.
    """
    design = spec.design
    w = np.ones(design.n) if design.weights is None else design.weights
    y = design.y - (0 if design.offset is None else design.offset)
    A = (design.X.T * w) @ design.X / sigma[:, None, None] ** 2 + np.diag(scale**-2.0)
    right = design.X.T @ (w * y) / sigma[:, None] ** 2 + loc / scale**2
    cov = np.linalg.inv(A)
    mean = np.einsum("mij,mj->mi", cov, right)
    log_mass = -design.n * np.log(sigma) - np.sum(w * y**2) / (2 * sigma**2) + log_prior
    log_mass += np.einsum("mi,mi->m", mean, right) / 2 + np.linalg.slogdet(cov)[1] / 2
    mass = np.exp(log_mass - log_mass.max()) * np.gradient(sigma)
    return mass / mass.sum(), mean, cov


def exact_summaries(mass, mean, cov, sigma):
    """The numbers of `SUMMARIES` of every parameter."""
    found = {}
    total = np.cumsum(mass) - mass / 2
    centre = float(mass @ sigma)
    found["sigma"] = {
        "mean": centre,
        "sd": float(np.sqrt(mass @ (sigma - centre) ** 2)),
        "q05": float(np.interp(0.05, total, sigma)),
        "q95": float(np.interp(0.95, total, sigma)),
    }
    for k in range(mean.shape[1]):
        m, s = mean[:, k], np.sqrt(cov[:, k, k])
        centre = float(mass @ m)
        spread = float(np.sqrt(mass @ (s**2 + (m - centre) ** 2)))

        def beyond(x, share, m=m, s=s):
            return float(mass @ stats.norm.cdf(x, m, s)) - share

        ends = [brentq(beyond, centre - 9 * spread, centre + 9 * spread, q) for q in (0.05, 0.95)]
        found[f"beta[{k}]"] = {"mean": centre, "sd": spread, "q05": ends[0], "q95": ends[1]}
    return found


def assert_exact(found, expected):
    """Every number within four Monte Carlo standard errors, exceeded by one of 12 in 1 of 1300."""
    drawn = parameter_draws(found)
    names = ["sigma", *(f"beta[{k}]" for k in range(found.spec.design.p))]
    for name, draws in zip(names, [drawn.pop("sigma"), *drawn.values()], strict=True):
        for which in SUMMARIES:
            value, error = summarised(draws, which)
            assert abs(value - expected[name][which]) < 4 * error, (name, which, value)


WAYS = {
    "marginal": ("nuts", {}),
    "joint": ("gibbs", {}),
    "effects": ("gibbs", {"gibbs": {"scheme": "effects"}}),
    # Without effects there is nothing to centre: both latent forms are one graph.
    "latent": ("nuts", {"parameterization": "latent"}),
    "pymc": ("nuts", {"sampler": "pymc", "draws": 1000}),
}
SLOW = {"latent", "pymc"}
EACH = [pytest.param(way, marks=pytest.mark.slow) if way in SLOW else way for way in WAYS]


@pytest.mark.parametrize("way", EACH)
def test_the_posterior_of_conjugate_priors_is_the_exact_one(way):
    spec, (engine, settings) = conjugate(), WAYS[way]
    sigma = np.exp(np.linspace(np.log(0.7), np.log(20.0), 6000))
    log_prior = stats.invgamma.logpdf(sigma**2, 3.0, scale=40.0) + np.log(2 * sigma)
    loc, scale = np.array([20.0, -2.0]), np.array([4.0, 0.7])
    expected = exact_summaries(*exact(spec, loc, scale, log_prior, sigma), sigma)
    found = fit(spec, engine, **{"draws": 3000, "seed": 11} | settings)
    assert found.converged
    assert_exact(found, expected)


def test_the_integrated_likelihood_of_draws_is_that_of_their_rows():
    found = fit(conjugate(), "gibbs", draws=20)
    posterior = found.data["posterior"].to_dataset()
    rows = hlm.log_likelihood(found).dataset()["y_obs"].sum("obs")
    np.testing.assert_allclose(
        integrated_log_likelihood(found.spec, posterior), rows.values, rtol=1e-10
    )


@pytest.mark.parametrize("way", EACH)
def test_with_known_sds_nothing_is_left_to_sample_but_coefficients(way):
    spec, (engine, settings) = cars(**KNOWN, priors={"beta": BETA}), WAYS[way]
    loc, scale = np.array([20.0, -2.0]), np.array([4.0, 0.7])
    one = np.array([1.0, 1.0 + 1e-12])
    _, mean, cov = exact(spec, loc, scale, np.zeros(2), one)
    found = fit(spec, engine, **{"draws": 3000, "seed": 3} | settings)
    if engine == "nuts" and way == "marginal":
        assert target(spec).size == 0
        assert found.divergences == 0
    posterior = found.data["posterior"]
    assert (posterior["sigma"].values == 1).all()
    for k, draws in enumerate(parameter_draws(found).values()):
        law = stats.norm(mean[0, k], np.sqrt(cov[0, k, k]))
        numbers = [law.mean(), law.std(), *law.ppf([0.05, 0.95])]
        for which, value in zip(SUMMARIES, numbers, strict=True):
            drawn, error = summarised(draws, which)
            assert abs(drawn - value) < 4 * error, (k, which)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["nuts", "gibbs"])
def test_ranks_of_the_truth_are_uniform(engine):
    found = hlm.calibrate(conjugate(), engine, 200, seed=4)
    assert not [check.code for check in found.checks if check.status == "fail"]


def test_priors_and_sensitivity_are_about_coefficients_and_sigma():
    spec = conjugate()
    assert {"beta[Intercept]", "beta[wt]", "sigma", "r2", "y"} <= set(
        hlm.prior_summary(spec, 200).index
    )
    rows = hlm.sensitivity(fit(spec, "gibbs", draws=500))
    assert list(rows.index) == ["beta[Intercept]", "beta[wt]", "sigma"]
    assert rows["likelihood"].gt(0).all()
