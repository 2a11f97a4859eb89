"""The graph is the reference density in other coordinates, on every model of the zoo."""

import os

import numpy as np
import pandas as pd
import pytest

from hlm_models import build, list_models, to_pymc
from hlm_models.spec.density import Point, joint_log_density

MANY_ROWS = 5000
FORMS = ("centered", "noncentered")


def build_or_skip(name):
    if name.startswith("nels") and "HLM_DATA" not in os.environ:
        pytest.skip("NELS is not bundled, and HLM_DATA does not name the folder of nels.csv")
    return build(name)


# --- the map from the graph's coordinates to the unknowns, in plain NumPy ---
#
# All of it is analytic, so that complex steps give its Jacobian to the last digit.


def expit(value):
    return 1 / (1 + np.exp(-value))


def number(values, label, prior):
    """One free variable of the graph, out of the coordinate that PyMC samples it in."""
    own = {label, *(f"{label}_{word}__" for word in ("log", "interval"))}
    [name] = own & set(values)
    value = values[name]
    match name.removeprefix(label):
        case "":
            return value
        case "_log__":
            return np.exp(value)
        case "_interval__":
            return prior.lower + (prior.upper - prior.lower) * expit(value)
        case other:
            raise AssertionError(f"unknown transform {other} of {label}")


def vector(values, label, priors):
    """A vector whose elements may have priors of several kinds: one free variable a kind."""
    kinds = list(dict.fromkeys(type(prior) for prior in priors))
    if len(kinds) == 1:
        return number(values, label, priors[0])
    out = np.empty(len(priors), dtype=complex)
    for kind in kinds:
        members = [i for i, prior in enumerate(priors) if type(prior) is kind]
        piece = f"{label}_{priors[members[0]].kind}"
        out[members] = number(values, piece, priors[members[0]])
    return out


def factor_of(partial, q):
    """Cholesky factor of the correlation matrix with these canonical partial correlations."""
    L = np.zeros((q, q), dtype=complex)
    L[0, 0] = 1.0
    at = 0
    for row in range(1, q):
        left = 1.0
        for column in range(row):
            L[row, column] = partial[at] * np.sqrt(left)
            left = left * (1 - partial[at] ** 2)
            at += 1
        L[row, row] = np.sqrt(left)
    return L


def globals_at(spec, values):
    """beta, sigma, and sd and the factor of corr of every block; complex where `values` are."""
    if "beta_centred__" in values:
        beta = np.linalg.solve(spec.design.x_scaling.R, values["beta_centred__"])
    else:
        beta = vector(values, "beta", spec.priors.beta)
    sigma = number(values, "sigma", spec.priors.sigma)
    sds, factors = [], []
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        sd, factor = np.empty(block.q, dtype=complex), np.eye(block.q, dtype=complex)
        for i, (term, covariance) in enumerate(zip(block.terms, prior.terms, strict=True)):
            label = block.group if len(block.terms) == 1 else f"{block.group}_{i + 1}"
            name = f"{'shared' if covariance.kind == 'shared' else 'sd'}_{label}"
            sd[term.columns] = vector(values, name, covariance.sd_priors())
            if term.correlated:
                partial = 2 * expit(values[f"partial_{label}_logodds__"]) - 1
                factor[term.columns, term.columns] = factor_of(partial, term.q)
        sds.append(sd)
        factors.append(factor)
    return beta, sigma, sds, factors


def flat_globals(spec, values):
    """What the reference density is with respect to, b left out."""
    beta, sigma, sds, factors = globals_at(spec, values)
    pieces = [beta, np.atleast_1d(sigma)]
    for block, prior, sd, factor in zip(spec.blocks, spec.priors.blocks, sds, factors, strict=True):
        corr = factor @ factor.T
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            pieces.append(sd[term.columns][: len(covariance.sd_priors())])
            if term.correlated:
                here = corr[term.columns, term.columns]
                pieces.append(here[np.tril_indices(term.q, -1)])
    return np.concatenate(pieces)


def is_effect(name):
    return name.startswith(("b_", "z_"))


