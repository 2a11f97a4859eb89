"""A prior of several coefficients together, in the units of a model."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from hlm_models import build
from hlm_models.errors import InputErrors
from hlm_models.spec.density import Point, joint_log_density, log_likelihood
from hlm_models.spec.describe import describe
from hlm_models.spec.simulate import draw_prior, improper, prior_draws

N = 60
KINDS = ("horseshoe", "r2d2")


def made_up():
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "y": rng.normal(2.0, 3.0, N),
            "x": rng.normal(40.0, 2.0, N),
            "w": rng.normal(0.0, 0.1, N),
            "v": rng.normal(size=N),
            "school": [f"s{i % 7}" for i in range(N)],
            "m": rng.uniform(0.5, 4.0, N),
        }
    )


FRAME = made_up()


def spec(beta, formula="y ~ x + w + v + (1 | school)", *, preset="weak", **more):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return build({**head, "priors": {"beta": beta, "preset": preset}, **more}, data=FRAME)


def rows(model):
    return {row.parameter: row.prior for row in describe(model).priors}


def test_it_holds_for_all_but_the_intercept_which_keeps_the_default():
    model, plain = spec({"kind": "horseshoe"}), spec({"kind": "normal"})
    joint = model.priors.shrinkage
    assert plain.priors.shrinkage is None
    assert (joint.names, joint.places) == (("x", "w", "v"), (1, 2, 3))
    assert [prior.kind for prior in model.priors.beta] == ["normal", *["shrunk"] * 3]
    assert model.priors.own == ((0, plain.priors.beta[0]),)
    np.testing.assert_allclose(joint.spread, FRAME[["x", "w", "v"]].std(), rtol=1e-12)
    assert joint.unit == 1.0


def test_without_an_intercept_it_holds_for_all():
    model = spec({"kind": "r2d2"}, "y ~ 0 + x + w + (0 + x | school)")
    assert model.priors.shrinkage.places == (0, 1)
    assert model.priors.own == ()


@pytest.mark.parametrize("preset", ["weak", "lecture", "flat"])
def test_the_intercept_has_the_prior_of_the_preset(preset):
    model = spec({"kind": "horseshoe"}, preset=preset)
    assert model.priors.own == ((0, spec({}, preset=preset).priors.beta[0]),)


def test_numbers_are_worked_out_from_the_data():
    law = spec({"kind": "horseshoe"}).priors.shrinkage.law
    assert law.scale_global == pytest.approx(1 / 3 / math.sqrt(N))
    assert law.slab_scale == pytest.approx(2.5 * FRAME["y"].std())
    law = spec({"kind": "horseshoe", "expected": 2, "slab_scale": 9}).priors.shrinkage.law
    assert (law.scale_global, law.slab_scale) == (pytest.approx(2 / math.sqrt(N)), 9.0)


def test_the_description_has_the_numbers():
    found = rows(spec({"kind": "horseshoe", "scale_global": 0.1, "slab_scale": 8}))
    spread = FRAME["w"].std()
    assert found["beta[w]"] == f"horseshoe: normal(0, tau l[w] / {spread:.6g})"
    assert found["tau_beta"] == "half_student_t(1, 0.1 residual sd)"
    assert found["lambda_beta"] == "half_student_t(1, 1), each of 3"
    assert found["slab_beta"] == "its square: inverse_gamma(2, 128)"
    found = rows(spec({"kind": "r2d2", "mean_r2": 0.3, "prec_r2": 10}))
    assert found["beta[w]"].endswith(f"sqrt(phi[w] R2 / (1 - R2)) / {spread:.6g})")
    assert found["r2_beta"] == "beta(3, 7)"
    assert found["phi_beta"] == "dirichlet(0.5), 3 shares"


@pytest.mark.parametrize("kind", KINDS)
def test_the_unit_is_the_residual_of_a_typical_row(kind):
    typical = math.exp(-np.log(FRAME["m"]).mean() / 2)
    weighted = spec({"kind": kind}, weights="m").priors
    assert weighted.shrinkage.unit == pytest.approx(typical, rel=1e-12)
    known = spec({"kind": kind}, residual={"kind": "known", "sd": "m"}).priors
    assert known.sigma is None
    assert known.shrinkage.unit == pytest.approx(typical**-2, rel=1e-12)


def shrunken(joint, point, sigma):
    """Log density of the coefficients and the hyperparameters, as docs/priors.md writes it."""
    law, values, s = joint.law, point.shrinkage, sigma * joint.unit
    if law.kind == "r2d2":
        r2, phi = float(values["r2_beta"]), values["phi_beta"]
        total = stats.beta(1, 1).logpdf(r2) + stats.dirichlet([0.5] * 3).logpdf(phi)
        scale = s * np.sqrt(phi * r2 / (1 - r2))
    else:
        tau, c, each = (values[f"{name}_beta"] for name in ("tau", "slab", "lambda"))
        total = stats.halfcauchy(scale=law.scale_global * s).logpdf(tau)
        total += stats.halfcauchy().logpdf(each).sum()
        total += stats.invgamma(2, scale=2 * law.slab_scale**2).logpdf(c**2) + math.log(2 * c)
        scale = tau * each * np.sqrt(c**2 / (c**2 + tau**2 * each**2))
    return total + stats.norm(0, scale / np.array(joint.spread)).logpdf(point.beta[1:]).sum()


@pytest.mark.parametrize("more", [{}, {"weights": "m"}, {"residual": {"kind": "known", "sd": "m"}}])
@pytest.mark.parametrize("kind", KINDS)
def test_the_joint_density_is_assembled_from_scipy(kind, more):
    model = spec({"kind": kind}, **more)
    joint, sigma = model.priors.shrinkage, model.priors.sigma
    for seed in range(3):
        at = draw_prior(model, np.random.default_rng(seed))
        intercept = model.priors.beta[0]
        expected = stats.norm(intercept.loc, intercept.scale).logpdf(at.beta[0])
        expected += shrunken(joint, at, at.sigma) + log_likelihood(model, at).sum()
        expected += stats.norm(0, at.sd[0]).logpdf(at.b[0]).sum()
        sd = model.priors.blocks[0].terms[0].sd_priors()[0]
        expected += stats.t(3, scale=sd.scale).logpdf(at.sd[0][0]) + math.log(2)
        if sigma is not None:
            expected += stats.t(3, scale=sigma.scale).logpdf(at.sigma) + math.log(2)
        assert joint_log_density(model, at) == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_from_the_prior_have_hyperparameters_and_are_those_of_the_law(kind):
    model = spec({"kind": kind}, weights="m")
    joint = model.priors.shrinkage
    one = draw_prior(model, np.random.default_rng(5))
    assert {name: value.shape for name, value in one.shrinkage.items()} == {
        name: (3,) * len(dims) for name, dims in joint.dims.items()
    }
    drawn = prior_draws(model, np.random.default_rng(6), 3000)
    assert drawn["beta"].shape == (3000, 4)
    scale = joint.law.scales(drawn, drawn["sigma"] * joint.unit) / np.array(joint.spread)
    for z in (drawn["beta"][:, 1:] / scale).T:
        assert stats.kstest(z, "norm").pvalue > 1e-4
    # Relative to sigma: what is left of tau, or of R2, has nothing to do with it.
    top = drawn[joint.law.common[0]]
    ratio = top / drawn["sigma"] if kind == "horseshoe" else top
    assert abs(stats.spearmanr(ratio, drawn["sigma"]).statistic) < 5 / math.sqrt(3000)
    again = prior_draws(model, np.random.default_rng(6), 3000)
    np.testing.assert_array_equal(again["beta"], drawn["beta"])
    assert improper(model) == ()


def test_outside_the_support_there_is_no_density():
    model = spec({"kind": "horseshoe"})
    at = draw_prior(model, np.random.default_rng(1))
    assert np.isfinite(joint_log_density(model, at))
    away = {**at.shrinkage, "tau_beta": -at.shrinkage["tau_beta"]}
    moved = Point(at.beta, at.sigma, at.sd, at.corr, at.b, away)
    assert joint_log_density(model, moved) == -np.inf


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_is_read_back_from_its_settings(kind):
    model = spec({"kind": kind})
    again = build(json.loads(json.dumps(model.config)), data=FRAME)
    assert again.priors == model.priors
    assert again.identity == model.identity != spec({"kind": "normal"}).identity


@pytest.mark.parametrize(
    ("beta", "formula", "key", "message"),
    [
        (
            {"kind": "horseshoe", "expected": 3},
            "y ~ x + w + v + (1 | school)",
            "priors.beta.expected",
            "below the 3 that the prior holds for, and it is 3",
        ),
        (
            {"kind": "horseshoe"},
            "y ~ 1 + (1 | school)",
            "priors.beta",
            "horseshoe is a prior of the coefficients other than the intercept, and this model has",
        ),
        ({"kind": "r2d2"}, "y ~ 1 + (1 | school)", "priors.beta", "leave priors.beta out"),
        ({"x": {"kind": "horseshoe"}}, "y ~ x + (1 | school)", "priors.beta.x.kind", "together"),
    ],
)
def test_what_cannot_be_is_refused_once_and_in_its_place(beta, formula, key, message):
    with pytest.raises(InputErrors, match=message) as caught:
        spec(beta, formula)
    assert [problem.key for problem in caught.value.problems] == [key]


@pytest.mark.parametrize("group", ["tau_beta", "coef_shrunk", "phi_beta"])
def test_a_group_may_not_be_named_as_a_hyperparameter(group):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}}
    frame = FRAME.rename(columns={"school": group})
    with pytest.raises(InputErrors, match=f"may not be named '{group}'"):
        build({**head, "formula": f"y ~ x + (1 | {group})"}, data=frame)
