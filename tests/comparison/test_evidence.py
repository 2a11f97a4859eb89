"""Marginal likelihoods against quadrature, closed forms and R; Bayes factors; what is refused."""

import json
import math
from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats
from scipy.special import gammaln, logsumexp, multigammaln

import hlm_models as hlm
from hlm_models.comparison import evidence as room
from hlm_models.comparison.bridge import Proposal
from hlm_models.comparison.evidence import Evidence, bayes_factor, log_marginal_likelihood
from hlm_models.errors import FitError, InputErrors, RefusalError
from hlm_models.results.checks import Check
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import draws_dataset
from hlm_models.spec.density import Point, joint_log_density
from hlm_models.target.density import Target, target

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "bridge.json").read_text())


def half_t(scale, df=3):
    return {"kind": "half_student_t", "df": df, "scale": scale}


def normal(loc, scale):
    return {"kind": "normal", "loc": loc, "scale": scale}


def build(formula, priors, data="frame", rows=None, **keys):
    given = {"schema": 1, "name": "m", "data": {"source": data}, "formula": formula}
    return hlm.build(given | {"priors": priors} | keys, data=rows)


def one_sd(group, prior):
    return {group: {"kind": "diagonal", "sd": prior}}


def frame():
    rng = np.random.default_rng(8)
    x, group = rng.normal(size=24), np.arange(24) % 6
    slopes = rng.normal(0, 0.7, 6)
    return pd.DataFrame(
        {
            "y": 1
            + 0.5 * x
            + rng.normal(0, 0.4, 6)[group]
            + slopes[group] * x
            + rng.normal(size=24),
            "x": x,
            "s": rng.uniform(0.5, 2, 24),
            "w": rng.uniform(0.5, 2, 24),
            "o": rng.normal(size=24),
            "g": [f"g{k}" for k in group],
        }
    )


SMALL = {
    "dyestuff": build(
        "yield ~ 1 + (1 | batch)",
        {
            "beta": normal(1500, 100),
            "groups": one_sd("batch", half_t(50)),
            "sigma": half_t(50),
        },
        "dyestuff",
    ),
    "dyestuff2": build(
        "yield ~ 1 + (1 | batch)",
        {
            "beta": normal(5, 10),
            "groups": one_sd("batch", {"kind": "half_normal", "scale": 3}),
            "sigma": {"kind": "exponential", "scale": 4},
        },
        "dyestuff2",
    ),
    "rail": build(
        "travel ~ 1 + (1 | rail)",
        {
            "beta": normal(60, 50),
            "groups": one_sd("rail", {"kind": "uniform", "lower": 0, "upper": 80}),
            "sigma": half_t(10, df=1),
        },
        "rail",
    ),
    "known": build(
        "y ~ 1 + (1 | g)",
        {"beta": normal(0, 5), "groups": one_sd("g", half_t(1, df=1))},
        rows=frame(),
        residual={"kind": "known", "sd": "s"},
    ),
    "slopes": build(
        "y ~ x + (x || g)",
        {
            "beta": normal(0, 3),
            "groups": one_sd(
                "g",
                {"Intercept": {"kind": "inverse_gamma", "shape": 2, "scale": 0.5}, "x": half_t(1)},
            ),
            "sigma": half_t(2),
        },
        rows=frame(),
        weights="w",
        offset="o",
    ),
    "one variance": build(
        "y ~ x + (x || g)",
        {
            "beta": normal(0, 3),
            "groups": {"g": {"kind": "shared", "sd": half_t(1)}},
            "sigma": half_t(2),
        },
        rows=frame(),
    ),
    "no group": build("y ~ x", {"beta": normal(0, 3), "sigma": half_t(2)}, rows=frame()),
    "student t": build(
        "y ~ 0 + x + (1 | g)",
        {
            "beta": {"kind": "student_t", "df": 3, "loc": 0, "scale": 1},
            "groups": one_sd("g", half_t(1)),
            "sigma": half_t(2),
        },
        rows=frame(),
    ),
}


