"""What priors imply, against the laws that they are: quantiles, quadrature, sums row by row."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.integrate import quad

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.results import prior as room
from hlm_models.results.prior import implied_prior, own_draws, own_log_prior
from hlm_models.results.summary import parameters
from hlm_models.spec.density import Point, linear_predictor, residual_scale

DRAWS = 4000
HALF_T = {"kind": "half_student_t", "df": 4, "scale": 2}


def frame(n=60, levels=6):
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "y": rng.normal(size=n),
            "x": rng.normal(size=n),
            "w": rng.uniform(0.5, 2, n),
            "o": rng.normal(size=n),
            "s": rng.uniform(0.5, 2, n),
            "g": [f"g{i % levels}" for i in range(n)],
            "h": [f"h{i % 4}" for i in range(n)],
        }
    )


def model(priors, formula="y ~ x + (x | g)", **keys):
    given = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return hlm.build(given | {"priors": priors} | keys, data=frame())


PROPER = {
    "beta": {
        "Intercept": {"kind": "normal", "loc": 3, "scale": 2},
        "x": {"kind": "student_t", "df": 5, "loc": -1, "scale": 0.5},
    },
    "groups": {"g": {"kind": "lkj", "eta": 3, "sd": {"Intercept": HALF_T, "x": HALF_T}}},
    "sigma": {"kind": "inverse_gamma", "shape": 3, "scale": 5},
}


@pytest.fixture(scope="module")
def implied():
    return implied_prior(model(PROPER), DRAWS, 1)


class RootInverseGamma:
    """The law of the root of an inverse gamma variance."""

    def __init__(self, shape, scale):
        self.square = stats.invgamma(shape, scale=scale)
        self.mean = lambda: quad(lambda p: math.sqrt(self.square.ppf(p)), 0, 1)[0]

    def cdf(self, x):
        return self.square.cdf(x**2)


LAWS = {
    "beta[Intercept]": stats.norm(3, 2),
    "beta[x]": stats.t(5, -1, 0.5),
    # Lewandowski, Kurowicka and Joe (2009): Beta(eta, eta) on (-1, 1) for two effects.
    "corr_g[Intercept, x]": stats.beta(3, 3, loc=-1, scale=2),
    "sigma": RootInverseGamma(3, 5),
}


@pytest.mark.parametrize("name", LAWS)
def test_a_parameter_has_the_quantiles_and_the_mean_of_its_law(name, implied):
    found, law = implied.frame().loc[name], LAWS[name]
    for column, share in (("lower", 0.05), ("median", 0.5), ("upper", 0.95)):
        # Five standard errors of the share of draws below a quantile.
        assert abs(law.cdf(found[column]) - share) < 5 * math.sqrt(share * (1 - share) / DRAWS)
    spread = np.std(implied.draws[name])
    assert abs(found["mean"] - law.mean()) < 5 * spread / math.sqrt(DRAWS)


def test_a_half_student_t_has_its_quantiles(implied):
    for name in ("sd_g[Intercept]", "sd_g[x]"):
        found = implied.frame().loc[name]
        for column, share in (("lower", 0.05), ("median", 0.5), ("upper", 0.95)):
            below = 2 * stats.t(4).cdf(found[column] / 2) - 1
            assert abs(below - share) < 5 * math.sqrt(share * (1 - share) / DRAWS)


def test_the_icc_has_the_law_of_a_ratio_by_quadrature():
    priors = {
        "groups": {"g": {"kind": "diagonal", "sd": {"kind": "half_normal", "scale": 2}}},
        "sigma": {"kind": "exponential", "scale": 3},
    }
    found = implied_prior(model(priors, "y ~ x + (1 | g)"), DRAWS, 2)
    assert "icc_g[Intercept]" not in found.draws
    icc = found.draws["icc_g"]
    for x in (0.02, 0.1, 0.3, 0.5, 0.8, 0.95):
        # icc <= x where sd <= sigma sqrt(x / (1 - x)).
        ratio = math.sqrt(x / (1 - x))
        law, _ = quad(
            lambda s, ratio=ratio: stats.halfnorm(scale=2).cdf(ratio * s) * math.exp(-s / 3) / 3,
            0,
            np.inf,
        )
        assert abs(np.mean(icc <= x) - law) < 5 * math.sqrt(law * (1 - law) / DRAWS)


@pytest.mark.parametrize(
    ("formula", "keys"),
    [
        ("y ~ x + (x | g)", {}),
        ("y ~ x + (x || g) + (1 | h)", {"weights": "w", "offset": "o"}),
        ("y ~ x + (0 + x | g)", {"residual": {"kind": "known", "sd": "s"}}),
    ],
)
def test_shares_of_the_variance_are_those_of_sums_over_the_rows(formula, keys):
    spec = model({}, formula, **keys)
    found = implied_prior(spec, 20, 5)
    prior = found.data["prior"].to_dataset()
    for i in range(20):
        groups = {}
        for block in spec.blocks:
            sd = np.diag(prior[f"sd_{block.group}"].values[0, i])
            Psi = sd @ prior[f"corr_{block.group}"].values[0, i] @ sd
            groups[block.group] = np.mean([z @ Psi @ z for z in block.z])
        sigma = float(prior["sigma"].values[0, i])
        residual = np.mean(np.square(residual_scale(spec, sigma) * np.ones(spec.design.n)))
        left = sum(groups.values()) + residual
        fixed = np.var(spec.design.X @ prior["beta"].values[0, i], ddof=1)
        for g, variance in groups.items():
            assert found.draws[f"icc_{g}"][i] == pytest.approx(variance / left, rel=1e-10)
        assert found.draws["r2"][i] == pytest.approx(fixed / (fixed + left), rel=1e-10)
        if "icc_g[Intercept]" in found.draws:
            alone = float(prior["sd_g"].values[0, i, 0]) ** 2
            expected = alone / (alone + left - groups["g"])
            assert found.draws["icc_g[Intercept]"][i] == pytest.approx(expected, rel=1e-10)
    assert ("icc_g[Intercept]" in found.draws) == ("Intercept" in spec.blocks[0].effects)


@pytest.mark.parametrize(
    "keys", [{"weights": "w", "offset": "o"}, {"residual": {"kind": "known", "sd": "s"}}]
)
def test_responses_and_effects_have_their_laws_given_the_other_draws(keys):
    spec = model({}, "y ~ x + (x | g) + (1 | h)", **keys)
    found = implied_prior(spec, 1000, 7)
    prior = found.data["prior"].to_dataset()
    errors, effects = [], []
    for i in range(1000):
        at = prior.isel(chain=0, draw=i)
        groups = [block.group for block in spec.blocks]
        point = Point(
            at["beta"].values,
            float(at["sigma"]),
            tuple(at[f"sd_{g}"].values for g in groups),
            tuple(at[f"corr_{g}"].values for g in groups),
            tuple(at[f"b_{g}"].values for g in groups),
        )
        errors.append(
            (found.y[i] - linear_predictor(spec, point)) / residual_scale(spec, point.sigma)
        )
        root = point.sd[0][:, None] * np.linalg.cholesky(point.corr[0])
        effects.append(np.linalg.solve(root, point.b[0].T).ravel())
    assert stats.kstest(np.ravel(errors), "norm").pvalue > 1e-4
    assert stats.kstest(np.ravel(effects), "norm").pvalue > 1e-4


def test_the_tree_has_the_promised_groups_and_variables(implied):
    assert set(implied.data.children) == {"prior", "prior_predictive", "observed_data"}
    prior = implied.data["prior"].to_dataset()
    assert set(prior.data_vars) == {"beta", "sigma", "sd_g", "corr_g", "b_g"}
    assert implied.data["prior_predictive"]["y_obs"].dims == ("chain", "draw", "obs")
    np.testing.assert_array_equal(implied.data["observed_data"]["y_obs"], implied.spec.design.y)


def test_responses_are_thinned_evenly_where_rows_are_many(monkeypatch):
    monkeypatch.setattr(room, "NUMBERS", 5 * 60)
    found = implied_prior(model(PROPER), 41, 1)
    prior = found.data["prior"].to_dataset()
    drawn = found.data["prior_predictive"]["y_obs"]
    assert drawn["draw"].values.tolist() == [0, 10, 20, 30, 40]
    assert prior.sizes["draw"] == 41
    assert "b_g" not in prior
    assert len(found.draws["icc_g"]) == 41


def test_the_same_seed_gives_the_same_and_another_seed_another():
    first = hlm.prior_predictive("sleepstudy-slopes", 50, seed=3)
    again = hlm.prior_predictive("sleepstudy-slopes", 50, seed=3)
    other = hlm.prior_predictive("sleepstudy-slopes", 50, seed=4)
    for group in ("prior", "prior_predictive"):
        xr.testing.assert_identical(first[group].to_dataset(), again[group].to_dataset())
        assert not first[group].to_dataset().equals(other[group].to_dataset())
    spec = hlm.build("sleepstudy-slopes", overrides=["fit.seed=3"])
    by_model = hlm.prior_predictive(spec, 50)
    xr.testing.assert_identical(first["prior"].to_dataset(), by_model["prior"].to_dataset())


def test_numbers_of_the_response_stand_beside_those_of_the_data(implied):
    found, y = implied.frame(), implied.spec.design.y
    means = [y[implied.spec.blocks[0].level == j].mean() for j in range(6)]
    expected = {
        "min(y)": y.min(), "5%(y)": np.quantile(y, 0.05), "mean(y)": y.mean(),
        "95%(y)": np.quantile(y, 0.95), "max(y)": y.max(), "sd(y)": y.std(ddof=1),
        "sd(means of y by g)": np.std(means, ddof=1),
    }  # fmt: skip
    assert list(found.index[-7:]) == list(expected)
    for name, value in expected.items():
        assert found.loc[name, "observed"] == pytest.approx(value, rel=1e-12)
    assert found["observed"].notna().sum() == 7
    assert found.loc["max(y)", "median"] == pytest.approx(np.median(implied.y.max(axis=1)))


def test_every_improper_prior_is_named_with_the_repair():
    flat = hlm.build("sleepstudy-slopes", overrides=["priors={preset: flat}"])
    for function in (hlm.prior_predictive, hlm.prior_summary):
        with pytest.raises(InputErrors) as caught:
            function(flat)
        messages = [problem.message for problem in caught.value.problems]
        names = ["beta[Intercept]", "beta[days]", "sd_subject[Intercept]", "sd_subject[days]"]
        assert [message.split()[0] for message in messages] == [*names, "sigma"]
        assert all("preset: weak" in message for message in messages)


@pytest.mark.parametrize("keywords", [{"draws": 1}, {"draws": 2.5}, {"seed": -1}, {"seed": "a"}])
def test_an_argument_that_is_no_number_is_refused(keywords):
    with pytest.raises(InputErrors):
        hlm.prior_summary("sleepstudy-slopes", **keywords)


def test_a_prior_without_a_mean_has_none():
    cauchy = {"kind": "half_student_t", "df": 1, "scale": 1}
    found = implied_prior(model(PROPER | {"sigma": cauchy}), 100, 1).frame()
    lost = found.index[found["mean"].isna()]
    assert list(lost) == ["sigma", "y", *found.index[-7:]]


def test_a_sigma_that_is_known_is_no_quantity():
    found = hlm.prior_summary("eight-schools", 100)
    assert "sigma" not in found.index
    # An intercept alone explains nothing.
    assert "r2" not in found.index


@pytest.mark.parametrize(
    ("priors", "name", "words"),
    [
        ({"sigma": {"kind": "half_normal", "scale": 500}}, "y", "outside twice the observed range"),
        (
            {"beta": {"Intercept": {"kind": "normal", "loc": 50, "scale": 1}}},
            "mean(y)",
            "as small as the data",
        ),
        (
            {
                "beta": {"kind": "normal", "loc": 0, "scale": 0.01},
                "groups": {"g": {"kind": "lkj", "sd": {"kind": "half_normal", "scale": 0.01}}},
                "sigma": {"kind": "half_normal", "scale": 0.01},
            },
            "sd(y)",
            "as large as the data",
        ),
        ({"sigma": {"kind": "half_normal", "scale": 0.001}}, "icc_g", "settles this share"),
        ({"groups": {"g": {"kind": "lkj", "eta": 200}}}, "corr_g[Intercept, x]", "correlation"),
        (
            {"groups": {"g": {"kind": "inverse_wishart", "nu": 30, "scale": [[99, 0], [0, 99]]}}},
            "sd_g[x]",
            "takes for granted that the levels differ",
        ),
    ],
    ids=["wide", "elsewhere", "narrow", "icc", "corr", "sd"],
)
def test_what_is_peculiar_is_said_in_a_sentence(priors, name, words):
    found = dict(implied_prior(model(priors), 1000, 1).findings)
    assert words in found[name]


def test_the_defaults_of_a_plain_model_have_nothing_peculiar():
    assert implied_prior(hlm.build("sleepstudy-slopes"), 1000, 1).findings == ()
    assert implied_prior(model({}), 1000, 1).findings == ()


def test_few_draws_do_not_make_the_data_unexpected():
    spec = model({"beta": {"Intercept": {"kind": "normal", "loc": 50, "scale": 1}}})
    assert "mean(y)" not in dict(implied_prior(spec, 20, 1).findings)


@pytest.mark.parametrize(
    "priors",
    [
        {"groups": {"g": {"kind": "lkj", "eta": 1.5}}},
        {"groups": {"g": {"kind": "inverse_wishart", "nu": 4.5, "scale": [[2, 0.7], [0.7, 1]]}}},
        {"groups": {"g": {"kind": "hierarchical", "df": 3}}},
        {"beta": {"kind": "horseshoe"}},
    ],
    ids=["lkj", "inverse_wishart", "hierarchical", "horseshoe"],
)
def test_the_own_law_of_a_parameter_is_that_of_the_draws_of_all(priors):
    spec = model({"sigma": {"kind": "half_normal", "scale": 2}} | priors)
    together = implied_prior(spec, DRAWS, 3).draws
    rng = np.random.default_rng(4)
    for one in parameters(spec):
        alone = own_draws(spec, one, rng, DRAWS)
        assert stats.ks_2samp(alone, together[one.name]).pvalue > 1e-4
        log_prior = own_log_prior(spec, one)
        if log_prior is None:
            assert "beta" in one.variable
            assert one.name != "beta[Intercept]"
            continue
        low, high = np.quantile(alone, [0.2, 0.7])
        inside, _ = quad(lambda x, f=log_prior: math.exp(f(np.asarray(x))), low, high)
        assert abs(inside - 0.5) < 5 * 0.5 / math.sqrt(DRAWS)


def test_the_document_is_strict_json_of_all_quantities(implied):
    document = json.loads(json.dumps(implied.document(), allow_nan=False))
    assert {"model", "draws", "responses", "seed", "quantities"} == set(document)
    assert [one["name"] for one in document["quantities"]] == list(implied.frame().index)
