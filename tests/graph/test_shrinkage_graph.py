"""Both graphs with a prior of several coefficients together are the reference densities."""

import numpy as np
import pytest
from dense_marginal import dense_marginal
from graph_coordinates import compiled, jacobian, made_up, unknowns, variances_at

from hlm_models import build, to_pymc
from hlm_models.spec.density import Point, joint_log_density

X = "y ~ x + w + v + (x | school)"
MODELS = {
    "horseshoe": (X, {"kind": "horseshoe"}, {}),
    "horseshoe of other settings": (
        X,
        {"kind": "horseshoe", "df": 3, "df_global": 2, "expected": 1, "slab_df": 2},
        {},
    ),
    "r2d2": (X, {"kind": "r2d2", "mean_r2": 0.3, "prec_r2": 5, "cons_d2": 1.5}, {}),
    "one coefficient": ("y ~ x + (1 | school)", {"kind": "r2d2"}, {}),
    "no intercept": ("y ~ 0 + x + w + (0 + x | school)", {"kind": "horseshoe"}, {}),
    "crossed groups": ("y ~ w + x + (1 | school) + (1 | room)", {"kind": "r2d2"}, {}),
    "flat intercept": (X, {"kind": "horseshoe"}, {"preset": "flat"}),
    "weights": (X, {"kind": "horseshoe"}, {"weights": "m"}),
    "known residuals": (X, {"kind": "r2d2"}, {"residual": {"kind": "known", "sd": "m"}}),
}
QUICK = ("horseshoe", "r2d2", "known residuals")
SLOW = pytest.mark.slow


def model(sort):
    formula, beta, more = MODELS[sort]
    priors = {"beta": beta, "preset": more.get("preset", "weak")}
    rest = {key: value for key, value in more.items() if key != "preset"}
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    m = np.random.default_rng(6).uniform(0.5, 3.0, 60)
    return build({**head, "priors": priors, **rest}, data=made_up().assign(m=m))


# --- the coordinates in plain NumPy, analytic for complex steps ---


def shares(values):
    """Inverse of PyMC's simplex transform."""
    whole = np.append(values, -np.sum(values))
    return np.exp(whole) / np.sum(np.exp(whole))


def hyper_at(spec, values, sigma):
    """Hyperparameters, and the standard deviations of u that docs/priors.md gives them."""
    joint = spec.priors.shrinkage
    residual = sigma * joint.unit
    if joint.law.kind == "r2d2":
        r2 = 1 / (1 + np.exp(-values["r2_beta_logodds__"]))
        one = joint.count == 1
        phi = np.ones(1) if one else shares(values["phi_beta_simplex__"])
        return {"r2_beta": r2, "phi_beta": phi}, residual * np.sqrt(phi * r2 / (1 - r2))
    tau = np.exp(values["ratio_beta_log__"]) * residual
    slab, each = np.exp(values["slab_beta_log__"]), np.exp(values["lambda_beta_log__"])
    scale = np.sqrt(tau**2 * slab**2 * each**2 / (slab**2 + tau**2 * each**2))
    return {"tau_beta": tau, "slab_beta": slab, "lambda_beta": each}, scale


def shrunk_at(spec, values, sigma, scale):
    """The coefficients: z_beta times the root of 1 / (1 / scale^2 + 1 / error^2)."""
    joint, design = spec.priors.shrinkage, spec.design
    w = np.ones(design.n) if design.weights is None else design.weights
    covariance = np.linalg.inv(design.X.T @ (w[:, None] * design.X))
    error = sigma * np.sqrt(np.diag(covariance))[list(joint.places)] * np.array(joint.spread)
    return values["z_beta"] / np.sqrt(1 / scale**2 + 1 / error**2) / np.array(joint.spread)


def all_at(spec, values):
    """beta, hyperparameters, sigma, and sd and the factor of corr of every block."""
    sigma, sds, factors = variances_at(spec, values)
    joint = spec.priors.shrinkage
    hyper, scale = hyper_at(spec, values, sigma)
    beta = np.zeros(spec.design.p, dtype=complex)
    beta[list(joint.places)] = shrunk_at(spec, values, sigma, scale)
    if "centre_beta" in values:
        [(k, _)] = spec.priors.own
        beta[k] = values["centre_beta"] - spec.design.X.mean(axis=0) @ beta
    return beta, hyper, sigma, sds, factors