def density_of(prior, x):
    """Log density of a single number's prior by scipy, as the model file states it."""
    kind, scale = prior["kind"], prior.get("scale")
    laws = {
        "half_normal": lambda: stats.halfnorm.logpdf(x, scale=scale),
        "exponential": lambda: stats.expon.logpdf(x, scale=scale),
        "half_student_t": lambda: math.log(2) + stats.t.logpdf(x, prior["df"], scale=scale),
        "student_t": lambda: stats.t.logpdf(x, prior["df"], prior["loc"], scale),
        "uniform": lambda: stats.uniform.logpdf(x, prior["lower"], prior["upper"] - prior["lower"]),
        # Of the variance; 2 x takes it to the standard deviation.
        "inverse_gamma": lambda: (
            stats.invgamma.logpdf(x**2, prior["shape"], scale=scale) + np.log(2 * x)
        ),
    }
    return laws[kind]()


def nodes(prior, count):
    """Nodes and log weights of Gauss and Legendre for a number with this prior."""
    t, w = np.polynomial.legendre.leggauss(count)
    t, w = (t + 1) / 2, w / 2
    if prior["kind"] == "uniform":
        return prior["upper"] * t, np.log(w * prior["upper"])
    scale = math.sqrt(prior["scale"]) if prior["kind"] == "inverse_gamma" else prior["scale"]
    if prior["kind"] == "student_t":
        return scale * (2 * t - 1) / (t * (1 - t)), np.log(
            w * scale * (2 * t**2 - 2 * t + 1) / (t * (1 - t)) ** 2
        )
    return scale * t / (1 - t), np.log(w * scale / (1 - t) ** 2)


