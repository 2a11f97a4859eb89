"""One variance for several effects: Psi = sd^2 I in raw columns."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

import hlm_models as hlm
from hlm_models.errors import RefusalError
from hlm_models.results.summary import parameter_draws, parameters, point_values

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "shared.json").read_text("utf-8"))
ENGINES = ("reml", "ml")
SHARED = {"kind": "shared"}


def build(formula, data, groups=None, **more):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    if isinstance(data, str):
        head["data"] = {"source": data}
        data = None
    return hlm.build({**head, "priors": {"groups": groups or {}}, **more}, data=data)


def at(formula, data, groups=None, **more):
    """The fit that an evaluation at one theta gives, by name of the engine."""
    spec = build(formula, data, groups, **more)
    return lambda engine, theta: hlm.fit(
        build(formula, data, groups, **more, reml={"theta": theta}), engine
    ) if theta is not None else hlm.fit(spec, engine)  # fmt: skip


def statuses(fit):
    return {check.code: check.status for check in fit.checks}


# --- numbers of other software ---


def cake():
    found = pd.DataFrame(GOLDEN["cake"])
    return found.astype({"replicate": str})


def kept():
    return cake()[lambda frame: frame["kept"] == 1]


BOTH = "(1 | replicate) + (0 + recipe || replicate)"
TERMS = {"1 | replicate": {"kind": "diagonal"}, "0 + recipe || replicate": SHARED}
CAKES = {
    "cake": ("recipe * temperature + (0 + recipe || replicate)", cake, SHARED, [0]),
    "cake, two terms": (f"recipe * temperature + {BOTH}", cake, TERMS, [1, 0]),
    "cake, weights": ("recipe + (0 + recipe || replicate)", cake, SHARED, [0]),
    "cake, crossed": (
        "recipe + (0 + recipe || replicate) + (1 | temperature)", kept, SHARED, [0, 1],
    ),
}  # fmt: skip
"""Formula, rows, prior, and the places that our thetas have in lme4's."""


@pytest.mark.golden
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CAKES)
def test_indicators_of_one_variance_are_an_intercept_of_the_cells(name, engine):
    formula, rows, prior, order = CAKES[name]
    weights = {"weights": "w"} if "weights" in name else {}
    fit = at(f"angle ~ {formula}", rows(), {"replicate": prior}, **weights)
    theirs, mine = GOLDEN["lme4"][name][engine], fit(engine, None)
    assert mine.criterion == pytest.approx(theirs["criterion"], abs=1e-7)
    assert mine.parameters == len(theirs["beta"]) + len(theirs["theta"]) + 1
    # lme4's search stops where the criterion is flat to 1e-13 of itself: a square root of that.
    np.testing.assert_allclose(mine.theta, np.array(theirs["theta"])[order], rtol=1e-5)
    assert mine.sigma == pytest.approx(theirs["sigma"], rel=1e-6)
    np.testing.assert_allclose(mine.beta, theirs["beta"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mine.vcov_beta, theirs["vcov"], rtol=1e-5, atol=1e-6)
    assert set(statuses(mine).values()) == {"pass"}
    # Away from the optimum no search stands between the two.
    away = theirs["away"]
    there = fit(engine, np.array(away["theta"])[order].tolist())
    assert there.criterion == pytest.approx(away["criterion"], rel=1e-12)
    np.testing.assert_allclose(there.theta, np.array(away["theta"])[order], rtol=1e-12)


@pytest.mark.golden
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("sleepstudy", "reaction ~ days + (days || subject)"),
        ("orthodont", "distance ~ age * sex + (age || subject)"),
    ],
)
def test_one_variance_of_unlike_columns_is_pdident_of_nlme(name, formula, engine):
    theirs = GOLDEN["nlme"][name][engine]
    mine = hlm.fit(build(formula, name, {"subject": SHARED}), engine)
    [random] = mine.random
    assert mine.criterion == pytest.approx(theirs["criterion"], abs=1e-7)
    assert mine.sigma == pytest.approx(theirs["sigma"], rel=1e-6)
    np.testing.assert_allclose(random.sd, theirs["sd"], rtol=1e-6)
    np.testing.assert_allclose(mine.beta, theirs["beta"], rtol=1e-6)
    np.testing.assert_allclose(mine.vcov_beta, theirs["vcov"], rtol=1e-6)
    # nlme's information is a numerical second derivative of low order.
    np.testing.assert_allclose(random.se_log_sd, theirs["se_log_sd"], rtol=1e-3)
    assert mine.se_log_sigma == pytest.approx(theirs["se_log_sigma"], rel=1e-3)


# --- against dense matrices ---


