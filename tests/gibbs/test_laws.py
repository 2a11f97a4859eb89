"""Every law that a sweep draws from is the conditional of the joint density.

Source: Grosse and Duvenaud (2014), arXiv:1412.5218: ratios of a conditional equal those of the
joint density, at any two values of what is drawn.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from gibbs_cases import (
    CENTRED,
    FORMULAS,
    ONE_GROUP,
    augmented,
    log_inverse_gamma,
    log_inverse_wishart,
    made,
    mixture,
    point,
    somewhere,
    to_sd,
    units,
)
from scipy.linalg import block_diag

from hlm_models.gibbs.model import model
from hlm_models.gibbs.scaling import log_scaled
from hlm_models.gibbs.step import effects_law, step
from hlm_models.spec.density import joint_log_density

CLOSE = {"rel": 1e-9, "abs": 1e-8}


def one(name, scheme="joint", seed=5):
    """A model, a state, and a sweep from it."""
    spec = made(name)
    rng = np.random.default_rng(seed)
    before = somewhere(spec, rng)
    after, info = step(rng, before, spec, scheme=scheme)
    return spec, before, after, info, rng


def log_normal(x, law):
    gap = x[law.places] - law.mean
    return 0.5 * np.linalg.slogdet(law.precision)[1] - 0.5 * gap @ law.precision @ gap


def log_effects(spec, state):
    """Log p(b | beta, sigma, Psi, y) of all groups together, by a dense normal law."""
    Z = np.column_stack(
        [
            block.z[:, a] * (block.level == j)
            for block in spec.blocks
            for j in range(block.J)
            for a in range(block.q)
        ]
    )
    w = np.ones(spec.design.n) if spec.design.weights is None else spec.design.weights
    inverse = block_diag(
        *(
            np.kron(np.eye(block.J), np.linalg.inv(Psi))
            for block, Psi in zip(spec.blocks, state.Psi, strict=True)
        )
    )
    precision = inverse + (Z.T * w) @ Z / state.sigma**2
    rest = (spec.design.y_net - spec.design.X @ state.beta) * w / state.sigma**2
    gap = np.concatenate([b.ravel() for b in state.b]) - np.linalg.solve(precision, Z.T @ rest)
    return 0.5 * np.linalg.slogdet(precision)[1] - 0.5 * gap @ precision @ gap


def difference(function, left, right):
    return function(left) - function(right)


def between(b):
    return tuple(here + 0.1 * np.cos(np.arange(here.size)).reshape(here.shape) for here in b)


@pytest.mark.parametrize("name", FORMULAS)
def test_coefficients_and_effects_have_their_joint_conditional(name):
    spec, before, after, info, rng = one(name)
    [law] = info.coefficients
    left = replace(before, beta=after.beta, b=info.b)
    right = replace(before, beta=before.beta + rng.normal(size=spec.design.p), b=between(info.b))

    def conditional(state):
        value = log_effects(spec, state)
        return value + (log_normal(state.beta, law) if spec.design.p else 0.0)

    expected = difference(lambda state: augmented(spec, state), left, right)
    assert difference(conditional, left, right) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("name", FORMULAS)
def test_coefficients_given_effects_have_their_conditional(name):
    spec, before, after, info, rng = one(name, "effects")
    if not spec.design.p:
        return
    [law] = info.coefficients
    left = replace(before, beta=after.beta, b=info.b, sigma=after.sigma)
    right = replace(left, beta=before.beta + rng.normal(size=spec.design.p))
    expected = difference(lambda state: augmented(spec, state), left, right)
    assert difference(lambda state: log_normal(state.beta, law), left, right) == pytest.approx(
        expected, **CLOSE
    )


@pytest.mark.parametrize("name", CENTRED)
def test_coefficients_given_those_of_the_groups_have_their_conditional(name):
    spec, before, after, info, rng = one(name, "coefficients")
    rest, centred = info.coefficients
    [block] = spec.blocks
    at = [block.effects.index(spec.design.coef[k]) for k in centred.places]
    drawn = replace(before, b=info.b, sigma=after.sigma)
    beta = before.beta.copy()
    beta[rest.places] = after.beta[rest.places]
    left = replace(drawn, beta=beta)
    right = replace(drawn, beta=before.beta + np.isin(np.arange(len(beta)), rest.places))
    expected = difference(lambda state: augmented(spec, state), left, right)
    assert difference(lambda state: log_normal(state.beta, rest), left, right) == pytest.approx(
        expected, **CLOSE
    )
    # beta + b of every level stays as it is.
    other, b = beta.copy(), info.b[0].copy()
    other[centred.places] += (move := rng.normal(size=len(at)))
    b[:, at] -= move
    right = replace(left, beta=other, b=(b,))
    expected = difference(lambda state: augmented(spec, state), left, right)
    assert difference(lambda state: log_normal(state.beta, centred), left, right) == pytest.approx(
        expected, **CLOSE
    )
    change = after.beta[centred.places] - beta[centred.places]
    assert after.b[0][:, at] == pytest.approx(info.b[0][:, at] - change, abs=1e-12)


@pytest.mark.parametrize("scheme", ["joint", "effects"])
@pytest.mark.parametrize("name", FORMULAS)
def test_sigma_has_its_conditional(name, scheme):
    spec, before, after, info, _ = one(name, scheme)
    if spec.priors.sigma is None:
        assert info.sigma is None
        assert info.sigma_a is None
        assert after.sigma == 1.0
        return
    beta = after.beta if scheme == "joint" else before.beta
    left = replace(before, beta=beta, b=info.b, sigma=after.sigma)
    right = replace(left, sigma=1.3 * after.sigma)

    def conditional(state):
        law = log_inverse_gamma(state.sigma**2, info.sigma.shape, info.sigma.rate)
        return law + math.log(state.sigma)

    expected = difference(lambda state: augmented(spec, state), left, right)
    assert difference(conditional, left, right) == pytest.approx(expected, **CLOSE)
    if info.sigma_a is not None:
        left = replace(left, sigma_a=after.sigma_a)
        right = replace(left, sigma_a=1.7 * after.sigma_a)
        expected = difference(lambda state: augmented(spec, state), left, right)

        def auxiliary(state):
            return log_inverse_gamma(state.sigma_a, info.sigma_a.shape, info.sigma_a.rate)

        assert difference(auxiliary, left, right) == pytest.approx(expected, **CLOSE)


def with_unit(state, unit, Psi):
    """A state with another covariance of one unit."""
    index, columns, shared, _ = unit
    whole = state.Psi[index].copy()
    whole[np.ix_(columns, columns)] = Psi[0, 0] * np.eye(len(columns)) if shared else Psi
    return replace(state, Psi=(*state.Psi[:index], whole, *state.Psi[index + 1 :]))


@pytest.mark.parametrize("scheme", ["joint", "coefficients"])
@pytest.mark.parametrize("name", FORMULAS)
def test_covariances_have_their_conditional(name, scheme):
    if scheme == "coefficients" and name not in CENTRED:
        return
    spec, before, after, info, rng = one(name, scheme)
    b = info.b if scheme == "joint" else after.b
    given = replace(before, beta=after.beta, b=b, sigma=after.sigma)
    for unit, law in zip(units(spec), info.variances, strict=True):
        root = np.linalg.cholesky(law.drawn) @ np.linalg.cholesky(
            np.cov(rng.normal(size=(len(law.drawn), 9))).reshape(law.drawn.shape)
        )
        values = (law.drawn, root @ root.T)
        left, right = (with_unit(given, unit, Psi) for Psi in values)
        expected = difference(lambda state: augmented(spec, state), left, right)

        def conditional(Psi, nu=law.nu, scale=law.scale):
            return log_inverse_wishart(Psi, nu, scale) + to_sd(Psi)

        assert difference(conditional, *values) == pytest.approx(expected, **CLOSE)
        # One degree of freedom more or less is another law, and so is a scale that is a bit off.
        for nu, scale in (
            (law.nu + 1, law.scale),
            (law.nu - 1, law.scale),
            (law.nu, 1.1 * law.scale),
        ):
            wrong = conditional(values[0], nu, scale) - conditional(values[1], nu, scale)
            assert abs(wrong - expected) > 1e-5


@pytest.mark.parametrize("scheme", ["joint", "effects"])
@pytest.mark.parametrize("name", ["student t", "crossed"])
def test_weights_of_student_t_coefficients_have_their_conditional(name, scheme):
    spec, _, after, info, _ = one(name, scheme)
    assert list(info.weights) == [spec.design.coef.index("x")]
    for k, law in info.weights.items():
        other = after.weights.copy()
        other[k] *= 1.9
        right = replace(after, weights=other)
        expected = difference(lambda state: augmented(spec, state), after, right)

        def conditional(state, k=k, law=law):
            return (law.shape - 1) * math.log(state.weights[k]) - law.rate * state.weights[k]

        assert difference(conditional, after, right) == pytest.approx(expected, **CLOSE)


def moved(spec, state, index, A):
    """A state whose scaled effects of one group are A times what they were."""
    R = spec.marginal.scales[index].R
    raw = np.linalg.inv(R) @ A @ R
    b, Psi = list(state.b), list(state.Psi)
    b[index], Psi[index] = b[index] @ raw.T, raw @ Psi[index] @ raw.T
    return replace(state, b=tuple(b), Psi=tuple(Psi))


@pytest.mark.parametrize("name", FORMULAS)
def test_moves_of_effects_and_auxiliaries_have_their_conditionals(name):
    """One after the other: scales with the auxiliaries integrated out, these, shears given them."""
    spec, before, after, info, _ = one(name)
    found, _ = model(spec, "joint")
    known, given = units(spec), replace(before, beta=after.beta, b=info.b, sigma=after.sigma)
    for unit, law in zip(known, info.variances, strict=True):
        given = with_unit(given, unit, law.drawn)
    for move in info.scalings:
        index, columns, shared, form = known[move.unit]
        m = len(form.scale)
        picked = columns if shared else columns[move.effect : move.effect + 1]

        def scaled(log_c, given=given, index=index, picked=picked):
            c = np.ones(given.b[index].shape[1])
            c[picked] = math.exp(log_c)
            return moved(spec, given, index, np.diag(c))

        def reference(log_c, index=index, columns=columns, shared=shared, m=m, picked=picked):
            state = scaled(log_c)
            here = columns[:1] if shared or m == 1 else columns
            log_jacobian = (state.b[index].shape[0] * len(picked) + m + 1) * log_c
            value = float(joint_log_density(spec, point(state)))
            return value - to_sd(state.Psi[index][np.ix_(here, here)]) + log_jacobian

        def conditional(log_c, move=move):
            return log_scaled(log_c, move.terms, *mixture(found.units, move.unit), move.curves)

        for log_c in (move.log_c, -0.4, 0.7):
            assert conditional(log_c) - conditional(0.0) == pytest.approx(
                reference(log_c) - reference(0.0), **CLOSE
            )
        given = scaled(move.log_c)
    assert len(info.a) == sum(len(form.scale) for *_, form in known if form.df > 0)
    given = replace(given, a=after.a)
    for (u, k), law in info.a.items():
        other = after.a.copy()
        other[u, k] *= 2.1

        def auxiliary(state, u=u, k=k, law=law):
            return log_inverse_gamma(state.a[u, k], law.shape, law.rate)

        right = replace(given, a=other)
        expected = difference(lambda state: augmented(spec, state), given, right)
        assert difference(auxiliary, given, right) == pytest.approx(expected, **CLOSE)
    assert len(info.shears) == sum(len(f.scale) * (len(f.scale) - 1) for *_, f in known)
    for shear in info.shears:
        index, columns, _, _ = known[shear.unit]

        def sheared(t, given=given, index=index, columns=columns, shear=shear):
            A = np.eye(given.b[index].shape[1])
            A[columns[shear.effect], columns[shear.other]] = t
            return moved(spec, given, index, A)

        def density(t, index=index, columns=columns, sheared=sheared):
            state = sheared(t)
            return augmented(spec, state) - to_sd(state.Psi[index][np.ix_(columns, columns)])

        def normal(t, shear=shear):
            return -shear.precision / 2 * (t - shear.mean) ** 2

        for t in (shear.t, 0.3):
            assert normal(t) - normal(0.0) == pytest.approx(density(t) - density(0.0), **CLOSE)
        given = sheared(shear.t)
    for b, end in zip(given.b, after.b, strict=True):
        assert end == pytest.approx(b, rel=1e-10, abs=1e-10)
    for Psi, end in zip(given.Psi, after.Psi, strict=True):
        assert end == pytest.approx(Psi, rel=1e-10, abs=1e-10)


@pytest.mark.parametrize("name", ["weights and offset", "two terms"])
def test_the_law_of_one_level_is_that_of_all_effects(name):
    spec, before, after, info, _ = one(name)
    [b] = info.b
    left = replace(before, beta=after.beta, b=info.b)
    for level in (0, 6):
        mean, precision = effects_law(spec, before, after.beta, level)
        other = b.copy()
        other[level] += 0.3
        right = replace(left, b=(other,))

        def conditional(state, level=level, mean=mean, precision=precision):
            gap = state.b[0][level] - mean
            return -0.5 * gap @ precision @ gap

        expected = difference(lambda state: augmented(spec, state), left, right)
        assert difference(conditional, left, right) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize("name", ONE_GROUP)
def test_a_step_leaves_its_state_as_it_was(name):
    spec = made(name)
    before = somewhere(spec, np.random.default_rng(2))
    kept = [np.array(one) for one in (before.beta, before.a, before.weights, *before.b)]
    found = [step(np.random.default_rng(9), before, spec)[0] for _ in range(2)]
    for left, right in zip(kept, (before.beta, before.a, before.weights, *before.b), strict=True):
        assert np.array_equal(left, right)
    assert np.array_equal(found[0].b[0], found[1].b[0])
    assert found[0].sigma == found[1].sigma
