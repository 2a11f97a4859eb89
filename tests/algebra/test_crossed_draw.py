"""Draws are linear in the normals: their mean and covariance are exact, no sampling needed."""

import numpy as np
import pytest

from hlm_models.algebra import schur
from hlm_models.algebra.coupling import coupled
from hlm_models.algebra.crossed import sweep
from hlm_models.algebra.crossed_draw import draw_effects
from hlm_models.algebra.gram import scaling

SHAPES = {
    "two intercepts": ((9, 4), (1, 1)),
    "slopes": ((12, 5), (2, 3)),
    "three factors": ((12, 7, 5), (2, 1, 2)),
    "nested": ((20, 5), (1, 2)),
}
V = np.array([-0.4, 1.2, 1.0])


@pytest.fixture(params=["dense", "sparse"], autouse=True)
def storage(request, monkeypatch):
    if request.param == "sparse":
        monkeypatch.setattr(schur, "SMALL", 0)
        monkeypatch.setattr(schur, "_mostly_full", lambda *_: False)
        monkeypatch.setattr(schur, "DENSE", 0)
    return request.param


def case(shape, singular):
    J, q = SHAPES[shape]
    rng, n = np.random.default_rng(3), 120
    level = [np.concatenate([np.arange(j), rng.integers(0, j, n - j)]) for j in J]
    if shape == "nested":
        level[1] = level[0] % J[1]
    z = tuple(np.column_stack([np.ones(n), rng.normal(3, 2, (n, k - 1))]) for k in q)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    blocks = coupled(
        z,
        tuple(level),
        J,
        X,
        rng.normal(50, 3, n),
        z_scaling=tuple(scaling(one, constant=0) for one in z),
        x_scaling=scaling(X, constant=0),
        y_fit=np.array([50.0, 0.3]),
    )
    Lambda = tuple(np.tril(rng.normal(size=(k, k))) for k in q)
    if singular:
        Lambda = tuple(one * (np.arange(len(one)) > 0) for one in Lambda)
    return blocks, Lambda, [(j, k) for j, k in zip(J, q, strict=True)]


@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_without_normals_a_draw_is_the_conditional_mean(shape, singular):
    blocks, Lambda, shapes = case(shape, singular)
    drawn = draw_effects(Lambda, blocks, V, 1.7, tuple(np.zeros(one) for one in shapes))
    for one, mean in zip(drawn, sweep(Lambda, blocks).effects(V), strict=True):
        np.testing.assert_allclose(one, mean, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_covariance_of_draws_is_the_whole_conditional_one(shape, singular):
    blocks, Lambda, shapes = case(shape, singular)
    sizes = [j * k for j, k in shapes]
    ends, sigma = np.cumsum(sizes)[:-1], 1.7

    def draw(normals):
        parts = [
            part.reshape(one) for part, one in zip(np.split(normals, ends), shapes, strict=True)
        ]
        return np.concatenate(
            [one.ravel() for one in draw_effects(Lambda, blocks, V, sigma, tuple(parts))]
        )

    mean = draw(np.zeros(sum(sizes)))
    half = np.array([draw(unit) - mean for unit in np.eye(sum(sizes))]).T
    wide = np.zeros((sum(sizes), sum(sizes)))
    at = 0
    for one, (j, k) in zip(Lambda, shapes, strict=True):
        wide[at : at + j * k, at : at + j * k] = np.kron(np.eye(j), one)
        at += j * k
    ZZ, ZW = blocks.whole()
    inverse = np.linalg.inv(np.eye(len(wide)) + wide.T @ ZZ @ wide)
    np.testing.assert_allclose(mean, wide @ inverse @ wide.T @ ZW @ V, atol=1e-9)
    np.testing.assert_allclose(
        half @ half.T, sigma**2 * wide @ inverse @ wide.T, rtol=1e-9, atol=1e-10
    )
