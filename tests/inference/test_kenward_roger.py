"""Kenward and Roger's method against the formulas of the paper with n x n matrices."""

import os
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import hlm_models as hlm
from hlm_models.errors import RefusalError
from hlm_models.inference.kenward_roger import _inverse, kenward_roger
from hlm_models.parts.covariances import Structure
from hlm_models.parts.covariances.diagonal import Diagonal

FORMULAS = {
    "one factor": "y ~ x + f + (x | g)",
    "independent": "y ~ x + f + (x || g)",
    "terms": "y ~ x + (1 | g) + (0 + x | g)",
    "factor effects": "y ~ x + (0 + f | g)",
    "crossed": "y ~ x + (x | g) + (1 | h)",
    "nested": "y ~ x + f + (1 | g/h)",
    "three": "y ~ x + (1 | g) + (1 | h) + (1 | k)",
}


def frame(seed=11, n=84):
    rng = np.random.default_rng(seed)
    g, h, k = rng.integers(0, 8, n), rng.integers(0, 5, n), rng.integers(0, 4, n)
    x = rng.normal(3.0, 2.0, n)
    y = 1 + x + rng.normal(size=8)[g] * (2 + x / 2) + rng.normal(size=5)[h] + rng.normal(size=4)[k]
    return pd.DataFrame(
        {
            "y": y + rng.normal(size=n),
            "x": x,
            "f": rng.choice([*"abc"], n),
            "g": [f"g{code}" for code in g],
            "h": [f"h{code}" for code in h],
            "k": [f"k{code}" for code in k],
            "w": rng.uniform(0.2, 5.0, n),
        }
    )


def fitted(formula, data=None, **more):
    model = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula, **more}
    return hlm.fit(hlm.build(model, data=frame() if data is None else data), engine="reml")


def dense(fit):
    """Phi, the adjusted Phi, P and W by the formulas of Kenward and Roger, raw parameters.

    Every element of each Psi that is free, and sigma^2 where it is; G the derivatives of Sigma
    (n, n).
    """
    design = fit.spec.design
    G, Sigma = [], np.zeros((design.n, design.n))
    for block, estimate in zip(design.blocks, fit.random, strict=True):
        indicator = (block.level[:, None] == block.level[None, :]).astype(float)
        for term in block.terms:
            columns = range(term.columns.start, term.columns.stop)
            pairs = [
                (a, b) for a in columns for b in columns if a == b or (a > b and term.correlated)
            ]
            for a, b in pairs:
                outer = np.outer(block.z[:, a], block.z[:, b])
                derivative = indicator * (outer if a == b else outer + outer.T)
                G.append(derivative)
                Sigma += estimate.cov[a, b] * derivative
    weights = np.ones(design.n) if design.weights is None else design.weights
    Sigma += fit.sigma**2 * np.diag(1 / weights)
    if design.sigma is None:
        G.append(np.diag(1 / weights))
    inverse, X, m = np.linalg.inv(Sigma), design.X, len(G)
    Phi = np.linalg.inv(X.T @ inverse @ X)
    P = [-X.T @ inverse @ one @ inverse @ X for one in G]
    Q = [[X.T @ inverse @ a @ inverse @ b @ inverse @ X for b in G] for a in G]
    information = np.array(
        [
            [
                np.trace(inverse @ G[i] @ inverse @ G[j])
                - 2 * np.trace(Phi @ Q[i][j])
                + np.trace(Phi @ P[i] @ Phi @ P[j])
                for j in range(m)
            ]
            for i in range(m)
        ]
    )
    W = 2 * np.linalg.inv(information)
    U = sum(W[i, j] * (Q[i][j] - P[i] @ Phi @ P[j]) for i in range(m) for j in range(m))
    return Phi, Phi + 2 * Phi @ U @ Phi, P, W


def dense_test(fit, L):
    """F, df and scale of L beta = 0 by the formulas of Halekoh and Hojsgaard."""
    Phi, adjusted, P, W = dense(fit)
    q, m = len(L), len(P)
    Theta = L.T @ np.linalg.solve(L @ Phi @ L.T, L)
    T = [Theta @ Phi @ one @ Phi for one in P]
    A1 = sum(W[i, j] * np.trace(T[i]) * np.trace(T[j]) for i in range(m) for j in range(m))
    A2 = sum(W[i, j] * np.trace(T[i] @ T[j]) for i in range(m) for j in range(m))
    B = (A1 + 6 * A2) / (2 * q)
    g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
    c1, c2, c3 = (c / (3 * q + 2 * (1 - g)) for c in (g, q - g, q + 2 - g))
    E = 1 / (1 - A2 / q)
    V = (2 / q) * (1 + c1 * B) / ((1 - c2 * B) ** 2 * (1 - c3 * B))
    rho = V / (2 * E**2)
    df = 4 + (q + 2) / (q * rho - 1)
    scale = df / (E * (df - 2))
    distance = L @ fit.beta
    return scale * distance @ np.linalg.solve(L @ adjusted @ L.T, distance) / q, df, scale


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize(
    "weights", [{}, {"weights": "w"}, {"residual": {"kind": "known", "sd": "w"}}]
)
def test_everything_is_that_of_dense_algebra(name, weights):
    fit = fitted(FORMULAS[name], **weights)
    Phi, adjusted, _, _ = dense(fit)
    found = kenward_roger(fit)
    assert_allclose(fit.vcov_beta, Phi, rtol=1e-6, atol=1e-9)
    assert_allclose(found.vcov_beta, adjusted, rtol=1e-6, atol=1e-9)
    p = len(fit.beta)
    for L in (np.eye(p), np.eye(p)[1:], np.eye(p)[:1], np.eye(p)[:1] + 2 * np.eye(p)[1:2]):
        F, df, scale = dense_test(fit, L)
        joint = found.joint(L, L @ fit.beta)
        assert_allclose((joint.F, joint.den_df, joint.scale), (F, df, scale), rtol=1e-6)
        assert joint.num_df == len(L)
    variance, df = found.rows(np.eye(p))
    assert_allclose(variance, np.diag(adjusted), rtol=1e-6)
    assert_allclose(df, [dense_test(fit, row[None])[1] for row in np.eye(p)], rtol=1e-6)


