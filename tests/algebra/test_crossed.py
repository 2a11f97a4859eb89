"""Several factors against the dense model: V = I + sum_f Z_f P_f Z_f' formed in full."""

import numpy as np
import pytest

from hlm_models.algebra import schur
from hlm_models.algebra.coupling import coupled
from hlm_models.algebra.crossed import sweep
from hlm_models.algebra.gram import scaling

SHAPES = {
    "two intercepts": ((9, 4), (1, 1)),
    "slopes in the first": ((12, 5), (2, 1)),
    "slopes in the second": ((12, 5), (1, 3)),
    "three factors": ((12, 7, 5), (2, 1, 2)),
    "nested": ((20, 5), (1, 2)),
}


@pytest.fixture(params=["dense", "sparse"], autouse=True)
def storage(request, monkeypatch):
    """Every claim holds whichever way the Schur complement is stored."""
    if request.param == "sparse":
        monkeypatch.setattr(schur, "SMALL", 0)
        monkeypatch.setattr(schur, "_mostly_full", lambda *_: False)
        monkeypatch.setattr(schur, "DENSE", 0)
    return request.param


class Dense:
    """The same model with V and the wide Z formed: slow and obvious."""

    def __init__(self, case, singular=False):
        J, q = SHAPES[case]
        rng = np.random.default_rng(len(case))
        self.n, self.J, self.q = 200, J, q
        level = [np.concatenate([np.arange(j), rng.integers(0, j, self.n - j)]) for j in J]
        if case == "nested":
            level[1] = level[0] % J[1]
        self.level = tuple(level)
        self.z = tuple(
            np.column_stack([np.ones(self.n), rng.normal(3, 2, (self.n, k - 1))]) for k in q
        )
        self.X = np.column_stack([np.ones(self.n), rng.normal(size=(self.n, 2))])
        self.y = rng.normal(50, 3, self.n)
        self.z_scaling = tuple(scaling(z, constant=0) for z in self.z)
        self.x_scaling = scaling(self.X, constant=0)
        self.Lambda = tuple(np.tril(rng.normal(size=(k, k))) for k in q)
        if singular:
            self.Lambda = tuple(Lambda * (np.arange(len(Lambda)) == 9) for Lambda in self.Lambda)
        self.y_fit = np.array([50.0, 0.3, -0.2])
        fixed = self.x_scaling.apply(self.X)
        self.W = np.column_stack([fixed, self.y - fixed @ self.y_fit])
        self.wide = []
        for z, s, lv, j, k in zip(self.z, self.z_scaling, self.level, J, q, strict=True):
            Z = np.zeros((self.n, j, k))
            Z[np.arange(self.n), lv] = s.apply(z)
            self.wide.append(Z.reshape(self.n, j * k))

    def V(self, Lambda):
        V = np.eye(self.n)
        for Z, L, j in zip(self.wide, Lambda, self.J, strict=True):
            V += Z @ np.kron(np.eye(j), L @ L.T) @ Z.T
        return V

    def value(self, Lambda, weight, F):
        V = self.V(Lambda)
        S = self.W.T @ np.linalg.solve(V, self.W)
        return weight * np.linalg.slogdet(V)[1] + np.sum(F * S)

    def blocks(self):
        return coupled(
            self.z,
            self.level,
            self.J,
            self.X,
            self.y,
            z_scaling=self.z_scaling,
            x_scaling=self.x_scaling,
            y_fit=self.y_fit,
        )


