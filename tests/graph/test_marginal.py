"""The marginal graph is priors, dense twin and Jacobians, with names as in the latent graph."""

import numpy as np
import pytest
from dense_marginal import dense_marginal
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
from hlm_models.errors import InputErrors
from hlm_models.spec.integration import integration

ROWS = 600
QUICK = ("dyestuff", "sleepstudy-slopes", "penicillin")
SLOW = pytest.mark.slow


# --- the same density, from the twin ---


def parameters_at(spec, values):
    """beta_free, sigma, and sd and the factor of corr of every block."""
    free = integration(spec).free
    R = np.linalg.qr(spec.design.x_scaling.R[:, free], mode="r")
    beta = coefficients_at(values, "beta_free", [spec.priors.beta[k] for k in free], R)
    return beta, *variances_at(spec, values)


def of_the_likelihood(beta, sigma, sds, factors):
    """What the twin gives derivatives by, as one vector."""
    return np.concatenate(
        [beta, [np.log(sigma)], *sds, *[factor[np.tril_indices_from(factor)] for factor in factors]]
    )


def reference(spec, values):
    """The log density, and its gradient less that of the priors, at these coordinates."""
    beta, sigma, sds, factors = (
        [one.real for one in part] if isinstance(part, list) else np.real(part)
        for part in parameters_at(spec, values)
    )
    total = 0.0
    if spec.priors.sigma is not None:
        total += float(spec.priors.sigma.log_density(sigma, place="scale"))
    for k, value in zip(integration(spec).free, beta, strict=True):
        total += float(spec.priors.beta[k].log_density(value, place="location"))
    for block, prior, sd, factor in zip(spec.blocks, spec.priors.blocks, sds, factors, strict=True):
        corr = factor @ factor.T
        np.fill_diagonal(corr, 1.0)
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            here = term.columns
            total += covariance.log_density(sd[here], corr[here, here])
    J = jacobian(lambda moved: unknowns(spec, *parameters_at(spec, moved)), values)
    assert J.shape[0] == J.shape[1]
    twin = dense_marginal(spec, sds, factors, float(sigma), beta)
    slopes = np.concatenate(
        [
            twin.beta_free,
            [twin.log_sigma],
            *twin.sd,
            *[slope[np.tril_indices_from(slope)] for slope in twin.factor],
        ]
    )
    chain = jacobian(lambda moved: of_the_likelihood(*parameters_at(spec, moved)), values)
    return total + twin.value + np.linalg.slogdet(J)[1], slopes @ chain


# --- the graph ---


def random_values(spec, model, rng):
    """Coordinates near where the priors have their middle."""
    spread = np.std(spec.design.y)
    values = {}
    for name, start in model.initial_point().items():
        x = rng.normal(size=np.shape(start))
        scale = 0.5
        if name == "beta_free_centred__":
            scale = spread
        elif name == "beta_free_student_t":
            scale = 0.2 * np.array(
                [one.scale for one in spec.priors.beta if one.kind == "student_t"]
            )
        values[name] = start + scale * x
    return values


def assert_agreement(spec, *, points=2):
    from pymc.pytensorf import gradient

    model = to_pymc(spec, "marginal")
    names = [variable.name for variable in model.value_vars]
    # A prior of a covariance as a whole is a potential too.
    [likelihood] = [one for one in model.potentials if one.name == "likelihood"]
    of_likelihood = gradient(model.logp(vars=[likelihood]), model.value_vars)
    evaluate = compiled(model.value_vars, [model.logp(), of_likelihood])
    rng = np.random.default_rng(31)
    for _ in range(points):
        values = random_values(spec, model, rng)
        logp, found = evaluate(*(values[name] for name in names))
        value, slopes = reference(spec, values)
        assert float(logp) == pytest.approx(value, rel=1e-9)
        assert found == pytest.approx(slopes, rel=1e-9, abs=1e-9 * np.abs(slopes).max())


