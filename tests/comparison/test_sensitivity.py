"""Power scaling against closed forms, ArviZ and dense densities; conflicts and what is none."""

import math

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.stats import multivariate_normal

import hlm_models as hlm
from hlm_models.comparison import sensitivity as room
from hlm_models.comparison.sensitivity import (
    SensitivityRow,
    log_prior,
    sensitivity,
    sensitivity_checks,
    sensitivity_rows,
)
from hlm_models.elpd.integrated import integrated_log_likelihood
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import draws_dataset, point_at
from hlm_models.results.prior import implied_prior
from hlm_models.spec.density import joint_log_density, log_likelihood, residual_scale

CHAINS = 4


def frame(n=48, levels=8):
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "y": 2 + rng.normal(size=n),
            "x": rng.normal(size=n),
            "w": rng.uniform(0.5, 2, n),
            "o": rng.normal(size=n),
            "s": rng.uniform(0.5, 2, n),
            "g": [f"g{i % levels}" for i in range(n)],
            "h": [f"h{i % 5}" for i in range(n)],
        }
    )


def model(priors, formula="y ~ x + (x | g)", data=None, **keys):
    given = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return hlm.build(given | {"priors": priors} | keys, data=frame() if data is None else data)


def posterior_of(spec, draws):
    """A fit with these draws (count, ...) by name, as four chains."""
    shaped = {name: one.reshape(CHAINS, -1, *one.shape[1:]) for name, one in draws.items()}
    tree = xr.DataTree.from_dict({"posterior": draws_dataset(spec, shaped)})
    return PosteriorFit(spec, "nuts", tree, "made up", "marginal", 0, (), {}, 1)


def prior_as_posterior(spec, count=12):
    prior = implied_prior(spec, count, 1).data["prior"].to_dataset()
    return posterior_of(spec, {str(name): one.values[0] for name, one in prior.items()})


MODELS = [
    ({}, "y ~ x + (x | g)", {}),
    ({}, "y ~ x + (x || g) + (1 | h)", {"weights": "w", "offset": "o"}),
    ({}, "y ~ 0 + (0 + x | g)", {"residual": {"kind": "known", "sd": "s"}}),
    ({"groups": {"g": {"kind": "shared"}}}, "y ~ x + (x || g)", {}),
    (
        {"groups": {"g": {"kind": "inverse_wishart", "nu": 4, "scale": [[2, 0.7], [0.7, 1]]}}},
        "y ~ x + (x | g)",
        {},
    ),
    ({"groups": {"g": {"kind": "hierarchical"}}}, "y ~ x + (x | g) + (1 | h)", {}),
]
NAMES = ["lkj", "crossed", "known", "shared", "wishart", "hierarchical"]


@pytest.mark.parametrize(("priors", "formula", "keys"), MODELS, ids=NAMES)
def test_the_likelihood_is_the_dense_normal_density_of_all_rows(priors, formula, keys):
    spec = model(priors, formula, **keys)
    fit = prior_as_posterior(spec)
    posterior = fit.data["posterior"].to_dataset()
    found = integrated_log_likelihood(spec, posterior)
    assert found.shape == (CHAINS, 3)
    for at in np.ndindex(found.shape):
        point = point_at(spec, posterior, *at)
        V = np.diag(np.square(residual_scale(spec, point.sigma) * np.ones(spec.design.n)))
        for block, sd, corr in zip(spec.blocks, point.sd, point.corr, strict=True):
            Psi = sd[:, None] * corr * sd
            V += (block.z @ Psi @ block.z.T) * (block.level[:, None] == block.level)
        mean = spec.design.X @ point.beta
        if spec.design.offset is not None:
            mean = mean + spec.design.offset
        expected = multivariate_normal(mean, V).logpdf(spec.design.y)
        assert found[at] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("priors", "formula", "keys"), MODELS, ids=NAMES)
def test_the_log_prior_is_the_joint_density_less_rows_and_effects(priors, formula, keys):
    spec = model(priors, formula, **keys)
    posterior = prior_as_posterior(spec).data["posterior"].to_dataset()
    found = log_prior(spec, posterior)
    for at in np.ndindex(found.shape):
        point = point_at(spec, posterior, *at)
        rest = np.sum(log_likelihood(spec, point))
        for sd, corr, b in zip(point.sd, point.corr, point.b, strict=True):
            Psi = sd[:, None] * corr * sd
            rest += np.sum(multivariate_normal(np.zeros(len(sd)), Psi).logpdf(b))
        assert found[at] == pytest.approx(joint_log_density(spec, point) - rest, rel=1e-8, abs=1e-8)


