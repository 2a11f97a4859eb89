"""What a sweep draws has the law that it says: draws from one state, made standard, many times."""

import math

import numpy as np
import pytest
from gibbs_cases import FORMULAS, made, mixture, somewhere
from scipy import stats

from hlm_models.gibbs.machine import machine
from hlm_models.gibbs.model import model
from hlm_models.gibbs.scaling import draw_log_scale, log_scaled
from hlm_models.gibbs.state import chain_of, info_of, state_of
from hlm_models.gibbs.step import effects_law, step

SWEEPS = 1000
SMALL = 1e-5
"""Least p value: of some hundred tests of right laws, one in a thousand runs has a smaller one."""


@pytest.fixture(scope="module", params=[*FORMULAS, "coefficients", "effects"])
def sweeps(request):
    """A model, a state, and (state after, info) of many sweeps from it."""
    scheme = request.param if request.param in ("coefficients", "effects") else "joint"
    spec = made(request.param if scheme == "joint" else "hierarchical")
    before = somewhere(spec, np.random.default_rng(8))
    works, rng, found = machine(spec, scheme), np.random.default_rng(77), []
    kept = works.room(1, with_effects=False)
    for _ in range(SWEEPS):
        chain, b = chain_of(before, works.model), tuple(one.copy() for one in before.b)
        works.record(rng, chain, b, kept)
        info = info_of(works.model, works.sizes, works.laws, b)
        found.append((state_of(spec, chain, b), info))
    return spec, before, scheme, found


def uniform(values):
    """Values that are uniform under their laws."""
    assert len(values) == SWEEPS
    assert stats.kstest(values, "uniform").pvalue > SMALL


def normal(rows):
    """Rows of independent standard normals."""
    rows = np.array(rows)
    for column in rows.T:
        assert stats.kstest(column, "norm").pvalue > SMALL
    if rows.shape[1] > 1:
        products = rows[:, :, None] * rows[:, None, :]
        upper = products[:, *np.triu_indices(rows.shape[1], 1)]
        assert np.all(np.abs(upper.mean(axis=0)) < 5 * upper.std(axis=0) / math.sqrt(SWEEPS))


def test_coefficients(sweeps):
    _, _, _, found = sweeps
    for place in range(len(found[0][1].coefficients)):
        if not len(found[0][1].coefficients[place].places):
            continue
        rows = []
        for after, info in found:
            law = info.coefficients[place]
            gap = after.beta[law.places] - law.mean
            rows.append(np.linalg.cholesky(law.precision).T @ gap)
        normal(rows)


def test_effects_of_a_level(sweeps):
    spec, before, scheme, found = sweeps
    if len(spec.blocks) > 1:
        return
    for level in (0, 6):
        rows = []
        for after, info in found:
            beta = after.beta if scheme == "joint" else before.beta
            mean, precision = effects_law(spec, before, beta, level)
            rows.append(np.linalg.cholesky(precision).T @ (info.b[0][level] - mean))
        normal(rows)


def test_sigma_and_its_auxiliary(sweeps):
    spec, _, _, found = sweeps
    if spec.priors.sigma is None:
        return
    gamma = stats.gamma
    uniform(
        [gamma.cdf(after.sigma**-2, i.sigma.shape, scale=1 / i.sigma.rate) for after, i in found]
    )
    if found[0][1].sigma_a is not None:
        laws = [(1 / after.sigma_a, i.sigma_a) for after, i in found]
        uniform([gamma.cdf(value, law.shape, scale=1 / law.rate) for value, law in laws])


def test_covariances(sweeps):
    """Whitened, Psi^-1 = U U' has chi-squared variables along U's diagonal, else normals."""
    _, _, _, found = sweeps
    for u in range(len(found[0][1].variances)):
        diagonals, others = [], []
        for _, info in found:
            law = info.variances[u]
            m = len(law.scale)
            half = np.linalg.cholesky(law.scale).T
            white = half @ np.linalg.inv(law.drawn) @ half.T
            # Upper times its transpose: the lower factor with rows and columns in reverse.
            U = np.linalg.cholesky(white[::-1, ::-1])[::-1, ::-1]
            df = law.nu - (m - 1 - np.arange(m))
            diagonals.append(stats.chi2.cdf(np.diag(U) ** 2, df))
            others.append(U[np.triu_indices(m, 1)])
        for column in np.array(diagonals).T:
            uniform(column)
        if others[0].size:
            normal(others)


def test_auxiliaries_of_covariances(sweeps):
    _, _, _, found = sweeps
    for place in found[0][1].a:
        laws = [(1 / after.a[place], info.a[place]) for after, info in found]
        uniform([stats.gamma.cdf(x, law.shape, scale=1 / law.rate) for x, law in laws])


def test_weights(sweeps):
    _, _, _, found = sweeps
    for k in found[0][1].weights:
        laws = [(after.weights[k], info.weights[k]) for after, info in found]
        uniform([stats.gamma.cdf(x, law.shape, scale=1 / law.rate) for x, law in laws])


def test_shears(sweeps):
    _, _, _, found = sweeps
    if found[0][1].shears:
        normal([[(x.t - x.mean) * math.sqrt(x.precision) for x in i.shears] for _, i in found])


def test_no_scheme_but_joint_moves_effects_with_their_covariance(sweeps):
    _, _, scheme, found = sweeps
    assert (len(found[0][1].scalings) > 0) == (scheme == "joint")
    assert scheme == "joint" or found[0][1].shears == ()


@pytest.mark.parametrize("name", ["intercept", "hierarchical", "weights and offset", "shared"])
def test_a_slice_leaves_the_law_of_a_scale_as_it_is(name):
    """A slice depends on where it starts: started in the law, it ends in it."""
    spec, rng = made(name), np.random.default_rng(21)
    units = model(spec, "joint")[0].units
    _, info = step(rng, somewhere(spec, rng), spec)
    grid = np.linspace(-12, 5, 8001)
    for move in info.scalings:
        log_density = [
            log_scaled(at, move.terms, *mixture(units, move.unit), move.curves) for at in grid
        ]
        mass = np.exp(np.array(log_density) - max(log_density))
        cdf = np.concatenate([[0.0], np.cumsum((mass[1:] + mass[:-1]) / 2)])
        cdf /= cdf[-1]
        ends = []
        for start in np.interp(rng.random(SWEEPS), cdf, grid):
            c = math.exp(start)
            terms = move.terms * np.array([c * c, c, 1 / (c * c), 1 / c])
            curves = move.curves * np.array([[1 / (c * c)], [1 / c], [1.0]])
            ends.append(start + draw_log_scale(rng, terms, *mixture(units, move.unit), curves))
        uniform(np.interp(ends, grid, cdf))