def made_up(seed=3, J=10, sd=0.8):
    rng = np.random.default_rng(seed)
    level = np.repeat(np.arange(J), rng.integers(3, 9, J))
    n = len(level)
    x, h = rng.normal(4.0, 2.0, n), rng.integers(0, 4, n)
    b = sd * rng.normal(size=(J, 2))
    y = 1 + 0.5 * x + b[level, 0] + b[level, 1] * x + rng.normal(size=4)[h] + rng.normal(size=n)
    names = {"g": [f"g{j:02d}" for j in level], "h": [f"h{j}" for j in h]}
    return pd.DataFrame({"y": y, "x": x, "w": rng.uniform(0.3, 3.0, n), **names})


SLOPES = "y ~ x + (x || g)"
CROSSED = "y ~ x + (x || g) + (1 | h)"
STACKED = "y ~ x + (1 | g) + (0 + x + I(x ** 2) || g)"
MODELS = {
    "one term": (SLOPES, {"g": SHARED}, {}),
    "weights": (SLOPES, {"g": SHARED}, {"weights": "w"}),
    "crossed": (CROSSED, {"g": SHARED}, {}),
    "two terms": (STACKED, {"g": {"0 + x + I(x ** 2) || g": SHARED}}, {}),
}


def model(name, frame=None):
    formula, groups, more = MODELS[name]
    return build(formula, made_up() if frame is None else frame, groups, **more)


def dense(spec, phi, *, reml):
    """-2 log (restricted) likelihood at (sd / sigma of every free one, log sigma), beta at best."""
    design, sigma = spec.design, math.exp(phi[-1])
    sds = iter(phi[:-1])
    V = np.diag(np.ones(design.n) if design.weights is None else 1 / design.weights)
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        same = block.level[:, None] == block.level
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            z = block.z[:, term.columns]
            if covariance.kind == "shared":
                V += next(sds) ** 2 * same * (z @ z.T)
            else:
                V += same * sum(next(sds) ** 2 * np.outer(column, column) for column in z.T)
    half = np.linalg.cholesky(sigma**2 * V)
    X, y = np.linalg.solve(half, design.X), np.linalg.solve(half, design.y)
    rest = y - X @ np.linalg.lstsq(X, y)[0]
    df = design.n - (design.p if reml else 0)
    value = 2 * np.log(np.diag(half)).sum() + rest @ rest + df * math.log(2 * math.pi)
    return value + (np.linalg.slogdet(X.T @ X)[1] if reml else 0.0)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", MODELS)
def test_the_criterion_and_its_gradient_are_those_of_dense_matrices(name, reml):
    spec = model(name)
    marginal, rng = spec.marginal, np.random.default_rng(7)
    size = sum(len(term.sd_priors()) for one in spec.priors.blocks for term in one.terms)
    assert marginal.size == size
    for _ in range(3):
        raw, log_sigma = rng.uniform(0.1, 1.5, size), rng.normal()
        theta = marginal.scaled_theta(raw)
        np.testing.assert_allclose(marginal.raw_theta(theta), raw, rtol=1e-12)
        phi = np.append(theta, log_sigma)
        value, gradient = marginal.full(phi, reml=reml)
        expected = dense(spec, np.append(raw, log_sigma), reml=reml)
        assert value + marginal.offset(reml=reml) == pytest.approx(expected, rel=1e-11)
        found = approx_fprime(phi, lambda at: marginal.full(at, reml=reml)[0], 1e-7)
        np.testing.assert_allclose(gradient, found, atol=1e-5 * np.abs(gradient).max())
        profiled, slope = marginal.objective(theta, reml=reml)
        best = min(value, profiled)
        assert profiled == best
        found = approx_fprime(theta, lambda at: marginal.objective(at, reml=reml)[0], 1e-7)
        np.testing.assert_allclose(slope, found, atol=1e-5 * np.abs(slope).max())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", MODELS)
def test_no_step_of_any_free_parameter_lowers_the_dense_criterion(name, engine):
    fit = hlm.fit(model(name), engine)
    phi, reml = np.append(fit.theta, math.log(fit.sigma)), engine == "reml"
    best = dense(fit.spec, phi, reml=reml)
    assert fit.criterion == pytest.approx(best, rel=1e-10)
    assert fit.converged
    assert not fit.singular
    for k in range(len(phi)):
        for step in (-0.1, -1e-3, 1e-3, 0.1):
            there = phi.copy()
            there[k] += step
            assert dense(fit.spec, there, reml=reml) > best