def conjugate(prior_sd, count=4000):
    """The posterior of one mean at a fixed sd and sigma, its draws at equally likely places."""
    spec = model({"beta": {"kind": "normal", "loc": 0, "scale": prior_sd}}, "y ~ 1 + (1 | g)")
    sd, sigma = 0.4, 0.8
    [block] = spec.blocks
    V = sigma**2 * np.eye(spec.design.n) + sd**2 * (block.level[:, None] == block.level)
    precision = float(np.sum(np.linalg.inv(V)))
    mean = float(np.sum(np.linalg.solve(V, spec.design.y))) / precision
    total = precision + prior_sd**-2
    law = stats.norm(mean * precision / total, total**-0.5)
    beta = law.ppf((np.arange(count) + 0.5) / count)
    # Each chain gets draws of the whole law.
    draws = {
        "beta": beta.reshape(-1, CHAINS).T.reshape(-1, 1),
        "sigma": np.full(count, sigma),
        "sd_g": np.full((count, 1), sd),
        "corr_g": np.ones((count, 1, 1)),
        "b_g": np.zeros((count, block.J, 1)),
    }
    return posterior_of(spec, draws), (mean, precision, prior_sd)


def exact_sensitivity(draws, mean, precision, prior_sd, *, prior, likelihood):
    """Of a normal posterior whose prior or likelihood is raised to a power."""

    def law(power):
        of_prior = prior_sd**-2 * (power if prior else 1)
        of_data = precision * (power if likelihood else 1)
        return stats.norm(mean * of_data / (of_prior + of_data), (of_prior + of_data) ** -0.5)

    def distance(power):
        """Cumulative Jensen-Shannon distance over the range of the draws, in either direction."""
        x = np.linspace(draws.min(), draws.max(), 200_001)[1:-1]
        found = []
        for P, Q in ((law(1).cdf(x), law(power).cdf(x)), (law(1).sf(x), law(power).sf(x))):
            M = (P + Q) / 2
            apart = P * np.log2(P / M) + Q * np.log2(Q / M)
            found.append(math.sqrt(np.trapezoid(apart, x) / np.trapezoid(P + Q, x)))
        return max(found)

    return distance(1.01) / math.log2(1.01) / 2 - distance(0.99) / math.log2(0.99) / 2


@pytest.mark.parametrize("prior_sd", [0.1, 0.5, 5.0])
def test_a_conjugate_mean_moves_as_its_closed_form_says(prior_sd):
    fit, law = conjugate(prior_sd)
    found = sensitivity(fit).loc["beta[Intercept]"]
    draws = fit.data["posterior"]["beta"].values
    # Draws stop at the ends of the law, where the closed form goes on: one per cent.
    for what in ("prior", "likelihood"):
        exact = exact_sensitivity(draws, *law, prior=what == "prior", likelihood=what != "prior")
        assert found[what] == pytest.approx(exact, rel=0.02, abs=2e-4)
    prior = stats.norm(0, prior_sd)
    median = float(np.median(draws))
    # 4000 draws of the prior: five standard errors.
    assert abs(found["tail"] - 2 * prior.sf(median)) < 5 * math.sqrt(0.25 / 4000)
    ratio = np.ptp(np.quantile(draws, [0.05, 0.95])) / np.ptp(prior.ppf([0.05, 0.95]))
    assert found["width"] == pytest.approx(ratio, rel=0.1)


def test_the_overlap_of_two_normals_is_the_closed_form():
    fit, (mean, precision, prior_sd) = conjugate(0.5)
    total = precision + prior_sd**-2
    law, prior = stats.norm(mean * precision / total, total**-0.5), stats.norm(0, prior_sd)
    x = np.linspace(-5, 5, 200_001)
    exact = np.trapezoid(np.minimum(law.pdf(x), prior.pdf(x)), x)
    found = sensitivity(fit).loc["beta[Intercept]", "overlap"]
    # Within a bin the smaller mass is more than that of the smaller density.
    assert exact <= found + 1e-3
    assert found <= exact + 0.03