def log_jacobian(spec, values):
    """log|d unknowns / d coordinates|; the effects' part is triangular above the others'."""
    small = [name for name in values if not is_effect(name)]
    step = 1e-30
    columns = []
    for name in small:
        for at in np.ndindex(np.shape(values[name])):
            moved = {key: np.array(value, dtype=complex) for key, value in values.items()}
            moved[name][at] += step * 1j
            columns.append(flat_globals(spec, moved).imag / step)
    J = np.column_stack(columns)
    assert J.shape[0] == J.shape[1]
    total = np.linalg.slogdet(J)[1]
    _, _, sds, factors = globals_at(spec, values)
    for block, sd, factor in zip(spec.blocks, sds, factors, strict=True):
        if f"z_{block.group}" in values:
            scaled = np.linalg.slogdet((sd[:, None] * factor).real)[1]
            total += block.J * scaled
    return float(total)


def reference(spec, values):
    """joint_log_density at the unknowns of these coordinates, plus the log Jacobian."""
    beta, sigma, sds, factors = globals_at(spec, values)
    corrs, bs = [], []
    for block, sd, factor in zip(spec.blocks, sds, factors, strict=True):
        corr = (factor @ factor.T).real
        np.fill_diagonal(corr, 1.0)
        corrs.append(corr)
        if f"b_{block.group}" in values:
            bs.append(values[f"b_{block.group}"])
        else:
            bs.append(values[f"z_{block.group}"] @ (sd[:, None] * factor).real.T)
    at = Point(
        beta.real,
        float(np.real(sigma)),
        tuple(sd.real for sd in sds),
        tuple(corrs),
        tuple(bs),
    )
    return joint_log_density(spec, at) + log_jacobian(spec, values)


# --- the graph ---


def compiled(inputs, outputs):
    import pytensor
    from pytensor.compile.mode import Mode

    # Interpreted: a handful of evaluations do not pay for compiling.
    return pytensor.function(inputs, outputs, mode=Mode(linker="py", optimizer="fast_compile"))


def random_values(spec, model, rng):
    """Coordinates near where the data put them, so that no term of the density drowns the rest."""
    size = np.log(np.std(spec.design.y))
    values = {}
    for variable, start in zip(model.value_vars, model.initial_point().values(), strict=True):
        x = rng.normal(size=np.shape(start))
        if variable.name.endswith("_log__"):
            x = size + 0.5 * x
        elif variable.name.startswith("b_"):
            x = np.exp(size) * x
        values[variable.name] = x
    return values


def assert_agreement(spec, form, *, points, directions):
    from hlm_models.graph.latent import to_pymc

    model = to_pymc(spec, form)
    names = [variable.name for variable in model.value_vars]
    evaluate = compiled(model.value_vars, [model.logp(), model.dlogp()])
    rng = np.random.default_rng(31)
    for _ in range(points):
        values = random_values(spec, model, rng)
        logp, gradient = evaluate(*(values[name] for name in names))
        assert float(logp) == pytest.approx(reference(spec, values), rel=1e-9)
        for _ in range(directions):
            step = {name: rng.normal(size=np.shape(value)) for name, value in values.items()}

            def along(t, values=values, step=step):
                return reference(spec, {name: values[name] + t * step[name] for name in values})

            # Differences of two widths, extrapolated: what is left is the rounding of the sum.
            h = 1e-4
            narrow = (along(h) - along(-h)) / (2 * h)
            wide = (along(2 * h) - along(-2 * h)) / (4 * h)
            numeric = (4 * narrow - wide) / 3
            slope = gradient @ np.concatenate([np.ravel(step[name]) for name in names])
            rounding = 1e-15 * abs(float(logp)) / h
            assert slope == pytest.approx(numeric, rel=1e-6, abs=10 * rounding)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", list_models())
def test_the_graph_of_a_zoo_model_is_the_reference_density(name, form):
    spec = build_or_skip(name)
    big = spec.design.n > MANY_ROWS
    assert_agreement(spec, form, points=1 if big else 3, directions=1 if big else 2)


def made_up():
    rng = np.random.default_rng(4)
    n = 60
    return pd.DataFrame(
        {
            "y": rng.normal(2.0, 3.0, n),
            "x": rng.normal(40.0, 2.0, n),
            "w": rng.normal(size=n),
            "v": rng.normal(size=n),
            "school": [f"s{i % 7}" for i in range(n)],
            "room": [f"r{i % 4}" for i in range(n)],
        }
    )