@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.parametrize("case", SHAPES)
def test_the_pass_is_the_dense_determinant_and_products(case, singular):
    dense = Dense(case, singular)
    found = sweep(dense.Lambda, dense.blocks())
    V = dense.V(dense.Lambda)
    assert found.logdet == pytest.approx(np.linalg.slogdet(V)[1], rel=1e-10, abs=1e-9)
    expected = dense.W.T @ np.linalg.solve(V, dense.W)
    np.testing.assert_allclose(found.S, expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.parametrize("case", SHAPES)
def test_the_derivative_is_the_dense_one(case, singular):
    # M_f = sum over levels of w Z_l'V^-1 Z_l - Z_l'V^-1 W F W'V^-1 Z_l, also where Lambda = 0.
    dense = Dense(case, singular)
    rng = np.random.default_rng(5)
    F = rng.normal(size=(4, 4))
    F, weight = F + F.T, 0.7
    found = sweep(dense.Lambda, dense.blocks()).derivative(weight, F)
    inverse = np.linalg.inv(dense.V(dense.Lambda))
    for M, Z, j, k in zip(found, dense.wide, dense.J, dense.q, strict=True):
        R = (Z.T @ inverse @ dense.W).reshape(j, k, -1)
        N = (Z.T @ inverse @ Z).reshape(j, k, j, k)
        expected = weight * np.einsum("jajb->ab", N) - np.einsum("jac,cd,jbd->ab", R, F, R)
        np.testing.assert_allclose(M, expected, rtol=1e-8, atol=1e-8 * np.abs(expected).max())


@pytest.mark.parametrize("case", SHAPES)
def test_the_derivative_is_that_of_the_value(case):
    dense = Dense(case)
    F, weight = np.diag([0.3, -0.2, 0.1, 0.4]), 1.3
    found = sweep(dense.Lambda, dense.blocks()).derivative(weight, F)
    for f, M in enumerate(found):
        gradient = 2 * M @ dense.Lambda[f]
        for a, b in np.ndindex(gradient.shape):
            ends = []
            for h in (1e-5, -1e-5):
                moved = [Lambda.copy() for Lambda in dense.Lambda]
                moved[f][a, b] += h
                ends.append(dense.value(moved, weight, F))
            slope = (ends[0] - ends[1]) / 2e-5
            assert gradient[a, b] == pytest.approx(slope, rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.parametrize("case", SHAPES)
def test_effects_and_their_covariances_are_the_dense_conditionals(case, singular):
    dense = Dense(case, singular)
    found = sweep(dense.Lambda, dense.blocks())
    v = np.array([-0.4, 1.2, 0.3, 1.0])
    inverse = np.linalg.inv(dense.V(dense.Lambda))
    means, covariances = found.effects(v), found.effect_covariances()
    for f, (Z, j, k) in enumerate(zip(dense.wide, dense.J, dense.q, strict=True)):
        P = np.kron(np.eye(j), dense.Lambda[f] @ dense.Lambda[f].T)
        mean = P @ Z.T @ inverse @ dense.W @ v
        whole = (P - P @ Z.T @ inverse @ Z @ P).reshape(j, k, j, k)
        np.testing.assert_allclose(means[f].ravel(), mean, rtol=1e-8, atol=1e-9)
        expected = np.einsum("jajb->jab", whole)
        np.testing.assert_allclose(covariances[f], expected, rtol=1e-8, atol=1e-10)


def test_chunks_of_rows_add_up(monkeypatch):
    from hlm_models.algebra import coupling

    dense = Dense("three factors")
    whole = dense.blocks()
    monkeypatch.setattr(coupling, "CHUNK", 37)
    parts = dense.blocks()
    for name in ("G", "H", "T", "entries", "HR"):
        np.testing.assert_allclose(
            getattr(parts, name), getattr(whole, name), rtol=1e-12, atol=1e-9
        )
    for one, other in zip(parts.whole(), whole.whole(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("case", SHAPES)
def test_the_whole_is_the_product_of_the_wide_columns(case):
    dense = Dense(case)
    Z = np.hstack(dense.wide)
    ZZ, ZW = dense.blocks().whole()
    np.testing.assert_allclose(ZZ, Z.T @ Z, rtol=1e-10, atol=1e-9)
    np.testing.assert_allclose(ZW, Z.T @ dense.W, rtol=1e-10, atol=1e-9)


@pytest.mark.parametrize("singular", [False, True])
@pytest.mark.parametrize("case", SHAPES)
def test_variances_of_rows_are_the_dense_ones(case, singular):
    dense = Dense(case, singular)
    rng = np.random.default_rng(5)
    rows = 30
    # Levels that never met, and rows that have no level of some factor.
    level = tuple(rng.integers(-1, j, rows) for j in dense.J)
    z = tuple(rng.normal(size=(rows, k)) for k in dense.q)
    wide = np.hstack(dense.wide)
    P = np.zeros((wide.shape[1], wide.shape[1]))
    row, at = np.zeros((rows, wide.shape[1])), 0
    for Lambda, part, codes, j, k in zip(dense.Lambda, z, level, dense.J, dense.q, strict=True):
        P[at : at + j * k, at : at + j * k] = np.kron(np.eye(j), Lambda @ Lambda.T)
        for i in np.flatnonzero(codes >= 0):
            row[i, at + codes[i] * k : at + (codes[i] + 1) * k] = part[i]
        at += j * k
    covariance = P - P @ wide.T @ np.linalg.solve(dense.V(dense.Lambda), wide @ P)
    own = wide @ covariance @ wide.T
    for some in (np.arange(0, len(wide), 7), np.flatnonzero(dense.level[0] == 1)):
        between = sweep(dense.Lambda, dense.blocks()).covariance(
            tuple(s.apply(part[some]) for s, part in zip(dense.z_scaling, dense.z, strict=True)),
            tuple(codes[some] for codes in dense.level),
        )
        np.testing.assert_allclose(between, own[np.ix_(some, some)], atol=1e-9)
    found = sweep(dense.Lambda, dense.blocks()).quadratic(z, level)
    np.testing.assert_allclose(found, np.einsum("mi,ij,mj->m", row, covariance, row), atol=1e-9)


def test_the_storage_is_the_one_asked_for(storage):
    kind = type(Dense("nested").blocks().complement).__name__
    assert kind == {"dense": "DenseComplement", "sparse": "SparseComplement"}[storage]


@pytest.mark.parametrize("storage", ["dense"], indirect=True)
def test_many_nested_levels_are_stored_sparsely_and_all_crossed_ones_densely():
    rng = np.random.default_rng(1)
    pupils, classes, schools = 4000, 800, 80
    starts, columns = np.arange(pupils + 1) * 2, np.empty(2 * pupils, dtype=np.int64)
    columns[::2] = rng.permutation(pupils) % classes
    columns[1::2] = classes + columns[::2] % schools
    found = schur.complement(starts, columns, classes + schools)
    assert type(found).__name__ == "SparseComplement"
    starts = np.arange(101) * 400
    columns = np.tile(np.arange(400), 100)
    assert type(schur.complement(starts, columns, 400)).__name__ == "DenseComplement"
