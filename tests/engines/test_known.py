"""Known residual standard deviations: metafor, dense algebra, posteriordb, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from monte_carlo import summarised
from scipy import stats

import hlm_models as hlm
from hlm_models import InputErrors, build, fit
from hlm_models.cli import main
from hlm_models.comparison.ladder import ladder
from hlm_models.engines.find import find
from hlm_models.errors import RefusalError
from hlm_models.interpretation.group_ols import group_ols
from hlm_models.report.page import Run, render
from hlm_models.results.checks import Check
from hlm_models.results.document import document
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import posterior_tree
from hlm_models.results.save import load_fit, save_fit
from hlm_models.results.simulate import simulate
from hlm_models.results.summary import parameters, summary
from hlm_models.spec.density import Point, joint_log_density
from hlm_models.spec.describe import describe
from hlm_models.spec.information import mean_reliability
from hlm_models.spec.simulate import draw_prior

FOLDER = Path(__file__).parents[1] / "golden"
GOLDEN = json.loads((FOLDER / "known.json").read_text("utf-8"))["cases"]
POSTERIORDB = json.loads((FOLDER / "posteriordb.json").read_text("utf-8"))
UNIVARIATE = [case for case in GOLDEN if "fixed" in case]
NAMES = [f"{case['data']}: {case['formula']}" for case in GOLDEN]
FORMULAS = {
    "intercept": "y ~ x + (1 | g)",
    "slopes": "y ~ x + f + (x | g)",
    "independent": "y ~ x + (x || g)",
    "crossed": "y ~ x + (x | g) + (1 | h)",
    "row effects": "y ~ x + (1 | g) + (1 | row)",
}
KNOWN = {"kind": "known", "sd": "se"}


def made_up(seed=1, n=72):
    rng = np.random.default_rng(seed)
    g, h = rng.permutation(np.arange(n) % 9), rng.permutation(np.arange(n) % 4)
    x, se = rng.normal(3.0, 2.0, n), rng.uniform(0.3, 2.0, n)
    return pd.DataFrame(
        {
            "y": 10 + 3 * x + rng.normal(size=9)[g] * (1 + x) + h + se * rng.normal(size=n),
            "x": x,
            "f": rng.choice([*"abc"], n),
            "g": [f"g{code}" for code in g],
            "h": [f"h{code}" for code in h],
            "row": [f"r{code}" for code in range(n)],
            "se": se,
            "o": rng.normal(20.0, 4.0, n),
        }
    )


FRAME = made_up()


def spec(formula=FORMULAS["slopes"], frame=FRAME, **more):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return build({**head, "residual": KNOWN, **more}, data=frame)


def covariance(model, sd, corr, frame=FRAME):
    """Cov(y) (n, n), residuals by the frame."""
    V = np.diag(frame["se"] ** 2)
    for block, one, r in zip(model.blocks, sd, corr, strict=True):
        same = block.level[:, None] == block.level
        V = V + same * (block.z @ (np.asarray(one)[:, None] * r * one) @ block.z.T)
    return V


def dense(model, V, frame=FRAME, *, reml):
    """Criterion, beta and Var(beta) with V (n, n) formed."""
    y = frame["y"].to_numpy() - (frame["o"] if model.design.offset_column else 0.0)
    X, n, p = model.design.X, *model.design.X.shape
    XVX = X.T @ np.linalg.solve(V, X)
    beta = np.linalg.solve(XVX, X.T @ np.linalg.solve(V, y))
    rest = np.asarray(y - X @ beta)
    value = np.linalg.slogdet(V)[1] + rest @ np.linalg.solve(V, rest)
    value += (n - p if reml else n) * np.log(2 * np.pi)
    return value + (np.linalg.slogdet(XVX)[1] if reml else 0.0), beta, np.linalg.inv(XVX)


# --- REML and ML ---


@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize("case", GOLDEN, ids=NAMES)
def test_estimates_are_those_of_metafor(case, engine):
    frame, wanted = pd.DataFrame(case["rows"]), case["fits"][engine]
    found = fit(spec(case["formula"], frame), engine)
    # metafor stops its search at about 1e-8 of the estimates; at the optimum that is the error of
    # what is quadratic there squared.
    assert found.criterion == pytest.approx(wanted["criterion"], abs=1e-10)
    assert found.aic == pytest.approx(wanted["aic"], abs=1e-10)
    np.testing.assert_allclose(found.beta, np.atleast_1d(wanted["beta"]), rtol=1e-7)
    np.testing.assert_allclose(found.vcov_beta, wanted["vcov"], rtol=5e-6)
    sd = np.concatenate([one.sd for one in found.random])
    # The package has the group with the most levels first, metafor the outer one.
    np.testing.assert_allclose(
        sorted(sd), np.sort(np.atleast_1d(wanted["sd"])), rtol=1e-6, atol=1e-12
    )
    if "corr" in wanted:
        assert found.random[0].corr[0, 1] == pytest.approx(wanted["corr"], rel=1e-5)
    assert (found.sigma, found.converged) == (1.0, True)
    assert found.singular == (max(sd) == 0)


@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize("case", UNIVARIATE, ids=NAMES[:3])
def test_effects_and_the_criterion_away_from_the_optimum_are_those_of_metafor(case, engine):
    frame, wanted = pd.DataFrame(case["rows"]), case["fits"][engine]
    found = fit(spec(case["formula"], frame), engine)
    np.testing.assert_allclose(found.random[0].b[:, 0], wanted["b"], rtol=1e-6, atol=1e-9)
    there = spec(case["formula"], frame, reml={"theta": [wanted["at"]["sd"]]})
    assert fit(there, engine).criterion == pytest.approx(wanted["at"]["criterion"], abs=1e-10)
    if wanted["cooks"]:
        # metafor does not divide by the number of coefficients.
        moved = hlm.cooks_distance(found, by="study") * len(found.beta)
        np.testing.assert_allclose(moved, wanted["cooks"], rtol=2e-5)


@pytest.mark.parametrize("case", UNIVARIATE, ids=NAMES[:3])
def test_the_profile_of_the_sd_is_that_of_metafor(case):
    found = hlm.profile(fit(spec(case["formula"], pd.DataFrame(case["rows"])), "reml"))
    assert [curve.name for curve in found.curves][-1] == "sd_study[Intercept]"
    curve, wanted = found.curves[-1], case["fits"]["ml"]
    assert curve.estimate == pytest.approx(wanted["sd"], rel=1e-6, abs=1e-12)
    assert (curve.lower, curve.upper) == pytest.approx(wanted["profile"], rel=1e-5)


@pytest.mark.parametrize("case", UNIVARIATE, ids=NAMES[:3])
def test_without_a_variance_between_studies_it_is_the_fixed_effect_analysis(case):
    model = spec(case["formula"], pd.DataFrame(case["rows"]))
    found, wanted = ladder(model), case["fixed"]
    np.testing.assert_allclose(found["pooled"].estimate, np.atleast_1d(wanted["beta"]), rtol=1e-10)
    np.testing.assert_allclose(found["pooled"].se, np.atleast_1d(wanted["se"]), rtol=1e-10)
    assert found["pooled"].sigma == 1
    # Cochran's Q: the studies' own means against the common regression.
    test = found.tests[0]
    assert test.F * test.df1 == pytest.approx(wanted["Q"], rel=1e-10)
    assert (test.df1, test.df2) == (model.design.n - model.design.p, np.inf)
    assert test.p == pytest.approx(wanted["p"], rel=1e-9)
    one = group_ols(model)
    np.testing.assert_allclose(one.se[:, 0], case_se(case), rtol=1e-12)


def case_se(case):
    return [row["se"] for row in case["rows"]]


def test_the_reliability_is_by_the_moments_of_dersimonian_and_laird():
    for case in UNIVARIATE[:2]:
        tau2, se = case["tau2_moments"], np.array(case_se(case))
        found = mean_reliability(spec(case["formula"], pd.DataFrame(case["rows"])).design)
        assert found == pytest.approx(np.mean(tau2 / (tau2 + se**2)), rel=1e-9)


@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize("more", [{}, {"offset": "o"}], ids=str)
@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_the_criterion_is_that_of_the_dense_model_at_any_theta(formula, more, engine):
    size = spec(formula).marginal.size
    rng = np.random.default_rng(size)
    theta = rng.normal(size=size).tolist()
    model = spec(formula, reml={"theta": theta}, **more)
    found = fit(model, engine)
    V = covariance(model, [one.sd for one in found.random], [one.corr for one in found.random])
    value, beta, vcov = dense(model, V, reml=engine == "reml")
    assert found.criterion == pytest.approx(value, rel=1e-10)
    np.testing.assert_allclose(found.beta, beta, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.vcov_beta, vcov, rtol=1e-9, atol=1e-12)
    # sigma is none: theta is Lambda itself.
    flat = np.concatenate([one.Lambda[np.tril_indices_from(one.Lambda)] for one in found.random])
    assert np.isin(np.round(np.abs(found.theta), 9), np.round(np.abs(flat), 9)).all()


@pytest.mark.parametrize("engine", ["reml", "ml"])
def test_standard_errors_and_degrees_of_freedom_are_those_of_dense_differences(engine):
    model = spec()
    found, reml = fit(model, engine), engine == "reml"
    [one] = found.random
    sd, r, p = one.sd, one.corr[0, 1], model.design.p

    def at(x):
        """With x = (log sd, Fisher's z): criterion, and the variances of beta."""
        corr = np.array([[1.0, np.tanh(x[2])], [np.tanh(x[2]), 1.0]])
        value, _, vcov = dense(model, covariance(model, [np.exp(x[:2])], [corr]), reml=reml)
        return np.append(value, np.diag(vcov))

    centre = np.array([*np.log(sd), np.arctanh(r)])
    h = 1e-3
    E = h * np.eye(3)
    slopes = np.array([(at(centre + e) - at(centre - e))[1:] / (2 * h) for e in E])
    curvature = np.array(
        [
            [
                (at(centre + a + b) - at(centre + a - b) - at(centre - a + b) + at(centre - a - b))[
                    0
                ]
                / (4 * h**2)
                for a in E
            ]
            for b in E
        ]
    )
    vcov = np.linalg.inv(curvature / 2)
    se = np.sqrt(np.diag(vcov))
    np.testing.assert_allclose([*one.se_log_sd, one.se_z_corr[0, 1]], se, rtol=1e-4)
    v = np.diag(found.vcov_beta)
    df = 2 * v**2 / np.einsum("ik,ij,jk->k", slopes, vcov, slopes)
    np.testing.assert_allclose(found.df, df, rtol=1e-4)
    assert (found.vcov_phi[-1] == 0).all()
    assert (found.vcov_phi[:, -1] == 0).all()
    assert np.isnan(found.se_log_sigma)
    assert found.parameters == p + 3
    assert found.bic == pytest.approx(found.criterion + (p + 3) * np.log(model.design.n))


@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize("c", [1e-9, 1e-3, 7.0, 1e9])
def test_units_of_the_response_and_its_standard_deviations_do_not_matter(c, engine):
    one = fit(spec(), engine)
    other = fit(spec(frame=FRAME.assign(y=c * FRAME["y"], se=c * FRAME["se"])), engine)
    df = len(FRAME) - (len(one.beta) if engine == "reml" else 0)
    assert other.criterion == pytest.approx(one.criterion + 2 * df * np.log(c), abs=1e-7)
    np.testing.assert_allclose(other.beta / c, one.beta, rtol=1e-6)
    np.testing.assert_allclose(other.random[0].sd / c, one.random[0].sd, rtol=1e-5)
    np.testing.assert_allclose(other.df, one.df, rtol=1e-4)


def test_two_rows_say_what_their_mean_says():
    twice = pd.concat([FRAME, FRAME]).assign(se=lambda frame: frame["se"] * np.sqrt(2))
    one, other = (fit(spec(frame=frame.reset_index(drop=True)), "ml") for frame in (FRAME, twice))
    np.testing.assert_allclose(other.beta, one.beta, rtol=1e-6)
    np.testing.assert_allclose(other.random[0].sd, one.random[0].sd, rtol=1e-5)


@pytest.mark.parametrize("engine", ["reml", "ml"])
def test_the_sigma_of_a_fit_given_as_known_gives_that_fit(engine):
    free = fit(build(formula=FORMULAS["slopes"], data=FRAME), engine)
    found = fit(spec(frame=FRAME.assign(se=free.sigma)), engine)
    assert found.criterion == pytest.approx(free.criterion, rel=1e-12)
    np.testing.assert_allclose(found.beta, free.beta, rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(found.random[0].sd, free.random[0].sd, rtol=1e-5)
    assert free.aic - found.aic == pytest.approx(2)


@pytest.mark.parametrize("ratio", [1e-4, 1e4])
def test_effects_far_larger_or_smaller_than_the_known_sds_are_found(ratio):
    rng = np.random.default_rng(3)
    g = np.arange(60) % 12
    frame = pd.DataFrame({"y": ratio * rng.normal(size=12)[g], "g": [f"g{i}" for i in g]})
    frame["se"] = rng.uniform(0.5, 2.0, 60)
    frame["y"] += frame["se"] * rng.normal(size=60)
    found = fit(spec("y ~ 1 + (1 | g)", frame), "reml")
    assert [check.code for check in found.checks if check.status == "fail"] == []
    [b] = found.random
    best = min(
        dense(found.spec, covariance(found.spec, [[sd]], [np.eye(1)], frame), frame, reml=True)[0]
        for sd in [0.0, *(b.sd[0] * np.array([0.9, 0.99, 1.01, 1.1]))]
    )
    assert found.criterion <= best + 1e-9


def test_one_row_a_group_is_no_reason_to_refuse_and_is_not_saturated():
    model = build("eight-schools")
    for engine in ("reml", "ml", "nuts"):
        assert find(engine).refusals(model) == ()
    assert "saturated" not in {check.code for check in fit(model, "reml").checks}
    free = build(formula="effect ~ 1 + (1 | school)", data=model.design.table.frame())
    assert find("reml").refusals(free) != ()


def test_as_many_coefficients_as_rows_are_refused():
    frame = FRAME.head(3).assign(g=["a", "b", "b"])
    with pytest.raises(RefusalError, match="3 coefficients for 3 rows"):
        fit(spec("y ~ x + o + (1 | g)", frame), "ml")


def test_a_response_that_the_coefficients_fit_exactly_has_a_fit():
    frame = FRAME.assign(y=1 + 2 * FRAME["x"])
    found = fit(spec("y ~ x + (1 | g)", frame), "reml")
    assert found.singular
    np.testing.assert_allclose(found.beta, [1, 2], rtol=1e-9)
    assert found.converged


# --- tests, prediction, simulation, comparison ---


def test_where_no_variance_is_left_to_estimate_tests_are_those_of_the_normal():
    found = fit("eight-schools", "reml")
    z = found.beta[0] / np.sqrt(found.vcov_beta[0, 0])
    [row] = hlm.coefficient_tests(found).rows
    assert row.df == np.inf
    assert row.p == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-12)
    joint = hlm.hypothesis(found, "Intercept = 0").joint
    assert (joint.den_df, joint.F) == (np.inf, pytest.approx(z**2))
    assert joint.p == pytest.approx(row.p, rel=1e-10)
    flat = fit(spec("y ~ f + (1 | g)", FRAME.assign(y=np.arange(72) % 5 / 10)), "reml")
    assert flat.singular
    [test] = hlm.anova(flat).tests
    assert test.p == pytest.approx(stats.chi2.sf(2 * test.F, 2), rel=1e-10)
    wide = hlm.predict(found, pd.DataFrame({"se": [3.0]}), groups="population").frame()
    assert wide["upper"][0] - wide["mean"][0] == pytest.approx(
        stats.norm.ppf(0.975) * wide["se"][0]
    )


def test_a_prediction_takes_the_sd_of_its_own_row():
    found = fit(spec(), "reml")
    new = FRAME.iloc[[3, 7]].assign(se=[0.5, 20.0])
    np.testing.assert_allclose(hlm.predict(found, new).var_residual, [0.25, 400])
    np.testing.assert_allclose(hlm.predict(found).var_residual, FRAME["se"] ** 2)
    with pytest.raises(InputErrors, match="se must be above 0, but row 2 has 0"):
        hlm.predict(found, new.assign(se=[1.0, 0.0]))
    with pytest.raises(InputErrors, match="'se'"):
        hlm.predict(found, new.drop(columns="se"))


def test_responses_are_drawn_with_the_known_sds():
    found = fit(spec(), "reml")
    drawn = simulate(found, 400, seed=2, groups="existing")
    z = (drawn - hlm.fitted(found)[:, None]) / FRAME["se"].to_numpy()[:, None]
    assert stats.kstest(z.ravel(), "norm").pvalue > 1e-3
    np.testing.assert_allclose(
        hlm.residuals(found, "scaled"), (FRAME["y"] - hlm.fitted(found)) / FRAME["se"], rtol=1e-12
    )
    prior = draw_prior(spec(), np.random.default_rng(1))
    assert prior.sigma == 1.0


def test_the_residual_of_a_table_is_said_to_be_known():
    found = fit(spec(), "reml")
    last = hlm.varcorr(found).iloc[-1]
    assert (last["group"], last["effect1"]) == ("Residual (known)", "se")
    assert np.isnan([last["vcov"], last["sdcor"]]).all()
    assert "sigma" not in summary(found).index
    assert "sigma" not in hlm.coefficient_table(found)
    variances = hlm.icc(found)
    share = variances.loc["g", "variance"]
    residual = np.mean(FRAME["se"] ** 2)
    assert variances.loc["g", "adjusted"] == pytest.approx(share / (share + residual))


def test_leverage_is_that_of_the_dense_hat_matrix():
    found = fit(spec(), "reml")
    [one] = found.random
    V = covariance(found.spec, [one.sd], [one.corr])
    X, R = found.spec.design.X, np.diag(FRAME["se"] ** 2)
    inverse = np.linalg.inv(V)
    P = inverse - inverse @ X @ found.vcov_beta @ X.T @ inverse
    np.testing.assert_allclose(hlm.leverage(found), 1 - np.diag(R @ P), rtol=1e-7)


def test_influence_by_one_pass_is_that_without_the_rows():
    found = fit(spec("y ~ x + (1 | g) + (1 | h)"), "reml")
    moved = hlm.cooks_distance(found, by="g", theta="fixed")
    rest = FRAME[FRAME["g"] != "g4"].reset_index(drop=True)
    theta = {"reml": {"theta": found.theta.tolist()}}
    change = fit(spec("y ~ x + (1 | g) + (1 | h)", rest, **theta), "reml").beta - found.beta
    d = change @ np.linalg.solve(found.vcov_beta, change) / 2
    assert moved["g4"] == pytest.approx(d, rel=1e-6)


def test_a_likelihood_ratio_is_the_difference_and_needs_the_same_residuals():
    small, large = (fit(spec(formula), "ml") for formula in ("y ~ x + (1 | g)", "y ~ x + (x | g)"))
    found = hlm.likelihood_ratio(small, large)
    assert found.statistic == pytest.approx(small.criterion - large.criterion)
    assert (found.df, found.effects) == (2, 1)
    free = fit(build(formula="y ~ x + (x | g)", data=FRAME), "ml")
    with pytest.raises(InputErrors, match="known in one of the models only"):
        hlm.likelihood_ratio(small, free)
    other = fit(spec("y ~ x + (x | g)", FRAME.assign(se=2 * FRAME["se"])), "ml")
    with pytest.raises(InputErrors, match="different residual standard deviations"):
        hlm.likelihood_ratio(small, other)


def test_a_bootstrap_has_all_parameters_but_sigma():
    found = fit(spec("y ~ x + (1 | g)"), "reml")
    drawn = hlm.bootstrap(found, 40, seed=5)
    assert drawn.names == ("beta[Intercept]", "beta[x]", "sd_g[Intercept]")
    assert drawn.failed == 0
    spread = drawn.draws.std(axis=0, ddof=1)
    # Forty draws tell a standard deviation to about a tenth.
    np.testing.assert_allclose(spread[:2], np.sqrt(np.diag(found.vcov_beta)), rtol=0.5)


def test_a_fit_is_saved_and_read_back_whole(tmp_path):
    for model in (build("eight-schools"), spec()):
        found = fit(model, "reml")
        save_fit(found, tmp_path / "fit.json")
        again = load_fit(tmp_path / "fit.json", model)
        np.testing.assert_array_equal(again.df, found.df)
        assert np.isnan(again.se_log_sigma)
        assert document(again) == document(found)


def test_the_document_says_that_sigma_is_known():
    known, free = document(fit("eight-schools", "reml")), document(fit("dyestuff", "reml"))
    assert (known["sigma"], known["sigma_known"], known["known_sd"]) == (1.0, True, "se")
    assert (known["weights"], known["beta"][0]["df"]) == (None, None)
    assert (free["sigma_known"], free["known_sd"]) == (False, None)


def test_a_run_is_written_and_read_back(tmp_path):
    done = hlm.run("eight-schools", engines=["reml", "ml"], root=tmp_path)
    again = hlm.load_run(done.folder)
    assert again.spec.digest == done.spec.digest
    assert "sigma" not in (done.folder / "config.yaml").read_text("utf-8")
    page = done.page.read_text("utf-8")
    assert "N(0, seᵢ²), known" in page


# --- the model and its posterior ---


def test_a_model_says_what_is_known():
    found = describe(build("eight-schools"))
    assert "eᵢ ~ N(0, seᵢ²), known" in found.text()
    assert "σ" not in found.text()
    assert [row.parameter for row in found.priors] == ["beta[Intercept]", "sd_school[Intercept]"]
    assert "1 number is sampled" in found.parameterization


def test_the_word_and_the_mapping_are_one_model():
    head = {"schema": 1, "name": "m", "data": {"source": "dyestuff"}}
    head |= {"formula": "yield ~ 1 + (1 | batch)"}
    models = [
        build(head),
        build(head | {"residual": "iid"}),
        build(head | {"residual": {"kind": "iid"}}),
    ]
    assert len({model.digest for model in models}) == 1
    assert json.loads(models[0].identity)["residual"] == "iid"
    assert len({spec().digest, spec(residual=KNOWN | {"sd": "o"}).digest}) == 2


def test_the_reference_density_has_no_prior_of_sigma():
    model = spec("y ~ x + (1 | g)")
    rng = np.random.default_rng(2)
    b = rng.normal(size=(9, 1))
    point = Point(np.array([1.0, 2.0]), 1.0, (np.array([0.7]),), (np.eye(1),), (b,))
    eta = 1 + 2 * FRAME["x"] + b[model.blocks[0].level, 0]
    expected = stats.norm(eta, FRAME["se"]).logpdf(FRAME["y"]).sum()
    expected += stats.norm(0, 0.7).logpdf(b).sum()
    expected += model.priors.blocks[0].terms[0].log_density(np.array([0.7]), np.eye(1))
    for prior, value in zip(model.priors.beta, point.beta, strict=True):
        expected += stats.norm(prior.loc, prior.scale).logpdf(value)
    assert model.priors.sigma is None
    assert joint_log_density(model, point) == pytest.approx(expected, rel=1e-12)


@pytest.fixture(scope="module")
def posterior():
    """A posterior whose draws are made up."""
    model = spec("y ~ x + (1 | g)")
    rng = np.random.default_rng(4)
    size = (2, 50)
    draws = {
        "beta": np.array([10.0, 3.0]) + rng.normal(size=(*size, 2)),
        "sigma": np.ones(size),
        "sd_g": np.exp(0.3 * rng.normal(size=(*size, 1))),
        "corr_g": np.ones((*size, 1, 1)),
        "b_g": rng.normal(size=(*size, 9, 1)),
    }
    tree = posterior_tree(
        model, draws, {"diverging": np.zeros(size, dtype=bool)}, np.random.SeedSequence(1),
        with_log_likelihood=True,
    )  # fmt: skip
    checks = (Check("r_hat", "pass", 1.0, 1.01, "largest R-hat"),)
    return PosteriorFit(model, "nuts", tree, "nutpie", "marginal", 0, checks, {}, 1)


def test_sigma_is_a_variable_of_the_posterior_but_no_parameter(posterior):
    assert (posterior.data["posterior"]["sigma"] == 1).all()
    assert (posterior.data["prior"]["sigma"] == 1).all()
    names = [one.name for one in parameters(posterior.spec)]
    assert names == ["beta[Intercept]", "beta[x]", "sd_g[Intercept]"]
    assert list(summary(posterior).index) == names
    found = document(posterior)
    assert found["sigma"] == {"mean": 1.0, "sd": 0.0, "ess_bulk": None, "r_hat": None}
    assert found["sigma_known"]


def test_log_likelihoods_and_predictions_are_by_the_known_sds(posterior):
    tree, model = posterior.data, posterior.spec
    beta, b, sd = (tree["posterior"][name].to_numpy() for name in ("beta", "b_g", "sd_g"))
    level = model.blocks[0].level
    eta = beta[..., :1] + beta[..., 1:] * FRAME["x"].to_numpy() + b[..., level, 0]
    rows = stats.norm(eta, FRAME["se"]).logpdf(FRAME["y"])
    np.testing.assert_allclose(tree["log_likelihood"]["y_obs"], rows, rtol=1e-10)
    np.testing.assert_allclose(hlm.log_likelihood(posterior).block(0, 72), rows, rtol=1e-10)
    groups = hlm.log_likelihood(posterior, "group").block(0, 9)
    for chain, draw, j in ((0, 3, 2), (1, 40, 8)):
        here = level == j
        cov = np.diag(FRAME["se"][here] ** 2) + sd[chain, draw, 0] ** 2
        mean = beta[chain, draw, 0] + beta[chain, draw, 1] * FRAME["x"][here]
        expected = stats.multivariate_normal(mean, cov).logpdf(FRAME["y"][here])
        assert groups[chain, draw, j] == pytest.approx(expected, rel=1e-10)


def test_agreement_and_page_have_no_row_of_sigma(posterior):
    reference = fit(posterior.spec, "reml")
    found = hlm.agreement(posterior, reference)
    assert [row.parameter for row in found.rows] == [
        "beta[Intercept]",
        "beta[x]",
        "sd_g[Intercept]",
    ]
    page = render(Run(posterior, reference, found, {}))
    assert "seᵢ²), known" in page
    assert ">sigma<" not in page


def test_a_variance_of_zero_is_held_against_a_typical_known_sd(posterior):
    flat = FRAME.assign(y=FRAME["x"] + 0.01 * np.cos(np.arange(72)))
    model = spec("y ~ x + (1 | g)", flat)
    reference = fit(model, "reml")
    assert reference.singular
    from dataclasses import replace

    row = hlm.agreement(replace(posterior, spec=model), reference).rows[-1]
    typical = np.exp(np.mean(np.log(FRAME["se"])))
    near = float(np.mean(posterior.data["posterior"]["sd_g"] < 0.1 * typical))
    assert row.why == (
        f"REML is on the boundary; {near:.0%} of the posterior has the effect below 0.1 of a "
        "typical se"
    )


@pytest.mark.slow
@pytest.mark.parametrize("form", ["marginal", "noncentered"])
def test_the_posterior_of_the_eight_schools_is_that_of_posteriordb(form):
    found = fit(
        "eight-schools", "nuts", parameterization=form, seed=3, draws=2500, target_accept=0.98
    )
    assert found.divergences == 0
    posterior = found.data["posterior"].to_dataset()
    assert np.unique(posterior["sigma"]).tolist() == [1.0]
    mu, tau = posterior["beta"].to_numpy()[..., 0], posterior["sd_school"].to_numpy()[..., 0]
    theta = mu[..., None] + posterior["b_school"].to_numpy()[..., 0]
    draws = {"mu": mu, "tau": tau} | {f"theta {j}": theta[..., j] for j in range(8)}
    wanted = {
        name: (POSTERIORDB[name]["mean"], POSTERIORDB[name]["mcse"]) for name in ("mu", "tau")
    }
    known = POSTERIORDB["theta"]
    wanted |= {f"theta {j}": (known["mean"][j], known["mcse"][j]) for j in range(8)}
    away = {}
    for name, (mean, error) in wanted.items():
        value, own = summarised(draws[name], "mean")
        away[name] = (value - mean) / np.hypot(error, own)
    assert {name: z for name, z in away.items() if not abs(z) < 4} == {}


# --- what is refused ---


@pytest.mark.parametrize(
    ("se", "message"),
    [
        (
            [1.0, 0.0, 2.0],
            "se is 0 in row 2, and in 1 of 72 rows not above 0 as a standard deviation",
        ),
        ([1.0, 2.0, -3.0], "se is -3 in row 3, and in 1 of 72 rows not above 0"),
        ([1.0, np.nan, 2.0], "se misses 1 of 72 values, first in row 2"),
        ([np.inf, 1.0, 2.0], "se is infinite in 1 of 72 rows, first in row 1"),
        ([1e-90, 1.0, 2.0], "se is 1e-90 in row 1, too far from 1 to be squared twice"),
        (["a", "1", "2"], "se must hold numbers, but row 1 holds 'a'"),
    ],
)
def test_bad_standard_deviations_are_named_with_their_row(se, message):
    rest = FRAME["se"].iloc[3:]
    column = pd.Series([*se, *(rest.astype(str) if "a" in se else rest)])
    with pytest.raises(InputErrors) as caught:
        spec(frame=FRAME.assign(se=column))
    [problem] = caught.value.problems
    assert message in problem.message
    assert problem.key in ("residual.sd", "data.missing")


def test_rows_keep_their_numbers_where_others_are_dropped():
    frame = FRAME.assign(se=[np.nan, 1.0, 0.0, *FRAME["se"].iloc[3:]])
    with pytest.raises(InputErrors, match="se is 0 in row 3, and in 1 of 71 rows"):
        spec(frame=frame, data={"source": "frame", "missing": "drop"})


CONTRADICTIONS = {
    "residual: {kind: known, sd: sse}": (
        "m.yaml:5: residual.sd: there is no column 'sse'; did you mean 'se'?"
    ),
    "residual: {kind: known, sd: school}": "m.yaml:5: residual.sd: school must hold numbers",
    "residual: {kind: known, sd: se}\nweights: se": (
        "m.yaml:6: weights: the residual standard deviations are known, so rows have no other"
    ),
    "residual: {kind: known, sd: se}\npriors: {sigma: {kind: flat}}": (
        "m.yaml:6: priors.sigma: the residual standard deviations are known, so sigma has no prior"
    ),
    "residual: knwon": (
        "m.yaml:5: residual: residual knwon is not available in this version; did you mean 'known'?"
    ),
}


@pytest.mark.parametrize("text", CONTRADICTIONS)
def test_what_contradicts_a_known_residual_is_bad_input(text, tmp_path, capsys):
    path = tmp_path / "m.yaml"
    head = "schema: 1\nname: m\ndata: {source: eight_schools}\nformula: effect ~ 1 + (1 | school)\n"
    path.write_text(f"{head}{text}\n", encoding="utf-8")
    assert main(["check", str(path)]) == 2
    told = capsys.readouterr()
    assert CONTRADICTIONS[text] in told.err + told.out