def numerical_hessian(function, x, h=5e-3):
    """Fourth-order central differences."""
    weights = {-2: 1 / 12, -1: -2 / 3, 1: 2 / 3, 2: -1 / 12}
    eye = np.eye(len(x))
    H = [
        [
            sum(
                a * b * function(x + h * (s * one + t * two))
                for s, a in weights.items()
                for t, b in weights.items()
            )
            for two in eye
        ]
        for one in eye
    ]
    return np.array(H) / h**2


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["one term", "weights", "crossed"])
def test_standard_errors_are_those_of_the_dense_information(name, engine):
    fit = hlm.fit(model(name), engine)
    start = np.append(np.log(fit.theta * fit.sigma), math.log(fit.sigma))

    def deviance(logs):
        return dense(
            fit.spec, np.append(np.exp(logs[:-1] - logs[-1]), logs[-1]), reml=engine == "reml"
        )

    se = np.sqrt(np.diag(np.linalg.inv(numerical_hessian(deviance, start) / 2)))
    first = fit.random[0]
    mine = [first.se_log_sd[0], *(one.se_log_sd[0] for one in fit.random[1:]), fit.se_log_sigma]
    np.testing.assert_allclose(mine, se, rtol=1e-5)
    assert first.se_log_sd[0] == pytest.approx(first.se_log_sd[1], rel=1e-8)
    assert np.isnan(first.se_z_corr).all()


def test_each_shared_sd_is_one_row():
    fit = hlm.fit(model("two terms"), "reml")
    names = [one.name for one in parameters(fit.spec)]
    text = "0 + x + I(x ** 2) || g"
    expected = ["beta[Intercept]", "beta[x]", "sd_g[Intercept]", f"sd_g[{text}]", "sigma"]
    assert names == expected
    estimate, se = point_values(fit)[f"sd_g[{text}]"]
    [random] = fit.random
    np.testing.assert_allclose(random.sd[1:], estimate, rtol=1e-12)
    assert se == pytest.approx(estimate * random.se_log_sd[2], rel=1e-8)
    assert fit.parameters == len(names)
    np.testing.assert_array_equal(random.corr, np.eye(3))


@given(unit=st.floats(-3, 3), seed=st.integers(0, 20))
def test_the_units_of_all_columns_together_do_not_matter(unit, seed):
    frame = made_up(seed)
    other = frame.assign(x=frame["x"] * 10**unit, w=frame["w"] * 10**unit)
    formula = "y ~ x + (0 + w + x || g)"
    first, second = (hlm.fit(build(formula, rows, {"g": SHARED}), "ml") for rows in (frame, other))
    assert second.criterion == pytest.approx(first.criterion, rel=1e-9)
    np.testing.assert_allclose(second.random[0].sd * 10**unit, first.random[0].sd, rtol=2e-5)


def test_one_effect_is_the_same_shared_or_not():
    frame = made_up()
    one, other = (
        build("y ~ x + (0 + x | g)", frame, {"g": {"kind": kind}})
        for kind in ("shared", "diagonal")
    )
    assert parameters(one) == parameters(other)
    assert one.priors.blocks[0].terms[0].sd_priors() == other.priors.blocks[0].terms[0].sd_priors()
    mine, theirs = (hlm.fit(spec, "reml") for spec in (one, other))
    assert mine.criterion == theirs.criterion
    np.testing.assert_array_equal(mine.random[0].se_log_sd, theirs.random[0].se_log_sd)


# --- the boundary ---


def balanced(seed=5):
    """Rows whose groups differ less than chance makes them."""
    rng = np.random.default_rng(seed)
    x = np.tile([-1.0, 1.0], 40)
    y = rng.normal(size=80).reshape(10, 8)
    y -= y.mean(axis=1, keepdims=True)
    names = np.repeat([f"g{j}" for j in range(10)], 8)
    return pd.DataFrame({"y": y.ravel(), "x": x, "g": names})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_shared_variance_of_zero_is_zero_for_all(engine):
    fit = hlm.fit(build("y ~ 1 + (1 + x || g)", balanced(1), {"g": SHARED}), engine)
    assert fit.theta.tolist() == [0.0]
    assert fit.random[0].sd.tolist() == [0.0, 0.0]
    assert np.isnan(fit.random[0].se_log_sd).all()
    assert fit.singular
    assert fit.converged
    assert statuses(fit) | {"singular": "warn"} == statuses(fit)