def exact(spec, count):
    """Log p(y) by quadrature over sd, sigma and a Student t coefficient; normal ones densely."""
    design, priors = spec.design, spec.config["priors"]
    groups, by = [], []
    for block in spec.blocks:
        of_sd, shapes = priors["groups"][block.group]["sd"], []
        for k, effect in enumerate(block.effects):
            half = block.z[:, k, None] * (block.level[:, None] == np.arange(block.J))
            shapes.append(half @ half.T)
            by.append(of_sd.get(effect, of_sd))
        shared = priors["groups"][block.group]["kind"] == "shared"
        groups += [sum(shapes)] if shared else shapes
        by = by[: len(groups)]
    known = design.sigma is not None
    shapes = np.array(
        [*groups, np.eye(design.n) / (1 if design.weights is None else design.weights)]
    )
    if not known:
        by.append(priors["sigma"])
    fixed, free = np.zeros((design.n, design.n)), []
    r = design.y - (0 if design.offset is None else design.offset)
    if priors["beta"]["kind"] == "normal":
        r = r - design.X.sum(axis=1) * priors["beta"]["loc"]
        fixed = priors["beta"]["scale"] ** 2 * design.X @ design.X.T
    else:
        by.append(priors["beta"])
        free = [design.X[:, 0]]
    grids = [nodes(prior, count) for prior in by]
    points = np.stack(np.meshgrid(*(x for x, _ in grids), indexing="ij"), -1).reshape(-1, len(by))
    weights = sum(np.meshgrid(*(w for _, w in grids), indexing="ij")).ravel()
    total = []
    for some in np.array_split(np.arange(len(points)), max(1, len(points) // 4000)):
        here = points[some]
        sds = np.column_stack([here, np.ones(len(here))]) if known else here[:, : len(shapes)]
        V = np.einsum("ms,sij->mij", sds**2, shapes) + fixed
        left = r - (here[:, -1:] * free[0] if free else 0) + np.zeros((len(here), 1))
        L = np.linalg.cholesky(V)
        z = np.linalg.solve(L, left[..., None])[..., 0]
        value = -0.5 * np.sum(z**2, axis=1) - np.log(np.einsum("mii->mi", L)).sum(axis=1)
        value -= 0.5 * design.n * math.log(2 * math.pi)
        at = int(np.argmax(value))
        law = stats.multivariate_normal(cov=V[at])
        assert value[at] == pytest.approx(law.logpdf(left[at]), rel=1e-9)
        value += sum(density_of(prior, x) for prior, x in zip(by, here.T, strict=True))
        total.append(logsumexp(value + weights[some]))
    return float(logsumexp(total))


COUNTS = {"slopes": 26, "one variance": 28, "student t": 26}
"""Nodes a dimension; 60 where there are two dimensions at most. They are enough: see below."""


@cache
def fitted(name, seed=1):
    return hlm.fit(SMALL[name], "nuts", seed=seed)


@cache
def found(name):
    return log_marginal_likelihood(fitted(name))


@cache
def expected(name):
    return exact(SMALL[name], COUNTS.get(name, 60))


@pytest.mark.parametrize("name", SMALL)
def test_the_marginal_likelihood_is_that_of_quadrature(name):
    apart = found(name).log_marginal_likelihood - expected(name)
    assert abs(apart) < 0.01
    assert abs(apart) < 4 * found(name).se < 0.04


@pytest.mark.parametrize(
    ("first", "second"),
    [("one variance", "no group"), ("student t", "no group"), ("slopes", "known")],
)
def test_a_bayes_factor_is_that_of_quadrature_to_one_per_cent(first, second):
    factor = bayes_factor(found(first), found(second))
    exactly = expected(first) - expected(second)
    assert math.exp(factor.log_bf) == pytest.approx(math.exp(exactly), rel=0.01)
    assert abs(factor.log_bf - exactly) < 4 * factor.se
    assert factor.se == pytest.approx(math.hypot(found(first).se, found(second).se))


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_so_many_nodes_are_enough(name):
    more = exact(SMALL[name], 44 if name in COUNTS else 90)
    assert expected(name) == pytest.approx(more, abs=1e-3)


def without_jacobian(density, x):
    """Of the first sd, as if exp(x) were x."""
    value, gradient = Target.__call__(density, x)
    return value - x[0], gradient


def without_half(density, x):
    """As if the prior of one sd were Student t on both sides of zero."""
    value, gradient = Target.__call__(density, x)
    return value - math.log(2), gradient


def without_pi(density, x):
    """As if a likelihood without its constant would do."""
    value, gradient = Target.__call__(density, x)
    return value + density.spec.design.n / 2 * math.log(2 * math.pi), gradient


@pytest.mark.parametrize("wrong", [without_jacobian, without_half, without_pi])
def test_a_density_that_is_not_normalised_would_be_noticed(wrong, monkeypatch):
    class Wrong(Target):
        __call__ = wrong

    def wrong_target(spec):
        one = target(spec)
        return Wrong(one.spec, one.coordinates, one.centre, one.whiten, one.fold)

    monkeypatch.setattr(room, "target", wrong_target)
    value = log_marginal_likelihood(fitted("dyestuff")).log_marginal_likelihood
    assert abs(value - expected("dyestuff")) > 0.1


def test_a_proposal_without_its_jacobian_would_be_noticed(monkeypatch):
    right = Proposal.log_density

    def wrong(self, x):
        at = self.fold > 0
        assert at.any()
        steep = np.tanh(np.arcsinh(np.exp(x[..., at]) / self.fold[at]))
        return right(self, x) - np.sum(np.log(steep), axis=-1)

    monkeypatch.setattr(Proposal, "log_density", wrong)
    value = log_marginal_likelihood(fitted("dyestuff2")).log_marginal_likelihood
    assert abs(value - expected("dyestuff2")) > 0.03


TINY = pd.DataFrame(
    {
        "y": [1.2, -0.3, 0.4, 2.2, 1.9, -0.8],
        "x": [0.3, -1.1, 0.8, 0.1, 1.4, -0.6],
        "v": [-0.2, 0.9, 0.5, -1.3, 0.2, 0.7],
        "w": [0.5, 2.0, 1.0, 1.5, 0.7, 1.2],
        "g": ["a", "a", "a", "b", "b", "b"],
        "h": ["c", "d", "e", "c", "d", "e"],
    }
)
SPREAD = [[2.0, 0.3], [0.3, 1.0]]
NORMALISED = {
    "correlated": ("y ~ x + (x | g)", {"groups": {"g": {"kind": "lkj", "eta": 1.5}}}, {}),
    "three correlated": ("y ~ 1 + (x + v | g)", {}, {"weights": "w"}),
    "two terms": ("y ~ 1 + (x | g) + (0 + v + w | g)", {}, {}),
    "crossed": (
        "y ~ 1 + (1 | g) + (1 | h)",
        {"sigma": {"kind": "uniform", "lower": 0.1, "upper": 9}},
        {},
    ),
    "shared": ("y ~ 0 + (x || g)", {"groups": {"g": {"kind": "shared"}}}, {}),
    "wishart": ("y ~ 1 + (x | g)", {"groups": {"g": {"kind": "wishart", "scale": SPREAD}}}, {}),
    "hierarchical": ("y ~ 1 + (x | g)", {"groups": {"g": {"kind": "hierarchical"}}}, {}),
    "known": ("y ~ 1 + (1 | g)", {}, {"residual": {"kind": "known", "sd": "w"}}),
    "no group": ("y ~ x", {"sigma": {"kind": "inverse_gamma", "shape": 2, "scale": 1}}, {}),
    "free": (
        "y ~ x + v + (1 | g)",
        {
            "beta": {
                "x": {"kind": "student_t"},
                "v": {"kind": "uniform", "lower": -3, "upper": 4},
            }
        },
        {},
    ),
}  # fmt: skip


def parameters(coordinates, x):
    """What a prior is a density of, as one vector: each sd once, corr below its diagonal."""
    v = coordinates.values(x)
    first = np.unique(coordinates.row_sd, return_index=True)[1]
    found = [np.concatenate([*v.sd, np.zeros(0)])[first], v.beta_free]
    found += [] if coordinates.sigma < 0 else [np.atleast_1d(v.sigma)]
    for rows, corr in zip(coordinates.blocks, v.corr, strict=True):
        start = coordinates.row_first[rows]
        found += [corr[a, start[a] : a] for a in range(len(start))]
    return np.concatenate(found)


def joint(spec, x):
    """The joint log density at x as a function of b and the coefficients that are normal, (m,)."""
    one = target(spec).coordinates
    v, split = one.values(x), one.integration
    sizes = [len(split.integrated), *(block.J * block.q for block in spec.blocks)]

    def value(u):
        beta = np.empty(spec.design.p)
        beta[split.free] = v.beta_free
        beta[split.integrated], *effects = np.split(u, np.cumsum(sizes)[:-1])
        b = [e.reshape(-1, block.q) for e, block in zip(effects, spec.blocks, strict=True)]
        return joint_log_density(spec, Point(beta, float(v.sigma), v.sd, v.corr, tuple(b)))

    return value, sum(sizes)


@pytest.mark.parametrize("name", NORMALISED)
def test_what_is_bridged_is_the_joint_density_integrated_by_the_unconstrained_numbers(name):
    """It is normal in b and beta, so that differences and a determinant are the exact integral."""
    formula, priors, keys = NORMALISED[name]
    spec = build(formula, priors, rows=TINY, **keys)
    density = target(spec)
    x = np.random.default_rng(2).normal(0, 0.5, density.size)
    value, m = joint(spec, x)
    unit, at_zero = np.eye(m), value(np.zeros(m))
    up, down = (np.array([value(sign * one) for one in unit]) for sign in (1, -1))
    slope, H = (up - down) / 2, np.diag(up + down - 2 * at_zero)
    for i in range(m):
        for k in range(i):
            H[i, k] = H[k, i] = value(unit[i] + unit[k]) - up[i] - up[k] + at_zero
    integral = at_zero + slope @ np.linalg.solve(-H, slope) / 2
    integral += m / 2 * math.log(2 * math.pi) - np.linalg.slogdet(-H)[1] / 2
    steps = 1e-5 * np.eye(density.size)
    by_x = [
        parameters(density.coordinates, x + h) - parameters(density.coordinates, x - h)
        for h in steps
    ]
    jacobian = np.linalg.slogdet(np.array(by_x) / 2e-5)[1]
    assert density(x)[0] == pytest.approx(integral + jacobian, abs=1e-6)


def test_so_is_it_by_brute_force():
    spec = build("y ~ 0 + (1 | g)", {}, rows=TINY)
    density, x = target(spec), np.array([0.2, -0.3])
    value, m = joint(spec, x)
    grid = np.linspace(-8, 8, 49)
    total = [value(np.array(u)) for u in product(grid, repeat=m)]
    integral = logsumexp(total) + m * math.log(grid[1] - grid[0])
    # d sd d sigma = sd sigma dx
    assert density(x)[0] == pytest.approx(integral + np.sum(x), abs=1e-6)


@pytest.mark.parametrize("name", NORMALISED)
def test_draws_go_to_the_unconstrained_numbers_and_back(name):
    formula, priors, keys = NORMALISED[name]
    one = target(build(formula, priors, rows=TINY, **keys)).coordinates
    x = np.random.default_rng(3).normal(0, 2, (3, 50, one.size))
    v = one.values(x)
    factor = tuple(np.linalg.cholesky(corr) for corr in v.corr)
    np.testing.assert_allclose(one.unconstrained(replace(v, factor=factor)), x, atol=1e-6)


def multivariate_t(y, shape, scale):
    """Log density of rows N(0, V) with V ~ inverse gamma(shape, scale)."""
    n, left = len(y), scale + np.sum(y**2) / 2
    constant = gammaln(shape + n / 2) - gammaln(shape) - n / 2 * math.log(2 * math.pi)
    return constant + shape * math.log(scale) - (shape + n / 2) * math.log(left)


def test_an_inverse_gamma_variance_has_the_closed_form_of_a_multivariate_t():
    """Residuals that are known and next to nothing: y is b, one row a level."""
    y = np.random.default_rng(4).normal(0, 1.5, 20)
    rows = pd.DataFrame({"y": y, "g": [f"g{k}" for k in range(20)], "s": np.full(20, 1e-4)})
    prior = one_sd("g", {"kind": "inverse_gamma", "shape": 2.5, "scale": 3})
    spec = build(
        "y ~ 0 + (1 | g)", {"groups": prior}, rows=rows, residual={"kind": "known", "sd": "s"}
    )
    one = log_marginal_likelihood(hlm.fit(spec, "nuts", seed=2))
    apart = one.log_marginal_likelihood - multivariate_t(y, 2.5, 3)
    assert abs(apart) < min(0.01, 4 * one.se)


def test_an_inverse_wishart_covariance_has_its_closed_form():
    """Two rows a level, one for each of two effects: y is b, and Psi is integrated by hand."""
    rng, J, nu, scale = np.random.default_rng(5), 12, 4.5, np.array([[2.0, 0.7], [0.7, 1.5]])
    Y = rng.multivariate_normal([0, 0], [[1.5, 0.8], [0.8, 1.0]], J)
    rows = pd.DataFrame(
        {
            "y": Y.ravel(),
            "one": np.tile([1.0, 0.0], J),
            "two": np.tile([0.0, 1.0], J),
            "g": np.repeat([f"g{k}" for k in range(J)], 2),
            "s": np.full(2 * J, 1e-4),
        }
    )
    spec = build(
        "y ~ 0 + (0 + one + two | g)",
        {"groups": {"g": {"kind": "inverse_wishart", "nu": nu, "scale": scale.tolist()}}},
        rows=rows,
        residual={"kind": "known", "sd": "s"},
    )
    exactly = -J * math.log(math.pi) + multigammaln((nu + J) / 2, 2) - multigammaln(nu / 2, 2)
    exactly += nu / 2 * np.linalg.slogdet(scale)[1]
    exactly -= (nu + J) / 2 * np.linalg.slogdet(scale + Y.T @ Y)[1]
    one = log_marginal_likelihood(hlm.fit(spec, "nuts", seed=3))
    assert abs(one.log_marginal_likelihood - exactly) < min(0.01, 4 * one.se)


def test_where_nothing_is_sampled_it_is_the_normal_density():
    spec = build(
        "y ~ x", {"beta": normal(1, 2)}, rows=frame(), residual={"kind": "known", "sd": "s"}
    )
    one, X, s = log_marginal_likelihood(hlm.fit(spec, "nuts")), spec.design.X, frame()["s"]
    law = stats.multivariate_normal(X.sum(axis=1), np.diag(s**2) + 4 * X @ X.T)
    assert one.log_marginal_likelihood == pytest.approx(law.logpdf(spec.design.y), rel=1e-10)
    assert (one.se, one.method, one.warnings) == (0.0, "closed form", ())


def golden_spec(case):
    group, effects = case["group"], "1" if case["effects"] == "1" else case["effects"]
    bar = "||" if len(case["sd"]) > 1 else "|"
    priors = {
        "beta": {name: {"kind": "normal"} | one for name, one in case["beta"].items()},
        "groups": one_sd(group, case["sd"] if len(case["sd"]) > 1 else case["sd"]["Intercept"]),
        "sigma": case["sigma"],
    }
    formula = f"{case['response']} ~ {effects} + ({effects} {bar} {group})"
    return build(formula, priors, case["data"])


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["data"])
def test_the_marginal_likelihood_is_that_of_bridgesampling_of_r(case):
    one = log_marginal_likelihood(hlm.fit(golden_spec(case), "nuts", seed=6))
    apart = one.log_marginal_likelihood - case["logml"]
    # Theirs is the standard error of four repetitions, which four do not tell well.
    assert abs(apart) < min(0.02, 4 * math.hypot(one.se, 2 * case["se"]))


@pytest.mark.golden
@pytest.mark.parametrize("case", GOLDEN["cases"][:2], ids=lambda case: case["data"])
def test_the_quadrature_is_that_of_r(case):
    [beta] = case["beta"].values()
    groups = one_sd(case["group"], case["sd"]["Intercept"])
    priors = {"beta": {"kind": "normal"} | beta, "groups": groups, "sigma": case["sigma"]}
    spec = build(f"{case['response']} ~ 1 + (1 | {case['group']})", priors, case["data"])
    assert exact(spec, 70) == pytest.approx(case["by_quadrature"], abs=1e-6)


@pytest.mark.slow
def test_a_posterior_by_gibbs_has_the_same_marginal_likelihood():
    one = log_marginal_likelihood(hlm.fit(SMALL["dyestuff"], "gibbs", seed=4))
    assert abs(one.log_marginal_likelihood - expected("dyestuff")) < min(0.03, 4 * one.se)


@pytest.mark.slow
def test_so_has_one_of_the_effects_themselves():
    spec = hlm.build({**SMALL["dyestuff"].config, "fit": {"parameterization": "latent"}})
    one = log_marginal_likelihood(hlm.fit(spec, "nuts", seed=4))
    assert abs(one.log_marginal_likelihood - expected("dyestuff")) < min(0.04, 4 * one.se)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dyestuff2", "slopes"])
def test_the_standard_error_is_that_of_repetitions(name):
    each = [log_marginal_likelihood(fitted(name, seed)) for seed in range(40)]
    values = np.array([one.log_marginal_likelihood for one in each])
    errors = np.sqrt(np.mean([one.se**2 for one in each]))
    # The standard deviation of 40 has a relative error of 11%.
    assert np.std(values, ddof=1) / errors == pytest.approx(1, abs=0.4)
    assert abs(np.mean(values) - expected(name)) < 4 * errors / math.sqrt(40) + 1e-3


def test_the_same_seed_gives_the_same_number():
    fit, one = fitted("known"), found("known")
    assert log_marginal_likelihood(fit).log_marginal_likelihood == one.log_marginal_likelihood
    of_fit = log_marginal_likelihood(fit, seed=fit.seed)
    assert of_fit.log_marginal_likelihood == one.log_marginal_likelihood
    other = log_marginal_likelihood(fit, seed=99)
    assert 0 < abs(other.log_marginal_likelihood - one.log_marginal_likelihood) < 4 * one.se


def test_progress_is_told_and_the_draws_of_a_huge_model_are_thinned(monkeypatch):
    told = []
    monkeypatch.setattr(room, "SECONDS", 0.0)
    one = log_marginal_likelihood(fitted("known"), progress=told.append)
    assert one.draws == 500
    assert abs(one.log_marginal_likelihood - expected("known")) < 4 * one.se
    assert [step.done for step in told] == [0, 200, 400, 600, 800]
    assert {(step.total, step.unit) for step in told} == {(1000, "points")}


def posterior_of(spec, draws):
    tree = xr.DataTree.from_dict({"posterior": draws_dataset(spec, draws)})
    return PosteriorFit(spec, "nuts", tree, "made up", "marginal", 0, (), {}, 1)


def draws_of(spec, chains=4, count=100, **given):
    """Draws of a model of one group and no coefficient of its own."""
    [block], shape = spec.blocks, (chains, count)
    rng = np.random.default_rng(1)
    found = {
        "beta": np.zeros((*shape, spec.design.p)),
        "sigma": np.exp(rng.normal(size=shape)),
        f"sd_{block.group}": np.exp(rng.normal(size=(*shape, block.q))),
        f"corr_{block.group}": np.tile(np.eye(block.q), (*shape, 1, 1)),
    }
    return posterior_of(spec, found | given)


def test_priors_in_numbers_have_no_warning_and_scaled_ones_do():
    assert found("dyestuff").warnings == ()
    spec = build("y ~ x + (x | g)", {"beta": normal(0, 3)}, rows=frame())
    [note] = room._notes(draws_of(spec))
    assert "the effects of g, sigma" in note
    assert "beta" not in note
    assert "twice" in note
    lecture = build("y ~ x + (x | g)", {"preset": "lecture"}, rows=frame())
    [note] = room._notes(draws_of(lecture))
    assert "beta, the effects of g, sigma" in note


def test_failed_checks_and_large_errors_are_warnings(monkeypatch):
    fit = fitted("known")
    failed = Check("r_hat", "fail", 1.2, 1.01, "chains differ")
    [note] = log_marginal_likelihood(replace(fit, checks=(failed,))).warnings
    assert "r_hat" in note
    monkeypatch.setattr(room, "LARGE", 1e-4)
    [note] = log_marginal_likelihood(fit).warnings
    assert "fit.draws" in note


@pytest.mark.parametrize(
    ("priors", "named"),
    [
        ({"preset": "flat"}, ["beta[Intercept]", "sd_g[Intercept]", "sigma", "preset: weak"]),
        ({"beta": {"x": {"kind": "flat"}}}, ["beta[x]", "preset: weak"]),
        (
            {"beta": {"kind": "horseshoe", "expected": 0.5}},
            ["horseshoe prior of beta", "student_t"],
        ),
    ],
)
def test_priors_that_leave_no_marginal_likelihood_are_refused(priors, named):
    fit = draws_of(build("y ~ x + (1 | g)", priors, rows=frame()))
    with pytest.raises(RefusalError) as error:
        log_marginal_likelihood(fit)
    assert all(word in str(error.value) for word in named)
    assert error.value.exit_code == 3


def test_what_has_no_draws_or_too_few_is_an_error():
    with pytest.raises(RefusalError, match="log_marginal_likelihood takes draws"):
        log_marginal_likelihood(hlm.fit("dyestuff", "reml"))
    with pytest.raises(RefusalError, match="bayes_factor takes draws"):
        bayes_factor(found("known"), hlm.fit("dyestuff", "reml"))
    with pytest.raises(InputErrors, match="takes a fit"):
        log_marginal_likelihood("dyestuff")
    with pytest.raises(InputErrors, match=r"takes 200 draws.*has 196.*fit\.draws"):
        log_marginal_likelihood(draws_of(SMALL["dyestuff"], count=49))
    with pytest.raises(InputErrors, match="seed"):
        log_marginal_likelihood(fitted("known"), seed=-1)


def test_draws_on_an_edge_have_no_logarithm():
    spec = build("y ~ x + (x | g)", {}, rows=frame())
    sd = np.ones((4, 100, 2))
    sd[2, 7, 1] = 0.0
    with pytest.raises(FitError, match="edge"):
        log_marginal_likelihood(draws_of(spec, sd_g=sd))
    with pytest.raises(FitError, match="singular"):
        log_marginal_likelihood(draws_of(spec, corr_g=np.ones((4, 100, 2, 2))))


def evidence(value, se=0.1, name="known", warnings=()):
    return Evidence(SMALL[name], value, se, 4000, 20, warnings, "bridge sampling")


@pytest.mark.parametrize(
    ("log_bf", "words"),
    [
        (0.9, "not worth more than a bare mention"),
        (1.1, "positive"),
        (2.9, "positive"),
        (3.1, "strong"),
        (5.1, "very strong"),
    ],
)
def test_the_words_are_those_of_kass_and_raftery(log_bf, words):
    for first, second in ((log_bf, 0.0), (0.0, log_bf)):
        factor = bayes_factor(evidence(first - 50), evidence(second - 50, 0.2, "no group"))
        assert factor.words == words
        assert factor.log_bf == pytest.approx(first - second)
        assert factor.favours == factor.models[int(first < second)]
        assert factor.se == pytest.approx(math.hypot(0.1, 0.2))


def test_documents_are_json():
    factor = bayes_factor(evidence(-50.0, warnings=("a", "b")), evidence(-50.0, warnings=("b",)))
    assert json.loads(json.dumps(factor.document(), allow_nan=False)) == {
        "models": ["m (first)", "m (second)"],
        "log_bf": 0.0,
        "se": pytest.approx(math.hypot(0.1, 0.1)),
        "favours": "neither",
        "words": "not worth more than a bare mention",
        "warnings": ["a", "b"],
    }
    assert json.loads(json.dumps(evidence(-50.0).document(), allow_nan=False)) == {
        "model": "m",
        "log_marginal_likelihood": -50.0,
        "se": 0.1,
        "draws": 4000,
        "iterations": 20,
        "warnings": [],
        "method": "bridge sampling",
    }


def test_models_of_other_data_have_no_bayes_factor():
    fewer = build("y ~ x", {}, rows=frame().iloc[:-1])
    logged = build("z ~ x", {}, rows=frame().assign(z=np.exp(frame()["y"])))
    for spec, message in ((fewer, "23 rows"), (logged, "the response is z")):
        other = Evidence(spec, -40.0, 0.1, 4000, 20, (), "bridge sampling")
        with pytest.raises(InputErrors, match=message):
            bayes_factor(evidence(-50.0), other)
    # Before anything is computed.
    with pytest.raises(InputErrors, match="response"):
        bayes_factor(fitted("known"), posterior_of(SMALL["dyestuff"], {"sigma": np.ones((4, 9))}))
