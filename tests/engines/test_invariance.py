"""What leaves a fit of several groups, weighted or not, as it is, or moves it as it should."""

import functools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hlm_models import build, fit

FORMULAS = {
    "crossed": "y ~ x + f + (x | g) + (1 | h)",
    "nested": "y ~ x + f + (1 | g/k)",
    "nested slopes": "y ~ x + f + (x || g) + (1 | g:k)",
    "crossed in nested": "y ~ x + f + (1 | g/k) + (x | h)",
}
CRITERION, ESTIMATE = 1e-9, 2e-5
"""Both searches stop where the criterion is flat to 1e-12 or so; estimates follow to its root."""

# Two fits an example: fewer of them than other properties have.
examples = settings(max_examples=2 + settings.default.max_examples // 2)
models = st.tuples(
    st.sampled_from(sorted(FORMULAS)), st.booleans(), st.sampled_from(["reml", "ml"])
)
digits = st.floats(-6, 6)


@functools.cache
def table():
    """360 rows: 12 levels of g, 3 of k in each, 8 of h; w are weights, o an offset."""
    rng = np.random.default_rng(11)
    n = 360
    g, k, h = np.arange(n) % 12, rng.integers(0, 3, n), rng.integers(0, 8, n)
    x = rng.normal(2.0, 1.5, n)
    w = rng.uniform(0.3, 3.0, n)
    y = 5 + 0.7 * x + 1.5 * rng.normal(size=12)[g] + 0.6 * rng.normal(size=12)[g] * x
    y += 2 * rng.normal(size=(12, 3))[g, k] + rng.normal(size=8)[h] + rng.normal(size=8)[h] * x
    return pd.DataFrame(
        {
            "y": y + rng.normal(size=n) / np.sqrt(w),
            "x": x,
            "f": rng.choice([*"pqr"], n),
            "w": w,
            "o": rng.normal(size=n),
            "g": [f"g{code:02d}" for code in g],
            "k": [f"k{code}" for code in k],
            "h": [f"h{code}" for code in h],
        }
    )


def fitted(model, frame):
    case, weighted, engine = model
    keys = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": FORMULAS[case]}
    if weighted:
        keys |= {"weights": "w", "offset": "o"}
    return fit(build(keys, data=frame), engine)


@functools.cache
def plain(model):
    found = fitted(model, table())
    assert found.converged
    assert not found.singular
    return found


def assert_same(model, frame, *, beta=1.0, slopes=1.0, size=1.0, sigma=1.0, shift=0.0):
    """Hold the fit to `frame` to the plain one, moved as given; the fit to `frame`.

    beta (p,) and slopes, of every effect of x, are factors; size is that of the response.
    """
    one, other = plain(model), fitted(model, frame)
    assert other.converged
    assert other.criterion == pytest.approx(one.criterion + shift, rel=CRITERION)
    factor = np.broadcast_to(beta, len(one.beta)) * size
    se = np.sqrt(np.diag(one.vcov_beta)) * factor
    assert (np.abs(other.beta - one.beta * factor) <= ESTIMATE * (np.abs(other.beta) + se)).all()
    np.testing.assert_allclose(
        other.vcov_beta / np.outer(se, se),
        one.vcov_beta * np.outer(factor, factor) / np.outer(se, se),
        atol=20 * ESTIMATE,
    )
    assert other.sigma == pytest.approx(one.sigma * size * sigma, rel=ESTIMATE)
    np.testing.assert_allclose(other.df, one.df, rtol=1e-3)
    names = [block.group for block in other.spec.blocks]
    assert sorted(names) == sorted(block.group for block in one.spec.blocks)
    for estimate in one.random:
        moved = other.random[names.index(estimate.group)]
        units = np.where(np.array(estimate.columns) == "x", slopes, 1.0) * size
        np.testing.assert_allclose(moved.sd, estimate.sd * units, rtol=5 * ESTIMATE)
        np.testing.assert_allclose(moved.corr, estimate.corr, atol=5 * ESTIMATE)
    return other


def assert_same_effects(model, other, names=None):
    """Effects of the levels, each under its new name."""
    one = plain(model)
    for estimate, block in zip(one.random, one.spec.blocks, strict=True):
        at = [b.group for b in other.spec.blocks].index(block.group)
        new = [
            ":".join((names or {}).get(word, word) for word in label.split(":"))
            for label in block.labels
        ]
        order = [other.spec.blocks[at].labels.index(label) for label in new]
        np.testing.assert_allclose(other.random[at].b[order], estimate.b, atol=1e-4)


@examples
@given(models, digits)
def test_a_rescaled_predictor_rescales_its_coefficient_and_its_effects(model, power):
    size = 10.0**power
    beta = np.where(np.array(plain(model).spec.design.coef) == "x", 1 / size, 1.0)
    shift = 2 * math.log(size) if model[-1] == "reml" else 0.0
    assert_same(
        model, table().assign(x=table()["x"] * size), beta=beta, slopes=1 / size, shift=shift
    )


@examples
@given(models, digits)
def test_a_rescaled_response_rescales_everything(model, power):
    size = 10.0**power
    frame = table().assign(y=table()["y"] * size, o=table()["o"] * size)
    design = plain(model).spec.design
    df = design.n - (design.p if model[-1] == "reml" else 0)
    assert_same(model, frame, size=size, shift=2 * df * math.log(size))


@examples
@given(models, digits)
def test_rescaled_weights_rescale_sigma_alone(model, power):
    model = (model[0], True, model[2])
    size = 10.0**power
    assert_same(model, table().assign(w=table()["w"] * size), sigma=math.sqrt(size))


@examples
@given(models, st.integers(0, 2**32 - 1))
def test_the_order_of_the_rows_does_not_matter(model, seed):
    order = np.random.default_rng(seed).permutation(len(table()))
    other = assert_same(model, table().iloc[order].reset_index(drop=True))
    assert_same_effects(model, other)


@examples
@given(models, st.permutations(range(12)), st.permutations(range(3)), st.permutations(range(8)))
def test_the_names_of_the_levels_do_not_matter(model, g, k, h):
    names = {f"g{old:02d}": f"n{new:02d}" for old, new in enumerate(g)}
    names |= {f"k{old}": f"m{new}" for old, new in enumerate(k)}
    names |= {f"h{old}": f"{new}h" for old, new in enumerate(h)}
    frame = table().assign(**{column: table()[column].map(names) for column in "gkh"})
    assert_same_effects(model, assert_same(model, frame), names)


@examples
@given(models, st.permutations(range(3)))
def test_inner_levels_may_be_named_anew_in_every_outer_one(model, order):
    # k0 of g00 has nothing to do with k0 of g01: names that no two levels of g share are the same.
    frame = table().assign(k=table()["g"] + table()["k"].str[1:].map(lambda i: f"-{order[int(i)]}"))
    assert_same(model, frame)