def test_what_does_not_move_has_no_sensitivity():
    fit, _ = conjugate(0.5)
    found = sensitivity(fit).loc[["sd_g[Intercept]", "sigma"]]
    assert found[["prior", "likelihood", "overlap", "width"]].isna().all(axis=None)


def meta(levels=40, *, priors=None, seed=1, count=4000):
    """Exact draws of a meta-analysis: tau by its quantiles on a grid, mu and b given it normal."""
    rng = np.random.default_rng(seed)
    s = rng.uniform(0.5, 1.5, levels)
    y = 8 + 2 * rng.normal(size=levels) + s * rng.normal(size=levels)
    data = pd.DataFrame({"y": y, "s": s, "g": [f"g{i}" for i in range(levels)]})
    given = priors or {}
    spec = model(given, "y ~ 1 + (1 | g)", data, residual={"kind": "known", "sd": "s"})
    mu, [tau] = spec.priors.beta[0], spec.priors.blocks[0].terms[0].sd_priors()
    grid = np.linspace(1e-3, 12, 6001)
    w = 1 / (grid[:, None] ** 2 + s**2)
    P = w.sum(axis=1) + mu.scale**-2
    h = (w * y).sum(axis=1) + mu.loc * mu.scale**-2
    log_density = tau.log_density(grid, place="scale") + 0.5 * (
        np.log(w).sum(axis=1) - (w * y**2).sum(axis=1) - np.log(P) + h**2 / P
    )
    mass = np.cumsum(np.exp(log_density - log_density.max()))
    at = np.searchsorted(mass / mass[-1], rng.random(count))
    drawn = h[at] / P[at] + rng.normal(size=count) * P[at] ** -0.5
    precision = s**-2 + grid[at, None] ** -2
    middle = (y - drawn[:, None]) * s**-2 / precision
    b = middle + rng.normal(size=middle.shape) * precision**-0.5
    draws = {
        "beta": drawn[:, None],
        "sigma": np.ones(count),
        "sd_g": grid[at, None],
        "corr_g": np.ones((count, 1, 1)),
        "b_g": b[:, [int(label[1:]) for label in spec.blocks[0].labels], None],
    }
    return posterior_of(spec, draws)


def statuses(fit):
    return {one.code: one.status for one in sensitivity_checks(sensitivity_rows(fit))}


def test_the_default_priors_are_no_conflict():
    fit = meta()
    found = sensitivity(fit)
    assert (found["diagnosis"] == "").all()
    assert (found["likelihood"] > 0.05).all()
    assert set(statuses(fit).values()) == {"pass"}


def test_a_tight_prior_far_from_the_data_is_a_conflict_that_is_named():
    fit = meta(priors={"beta": {"kind": "normal", "loc": 0, "scale": 1}})
    found = sensitivity(fit)
    assert found.loc["beta[Intercept]", "diagnosis"] == "prior-data conflict"
    conflict, _ = sensitivity_checks(sensitivity_rows(fit))
    assert (conflict.code, conflict.status, conflict.threshold) == (
        "prior_data_conflict", "warn", 0.05,
    )  # fmt: skip
    assert "beta[Intercept]" in conflict.message
    assert "sd_g" not in conflict.message
    assert conflict.value > 0.05


def test_with_few_levels_the_prior_matters_and_is_no_conflict():
    fit = meta(levels=6)
    found = sensitivity(fit)
    assert found.loc["sd_g[Intercept]", "diagnosis"] == "informative prior"
    assert statuses(fit)["prior_data_conflict"] == "pass"


def test_a_prior_that_decides_alone_is_named():
    tight = {"kind": "diagonal", "sd": {"kind": "inverse_gamma", "shape": 2000, "scale": 8000}}
    fit = meta(levels=6, priors={"groups": {"g": tight}})
    assert sensitivity(fit).loc["sd_g[Intercept]", "diagnosis"] == "strong prior or weak likelihood"
    _, alone = sensitivity_checks(sensitivity_rows(fit))
    assert alone.status == "warn"
    assert "sd_g[Intercept]" in alone.message