class Shared(Diagonal):
    """Independent effects of one variance."""

    structure: ClassVar[Structure] = "shared"


def test_a_shared_variance_is_one_parameter():
    # Indicators of f that vary by g with one variance are an intercept that varies by g:f.
    spec = hlm.build(formula="y ~ x + (0 + f || g)", data=frame())
    [block] = spec.priors.blocks
    [term] = block.terms
    prior = replace(block, terms=(Shared.model_construct(**dict(term)),))
    one = hlm.fit(replace(spec, priors=replace(spec.priors, blocks=(prior,))), engine="reml")
    other = fitted("y ~ x + (1 | g:f)")
    assert len(one.theta) == 1
    assert_allclose(one.criterion, other.criterion, atol=1e-7)
    mine, known = kenward_roger(one), kenward_roger(other)
    assert_allclose(mine.vcov_beta, known.vcov_beta, rtol=1e-5)
    assert_allclose(mine.rows(np.eye(2))[1], known.rows(np.eye(2))[1], rtol=1e-5)


def test_of_a_balanced_one_way_layout_it_is_exact():
    # The mean of a balanced layout has J - 1 degrees of freedom, and its variance needs no change.
    rng = np.random.default_rng(4)
    y = np.repeat(rng.normal(size=7), 5) + rng.normal(size=35)
    fit = fitted("y ~ 1 + (1 | g)", pd.DataFrame({"y": y, "g": [f"g{i // 5}" for i in range(35)]}))
    variance, df = kenward_roger(fit).rows(np.eye(1))
    assert_allclose(df, 6, rtol=1e-10)
    assert_allclose(variance, fit.vcov_beta[0], rtol=1e-10)


@given(unit=st.floats(-6, 6), shift=st.floats(-100, 100))
def test_units_and_zeros_of_predictors_do_not_matter(unit, shift):
    changed = frame()
    changed["x"] = (changed["x"] + shift) * 10**unit
    found = []
    for fit in (BEFORE, fitted(FORMULAS["one factor"], changed)):
        at = [fit.spec.design.coef.index(name) for name in ("x", "f[b]", "f[c]")]
        L = np.eye(len(fit.beta))[at]
        kr = kenward_roger(fit)
        joint = kr.joint(L, L @ fit.beta)
        found.append([*kr.rows(L)[1], joint.F, joint.den_df, joint.scale])
    assert_allclose(found[1], found[0], rtol=2e-6)


BEFORE = fitted(FORMULAS["one factor"])


def test_an_ml_fit_is_refused_with_the_repair():
    fit = hlm.fit("sleepstudy-slopes", engine="ml")
    with pytest.raises(RefusalError, match='fit with engine="reml", or use df="satterthwaite"'):
        kenward_roger(fit)


@pytest.mark.skipif("HLM_DATA" not in os.environ, reason="the NELS file is not in HLM_DATA")
def test_nels_is_large_and_so_both_methods_nearly_agree():
    fit = hlm.fit("nels-slopes", engine="reml")
    adjusted, plain = (
        hlm.coefficient_tests(fit, df=df).frame() for df in ("kenward-roger", "satterthwaite")
    )
    assert_allclose(adjusted["se"], plain["se"], rtol=2e-3)
    assert_allclose(adjusted["df"], plain["df"], rtol=0.15)


def test_a_direction_without_information_counts_as_known():
    # What beta takes away in full leaves rounding, of either sign.
    for rounding in (-1e-14, 1e-14):
        information = np.array([[7.0, rounding], [rounding, rounding]])
        found = _inverse(information, np.array([8.0, 5.0]))
        assert_allclose(found, [[1 / 7, 0], [0, 0]], atol=1e-15)


def test_too_few_groups_for_a_joint_test_are_told():
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(3), 8)
    a, b, c = rng.normal(size=(3, 3))[:, g]
    x, w = rng.normal(size=(2, 24))
    data = pd.DataFrame(
        {"y": a + b * x + c * w + rng.normal(size=24), "x": x, "w": w, "g": g.astype(str)}
    )
    spec = hlm.build(formula="y ~ x + w + (x + w | g)", data=data)
    fit = hlm.fit(spec, engine="reml")
    three = ["Intercept", "x", "w"]
    with pytest.raises(RefusalError, match="too few groups to test 3 hypotheses jointly"):
        hlm.hypothesis(fit, three, df="kenward-roger")
    assert hlm.hypothesis(fit, three[:1], df="kenward-roger").joint.den_df > 0
    assert hlm.hypothesis(fit, three).joint.den_df > 0