def test_the_boundary_is_judged_by_the_sum_over_the_effects():
    # Slopes differ a little, means not at all. One variance for both is best left at zero, though
    # the slopes alone would have some: what counts is the sum of the two derivatives.
    frame = balanced(1)
    slopes = np.repeat(np.random.default_rng(2).normal(size=10), 8)
    frame["y"] += 0.26 * slopes * frame["x"]
    apart = hlm.fit(build("y ~ 1 + (1 + x || g)", frame), "ml")
    assert apart.random[0].sd[0] == 0
    assert apart.random[0].sd[1] > 0.05
    shared = hlm.fit(build("y ~ 1 + (1 + x || g)", frame, {"g": SHARED}), "ml")
    assert shared.random[0].sd.tolist() == [0.0, 0.0]
    assert statuses(shared)["boundary"] == "pass"
    spec = shared.spec
    near = [dense(spec, [t, math.log(shared.sigma)], reml=False) for t in (0.0, 0.01, 0.1, 1.0)]
    assert near == sorted(near)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_shared_variance_of_zero_where_there_is_some_fails_the_boundary_check(engine):
    fit = at(SLOPES, made_up(), {"g": SHARED})(engine, [0.0])
    assert statuses(fit)["boundary"] == "fail"
    assert not fit.converged


def test_the_fall_at_the_boundary_is_the_derivative_in_the_shared_variance():
    fit = at(SLOPES, made_up(), {"g": SHARED})("ml", [0.0])
    [check] = [check for check in fit.checks if check.code == "boundary"]
    marginal, h = fit.spec.marginal, 1e-6
    values = [marginal.at(np.array([math.sqrt(t)]), reml=False).value for t in (0, h, 2 * h)]
    slope = (-3 * values[0] + 4 * values[1] - values[2]) / (2 * h)
    assert check.value == pytest.approx(-slope / fit.spec.design.n, rel=1e-5)


def test_a_column_of_tiny_units_does_not_make_it_singular():
    frame = made_up().assign(tiny=lambda rows: 1e-8 * rows["x"])
    fit = hlm.fit(build("y ~ x + (0 + x + tiny || g)", frame, {"g": SHARED}), "reml")
    other = hlm.fit(build("y ~ x + (0 + x | g)", frame), "reml")
    assert not fit.singular
    assert statuses(fit)["singular"] == "pass"
    assert fit.criterion == pytest.approx(other.criterion, abs=1e-9)
    np.testing.assert_allclose(fit.random[0].se_log_sd, other.random[0].se_log_sd[0], rtol=1e-6)


# --- refusals, and what is sampled ---


def test_effects_that_no_row_has_do_not_count_against_the_rows():
    rng = np.random.default_rng(9)
    level = np.repeat(np.arange(20), 6)
    cell = level // 4  # each g meets one of five cells
    frame = pd.DataFrame(
        {
            "y": rng.normal(size=20)[level] + rng.normal(size=120),
            "g": [f"g{j}" for j in level],
            "f": [f"f{j}-{i % 2}" for i, j in enumerate(cell)],
        }
    )
    # 20 x 10 effects for 120 rows, but 40 of them occur.
    mine = hlm.fit(build("y ~ 1 + (0 + f || g)", frame, {"g": SHARED}), "reml")
    assert mine.criterion == pytest.approx(
        hlm.fit(build("y ~ 1 + (1 | g:f)", frame), "reml").criterion, abs=1e-8
    )
    with pytest.raises(RefusalError, match="200 random effects for 120 rows"):
        hlm.fit(build("y ~ 1 + (0 + f || g)", frame), "reml")
    cells = frame.drop_duplicates(["g", "f"])
    with pytest.raises(RefusalError, match="40 random effects for 40 rows"):
        hlm.fit(build("y ~ 1 + (0 + f || g)", cells, {"g": SHARED}), "reml")


@pytest.mark.slow
def test_posterior_and_point_fit_of_a_shared_variance_agree(tmp_path):
    rng = np.random.default_rng(11)
    level, cell = np.divmod(np.arange(600), 20)
    u = 1.5 * rng.normal(size=(30, 4))
    y = 2 + u[level, cell % 4] + rng.normal(size=600)
    frame = pd.DataFrame({"y": y, "g": [f"g{j}" for j in level], "f": [f"f{i % 4}" for i in cell]})
    spec = build("y ~ 1 + (0 + f || g)", frame, {"g": SHARED})
    fit, ref = hlm.fit(spec, "nuts", seed=3, chains=2, draws=800), hlm.fit(spec, "reml")
    assert fit.converged
    sd = fit.data["posterior"]["sd_g"]
    assert sd.dims == ("chain", "draw", "effect_g")
    np.testing.assert_array_equal(sd, np.broadcast_to(sd[..., :1], sd.shape))
    rows = {row.parameter: row for row in hlm.agreement(fit, ref).rows}
    assert list(rows) == ["beta[Intercept]", "sd_g[0 + f || g]", "sigma"] == [*parameter_draws(fit)]
    assert {row.verdict for row in rows.values()} == {"agree"}
    hlm.save_fit(fit, tmp_path / "fit.nc")
    again = hlm.load_fit(tmp_path / "fit.nc", spec)
    np.testing.assert_array_equal(again.data["posterior"]["sd_g"], sd)
