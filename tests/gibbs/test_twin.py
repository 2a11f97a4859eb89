"""The compiled sweep against one in plain NumPy over rows, fed from the same generator."""

import math

import numpy as np
import pytest
from gibbs_cases import FORMULAS, made, somewhere, units
from scipy.linalg import block_diag

from hlm_models.gibbs.step import step
from hlm_models.parts.priors.student_t import StudentT

STEPS = 50


class Twin:
    """One sweep, every quantity from the rows; draws in the order of the compiled code."""

    def __init__(self, spec, state, rng, scheme):
        self.spec, self.rng, self.scheme = spec, rng, scheme
        design = spec.design
        root = np.ones(design.n) if design.weights is None else np.sqrt(design.weights)
        self.X, self.y = design.X * root[:, None], design.y_net * root
        self.root = root
        self.ends = np.cumsum([block.q for block in spec.blocks]).tolist()
        self.beta, self.sigma = state.beta.copy(), state.sigma
        self.C = block_diag(*(np.linalg.cholesky(Psi) for Psi in state.Psi))
        self.a, self.sigma_a, self.weights = state.a.copy(), state.sigma_a, state.weights.copy()

    def columns(self, scaled):
        """The columns of Z of every effect of every level, block by block, level by level."""
        found = []
        for block, scale in zip(self.spec.blocks, self.spec.marginal.scales, strict=True):
            z = block.z @ np.linalg.inv(scale.R) if scaled else block.z
            found.append(
                np.column_stack(
                    [z[:, a] * (block.level == j) for j in range(block.J) for a in range(block.q)]
                )
                * self.root[:, None]
            )
        return found

    def prior(self):
        loc, precision = [], []
        for k, one in enumerate(self.spec.priors.beta):
            if isinstance(one, StudentT):
                loc.append(one.loc)
                precision.append(self.weights[k] / one.scale**2)
            else:
                loc.append(one.normal_form()[0])
                precision.append(one.normal_form()[1])
        return np.array(loc), np.array(precision)

    def coefficients(self, places, cross, right, basis):
        """Draw beta[places] from N(P^-1 h, P^-1), in coordinates basis beta."""
        loc, precision = self.prior()
        back = np.linalg.inv(basis)
        P = back.T @ (cross + np.diag(precision[places])) @ back
        h = back.T @ (right + precision[places] * (loc[places] - self.beta[places]))
        L = np.linalg.cholesky((P + P.T) / 2)
        half = np.linalg.solve(L, h) + self.rng.standard_normal(len(places))
        self.beta[places] += back @ np.linalg.solve(L.T, half)

    def basis(self, places):
        return np.linalg.qr(self.spec.design.x_scaling.R[:, places])[1]

    def effects(self):
        """All b given beta, by the factor of their precision that takes the first group last."""
        normals = [self.rng.standard_normal((b.J, b.q)) for b in self.spec.blocks]
        Z, raw = self.columns(scaled=False), []
        for at, block in zip(self.ends, self.spec.blocks, strict=True):
            here = slice(at - block.q, at)
            raw.append(np.kron(np.eye(block.J), self.C[here, here] / self.sigma))
        whole = np.hstack(Z) @ block_diag(*raw)
        first = Z[0].shape[1]
        A = np.eye(whole.shape[1]) + whole.T @ whole
        mean = np.linalg.solve(A, whole.T @ (self.y - self.X @ self.beta))
        A1, A12 = A[:first, :first], A[:first, first:]
        L1 = np.linalg.cholesky(A1)
        noise = np.zeros(len(A))
        if len(A) > first:
            schur = A[first:, first:] - A12.T @ np.linalg.solve(A1, A12)
            e = np.concatenate([one.ravel() for one in normals[1:]])
            noise[first:] = np.linalg.solve(np.linalg.cholesky(schur).T, e)
        noise[:first] = np.linalg.solve(L1.T, normals[0].ravel())
        noise[:first] -= np.linalg.solve(A1, A12 @ noise[first:])
        b = block_diag(*raw) @ (mean + self.sigma * noise)
        parts = np.split(b, np.cumsum([one.size for one in normals])[:-1])
        self.b = [part.reshape(one.shape) for part, one in zip(parts, normals, strict=True)]

    def fitted(self):
        """What each scaled effect adds to the rows (n, Q)."""
        found = []
        for Z, b, scale in zip(
            self.columns(scaled=True), self.b, self.spec.marginal.scales, strict=True
        ):
            s = b @ scale.R.T
            q = s.shape[1]
            found += [Z[:, a::q] @ s[:, a] for a in range(q)]
        return np.column_stack(found)

    def psi(self, index):
        q = self.spec.blocks[index].q
        here = slice(self.ends[index] - q, self.ends[index])
        return self.C[here, here] @ self.C[here, here].T

    def sweep(self):  # noqa: PLR0912
        p, Xy = len(self.beta), self.X
        every = np.arange(p)
        if self.scheme == "joint":
            V = self.sigma**2 * np.eye(len(self.y))
            for index, Z in enumerate(self.columns(scaled=False)):
                V += Z @ np.kron(np.eye(self.spec.blocks[index].J), self.psi(index)) @ Z.T
            W = np.linalg.solve(V, Xy)
            self.coefficients(every, Xy.T @ W, W.T @ (self.y - Xy @ self.beta), self.basis(every))
        self.effects()
        F = self.fitted()
        if self.spec.priors.sigma is not None:
            form = self.spec.priors.sigma.variance_form()
            rest = self.y - Xy @ self.beta - F.sum(axis=1)
            rate = (form.scale[0, 0] + rest @ rest) / 2
            rate += form.df / self.sigma_a if form.df else 0.0
            self.sigma = math.sqrt(rate / self.rng.standard_gamma((form.nu + len(rest)) / 2))
            if form.df:
                rate = form.df / self.sigma**2 + form.spread[0] ** -2.0
                self.sigma_a = rate / self.rng.standard_gamma((form.nu + 1) / 2)
        if self.scheme != "joint":
            self.after(F)
        for k, one in enumerate(self.spec.priors.beta):
            if isinstance(one, StudentT):
                rate = (one.df + ((self.beta[k] - one.loc) / one.scale) ** 2) / 2
                self.weights[k] = self.rng.standard_gamma((one.df + 1) / 2) / rate
        for u, unit in enumerate(units(self.spec)):
            self.covariance(u, *unit)
        if self.scheme == "joint":
            for unit in units(self.spec):
                self.scales(*unit)
        for u, (index, columns, shared, form) in enumerate(units(self.spec)):
            if form.df:
                here = columns[:1] if shared else columns
                inverse = np.diag(np.linalg.inv(self.psi(index)[np.ix_(here, here)]))
                for k in range(len(here)):
                    rate = form.df * inverse[k] + form.spread[k] ** -2.0
                    self.a[u, k] = rate / self.rng.standard_gamma((form.nu + 1) / 2)
        if self.scheme == "joint":
            for u, unit in enumerate(units(self.spec)):
                self.shears(u, *unit)

    def after(self, F):
        """beta given b, or given beta + b."""
        p, X = len(self.beta), self.X
        centred, effects = [], []
        if self.scheme == "coefficients":
            [block], coef = self.spec.blocks, self.spec.design.coef
            effects = [a for a, name in enumerate(block.effects) if name in coef]
            centred = [coef.index(block.effects[a]) for a in effects]
        rest = np.setdiff1d(np.arange(p), centred)
        precision = self.sigma**-2.0
        gap = self.y - X @ self.beta - F.sum(axis=1)
        Xr = X[:, rest]
        self.coefficients(rest, precision * Xr.T @ Xr, precision * Xr.T @ gap, self.basis(rest))
        if centred:
            [b], inverse = self.b, np.linalg.inv(self.psi(0))
            before = self.beta[centred].copy()
            cross = len(b) * inverse[np.ix_(effects, effects)]
            right = (inverse @ b.sum(axis=0))[effects]
            self.coefficients(np.array(centred), cross, right, np.eye(len(centred)))
            b[:, effects] -= self.beta[centred] - before

    def covariance(self, u, index, columns, shared, form):
        b = self.b[index][:, columns]
        m = 1 if shared else len(columns)
        seen = b.size if shared else len(b)
        scale = form.scale + (np.sum(b * b) if shared else b.T @ b)
        if form.df:
            scale = scale + 2 * form.df * np.diag(1 / self.a[u, :m])
        U = np.zeros((m, m))
        for i in range(m):
            df = form.nu + seen - (m - 1 - i)
            U[i, i] = math.sqrt(2 * self.rng.standard_gamma(df / 2))
            for j in range(i + 1, m):
                U[i, j] = self.rng.standard_normal()
        C = np.linalg.cholesky(scale) @ np.linalg.inv(U).T
        at = self.ends[index] - self.spec.blocks[index].q + columns
        self.C[np.ix_(at, at)] = C[0, 0] * np.eye(len(at)) if shared else C

    def scales(self, index, columns, shared, form):
        """A slice along log c of every scaled effect of a unit."""
        R = self.spec.marginal.scales[index].R
        moves = [columns] if shared else [columns[k : k + 1] for k in range(len(columns))]
        here = columns[:1] if shared else columns
        for picked in moves:
            first = self.ends[index] - len(R)
            F = self.fitted()
            own = F[:, first + picked].sum(axis=1)
            rest = self.y - self.X @ self.beta - F.sum(axis=1) + own
            psi, b = self.psi(index), self.b[index]

            def moved(log_c, psi=psi, picked=picked):
                c = np.ones(len(R))
                c[picked] = math.exp(log_c)
                A = np.linalg.inv(R) @ np.diag(c) @ R
                return A, A @ psi @ A.T

            def log_density(log_c, own=own, rest=rest, moved=moved):
                gap = rest - math.exp(log_c) * own
                inverse = np.linalg.inv(moved(log_c)[1][np.ix_(here, here)])
                value = -gap @ gap / (2 * self.sigma**2) - form.nu * log_c
                value -= np.sum(form.scale * inverse) / 2
                if form.df:
                    inside = form.df * form.spread**2 * np.diag(inverse)
                    value -= (form.nu + 1) / 2 * np.sum(np.log1p(inside))
                return value

            A, psi = moved(self.slice(log_density))
            self.b[index] = b @ A.T
            at = slice(first, first + len(R))
            self.C[at, at] = np.linalg.cholesky((psi + psi.T) / 2)

    def shears(self, u, index, columns, shared, form):
        """Every effect gets a multiple of every other: a regression with a normal prior."""
        m, scale = len(form.scale), self.spec.marginal.scales[index]
        if m == 1:
            return
        inside = form.scale + 2 * form.df * np.diag(1 / self.a[u, :m])
        R, q = scale.R, len(scale.R)
        first = self.ends[index] - q
        for i in columns:
            for j in (c for c in columns if c != i):
                rest = self.y - self.X @ self.beta - self.fitted().sum(axis=1)
                Z, s = self.columns(scaled=True)[index], self.b[index] @ R.T
                added = Z[:, i::q] @ s[:, j]

                def psi(t, i=i, j=j):
                    A = np.eye(q)
                    A[i, j] = t
                    A = np.linalg.inv(R) @ A @ R
                    return A, A @ self.psi(index) @ A.T

                def penalty(t, psi=psi):
                    return np.sum(inside * np.linalg.inv(psi(t)[1][np.ix_(columns, columns)])) / 2

                # A quadratic in t, whose coefficients three values give.
                curve = penalty(1.0) + penalty(-1.0) - 2 * penalty(0.0)
                slope = (penalty(1.0) - penalty(-1.0)) / 2
                precision = added @ added / self.sigma**2 + curve
                mean = (added @ rest / self.sigma**2 - slope) / precision
                A, found = psi(mean + self.rng.standard_normal() / math.sqrt(precision))
                self.b[index] = self.b[index] @ A.T
                at = slice(first, first + q)
                self.C[at, at] = np.linalg.cholesky((found + found.T) / 2)

    def slice(self, log_density):
        rng = self.rng
        level = log_density(0.0) + math.log(1 - rng.random())
        lower = -rng.random()
        upper = lower + 1
        left = int(STEPS * rng.random())
        right = STEPS - 1 - left
        while left > 0 and log_density(lower) > level:
            lower, left = lower - 1, left - 1
        while right > 0 and log_density(upper) > level:
            upper, right = upper + 1, right - 1
        while True:
            found = lower + (upper - lower) * rng.random()
            if log_density(found) > level:
                return found
            lower, upper = (found, upper) if found < 0 else (lower, found)


