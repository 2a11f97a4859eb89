"""Unit-information priors against the lecture's own loops, and the presets that use them."""

import numpy as np
import pandas as pd
import pytest

from hlm_models import build
from hlm_models.errors import InputErrors


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def all_random(y, X, groups):
    """The lecture's first recipe, a loop over groups."""
    p = X.shape[1]
    B, SSE, df = [], 0.0, 0
    for j in np.unique(groups):
        yj, Xj = y[groups == j], X[groups == j]
        bj = np.linalg.solve(Xj.T @ Xj + np.eye(p), Xj.T @ yj)
        B.append(bj)
        SSE += np.sum((yj - Xj @ bj) ** 2)
        df += max(0, len(yj) - p)
    s20 = SSE / df
    return np.mean(B, axis=0), np.full(p, s20), np.cov(np.array(B).T), p + 1, s20


def some_random(y, X, Z, groups):
    """The lecture's second recipe."""
    q = Z.shape[1]
    beta0 = np.linalg.lstsq(X, y, rcond=None)[0]
    rest = y - X @ beta0
    A, SSE, df = [], 0.0, 0
    for j in np.unique(groups):
        yj, Zj = rest[groups == j], Z[groups == j]
        aj = np.linalg.solve(Zj.T @ Zj + np.eye(q), Zj.T @ yj)
        A.append(aj)
        SSE += np.sum((yj - Zj @ aj) ** 2)
        df += max(0, len(yj) - q)
    A = np.array(A)
    return beta0, np.full(X.shape[1], 50.0), A.T @ A / len(A), q + 1, SSE / df


def held(spec, expected):
    beta0, V0, Psi0, eta0, s20 = expected
    np.testing.assert_allclose([one.loc for one in spec.priors.beta], beta0, rtol=1e-9)
    np.testing.assert_allclose([one.scale for one in spec.priors.beta], np.sqrt(V0), rtol=1e-12)
    [prior] = spec.priors.blocks[0].terms
    assert prior.kind == "inverse_wishart"
    assert prior.nu == eta0
    np.testing.assert_allclose(prior.scale, Psi0, rtol=1e-9, atol=1e-9)
    # 1 / sigma^2 ~ gamma(nu0 / 2, nu0 s20 / 2) with nu0 = 2.
    assert spec.priors.sigma.kind == "inverse_gamma"
    assert spec.priors.sigma.shape == 1.0
    assert spec.priors.sigma.scale == pytest.approx(s20, rel=1e-9)


def made_up(rng, sizes=(5, 2, 9, 3, 1, 12, 4)):
    level = np.repeat(np.arange(len(sizes)), sizes)
    n = len(level)
    x, w = rng.normal(2.0, 1.0, n), rng.normal(size=len(sizes))[level]
    y = 3.0 + x + w + rng.normal(size=len(sizes))[level] * (1 + 0.3 * x) + rng.normal(size=n)
    return pd.DataFrame({"y": y, "x": x, "w": w, "g": [f"g{j}" for j in level]})


def lecture(formula, data, **priors):
    return build(
        {
            "schema": 1,
            "name": "m",
            "data": {"source": "frame"},
            "formula": formula,
            "priors": {"preset": "lecture", **priors},
        },
        data=data,
    )


def test_every_coefficient_random(rng):
    data = made_up(rng)
    spec = lecture("y ~ x + (x | g)", data)
    X = np.column_stack([np.ones(len(data)), data["x"]])
    held(spec, all_random(data["y"].to_numpy(), X, data["g"].to_numpy()))
    assert any("2 of 7 levels of g have no more rows than the 2 effects" in n for n in spec.notes)