def with_groups(fit, log_prior_of, likelihood):
    """A tree as ArviZ wants it."""
    tree = fit.data.copy()
    dims = ("chain", "draw")
    tree["log_prior"] = xr.DataTree(xr.Dataset({"top": (dims, log_prior_of)}))
    tree["log_likelihood"] = xr.DataTree(
        xr.Dataset({"y_obs": ((*dims, "obs"), likelihood[..., None])})
    )
    return tree


def test_the_numbers_are_those_of_arviz():
    from arviz_stats import psense_summary

    fit = meta(priors={"beta": {"kind": "normal", "loc": 0, "scale": 3}})
    posterior = fit.data["posterior"].to_dataset()
    tree = with_groups(
        fit, log_prior(fit.spec, posterior), integrated_log_likelihood(fit.spec, posterior)
    )
    theirs = psense_summary(tree, var_names=["beta", "sd_g"], round_to=12)
    ours = sensitivity(fit)
    for what in ("prior", "likelihood"):
        np.testing.assert_allclose(ours[what], theirs[what], rtol=1e-9)


def test_scaled_with_the_priors_the_density_of_effects_would_be_in_conflict_anywhere():
    """The trap: a log prior of all that is not the likelihood holds b, which the data inform."""
    from arviz_stats import psense_summary

    fit = meta()
    posterior = fit.data["posterior"].to_dataset()
    b, sd = posterior["b_g"].values[..., 0], posterior["sd_g"].values
    of_effects = stats.norm(0, sd).logpdf(b).sum(axis=-1)
    likelihood = integrated_log_likelihood(fit.spec, posterior)
    trapped = psense_summary(
        with_groups(fit, log_prior(fit.spec, posterior) + of_effects, likelihood),
        var_names=["sd_g"],
    )
    assert trapped["prior"].iloc[0] > 0.2
    assert "conflict" in trapped["diagnosis"].iloc[0]
    assert sensitivity(fit).loc["sd_g[Intercept]", "prior"] < 0.05


def test_given_the_effects_the_rows_would_say_little_of_the_mean():
    """Why the likelihood has the effects integrated out: b stands between the rows and beta."""
    fit = meta()
    posterior = fit.data["posterior"].to_dataset()
    eta = posterior["beta"].values + posterior["b_g"].values[..., 0]
    given = stats.norm(eta, 1 / fit.spec.design.root_weights).logpdf(fit.spec.design.y).sum(axis=-1)
    draws = posterior["beta"].values[..., 0]
    conditional = room._moved(draws, room._weights(given))
    assert conditional < 0.05 < sensitivity(fit).loc["beta[Intercept]", "likelihood"]


def test_improper_priors_are_left_out():
    spec = model({"preset": "flat"})
    draws = prior_as_posterior(model({}), 400).data["posterior"].to_dataset()
    fit = posterior_of(spec, {str(k): v.values.reshape(-1, *v.shape[2:]) for k, v in draws.items()})
    found = sensitivity(fit)
    assert (found["prior"] == 0).all()
    assert found["tail"].drop("corr_g[Intercept, x]").isna().all()
    assert set(statuses(fit).values()) == {"pass"}


def test_beside_an_improper_prior_a_proper_one_can_be_in_conflict():
    fit = meta(priors={"beta": {"kind": "normal", "loc": 0, "scale": 1}})
    half_flat = model(
        {
            "beta": {"kind": "normal", "loc": 0, "scale": 1},
            "groups": {"g": {"kind": "diagonal", "sd": {"kind": "flat"}}},
        },
        "y ~ 1 + (1 | g)",
        fit.spec.design.table.frame(),
        residual={"kind": "known", "sd": "s"},
    )
    found = sensitivity(PosteriorFit(half_flat, "nuts", fit.data, "", "marginal", 0, (), {}, 1))
    assert found.loc["beta[Intercept]", "diagnosis"] == "prior-data conflict"
    assert found.loc["sd_g[Intercept]", "diagnosis"] in ("", "informative prior")
    assert math.isnan(found.loc["sd_g[Intercept]", "overlap"])