@pytest.mark.parametrize("scheme", ["joint", "effects", "coefficients"])
@pytest.mark.parametrize("name", FORMULAS)
def test_three_sweeps_are_those_of_the_twin(name, scheme):
    if scheme == "coefficients" and name in ("crossed", "nested", "no coefficients"):
        return
    spec = made(name, rows=40)
    state = somewhere(spec, np.random.default_rng(1))
    twin = Twin(spec, state, np.random.default_rng(2), scheme)
    rng = np.random.default_rng(2)
    for _ in range(3):
        state, _ = step(rng, state, spec, scheme=scheme)
        twin.sweep()
    close = {"rel": 1e-6, "abs": 1e-7}
    assert state.beta == pytest.approx(twin.beta, **close)
    assert state.sigma == pytest.approx(twin.sigma, **close)
    assert state.weights == pytest.approx(twin.weights, **close)
    for index, (Psi, b) in enumerate(zip(state.Psi, state.b, strict=True)):
        assert Psi == pytest.approx(twin.psi(index), **close)
        assert b == pytest.approx(twin.b[index], **close)
    for u, (_, columns, shared, form) in enumerate(units(spec)):
        if form.df:
            m = 1 if shared else len(columns)
            assert state.a[u, :m] == pytest.approx(twin.a[u, :m], **close)
    # Both have taken as many numbers from their generators.
    assert rng.random() == twin.rng.random()