HALF = {"kind": "half_normal", "scale": 2}
OTHERS = {
    "three correlated effects": ("y ~ x + w + (x + w | school)", {}),
    "four correlated effects": ("y ~ x + w + v + (x + w + v | school)", {}),
    "crossed groups": ("y ~ x + w + (x | school) + (w | room)", {}),
    "nested groups": ("y ~ x + (1 | school/room)", {}),
    "stacked terms": ("y ~ x + w + v + (x | school) + (0 + w + v | school)", {}),
    "two bars": ("y ~ x + w + (x + w || school)", {}),
    "one variance": ("y ~ x + w + (x + w || school)", {"groups": {"school": {"kind": "shared"}}}),
    "one variance of a term": (
        "y ~ x + w + v + (x | school) + (0 + w + v || school) + (1 | room)",
        {
            "groups": {
                "school": {
                    "0 + w + v || school": {
                        "kind": "shared",
                        "sd": {"kind": "uniform", "lower": 0, "upper": 9},
                    }
                },
                "room": {"kind": "shared", "sd": HALF},
            }
        },
    ),
    "no intercept": ("y ~ 0 + x + w + (0 + x | school)", {}),
    "flat priors": (
        "y ~ x + (1 | school)",
        {
            "beta": {"kind": "flat"},
            "sigma": {"kind": "flat"},
            "groups": {"school": {"kind": "diagonal", "sd": {"kind": "flat"}}},
        },
    ),
    "bounded priors": (
        "y ~ x + (1 | school)",
        {
            "beta": {"kind": "uniform", "lower": -90, "upper": 80},
            "sigma": {"kind": "uniform", "lower": 0, "upper": 50},
            "groups": {
                "school": {"kind": "diagonal", "sd": {"kind": "uniform", "lower": 0, "upper": 9}}
            },
        },
    ),
    "priors of several kinds": (
        "y ~ x + w + (x + w | school)",
        {
            "beta": {"x": {"kind": "student_t", "scale": 2}},
            "sigma": {"kind": "exponential", "scale": 3},
            "groups": {"school": {"kind": "lkj", "eta": 1.3, "sd": {"x": HALF}}},
        },
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sort", OTHERS)
def test_the_graph_of_other_models_is_the_reference_density(sort, form):
    formula, priors = OTHERS[sort]
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    spec = build({**head, "priors": priors}, data=made_up())
    assert_agreement(spec, form, points=3, directions=2)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("keys", [("weights", "offset"), ("weights",), ("offset",)], ids=str)
def test_the_graph_with_weights_and_offset_is_the_reference_density(keys, form):
    rng = np.random.default_rng(6)
    columns = {"weights": rng.uniform(0.1, 9.0, 60), "offset": rng.normal(3.0, 2.0, 60)}
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}}
    head |= {"formula": "y ~ x + (x | school) + (1 | room)"} | {key: key for key in keys}
    spec = build(head, data=made_up().assign(**columns))
    assert_agreement(spec, form, points=3, directions=2)
    assert set(to_pymc(spec, form).named_vars) & set(columns) == set(keys)


@pytest.mark.parametrize("form", FORMS)
def test_variables_and_dims_are_those_that_were_promised(form):
    from hlm_models.graph.latent import to_pymc

    head = {"schema": 1, "name": "m", "data": {"source": "frame"}}
    spec = build({**head, "formula": "y ~ x + (x | school) + (1 | room)"}, data=made_up())
    model = to_pymc(spec, form)
    dims = {name: found for name, found in model.named_vars_to_dims.items() if name != "y_obs"}
    expected = {
        "beta": ("coef",),
        "b_school": ("school", "effect_school"),
        "sd_school": ("effect_school",),
        "corr_school": ("effect_school", "effect_school_2"),
        "b_room": ("room", "effect_room"),
        "sd_room": ("effect_room",),
        "corr_room": ("effect_room", "effect_room_2"),
    }
    assert {name: dims[name] for name in expected} == expected
    assert "sigma" in model.named_vars
    assert list(model.coords["coef"]) == ["Intercept", "x"]
    assert list(model.coords["school"]) == [f"s{i}" for i in range(7)]
    assert list(model.coords["effect_school"]) == ["Intercept", "x"]
