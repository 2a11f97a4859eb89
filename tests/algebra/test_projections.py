"""Z' V^-1 W and Z' V^-1 Z against dense algebra over all rows."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import hlm_models as hlm
from hlm_models.algebra import projections as module
from hlm_models.algebra.projections import projections
from hlm_models.errors import RefusalError

FORMULAS = {
    "one factor": "y ~ x + (x | g)",
    "two terms": "y ~ x + (1 | g) + (0 + x | g)",
    "crossed": "y ~ x + (x | g) + (1 | h)",
    "nested": "y ~ x + (x | g/h)",
    "three": "y ~ x + (1 | g) + (x || h) + (1 | k)",
}


def frame(n=72, seed=3):
    rng = np.random.default_rng(seed)
    g, h, k = np.arange(n) % 9, rng.integers(0, 5, n), rng.integers(0, 3, n)
    x = rng.normal(2.0, 1.0, n)
    y = x + rng.normal(size=9)[g] * (1 + x) + rng.normal(size=5)[h] + rng.normal(size=n)
    labels = {name: [f"{name}{code}" for code in codes] for name, codes in (("g", g), ("h", h))}
    return pd.DataFrame({"y": y, "x": x, **labels, "k": [f"k{code}" for code in k]})


def dense(marginal, factors):
    """Scaled Z (n, r), whitened W (n, k) and V (n, n) in full."""
    design = marginal.design
    Z, P = [], []
    for block, scale, Lambda in zip(design.blocks, marginal.scales, factors, strict=True):
        wide = np.zeros((design.n, block.J, block.q))
        wide[np.arange(design.n), block.level] = scale.apply(block.z)
        Z.append(wide.reshape(design.n, -1))
        P.append(np.kron(np.eye(block.J), Lambda @ Lambda.T))
    X = design.x_scaling.apply(design.X)
    W = np.column_stack([X, design.y - X @ design.y_fit])
    V = np.eye(design.n) + sum(z @ p @ z.T for z, p in zip(Z, P, strict=True))
    return Z, W, V


def case(name, *, singular=False):
    marginal = hlm.build(formula=FORMULAS[name], data=frame()).marginal
    rng = np.random.default_rng(5)
    theta = rng.normal(size=marginal.size)
    if singular:
        theta[:] = 0.0
        theta[0] = 1.3
    factors = marginal.factors(theta)
    return projections(factors, marginal.products), *dense(marginal, factors)


@pytest.mark.parametrize("name", FORMULAS)
@pytest.mark.parametrize("singular", [False, True])
def test_rows_and_blocks_are_those_of_dense_algebra(name, singular):
    found, Z, W, V = case(name, singular=singular)
    for f, z in enumerate(Z):
        R = z.T @ np.linalg.solve(V, W)
        assert_allclose(found.rows[f].reshape(R.shape), R, atol=1e-10)
        J, q, _ = found.rows[f].shape
        N = (z.T @ np.linalg.solve(V, z)).reshape(J, q, J, q)
        assert_allclose(found.within(f), np.einsum("jajb->ab", N), atol=1e-10)
        for g, other in enumerate(Z):
            Jg, qg, _ = found.rows[g].shape
            N = z.T @ np.linalg.solve(V, other)
            right = np.random.default_rng(f + g).normal(size=(Jg, qg, 3))
            product = N @ right.reshape(Jg * qg, 3)
            assert_allclose(found.times(f, g, right).reshape(-1, 3), product, atol=1e-9)
            parts = N.reshape(J, q, Jg, qg)
            squares = np.einsum("jakb,jckd->abcd", parts, parts)
            assert_allclose(found.squares(f, g), squares, atol=1e-9)


def test_a_factor_that_explains_nearly_all_loses_no_digits():
    # 1e8 times the residual's variance: G - G P (1 + G P)^-1 G would keep half the digits of N.
    marginal = hlm.build(formula="y ~ 1 + (1 | g)", data=frame()).marginal
    found = projections((np.array([[1e4]]),), marginal.products)
    assert_allclose(found.within(0), 9 * 8 / (1 + 8e8), rtol=1e-14)


def test_too_many_effects_of_several_groups_are_refused(monkeypatch):
    marginal = hlm.build(formula=FORMULAS["crossed"], data=frame()).marginal
    monkeypatch.setattr(module, "LARGEST", 22)
    with pytest.raises(
        RefusalError, match=r"has 23 random effects over several groups.*at most 22"
    ):
        projections(marginal.factors(marginal.start(1.0)), marginal.products)
