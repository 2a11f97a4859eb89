"""The graphs' coordinates in plain NumPy, and models that the zoo has none of."""

import os

import numpy as np
import pandas as pd
import pytest

from hlm_models import build

HALF = {"kind": "half_normal", "scale": 2}
TWO = [[3.0, 0.4], [0.4, 0.7]]
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
    "an inverse wishart": (
        "y ~ x + (x | school)",
        {"groups": {"school": {"kind": "inverse_wishart", "nu": 2.6, "scale": TWO}}},
    ),
    "matrices": (
        "y ~ x + w + v + (w | school) + (0 + x + v | school) + (1 | room)",
        {
            "sigma": {"kind": "inverse_gamma", "shape": 1.5, "scale": 4.0},
            "groups": {
                "school": {
                    "w | school": {"kind": "hierarchical", "scale": {"w": 0.5}},
                    "0 + x + v | school": {"kind": "wishart", "nu": 3, "scale": TWO},
                },
                "room": {"kind": "inverse_wishart", "scale": [[0.5]]},
            },
        },
    ),
}


def build_or_skip(name):
    if name.startswith("nels") and "HLM_DATA" not in os.environ:
        pytest.skip("NELS is not bundled, and HLM_DATA does not name the folder of nels.csv")
    return build(name)


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


def coefficients_at(values, label, priors, R):
    """Coefficients, complex where `values` are; R (k, k) turns them into the centred ones."""
    if f"{label}_centred__" in values:
        return np.linalg.solve(R, values[f"{label}_centred__"])
    return vector(values, label, priors)


def variances_at(spec, values):
    """sigma, and sd and the factor of corr of every block; complex where `values` are."""
    known = spec.priors.sigma is None
    sigma = 1.0 if known else number(values, "sigma", spec.priors.sigma)
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
    return sigma, sds, factors


def unknowns(spec, beta, sigma, sds, factors):
    """What the reference density is with respect to, b left out, as one vector."""
    pieces = [beta, [] if spec.priors.sigma is None else np.atleast_1d(sigma)]
    for block, prior, sd, factor in zip(spec.blocks, spec.priors.blocks, sds, factors, strict=True):
        corr = factor @ factor.T
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            pieces.append(sd[term.columns][: len(covariance.sd_priors())])
            if term.correlated:
                here = corr[term.columns, term.columns]
                pieces.append(here[np.tril_indices(term.q, -1)])
    return np.concatenate(pieces)


def jacobian(function, values):
    """Derivatives of function(values), a vector, by every coordinate in turn; one in a column."""
    step = 1e-30
    columns = []
    for name, value in values.items():
        for at in np.ndindex(np.shape(value)):
            moved = {key: np.array(one, dtype=complex) for key, one in values.items()}
            moved[name][at] += step * 1j
            columns.append(function(moved).imag / step)
    return np.column_stack(columns)


def compiled(inputs, outputs):
    import pytensor
    from pytensor.compile.mode import Mode

    # Interpreted: a handful of evaluations do not pay for compiling.
    return pytensor.function(inputs, outputs, mode=Mode(linker="py", optimizer="fast_compile"))
