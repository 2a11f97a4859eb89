"""Small models of every kind that Gibbs takes, and the density that its laws are held against."""

import math

import numpy as np
import pandas as pd

import hlm_models as hlm
from hlm_models.gibbs.state import State
from hlm_models.parts.priors.student_t import StudentT
from hlm_models.spec.density import Point, joint_log_density

WISHART = "{kind: wishart, nu: 4.5, scale: [[0.8, 0.1], [0.1, 0.5]]}"
INVERSE = "{kind: inverse_wishart, nu: 3.5, scale: [[1.5, 0.3], [0.3, 0.7]]}"
INVERSE_GAMMA = "{kind: inverse_gamma, shape: 2.5, scale: 1.2}"

FORMULAS = {
    "intercept": ("y ~ x + (1 | g)", ()),
    "weights and offset": ("y ~ x + u + (x | g)", (f"priors.groups.g={INVERSE}",)),
    "wishart": ("y ~ x + u + (x | g)", (f"priors.groups.g={WISHART}",)),
    "hierarchical": ("y ~ x + u + (x | g)", ("priors.groups.g={kind: hierarchical, df: 2.5}",)),
    "independent": (
        "y ~ x + (x || g)",
        (
            "priors.groups.g={kind: diagonal, sd: {Intercept: {kind: inverse_gamma, shape: 2.0, "
            "scale: 0.6}, x: {kind: half_student_t, df: 4, scale: 0.7}}}",
            f"priors.sigma={INVERSE_GAMMA}",
        ),
    ),
    "shared": ("y ~ x + (x || g)", ("priors.groups.g={kind: shared}",)),
    "two terms": (
        "y ~ x + (x | g) + (0 + u + w || g)",
        (f"priors.groups.g={{'x | g': {INVERSE}, '0 + u + w || g': {{kind: diagonal}}}}",),
    ),
    "student t": (
        "y ~ x + u + (1 | g)",
        ("priors.beta={x: {kind: student_t, df: 2.5, scale: 0.4}, u: {kind: flat}}",),
    ),
    "flat": (
        "y ~ x + (1 | g)",
        (
            "priors.beta={kind: flat}",
            "priors.sigma={kind: flat}",
            "priors.groups.g={kind: diagonal, sd: {kind: flat}}",
        ),
    ),
    "no coefficients": ("y ~ 0 + (1 | g)", ()),
    "known": ("y ~ x + (1 | g)", ("residual={kind: known, sd: s}",)),
    "crossed": (
        "y ~ x + (x | g) + (1 | h)",
        (f"priors.groups.g={INVERSE}", "priors.beta.x={kind: student_t, df: 4}"),
    ),
    "nested": ("y ~ x + (1 | h/g) + (0 + x + u || k)", ("priors.groups.k={kind: shared}",)),
}

ONE_GROUP = tuple(name for name in FORMULAS if name not in ("crossed", "nested"))
CENTRED = tuple(name for name in ONE_GROUP if name != "no coefficients")


def frame(rows=60, seed=11):
    """7 levels of g, one of them of a single row, 5 of h, 4 of k."""
    rng = np.random.default_rng(seed)
    g = np.minimum(rng.integers(0, 7, rows), 5)
    g[3] = 6
    x, u, w = rng.normal(0.5, 1.0, rows), rng.normal(size=rows), rng.normal(size=rows)
    b = rng.normal(size=(7, 2)) @ np.array([[0.8, 0.3], [0.0, 0.5]])
    y = 2 + 0.6 * x - 0.3 * u + b[g, 0] + b[g, 1] * x + 0.9 * rng.normal(size=rows)
    labels = {"g": g, "h": rng.integers(0, 5, rows), "k": rng.integers(0, 4, rows)}
    return pd.DataFrame(
        {"y": y, "x": x, "u": u, "w": w, "weight": rng.uniform(0.5, 2, rows)}
        | {"off": 0.2 * rng.normal(size=rows), "s": rng.uniform(0.5, 1.5, rows)}
        | {name: [f"{name}{i}" for i in codes] for name, codes in labels.items()}
    )


def made(name, rows=60):
    """The model of that name in FORMULAS."""
    formula, overrides = FORMULAS[name]
    model = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    if name == "weights and offset":
        model |= {"weights": "weight", "offset": "off"}
    return hlm.build(model, data=frame(rows), overrides=overrides)