def test_a_macro_predictor_in_x_alone(rng):
    data = made_up(rng)
    spec = lecture("y ~ x + w + (x | g)", data)
    Z = np.column_stack([np.ones(len(data)), data["x"]])
    X = np.column_stack([Z, data["w"]])
    held(spec, some_random(data["y"].to_numpy(), X, Z, data["g"].to_numpy()))


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("nels-bayes-slopes", ["hwh", "ses"]),
        ("nels-bayes-macro-in-z", ["hflp", "hwh", "ses"]),
        ("nels-bayes-macro", None),
    ],
)
def test_the_lectures_three_models(name, columns, nels):
    data = nels[(nels["urbanicity"] == "urban") & (nels["public"] == 1)].copy()
    assert len(data) == 2742
    data["hflp"] = (data["flp"] == 3).astype(float)
    ones, y, g = np.ones(len(data)), data["mscore"].to_numpy(), data["school"].to_numpy()
    spec = build(name)
    if columns:
        X = np.column_stack([ones, data[columns]])
        held(spec, all_random(y, X, g))
    else:
        Z = np.column_stack([ones, data[["hwh", "ses"]]])
        held(spec, some_random(y, np.column_stack([Z, data["hflp"]]), Z, g))


def test_independent_effects_have_an_inverse_gamma_each(rng):
    data = made_up(rng)
    spec = lecture("y ~ x + (x || g)", data)
    [prior] = spec.priors.blocks[0].terms
    _, _, Psi0, _, _ = all_random(
        data["y"].to_numpy(),
        np.column_stack([np.ones(len(data)), data["x"]]),
        data["g"].to_numpy(),
    )
    assert prior.kind == "diagonal"
    assert [one.shape for one in prior.sd_priors()] == [1.0, 1.0]
    np.testing.assert_allclose([2 * one.scale for one in prior.sd_priors()], np.diag(Psi0))


def test_what_is_said_stands_beside_the_preset(rng):
    data = made_up(rng)
    spec = lecture("y ~ x + (x | g)", data, beta={"x": {"kind": "flat"}}, sigma={"kind": "flat"})
    assert [one.kind for one in spec.priors.beta] == ["normal", "flat"]
    assert spec.priors.sigma.kind == "flat"
    plain = lecture("y ~ x + (x | g)", data, preset="weak", sigma={"kind": "unit_information"})
    assert plain.priors.sigma == lecture("y ~ x + (x | g)", data).priors.sigma
    assert plain.priors.blocks[0].terms[0].kind == "lkj"


def test_the_flat_preset_is_flat_and_uniform_over_correlations(rng):
    spec = lecture("y ~ x + (x | g)", made_up(rng), preset="flat")
    assert {one.kind for one in spec.priors.beta} == {"flat"}
    assert spec.priors.sigma.kind == "flat"
    [prior] = spec.priors.blocks[0].terms
    assert (prior.kind, prior.eta) == ("lkj", 1.0)
    assert {one.kind for one in prior.sd_priors()} == {"flat"}


def test_a_weak_preset_is_the_default_and_the_same_model(rng):
    data = made_up(rng)
    spec = lecture("y ~ x + (x | g)", data, preset="weak")
    same = build(formula="y ~ x + (x | g)", data=data)
    assert spec.priors == same.priors
    assert spec.identity == same.identity
    assert lecture("y ~ x + (x | g)", data).identity != same.identity


@pytest.mark.parametrize(
    ("formula", "data", "message"),
    [
        (
            "y ~ x + (1 | g) + (1 | h)",
            lambda d: d.assign(h=[f"h{i % 3}" for i in range(len(d))]),
            "one grouping factor, and this model has g, h",
        ),
        (
            "y ~ x + (x | g)",
            lambda d: d.groupby("g").head(2),
            "a level of g with more rows than its 2 effects",
        ),
        ("y ~ x + (x | g)", lambda d: d[d["g"].isin(["g0", "g2"])], "their covariance is singular"),
    ],
)
def test_data_that_the_recipe_does_not_fit_are_refused(formula, data, message, rng):
    with pytest.raises(InputErrors, match=message):
        lecture(formula, data(made_up(rng)))


def test_an_unknown_preset_lists_the_known_ones(rng):
    with pytest.raises(InputErrors, match=r"lecture.*weak.*flat"):
        lecture("y ~ x + (x | g)", made_up(rng), preset="lectrue")