def few_rows(name):
    """A model of the zoo, with part of its rows where it has many."""
    spec = build_or_skip(name)
    if spec.design.n <= ROWS:
        return spec
    frame = spec.design.table.frame().iloc[np.linspace(0, spec.design.n - 1, ROWS).astype(int)]
    kept = {key: spec.config[key] for key in ("formula", "allow_macro_in_z", "priors")}
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}}
    return build(head | kept, data=frame.reset_index(drop=True))


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=SLOW) for name in list_models()]
)
def test_the_graph_of_a_zoo_model_is_priors_and_twin(name):
    assert_agreement(few_rows(name))


def made(formula="y ~ x + (x | school)", *, priors=None, columns=None, **settings):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return build(head | {"priors": priors or {}} | settings, data=made_up().assign(**columns or {}))


BETAS = {
    "student t": {"kind": "student_t", "df": 4, "loc": 1.0},
    "one student t": {"x": {"kind": "student_t", "df": 4}},
    "three kinds": {
        "Intercept": {"kind": "flat"},
        "x": {"kind": "uniform", "lower": -2, "upper": 3},
        "w": {"kind": "student_t", "scale": 2},
    },
}


@pytest.mark.parametrize("sort", OTHERS)
def test_the_graph_of_other_models_is_priors_and_twin(sort):
    formula, priors = OTHERS[sort]
    assert_agreement(made(formula, priors=priors))


@pytest.mark.parametrize("sort", BETAS)
def test_coefficients_that_cannot_be_integrated_stay_free(sort):
    spec = made("y ~ x + w + v + (1 | school) + (1 | room)", priors={"beta": BETAS[sort]})
    assert_agreement(spec)


@pytest.mark.parametrize("keys", [("weights", "offset"), ("weights",), ("offset",)], ids=str)
def test_the_graph_with_weights_and_offset_is_priors_and_twin(keys):
    rng = np.random.default_rng(6)
    columns = {"weights": rng.uniform(0.1, 9.0, 60), "offset": rng.normal(3.0, 2.0, 60)}
    beta = {"x": {"kind": "student_t"}, "Intercept": {"kind": "flat"}}
    named = {key: key for key in keys}
    assert_agreement(made(priors={"beta": beta}, columns=columns, **named))


def test_the_graph_of_known_residuals_is_priors_and_twin():
    columns = {"se": np.random.default_rng(6).uniform(0.5, 3.0, 60)}
    known = {"residual": {"kind": "known", "sd": "se"}}
    beta = {"x": {"kind": "student_t"}}
    assert_agreement(made(priors={"beta": beta}, columns=columns, **known))


def test_variables_and_dims_are_those_of_the_latent_graph():
    spec = made("y ~ x + w + (x | school) + (1 | room)", priors={"beta": BETAS["three kinds"]})
    marginal, latent = to_pymc(spec, "marginal"), to_pymc(spec, "noncentered")
    known = marginal.named_vars_to_dims
    groups = ("sd_school", "corr_school", "sd_room", "corr_room")
    assert {name: known[name] for name in groups} == {
        name: latent.named_vars_to_dims[name] for name in groups
    }
    assert known["beta_free"] == ("coef_free",)
    assert marginal.coords["coef_free"] == ("x", "w")
    assert {name: latent.coords[name] for name in marginal.coords if name != "coef_free"} == {
        name: values for name, values in marginal.coords.items() if name != "coef_free"
    }
    free = {variable.name for variable in marginal.free_RVs}
    assert free == {"sigma", "sd_school", "partial_school", "sd_room"} | {
        "beta_free_uniform",
        "beta_free_student_t",
    }
    assert [one.name for one in marginal.potentials] == ["likelihood"]
    assert not marginal.observed_RVs


def test_without_a_word_a_model_has_its_effects():
    spec = made(fit={"parameterization": "marginal"})
    assert "b_school" in to_pymc(spec).named_vars
    assert "b_school" not in to_pymc(spec, spec.parameterization).named_vars


