"""The hyperparameters of a prior of several coefficients, in posteriors, summaries and files."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import hlm_models as hlm
from hlm_models.comparison.agreement import agreement
from hlm_models.comparison.sensitivity import sensitivity
from hlm_models.engines.find import find
from hlm_models.results.document import document
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import point_at, posterior_tree, variables
from hlm_models.results.prior import implied_prior
from hlm_models.results.save import load_fit, save_fit
from hlm_models.results.summary import drawn_parameters, parameters, summary
from hlm_models.spec.density import joint_log_density
from hlm_models.spec.simulate import draw_prior
from hlm_models.target.conditional import draw_posterior
from hlm_models.target.draws import variances_of

CHAINS, DRAWS, N = 2, 60, 80
OWN = {
    "horseshoe": {"tau_beta": (), "slab_beta": (), "lambda_beta": (3,)},
    "r2d2": {"r2_beta": (), "phi_beta": (3,)},
}


def made_up():
    rng = np.random.default_rng(4)
    X = rng.normal(size=(N, 3))
    group = np.arange(N) % 8
    y = 1 + X[:, 0] + rng.normal(size=8)[group] + rng.normal(size=N)
    return pd.DataFrame(X, columns=["x", "w", "v"]).assign(y=y, g=[f"g{k}" for k in group])


def spec_of(kind):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}}
    head |= {"formula": "y ~ x + w + v + (1 | g)", "priors": {"beta": {"kind": kind}}}
    return hlm.build(head, data=made_up())


def canned(spec):
    """Draws of all variables near the rows: of the prior, with the coefficients of REML."""
    rng = np.random.default_rng(7)
    points = [draw_prior(spec, rng) for _ in range(CHAINS * DRAWS)]
    reml = hlm.fit(spec, engine="reml").beta
    draws = {
        "beta": np.array([0.5 * reml + 0.1 * rng.normal(size=4) for _ in points]),
        "sigma": np.exp(0.1 * rng.normal(size=len(points))),
        "sd_g": np.exp(0.1 * rng.normal(size=(len(points), 1))),
        "corr_g": np.ones((len(points), 1, 1)),
        "b_g": rng.normal(size=(len(points), 8, 1)),
    }
    draws |= {
        name: np.array([point.shrinkage[name] for point in points]) for name in OWN[kind_of(spec)]
    }
    return {name: one.reshape(CHAINS, DRAWS, *one.shape[1:]) for name, one in draws.items()}


def kind_of(spec):
    return spec.priors.shrinkage.law.kind


@pytest.fixture(scope="module", params=list(OWN))
def fit(request):
    spec = spec_of(request.param)
    draws = canned(spec)
    stats = {"diverging": np.zeros((CHAINS, DRAWS), dtype=bool)}
    data = posterior_tree(spec, draws, stats, np.random.SeedSequence(1), with_log_likelihood=True)
    return PosteriorFit(
        spec=spec,
        engine="nuts",
        data=data,
        sampler="nutpie",
        parameterization="marginal",
        divergences=0,
        checks=(),
        seconds={},
        seed=1,
    )


def test_posterior_and_prior_hold_them_with_names(fit):
    own = OWN[kind_of(fit.spec)]
    assert {name: variables(fit.spec)[name] for name in own} == {
        name: ("coef_shrunk",) * len(shape) for name, shape in own.items()
    }
    for group, count in (("posterior", DRAWS), ("prior", 500)):
        found = fit.data[group].to_dataset()
        for name, shape in own.items():
            assert found[name].shape[1:] == (count, *shape)
        assert found["coef_shrunk"].values.tolist() == ["x", "w", "v"]


def test_a_draw_is_a_point_of_the_joint_density(fit):
    at = point_at(fit.spec, fit.data["posterior"].to_dataset(), 1, 3)
    assert set(at.shrinkage) == set(OWN[kind_of(fit.spec)])
    assert np.isfinite(joint_log_density(fit.spec, at))


def test_one_of_them_is_in_the_summary_of_a_posterior_and_none_in_that_of_a_point_fit(fit):
    top = next(iter(OWN[kind_of(fit.spec)]))
    names = [one.name for one in parameters(fit.spec)]
    found = summary(fit)
    assert list(found.index) == [*names, top]
    draws = fit.data["posterior"][top].values
    assert found.loc[top, "mean"] == pytest.approx(draws.mean())
    reml = hlm.fit(fit.spec, engine="reml")
    assert list(summary(reml).index) == names
    assert list(drawn_parameters(fit.spec, fit.data["prior"].to_dataset())) == [*names, top]


def test_the_document_has_it_apart_from_the_coefficients(fit):
    top = next(iter(OWN[kind_of(fit.spec)]))
    found = json.loads(json.dumps(document(fit)))
    assert [row["name"] for row in found["beta"]] == ["Intercept", "x", "w", "v"]
    assert [row["name"] for row in found["hyperparameters"]] == [top]
    assert {"mean", "lower", "r_hat"} <= set(found["hyperparameters"][0])


def test_a_saved_posterior_is_read_back(fit, tmp_path):
    save_fit(fit, tmp_path / "fit.nc")
    again = load_fit(tmp_path / "fit.nc", fit.spec)
    for name in OWN[kind_of(fit.spec)]:
        np.testing.assert_array_equal(
            again.data["posterior"][name].values, fit.data["posterior"][name].values
        )


def test_agreement_says_which_prior_pulls(fit):
    rows = {row.parameter: row for row in agreement(fit, hlm.fit(fit.spec, engine="reml")).rows}
    assert rows["beta[x]"].cause == "prior"
    assert f"{kind_of(fit.spec)} pulls it towards 0" in rows["beta[x]"].why
    assert set(rows) == {one.name for one in parameters(fit.spec)}


def test_sensitivity_has_no_density_of_one_shrunken_coefficient(fit):
    found = sensitivity(fit)
    assert np.isnan(found.loc["beta[x]", "overlap"])
    assert np.isfinite(found["prior"]).all()
    assert next(iter(OWN[kind_of(fit.spec)])) in found.index


def test_the_prior_before_the_data_has_a_mean_where_it_has_one(fit):
    found = implied_prior(fit.spec, 300, 2).frame()["mean"]
    assert np.isfinite(found[["beta[x]", "y", "sigma"]]).all()
    top = next(iter(OWN[kind_of(fit.spec)]))
    # The global scale of the horseshoe is half-Cauchy.
    assert np.isnan(found[top]) == (top == "tau_beta")


def test_gibbs_refuses_by_name(fit):
    [reason] = find("gibbs").refusals(fit.spec)
    assert kind_of(fit.spec) in reason
    assert "use normal" in reason


def test_hyperparameters_pass_from_the_marginal_form_to_the_posterior(fit):
    """What a sampler of the marginal graph hands over, in the order of dims of its own."""
    spec, drawn = fit.spec, fit.data["posterior"].to_dataset()
    raw = drawn.drop_vars(["beta", "b_g"]).assign(
        beta_free=(("chain", "draw", "coef_free"), drawn["beta"].values[..., 1:])
    )
    stats = xr.Dataset({"diverging": (("chain", "draw"), np.zeros((CHAINS, DRAWS), dtype=bool))})
    tree = xr.DataTree.from_dict({"posterior": raw.transpose(...), "sample_stats": stats})
    variances, _ = variances_of(spec, tree)
    one = variances.at(1, slice(3, 9))
    found, _ = draw_posterior(spec, variances, np.random.SeedSequence(2))
    for name in OWN[kind_of(spec)]:
        np.testing.assert_array_equal(found[name], drawn[name].values)
        np.testing.assert_array_equal(one.shrinkage[name], drawn[name].values[1, 3:9])
    np.testing.assert_array_equal(found["beta"][..., 1:], drawn["beta"].values[..., 1:])


def test_without_such_a_prior_there_is_nothing_of_it():
    spec = hlm.build("dyestuff")
    assert not {"tau_beta", "r2_beta"} & set(variables(spec))
    assert spec.priors.shrinkage is None
