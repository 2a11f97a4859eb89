"""The part of a sweep that is the same for any number of factors: all but beta and b together."""

from typing import NamedTuple

from hlm_models.algebra.compiled import compiled
from hlm_models.gibbs.coefficients import Regression, draw_coefficients, draw_weights
from hlm_models.gibbs.scaling import scale_effects, shear_effects
from hlm_models.gibbs.variances import (
    Units,
    draw_auxiliaries,
    draw_sigma,
    draw_units,
    inverse_factor,
)
from hlm_models.types import FloatArray, IntArray

__all__ = [
    "COEFFICIENTS",
    "EFFECTS",
    "JOINT",
    "Chain",
    "Features",
    "Laws",
    "Model",
    "Scratch",
    "draw_integrated",
    "residual_weights",
    "update",
]

JOINT, EFFECTS, COEFFICIENTS = 0, 1, 2
"""Schemes."""


class Features(NamedTuple):
    """What is summed about the rows: feature f is the column z of its group times effect s.

    Effects of all groups are counted through, and stand for the columns of Z too. A feature with z
    equal to s is what an effect adds to the rows, `own` (Q,) says which; one with another z is what
    it would add there. z, s (F,); those of group g stand from ends[g] to ends[g + 1].
    """

    z: IntArray
    s: IntArray
    own: IntArray
    ends: IntArray


class Model(NamedTuple):
    """What stays the same over all sweeps; k = p + 1, Q effects of all groups, w of a unit.

    T (k, k) : cross-products of W = [X_s, y_s], scaled columns
    forward (p, p), fit (p,) : v = (fit - forward beta, 1) are the weights of W in y - X beta
    R, back (Q, Q) : raw effects to scaled ones, and back
    prior : loc, precision and df (p,) of the coefficients; df 0 where it is not Student t
    every, rest, centred : coefficients that are drawn together, those apart from the ones that b is
        centred at, and these; `effects` (d,) are the effects that have them
    scaled (U, w, w) : scale of the units for scaled effects
    sigma : (nu, scale, df, spread) of sigma^2
    sizes (3,) : scheme, whether sigma is a parameter, levels of the first group
    n : rows
    """

    T: FloatArray
    forward: FloatArray
    fit: FloatArray
    R: FloatArray
    back: FloatArray
    prior: tuple[FloatArray, FloatArray, FloatArray]
    every: Regression
    rest: Regression
    centred: Regression
    effects: IntArray
    units: Units
    features: Features
    scaled: FloatArray
    sigma: tuple[float, float, float, float]
    sizes: IntArray
    n: float


class Chain(NamedTuple):
    """State of a chain but b; written in place.

    beta (p,), weights and precision (p,) of its prior; sigma (2,) with its auxiliary; C (Q, Q), the
    Cholesky factor of Psi in raw columns; a (U, w), auxiliaries of the units.
    """

    beta: FloatArray
    weights: FloatArray
    precision: FloatArray
    sigma: FloatArray
    C: FloatArray
    a: FloatArray


class Laws(NamedTuple):
    """What the last draws were drawn from.

    mean (p,), precision (p, p) : of the coefficients, as `draw_coefficients` fills them
    centred_mean, centred_precision : the same of those that b is centred at
    scale (U, w, w), a (U, w), sigma (2,), weights (p,) : of the variances, of the auxiliaries, of
        sigma and its own, and of the weights
    C (Q, Q) : the factor of Psi as drawn, before effects are scaled
    move (Q, Q), shift (Q,) : b became move b - shift after its own draw
    terms (Q, 5), curves (Q, 3, w), shears (U, w, w, 3) : those of `hlm_models.gibbs.scaling`
    """

    mean: FloatArray
    precision: FloatArray
    centred_mean: FloatArray
    centred_precision: FloatArray
    scale: FloatArray
    a: FloatArray
    sigma: FloatArray
    weights: FloatArray
    C: FloatArray
    move: FloatArray
    shift: FloatArray
    terms: FloatArray
    curves: FloatArray
    shears: FloatArray


class Scratch(NamedTuple):
    """Sums over the levels at b, and room to work in.

    B (Q, Q) : sums of b b', raw effects; zero between groups
    total (Q,) : sums of b, raw effects
    M (F, F), N (F, k) : products of the features of the rows, among each other and with W
    S (k, k) : W' V^-1 W
    v (k,), right (p,), Tv (k,), g (F,), one (Q, Q), two (Q, Q), room : scratch
    """

    B: FloatArray
    total: FloatArray
    M: FloatArray
    N: FloatArray
    S: FloatArray
    v: FloatArray
    right: FloatArray
    Tv: FloatArray
    g: FloatArray
    one: FloatArray
    two: FloatArray
    room: FloatArray


@compiled(error_model="numpy")
def residual_weights(model, beta, v):  # type: ignore[no-untyped-def]
    """Fill v (k,), the weights of W in y - X beta."""
    p = len(beta)
    for i in range(p):
        v[i] = model.fit[i]
        for j in range(p):
            v[i] -= model.forward[i, j] * beta[j]
    v[p] = 1.0