def operation(spec):
    """The node of the marginal graph that holds the likelihood."""
    [potential] = to_pymc(spec, "marginal").potentials
    return potential.owner


@pytest.mark.slow
@pytest.mark.parametrize("formula", ["y ~ x + (1 | school)", "y ~ x + (1 | school) + (1 | room)"])
def test_compiled_it_gives_the_same_numbers_without_python_objects(formula):
    import pytensor

    node = operation(made(formula))
    given = [one.type() for one in node.inputs[:3]]
    outputs = node.op(*given, *node.inputs[3:])
    at = [np.array([0.7, 0.4][: formula.count("|")]), 0.3, np.array([0.2, 0.4])]
    compiled_value, compiled_slopes = pytensor.function(given, outputs, mode="NUMBA")(*at)
    value, slopes = node.op.evaluate(*at, *[one.get_value() for one in node.inputs[3:]])
    assert float(compiled_value) == pytest.approx(float(value), rel=1e-12)
    assert compiled_slopes == pytest.approx(slopes, rel=1e-9)


def test_compiled_code_is_kept_for_other_data_and_not_for_other_kernels(monkeypatch):
    from pytensor.link.numba.dispatch.basic import numba_funcify_and_cache_key

    from hlm_models.graph import integrated

    def key(spec):
        node = operation(spec)
        return numba_funcify_and_cache_key(node.op, node=node)[1]

    one, other = made(), made(columns={"y": made_up()["y"] + 1})
    crossed = made("y ~ x + (x | school) + (1 | room)")
    assert key(one) == key(other) != key(crossed)
    before = key(one)
    monkeypatch.setattr(integrated, "_version", lambda: "other kernels")
    assert key(one) != before


def test_second_derivatives_are_refused():
    from pytensor.gradient import NullTypeGradError

    with pytest.raises(NullTypeGradError, match="not implemented"):
        to_pymc(made(), "marginal").d2logp()


def test_a_point_that_cannot_be_has_no_density_and_no_slope():
    from pymc.pytensorf import gradient

    model = to_pymc(made(), "marginal")
    [likelihood] = model.replace_rvs_by_values(model.potentials)
    evaluate = compiled(model.value_vars, [likelihood, gradient(likelihood, model.value_vars)])
    at = model.initial_point() | {"sd_school_log__": np.array([400.0, 0.0])}
    value, slopes = evaluate(*(at[variable.name] for variable in model.value_vars))
    assert float(value) == -np.inf
    assert not slopes.any()


@pytest.mark.slow
def test_samplers_on_jax_have_the_same_numbers():
    jax = pytest.importorskip("jax")
    from pymc.sampling.jax import get_jaxified_logp

    spec = made("y ~ x + w + (x | school)", priors={"beta": BETAS["one student t"]})
    model = to_pymc(spec, "marginal")
    names = [variable.name for variable in model.value_vars]
    values = random_values(spec, model, np.random.default_rng(8))
    at = [np.asarray(values[name]) for name in names]
    logp, slopes = compiled(model.value_vars, [model.logp(), model.dlogp()])(*at)
    in_jax = get_jaxified_logp(model)
    value, found = jax.value_and_grad(in_jax)(at)
    assert float(value) == pytest.approx(float(logp), rel=1e-12)
    assert np.concatenate([np.ravel(one) for one in found]) == pytest.approx(slopes, rel=1e-9)
    two = jax.jit(jax.vmap(in_jax))([np.stack([one, one]) for one in at])
    assert np.asarray(two) == pytest.approx([float(logp)] * 2, rel=1e-12)


@pytest.mark.parametrize("wrong", ["marginl", 3])
def test_a_form_that_is_none_is_refused(wrong):
    with pytest.raises(InputErrors, match="is none of centered, noncentered, marginal"):
        to_pymc(build("dyestuff"), parameterization=wrong)


def test_what_is_no_model_is_refused():
    with pytest.raises(InputErrors, match=r"takes a model, hlm.build\(...\), and this is str"):
        to_pymc("dyestuff", "marginal")
