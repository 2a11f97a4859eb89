"""Exact draws against the dense conditional normal: they are affine in their standard normals."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.linalg import block_diag, cho_solve, cholesky

import hlm_models as hlm
from hlm_models.errors import FitError, InputErrors
from hlm_models.results import posterior as room
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.save import load_fit, save_fit
from hlm_models.target import conditional
from hlm_models.target.conditional import (
    coefficients_at,
    draw_coefficients,
    draw_effects,
    draw_posterior,
    effects,
    effects_at,
    effects_of,
)
from hlm_models.target.draws import VarianceDraws

N = 60


def made_up():
    rng = np.random.default_rng(8)
    x = 4 + rng.normal(size=N)
    return pd.DataFrame(
        {
            "y": rng.normal(2.0, 3.0, N) + x,
            "x": x,
            "g": [f"g{i % 12}" for i in range(N)],
            "h": [f"h{i % 7}" for i in range(N)],
            "w": rng.uniform(0.1, 6.0, N),
            "o": rng.normal(5.0, 2.0, N),
        }
    )


def framed(formula, *, beta=None, groups=None, **more):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    priors = ({"beta": beta} if beta else {}) | ({"groups": groups} if groups else {})
    return hlm.build({**head, "priors": priors, **more}, data=made_up())


def sleep(*overrides):
    return hlm.build("sleepstudy-slopes", overrides=list(overrides))


STUDENT = {"kind": "student_t", "df": 4, "loc": 1.0, "scale": 3.0}
WEIGHED = {"weights": "w", "offset": "o"}
MODELS = {
    "grunfeld-slopes": lambda: hlm.build("grunfeld-slopes"),
    "independent": lambda: hlm.build("sleepstudy-uncorrelated"),
    "shared": lambda: framed("y ~ x + (x || g)", groups={"g": {"kind": "shared"}}),
    "radon-uranium": lambda: hlm.build("radon-uranium"),
    "orthodont-growth": lambda: hlm.build("orthodont-growth"),
    "weights and offset": lambda: framed("y ~ x + (x | g)", **WEIGHED),
    "flat": lambda: sleep("priors.beta={kind: flat}"),
    "flat intercept": lambda: framed("y ~ x + (x | g)", beta={"Intercept": {"kind": "flat"}}),
    "free slope": lambda: framed("y ~ x + I(x ** 2) + (1 | g)", beta={"x": STUDENT}),
    "free and flat": lambda: framed(
        "y ~ x + (x | g)", beta={"Intercept": STUDENT, "x": {"kind": "flat"}}, **WEIGHED
    ),
    "all free": lambda: framed("y ~ x + (1 | g)", beta={"Intercept": STUDENT, "x": STUDENT}),
    "no coefficient": lambda: framed("y ~ 0 + (x | g)"),
    "pastes": lambda: hlm.build("pastes"),
    "penicillin": lambda: hlm.build("penicillin"),
    "three factors": lambda: framed(
        "y ~ x + (x | g) + (x || h) + (1 | g:h)", beta={"x": STUDENT}, **WEIGHED
    ),
}


def variances(spec, *, chains=1, draws=1, seed=0):
    """Any values of the variance parameters and the free coefficients."""
    rng = np.random.default_rng(seed)
    size = (chains, draws)
    spread = spec.design.y.std()
    sds, corrs, factors = [], [], []
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        sd, factor = np.empty((*size, block.q)), np.zeros((*size, block.q, block.q))
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            here = term.columns
            scale = spread / np.sqrt(np.mean(block.z[:, here] ** 2, axis=0))
            sd[..., here] = scale * rng.uniform(0.2, 1.0, (*size, term.q))
            if covariance.kind == "shared":
                sd[..., here] = sd[..., here.start, None]
            root = np.broadcast_to(np.eye(term.q), (*size, term.q, term.q))
            if term.correlated:
                A = rng.normal(size=(*size, term.q, term.q + 2))
                root = np.linalg.cholesky(A @ np.swapaxes(A, -1, -2))
                root = root / np.linalg.norm(root, axis=-1, keepdims=True)
            factor[..., here, here] = root
        sds.append(sd)
        factors.append(factor)
        corrs.append(factor @ np.swapaxes(factor, -1, -2))
    free = sum(prior.kind == "student_t" for prior in spec.priors.beta)
    return VarianceDraws(
        sigma=spread * rng.uniform(0.3, 1.0, size),
        sd=tuple(sds),
        corr=tuple(corrs),
        factor=tuple(factors),
        beta_free=rng.normal(size=(*size, free)),
    )


def repeated(draws, times):
    """The first draw many times over, as one chain without its axis."""
    first = draws.at(0, slice(0, 1))

    def many(array):
        return np.repeat(array, times, axis=0)

    return VarianceDraws(
        many(first.sigma),
        *(tuple(map(many, parts)) for parts in (first.sd, first.corr, first.factor)),
        many(first.beta_free),
    )


def dense(spec, at):
    """Mean and covariance of all of beta and b given y and the rest, from their joint precision."""
    design, priors = spec.design, spec.priors.beta
    free = np.array([prior.kind == "student_t" for prior in priors], dtype=bool)
    weights = np.ones(design.n) if design.weights is None else design.weights
    whole, precisions, means = [design.X[:, ~free]], [], []
    for prior in priors:
        if prior.kind != "student_t":
            flat = prior.kind == "flat"
            means.append(0.0 if flat else prior.loc)
            precisions.append([[0.0 if flat else prior.scale**-2.0]])
    for block, sd, corr in zip(spec.blocks, at.sd, at.corr, strict=True):
        Z = np.zeros((design.n, block.J, block.q))
        Z[np.arange(design.n), block.level] = block.z
        whole.append(Z.reshape(design.n, -1))
        Psi = sd[0][:, None] * corr[0] * sd[0]
        precisions += [np.linalg.inv(Psi)] * block.J
        means += [0.0] * (block.J * block.q)
    y = design.y - (0.0 if design.offset is None else design.offset)
    y = y - design.X[:, free] @ at.beta_free[0]
    U, prior_precision = np.hstack(whole), block_diag(*precisions)
    row = weights / at.sigma[0] ** 2
    precision = U.T @ (row[:, None] * U) + prior_precision
    right = U.T @ (row * y) + prior_precision @ np.array(means)
    # Columns in far-apart units are brought to one scale before the factorisation.
    unit = 1 / np.sqrt(np.diag(precision))
    factor = (cholesky(precision * np.outer(unit, unit), lower=True), True)
    covariance = cho_solve(factor, np.eye(len(unit))) * np.outer(unit, unit)
    mean = unit * cho_solve(factor, unit * right)
    # The free coefficients are as they were given.
    p, size = design.p, design.p + sum(block.J * block.q for block in spec.blocks)
    place = np.concatenate([np.flatnonzero(~free), np.arange(p, size)])
    full = np.zeros(size), np.zeros((size, size))
    full[0][place], full[0][:p][free] = mean, at.beta_free[0]
    full[1][np.ix_(place, place)] = covariance
    return full


def affine(spec, draws):
    """Mean and root of the covariance of what is drawn: at zero and at every unit vector."""
    p, shapes = spec.design.p, [(block.J, block.q) for block in spec.blocks]
    d = p - draws.beta_free.shape[-1]
    size = d + sum(J * q for J, q in shapes)
    normals = np.vstack([np.zeros(size), np.eye(size)])
    at = repeated(draws, size + 1)
    beta = coefficients_at(spec, at, normals[:, :d].copy())
    ends = np.cumsum([d, *(J * q for J, q in shapes)])
    b = tuple(
        normals[:, lo:hi].reshape(-1, *shape).copy()
        for lo, hi, shape in zip(ends[:-1], ends[1:], shapes, strict=True)
    )
    effects_at(spec, at, beta, b)
    drawn = np.hstack([beta, *(one.reshape(size + 1, -1) for one in b)])
    return drawn[0], (drawn[1:] - drawn[0]).T


@pytest.mark.parametrize("name", MODELS)
def test_mean_and_covariance_are_those_of_the_dense_conditional_normal(name):
    spec = MODELS[name]()
    draws = variances(spec, seed=len(name))
    mean, covariance = dense(spec, repeated(draws, 1))
    found, root = affine(spec, draws)
    sd = np.sqrt(np.diag(covariance))
    fixed = sd == 0
    assert fixed.sum() == draws.beta_free.shape[-1]
    np.testing.assert_array_equal(found[fixed], mean[fixed])
    np.testing.assert_array_equal(root[fixed], 0.0)
    sd[fixed] = 1.0
    # Differences of raw columns lose the digits that mean and spread have in common.
    np.testing.assert_allclose(found / sd, mean / sd, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        root @ root.T / np.outer(sd, sd), covariance / np.outer(sd, sd), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("name", ["grunfeld-slopes", "free and flat", "three factors"])
def test_many_draws_are_each_what_they_are_alone(name):
    spec = MODELS[name]()
    draws = variances(spec, draws=3, seed=2)
    d = spec.design.p - draws.beta_free.shape[-1]
    rng = np.random.default_rng(3)
    normals = rng.normal(size=(3, d))
    b = tuple(rng.normal(size=(3, block.J, block.q)) for block in spec.blocks)
    alone = []
    for i in range(3):
        here = slice(i, i + 1)
        one = tuple(part[here].copy() for part in b)
        beta = coefficients_at(spec, draws.at(0, here), normals[here])
        effects_at(spec, draws.at(0, here), beta, one)
        alone.append(np.concatenate([beta.ravel(), *(part.ravel() for part in one)]))
    beta = coefficients_at(spec, draws.at(0), normals)
    effects_at(spec, draws.at(0), beta, b)
    together = np.hstack([beta, *(part.reshape(3, -1) for part in b)])
    np.testing.assert_allclose(together, alone, rtol=1e-9)


def test_more_levels_than_are_worked_on_together_are_all_drawn():
    rng = np.random.default_rng(6)
    J = 150
    frame = pd.DataFrame(
        {
            "y": rng.normal(size=3 * J),
            "x": rng.normal(size=3 * J),
            "g": [f"g{i % J}" for i in range(3 * J)],
        }
    )
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": "y ~ x + (x | g)"}
    spec = hlm.build(head, data=frame)
    draws = variances(spec)
    mean, covariance = dense(spec, repeated(draws, 1))
    found, root = affine(spec, draws)
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(found / sd, mean / sd, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        (root @ root.T) / np.outer(sd, sd), covariance / np.outer(sd, sd), rtol=0, atol=1e-9
    )


def both(spec, draws, seed):
    beta = draw_coefficients(spec, draws, seed)
    return beta, *draw_effects(spec, draws, beta, seed)


@pytest.mark.parametrize("name", ["radon-uranium", "free slope", "three factors", "no coefficient"])
def test_the_same_seed_gives_the_same_bits_whatever_was_drawn_before(name):
    spec = MODELS[name]()
    draws = variances(spec, chains=2, draws=5)
    seed = np.random.SeedSequence(4, spawn_key=(1,))
    first, again = both(spec, draws, seed), both(spec, draws, seed)
    other = both(spec, draws, np.random.SeedSequence(4, spawn_key=(2,)))
    for one, same, different in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert one.size == 0 or not np.array_equal(one, different)
    # The effects by themselves, without the generator of the coefficients.
    for one, same in zip(first[1:], draw_effects(spec, draws, first[0], seed), strict=True):
        np.testing.assert_array_equal(one, same)


@pytest.mark.parametrize("name", ["radon-uranium", "pastes"])
def test_a_chain_does_not_depend_on_the_others(name):
    spec = MODELS[name]()
    draws = variances(spec, chains=3, draws=4)
    first = VarianceDraws(
        draws.sigma[:1],
        *(tuple(one[:1] for one in parts) for parts in (draws.sd, draws.corr, draws.factor)),
        draws.beta_free[:1],
    )
    seed = np.random.SeedSequence(9)
    for whole, alone in zip(both(spec, draws, seed), both(spec, first, seed), strict=True):
        np.testing.assert_array_equal(whole[:1], alone)
        assert not np.array_equal(whole[0], whole[1])


def test_effects_come_from_numpys_own_normals_in_blocks_of_any_size(monkeypatch):
    spec = MODELS["radon-uranium"]()
    draws = variances(spec, draws=7)
    seed = np.random.SeedSequence(2)
    beta, b = both(spec, draws, seed)
    monkeypatch.setattr(conditional, "BLOCK", 3 * b[0, 0].size)
    np.testing.assert_array_equal(both(spec, draws, seed)[1], b)
    [child] = np.random.SeedSequence(2).spawn(2)[1].spawn(1)
    expected = np.random.default_rng(child).standard_normal(b.shape)
    effects_at(spec, draws.at(0), beta[0], (expected[0],))
    np.testing.assert_array_equal(b, expected)


@pytest.mark.parametrize("name", ["sleep", "penicillin"])
def test_draws_have_the_mean_and_the_spread_of_the_conditional_normal(name):
    spec = sleep() if name == "sleep" else MODELS[name]()
    one, times = variances(spec, seed=5), 1500
    at = repeated(one, times)
    many = VarianceDraws(
        at.sigma[None],
        *(tuple(part[None] for part in parts) for parts in (at.sd, at.corr, at.factor)),
        at.beta_free[None],
    )
    drawn = [part.reshape(times, -1) for part in both(spec, many, np.random.SeedSequence(12))]
    mean, covariance = dense(spec, repeated(one, 1))
    z = np.linalg.solve(np.linalg.cholesky(covariance), (np.hstack(drawn) - mean).T)
    # Independent standard normals: of k means and k variances, the largest in standard errors.
    assert np.abs(z.mean(axis=1)).max() * np.sqrt(times) < 4.5
    assert np.abs(z.var(axis=1) - 1).max() * np.sqrt(times / 2) < 5
    assert np.abs(np.corrcoef(z) - np.eye(len(z))).max() * np.sqrt(times) < 5.5


@pytest.mark.parametrize("name", ["radon-uranium", "three factors"])
def test_draws_that_are_not_finite_are_an_error(name):
    spec = MODELS[name]()
    draws = variances(spec, draws=3)
    beta = draw_coefficients(spec, draws, np.random.SeedSequence(1))
    beta[0, 1, 0] = np.nan
    with pytest.raises(FitError, match="effects cannot be drawn"):
        draw_effects(spec, draws, beta, np.random.SeedSequence(1))
    draws.sigma[0, 2] = np.nan
    with pytest.raises(FitError, match="coefficients cannot be drawn"):
        draw_coefficients(spec, draws, np.random.SeedSequence(1))


def posterior_fit(spec, monkeypatch, *, stored):
    monkeypatch.setattr(room, "STORED_EFFECTS", 10**9 if stored else 0)
    # Blocks of three draws, so that what is asked for begins and ends within some.
    size = sum(block.J * block.q for block in spec.blocks)
    monkeypatch.setattr(conditional, "BLOCK", 3 * size)
    draws = variances(spec, chains=2, draws=10)
    found, redrawn = draw_posterior(spec, draws, np.random.SeedSequence(7, spawn_key=(0, 3)))
    data = room.posterior_tree(
        spec, found, {}, np.random.SeedSequence(1), with_log_likelihood=True, redrawn=redrawn
    )
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


@pytest.mark.parametrize("name", ["radon-uranium", "free slope", "three factors", "no coefficient"])
def test_effects_that_are_not_stored_are_drawn_again_alike(name, monkeypatch, tmp_path):
    spec = MODELS[name]()
    stored = posterior_fit(spec, monkeypatch, stored=True)
    lean = posterior_fit(spec, monkeypatch, stored=False)
    save_fit(lean, tmp_path / "fit.nc")
    lean = load_fit(tmp_path / "fit.nc", spec)
    posterior = lean.data["posterior"].to_dataset()
    assert not [name for name in posterior.data_vars if str(name).startswith("b_")]
    for at in (None, np.array([4, 5, 8])):
        kept, again = effects(stored, at=at), effects(lean, at=at)
        for block in spec.blocks:
            one, other = kept[f"b_{block.group}"], again[f"b_{block.group}"]
            assert one.shape == (2, 10 if at is None else 3, block.J, block.q)
            # The factor of the correlations is made anew from what is stored.
            xr.testing.assert_allclose(one, other, rtol=1e-9)
    np.testing.assert_allclose(
        lean.data["log_likelihood"]["y_obs"], stored.data["log_likelihood"]["y_obs"], rtol=1e-9
    )
    np.testing.assert_allclose(
        lean.data["posterior_predictive"]["y_obs"],
        stored.data["posterior_predictive"]["y_obs"],
        rtol=1e-9,
    )


def test_effects_of_a_posterior_that_has_lost_them_are_an_error(monkeypatch):
    fit = posterior_fit(MODELS["flat"](), monkeypatch, stored=True)
    fit.data["posterior"] = fit.data["posterior"].to_dataset().drop_vars("b_subject")
    with pytest.raises(InputErrors, match="neither the effects b nor the seed"):
        effects(fit)


@pytest.mark.parametrize("cut", [{"chain": [1]}, {"draw": slice(2, 10)}, {"draw": slice(0, 5)}])
def test_effects_of_some_draws_of_a_lean_posterior_are_an_error(cut, monkeypatch):
    fit = posterior_fit(MODELS["flat"](), monkeypatch, stored=False)
    part = fit.data["posterior"].to_dataset().isel(cut)
    with pytest.raises(InputErrors, match="all 2 chains of 10 draws, and some of these are left"):
        effects_of(fit.spec, part)