@compiled(error_model="numpy")
def draw_integrated(rng, model, chain, laws, scratch):  # type: ignore[no-untyped-def]
    """Draw beta with b integrated out, from S; v follows."""
    v, S, right = scratch.v, scratch.S, scratch.right
    for i in range(len(right)):
        right[i] = 0.0
        for c in range(len(v)):
            right[i] += S[i, c] * v[c]
    found = draw_coefficients(
        rng, S, right, chain.sigma[0] ** -2.0, model.every, model.prior[0], chain.precision,
        chain.beta, laws.mean, laws.precision, scratch.room,
    )  # fmt: skip
    residual_weights(model, chain.beta, v)
    return found


@compiled(error_model="numpy")
def update(rng, model, chain, laws, scratch):  # type: ignore[no-untyped-def] # noqa: PLR0912
    """Draw all but b, from the sums at b and v at beta; b is to become move b - shift.

    sigma | beta, b; beta | b, sigma unless it was drawn before b; weights | beta; Psi | b, a; a |
    Psi; with scheme `joint` scales of effects before a, and shears after. False where a draw has no
    law.
    """
    T, M, N, v, g, Tv = model.T, scratch.M, scratch.N, scratch.v, scratch.g, scratch.Tv
    own, k, Q, scheme = model.features.own, len(v), len(model.features.own), model.sizes[0]
    sse = 0.0
    for c in range(k):
        Tv[c] = 0.0
        for e in range(k):
            Tv[c] += T[c, e] * v[e]
        sse += v[c] * Tv[c]
    for f in range(len(g)):
        g[f] = 0.0
        for c in range(k):
            g[f] += N[f, c] * v[c]
    for a in range(Q):
        sse -= 2.0 * g[own[a]]
        for b in range(Q):
            sse += M[own[a], own[b]]
            laws.move[a, b] = 1.0 if a == b else 0.0
        laws.shift[a] = 0.0
    if model.sizes[1] and not draw_sigma(rng, model.sigma, model.n, sse, chain.sigma, laws.sigma):
        return False
    precision = chain.sigma[0] ** -2.0
    if scheme != JOINT:
        for i in range(k - 1):
            scratch.right[i] = Tv[i]
            for a in range(Q):
                scratch.right[i] -= N[own[a], i]
        if not draw_coefficients(
            rng, T, scratch.right, precision, model.every if scheme == EFFECTS else model.rest,
            model.prior[0], chain.precision, chain.beta, laws.mean, laws.precision, scratch.room,
        ):  # fmt: skip
            return False
    if scheme == COEFFICIENTS and not _draw_centred(rng, model, chain, laws, scratch):
        return False
    draw_weights(rng, model.prior, chain.beta, chain.weights, chain.precision, laws.weights)
    if not draw_units(rng, model.units, scratch.B, chain.C, chain.a, laws.scale, scratch.room):
        return False
    for a in range(Q):
        for b in range(Q):
            laws.C[a, b] = chain.C[a, b]
    if scheme == JOINT:
        scale_effects(
            rng, model.units, model.features.s, own, model.R, model.back, model.scaled, precision,
            M, g, chain.C, laws.move, laws.terms, laws.curves, scratch.room,
        )  # fmt: skip
    draw_auxiliaries(rng, model.units, chain.C, chain.a, laws.a, scratch.room)
    if scheme == JOINT:
        shear_effects(
            rng, model.units, own, model.R, model.back, model.scaled, precision, M, g, chain.C,
            chain.a, laws.move, laws.shears, scratch.room,
        )  # fmt: skip
    return True


@compiled(error_model="numpy", no_cpython_wrapper=True)
def _draw_centred(rng, model, chain, laws, scratch):  # type: ignore[no-untyped-def]
    """Draw the coefficients that b is centred at, given beta + b; b and its sums follow."""
    effects, total, B, shift = model.effects, scratch.total, scratch.B, laws.shift
    half, P, J = scratch.one, scratch.two, float(model.sizes[2])
    Q, d = len(total), len(effects)
    # Effects of different terms are independent, and C of the whole group is their factors.
    inverse_factor(chain.C, 0, Q, half)
    for i in range(Q):
        for j in range(Q):
            P[i, j] = 0.0
            for t in range(max(i, j), Q):
                P[i, j] += half[t, i] * half[t, j]
    right = scratch.right
    for i in range(d):
        right[i] = 0.0
        for e in range(Q):
            right[i] += P[effects[i], e] * total[e]
        shift[effects[i]] = -chain.beta[model.centred.places[i]]
    S = half
    for i in range(d):
        for j in range(d):
            S[i, j] = J * P[effects[i], effects[j]]
    if not draw_coefficients(
        rng, S, right, 1.0, model.centred, model.prior[0], chain.precision, chain.beta,
        laws.centred_mean, laws.centred_precision, scratch.room,
    ):  # fmt: skip
        return False
    for i in range(d):
        shift[effects[i]] += chain.beta[model.centred.places[i]]
    for i in range(Q):
        for j in range(Q):
            B[i, j] += J * shift[i] * shift[j] - total[i] * shift[j] - shift[i] * total[j]
    return True