def vector(spec, values):
    """All unknowns but b that the coordinates move."""
    beta, hyper, sigma, sds, factors = all_at(spec, values)
    if "centre_beta" not in values:
        beta = beta[list(spec.priors.shrinkage.places)]
    free = [np.atleast_1d(one)[: -1 if name == "phi_beta" else None] for name, one in hyper.items()]
    return np.concatenate([unknowns(spec, beta, sigma, sds, factors), *free])


def log_jacobian(spec, values):
    J = jacobian(lambda moved: vector(spec, moved), values)
    assert J.shape[0] == J.shape[1]
    return np.linalg.slogdet(J)[1]


def real(spec, values):
    beta, hyper, sigma, sds, factors = all_at(spec, values)
    corr = [(factor @ factor.T).real for factor in factors]
    for one in corr:
        np.fill_diagonal(one, 1.0)
    return (
        beta.real,
        {name: np.real(one) for name, one in hyper.items()},
        float(np.real(sigma)),
        [sd.real for sd in sds],
        corr,
        [factor.real for factor in factors],
    )


def of_the_latent(spec, values):
    beta, hyper, sigma, sds, corr, factors = real(spec, values)
    small = {
        name: value
        for name, value in values.items()
        if name not in {f"z_{block.group}" for block in spec.blocks}
    }
    total, bs = log_jacobian(spec, small), []
    for block, sd, factor in zip(spec.blocks, sds, factors, strict=True):
        root = sd[:, None] * factor
        bs.append(values[f"z_{block.group}"] @ root.T)
        total += block.J * np.linalg.slogdet(root)[1]
    return total + joint_log_density(
        spec, Point(beta, sigma, tuple(sds), tuple(corr), tuple(bs), hyper)
    )


def of_the_marginal(spec, values):
    beta, hyper, sigma, sds, corr, factors = real(spec, values)
    priors, joint = spec.priors, spec.priors.shrinkage
    total = log_jacobian(spec, values)
    total += float(joint.log_density(beta, hyper, np.asarray(sigma)))
    if priors.sigma is not None:
        total += float(priors.sigma.log_density(np.asarray(sigma), place="scale"))
    for block, of_block, sd, R in zip(spec.blocks, priors.blocks, sds, corr, strict=True):
        for term, covariance in zip(block.terms, of_block.terms, strict=True):
            here = term.columns
            total += float(covariance.log_density(sd[here], R[here, here]))
    return total + dense_marginal(spec, sds, factors, sigma, beta[list(joint.places)]).value


FORMS = {"noncentered": of_the_latent, "marginal": of_the_marginal}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "sort", [sort if sort in QUICK else pytest.param(sort, marks=SLOW) for sort in MODELS]
)
def test_the_graph_is_the_reference_density(sort, form):
    spec = model(sort)
    graph = to_pymc(spec, form)
    names = [variable.name for variable in graph.value_vars]
    evaluate = compiled(graph.value_vars, graph.logp())
    rng = np.random.default_rng(31)
    for _ in range(3):
        values = {
            name: start + rng.normal(size=np.shape(start))
            for name, start in graph.initial_point().items()
        }
        found = float(evaluate(*(values[name] for name in names)))
        # PyMC's half Student t takes log(2) in single precision.
        assert found == pytest.approx(FORMS[form](spec, values), rel=1e-9, abs=1e-8)


@pytest.mark.parametrize("form", [*FORMS, "centered"])
@pytest.mark.parametrize("sort", MODELS)
def test_hyperparameters_are_variables_with_names(sort, form):
    spec = model(sort)
    graph, joint = to_pymc(spec, form), spec.priors.shrinkage
    assert graph.coords["coef_shrunk"] == joint.names
    for name in joint.law.common:
        assert graph[name].ndim == 0
    for name in joint.law.local:
        assert graph.named_vars_to_dims[name] == ("coef_shrunk",)
    shown = "beta_free" if form == "marginal" else "beta"
    assert graph.named_vars_to_dims[shown] == (("coef_free",) if form == "marginal" else ("coef",))