def somewhere(spec, rng):
    """A state with values of a likely size."""
    from hlm_models.gibbs.model import model

    found, sizes = model(spec, "joint")
    C = np.zeros((sizes.Q, sizes.Q))
    for f, width, m in zip(*found.units[:3], strict=True):
        root = np.tril(0.3 * rng.normal(size=(m, m)), -1) + np.diag(rng.uniform(0.4, 1.2, m))
        C[f : f + m, f : f + m] = root
        for t in range(m, width):
            C[f + t, f + t] = C[f, f]
    Psi, at = [], 0
    for block in spec.blocks:
        here = C[at : at + block.q, at : at + block.q]
        Psi.append(here @ here.T)
        at += block.q
    return State(
        beta=rng.normal(size=sizes.p),
        sigma=1.0 if spec.priors.sigma is None else float(rng.uniform(0.6, 1.4)),
        Psi=tuple(Psi),
        b=tuple(0.6 * rng.normal(size=(block.J, block.q)) for block in spec.blocks),
        a=rng.uniform(0.5, 2.0, (sizes.U, sizes.w)),
        sigma_a=float(rng.uniform(0.5, 2.0)),
        weights=np.where(found.prior[2] > 0, rng.uniform(0.5, 2.0, sizes.p), 1.0),
    )


def point(state):
    """A state as a Point of the reference density."""
    sd = tuple(np.sqrt(np.diag(Psi)) for Psi in state.Psi)
    corr = []
    for Psi, one in zip(state.Psi, sd, strict=True):
        r = Psi / np.outer(one, one)
        np.fill_diagonal(r, 1.0)
        corr.append(r)
    return Point(state.beta, state.sigma, sd, tuple(corr), state.b)


def units(spec):
    """Of every unit: its block, the columns of its effects there, whether shared, and its form."""
    found = []
    for index, (block, prior) in enumerate(zip(spec.blocks, spec.priors.blocks, strict=True)):
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            at = term.columns.start
            for form in covariance.variance_forms():
                shared = covariance.structure == "shared"
                width = term.q if shared else len(form.scale)
                found.append((index, np.arange(at, at + width), shared, form))
                at += width
    return found


def mixture(units, u):
    """nu and rates of a unit, as the law of a scale takes them."""
    return float(units.nu[u]), units.rates[u, : units.size[u]]


def log_inverse_wishart(Psi, nu, scale):
    """With respect to the lower triangle of Psi; a scale of zeros counts as one."""
    m = len(Psi)
    value = -(nu + m + 1) / 2 * np.linalg.slogdet(Psi)[1]
    value -= np.trace(scale @ np.linalg.inv(Psi)) / 2
    if scale.any():
        value += nu / 2 * np.linalg.slogdet(scale)[1]
    return value


def log_inverse_gamma(x, shape, rate):
    return shape * math.log(rate) - math.lgamma(shape) - (shape + 1) * math.log(x) - rate / x


def to_sd(Psi):
    """Log of what turns a density by the lower triangle of Psi into one by sd and corr."""
    m = len(Psi)
    return m * math.log(2) + m / 2 * float(np.sum(np.log(np.diag(Psi))))


def augmented(spec, state):
    """The joint log density with the auxiliaries among the unknowns; constants left out.

    The reference density, with the prior of every mixture taken off and its parts put in.
    """
    total = float(joint_log_density(spec, point(state)))
    for k, prior in enumerate(spec.priors.beta):
        if isinstance(prior, StudentT):
            w, df, scale = state.weights[k], prior.df, prior.settled("scale")
            total -= float(prior.log_density(np.asarray(state.beta[k]), place="location"))
            total += 0.5 * math.log(w) - w / 2 * ((state.beta[k] - prior.loc) / scale) ** 2
            total += (df / 2 - 1) * math.log(w) - df / 2 * w
    sigma = spec.priors.sigma
    form = None if sigma is None else sigma.variance_form()
    if form is not None and form.df > 0:
        total -= float(sigma.log_density(np.asarray(state.sigma), place="scale"))
        total += log_inverse_gamma(state.sigma**2, form.nu / 2, form.df / state.sigma_a)
        total += math.log(state.sigma)
        total += log_inverse_gamma(state.sigma_a, 0.5, form.spread[0] ** -2.0)
    for u, (index, columns, shared, form) in enumerate(units(spec)):
        if form.df == 0:
            continue
        [term] = [
            t
            for t, one in enumerate(spec.blocks[index].terms)
            if one.columns.start <= columns[0] < one.columns.stop
        ]
        covariance = spec.priors.blocks[index].terms[term]
        here = columns[:1] if shared or len(form.scale) == 1 else columns
        Psi = state.Psi[index][np.ix_(here, here)]
        a = state.a[u, : len(here)]
        if len(here) > 1:
            whole = point(state)
            cut = np.ix_(columns, columns)
            total -= float(covariance.log_density(whole.sd[index][columns], whole.corr[index][cut]))
        else:
            k = 0 if shared else int(columns[0]) - spec.blocks[index].terms[term].columns.start
            prior, sd = covariance.sd_priors()[k], np.sqrt(Psi[0])
            total -= float(prior.log_density(sd[0], place="scale"))
        total += log_inverse_wishart(Psi, form.nu, 2 * form.df * np.diag(1 / a)) + to_sd(Psi)
        total += sum(
            log_inverse_gamma(one, 0.5, width**-2.0)
            for one, width in zip(a, form.spread, strict=True)
        )
    return total
