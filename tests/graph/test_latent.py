"""The latent graph is the reference density in other coordinates, on every model of the zoo."""

import numpy as np
import pandas as pd
import pytest
from graph_coordinates import (
    OTHERS,
    build_or_skip,
    coefficients_at,
    compiled,
    jacobian,
    made_up,
    unknowns,
    variances_at,
)

from hlm_models import build, list_models, to_pymc
from hlm_models.spec.density import Point, joint_log_density
from hlm_models.spec.information import latent_parameterization

MANY_ROWS = 5000
FORMS = ("centered", "noncentered")


def globals_at(spec, values):
    beta = coefficients_at(values, "beta", spec.priors.beta, spec.design.x_scaling.R)
    return beta, *variances_at(spec, values)


def log_jacobian(spec, values):
    """log|d unknowns / d coordinates|; the effects' part is triangular above the others'."""
    small = {
        name: value for name, value in values.items() if not name.startswith(("b_", "c_", "z_"))
    }
    J = jacobian(lambda moved: unknowns(spec, *globals_at(spec, moved)), small)
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
        elif f"c_{block.group}" in values:
            level = pd.DataFrame(spec.design.X).groupby(block.level).mean().to_numpy() @ beta.real
            bs.append(values[f"c_{block.group}"] - level[:, None])
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
        elif variable.name.startswith("c_"):
            x = np.mean(spec.design.y_net) + np.exp(size) * x
        values[variable.name] = x
    return values


def assert_agreement(spec, form, *, points, directions):
    from hlm_models.graph.models import to_pymc

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


@pytest.mark.parametrize("name", list_models())
def test_the_graph_of_a_zoo_model_is_the_reference_density(name):
    """In the form that `latent` chooses; both forms of all sorts of models are below."""
    spec = build_or_skip(name)
    form, _ = latent_parameterization(spec.design)
    big = spec.design.n > MANY_ROWS
    assert_agreement(spec, form, points=1 if big else 3, directions=1 if big else 2)


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
    from hlm_models.graph.models import to_pymc

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