def test_of_a_huge_model_the_likelihood_is_computed_at_some_draws(monkeypatch):
    fit = meta()
    whole = sensitivity(fit)
    monkeypatch.setattr(room, "WORK", 0.0)
    at = room._thinned(fit.spec, CHAINS, 1000)
    assert len(at) * CHAINS == room.LEAST
    assert (at[0], at[-1]) == (0, 999)
    assert (np.diff(at) > 1).all()
    fewer = sensitivity(fit)
    np.testing.assert_array_equal(whole["prior"], fewer["prior"])
    # 400 draws in place of 4000.
    np.testing.assert_allclose(whole["likelihood"], fewer["likelihood"], atol=0.05)


def row(name="a", prior=0.0, likelihood=0.1, diagnosis="", tail=0.5):
    return SensitivityRow(name, prior, likelihood, diagnosis, tail, 0.5, 0.1)


@pytest.mark.parametrize(
    ("prior", "likelihood", "tail", "expected"),
    [
        (0.02, 0.1, 0.001, ""),
        (0.2, 0.1, 0.5, "informative prior"),
        (0.2, 0.1, 0.04, "prior-data conflict"),
        (0.2, 0.1, math.nan, "informative prior"),
        (0.2, 0.03, 0.001, "strong prior or weak likelihood"),
        (math.nan, 0.1, 0.5, ""),
    ],
)
def test_a_diagnosis_goes_by_both_sensitivities_and_the_tail(prior, likelihood, tail, expected):
    assert room._diagnosis(prior, likelihood, tail) == expected


def test_a_sensitivity_that_is_no_number_warns():
    found = sensitivity_checks([row(prior=0.01), row("b", prior=math.nan)])
    assert [one.status for one in found] == ["warn", "warn"]


def test_a_density_that_is_not_finite_gives_no_number():
    spec = model({"sigma": {"kind": "uniform", "lower": 0, "upper": 1}})
    draws = prior_as_posterior(spec, 400).data["posterior"].to_dataset()
    draws["sigma"][:] = draws["sigma"] + 1
    tree = xr.DataTree.from_dict({"posterior": draws})
    fit = PosteriorFit(spec, "nuts", tree, "", "marginal", 0, (), {}, 1)
    assert sensitivity(fit)["prior"].isna().all()
    assert set(statuses(fit).values()) == {"warn"}


def test_what_is_no_posterior_is_refused():
    with pytest.raises(RefusalError, match="sensitivity"):
        sensitivity(hlm.fit("dyestuff", "reml"))
    with pytest.raises(InputErrors, match="sensitivity"):
        sensitivity("dyestuff")


@pytest.mark.slow
def test_the_log_prior_is_that_of_the_pymc_model_of_the_top_level():
    from pymc.stats import compute_log_prior

    spec = hlm.build("sleepstudy-intercept")
    posterior = prior_as_posterior(spec, 40).data["posterior"].to_dataset()
    pymc, names = hlm.to_pymc(spec, "centered"), ["beta", "sd_subject", "sigma"]
    wanted = posterior[names]
    # Effects are called for too, whatever they are named, and make no difference.
    for name, shape in pymc.eval_rv_shapes().items():
        if name not in wanted and name in {rv.name for rv in pymc.free_RVs}:
            dims = [f"{name}_{k}" for k in range(len(shape))]
            wanted[name] = (("chain", "draw", *dims), np.zeros((CHAINS, 10, *shape)))
    found = compute_log_prior(
        xr.DataTree.from_dict({"posterior": wanted}),
        var_names=names,
        model=pymc,
        progressbar=False,
    )
    theirs = found["log_prior"].to_dataset()
    total = sum(theirs[name].sum(set(theirs[name].dims) - {"chain", "draw"}) for name in names)
    np.testing.assert_allclose(log_prior(spec, posterior), total, rtol=1e-9)


@pytest.mark.slow
def test_a_fit_by_nuts_is_no_conflict_by_default_and_one_under_a_tight_prior():
    fit = hlm.fit("sleepstudy-slopes", "nuts", seed=2)
    assert set(statuses(fit).values()) == {"pass"}
    tight = ["priors.beta={days: {kind: normal, loc: 0, scale: 2}}"]
    fit = hlm.fit(hlm.build("sleepstudy-slopes", overrides=tight), "nuts", seed=2)
    found = sensitivity(fit)["diagnosis"]
    assert found["beta[days]"] == "prior-data conflict"
    assert (found == "prior-data conflict").sum() == 1
