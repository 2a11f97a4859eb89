"""The compiled log posterior: the PyMC graph's density, in whatever coordinates."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlm_models import build, list_models
from hlm_models.parts.covariances.lkj import LKJ
from hlm_models.parts.priors.half_student_t import HalfStudentT
from hlm_models.parts.priors.student_t import StudentT
from hlm_models.spec.integration import integration
from hlm_models.target.density import target
from hlm_models.types import frozen

SLOW = pytest.mark.slow
QUICK = ("dyestuff", "sleepstudy-slopes", "sleepstudy-uncorrelated", "penicillin", "pastes")
ZOO = [name if name in QUICK else pytest.param(name, marks=SLOW) for name in list_models()]


def build_or_skip(name, overrides=()):
    if name.startswith("nels") and "HLM_DATA" not in os.environ:
        pytest.skip("NELS is not bundled, and HLM_DATA does not name the folder of nels.csv")
    return build(name, overrides=list(overrides))


def made_up():
    rng = np.random.default_rng(4)
    n = 80
    return pd.DataFrame(
        {
            "y": rng.normal(2.0, 3.0, n),
            "x": rng.normal(40.0, 2.0, n),
            "w": rng.normal(size=n),
            "v": rng.normal(size=n),
            "school": [f"s{i % 9}" for i in range(n)],
            "room": [f"r{i % 4}" for i in range(n)],
            "weight": rng.uniform(0.1, 6.0, n),
            "offset": rng.normal(5.0, 2.0, n),
        }
    )


def made(formula, *, beta=None, sigma=None, groups=None, **settings):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    given = {"beta": beta, "sigma": sigma, "groups": groups}
    priors = {key: value for key, value in given.items() if value is not None}
    return build(head | {"priors": priors} | settings, data=made_up())


UNIFORM = {"kind": "uniform", "lower": 0.0, "upper": 9.0}


def scale(q, size=2.0):
    """Any covariance matrix, as a model file has it."""
    A = np.random.default_rng(q).normal(size=(q, q + 2))
    return (size * A @ A.T).tolist()


KNOWN = {"residual": {"kind": "known", "sd": "weight"}}
MODELS = {
    "four correlated effects": ("y ~ x + (x + w + v | school)", {}),
    "two terms": ("y ~ x + w + v + (x | school) + (0 + w + v | school)", {}),
    "two bars": ("y ~ x + (x + w || school)", {}),
    "one variance": (
        "y ~ x + w + v + (x | school) + (0 + w + v || school) + (1 | room)",
        {
            "groups": {
                "school": {"0 + w + v || school": {"kind": "shared", "sd": UNIFORM}},
                "room": {"kind": "shared", "sd": {"kind": "half_normal", "scale": 2}},
            }
        },
    ),
    "nested": ("y ~ x + (1 | school/room)", {}),
    "crossed": ("y ~ x + (x + w | room) + (w | school)", {"beta": {"x": {"kind": "student_t"}}}),
    "no coefficient": ("y ~ 0 + (x | school)", {}),
    "no group": ("y ~ x + w", {}),
    "no group and free coefficients": (
        "y ~ x + w",
        {"beta": {"x": {"kind": "student_t"}}, "weights": "weight", "offset": "offset"},
    ),
    "no group and no coefficient": (
        "y ~ 0",
        {"sigma": {"kind": "inverse_gamma", "shape": 1.5, "scale": 4.0}},
    ),
    "no group and known": (
        "y ~ x + w",
        {"beta": {"kind": "uniform", "lower": -90, "upper": 80}, **KNOWN},
    ),
    "flat": (
        "y ~ x + (1 | school)",
        {
            "beta": {"kind": "flat"},
            "sigma": {"kind": "flat"},
            "groups": {"school": {"kind": "diagonal", "sd": {"kind": "flat"}}},
        },
    ),
    "student t": ("y ~ x + w + (1 | school)", {"beta": {"kind": "student_t", "df": 4}}),
    "uniform": (
        "y ~ x + (1 | school)",
        {
            "beta": {"kind": "uniform", "lower": -90, "upper": 80},
            "sigma": UNIFORM,
            "groups": {"school": {"kind": "diagonal", "sd": UNIFORM}},
        },
    ),
    "several kinds": (
        "y ~ x + w + v + (x + w | school)",
        {
            "beta": {
                "Intercept": {"kind": "flat"},
                "x": {"kind": "uniform", "lower": -2, "upper": 3},
                "w": {"kind": "student_t", "scale": 2},
                "v": {"kind": "student_t", "scale": 1},
            },
            "sigma": {"kind": "exponential", "scale": 3},
            "groups": {
                "school": {
                    "kind": "lkj",
                    "eta": 1.3,
                    "sd": {"x": {"kind": "half_normal"}, "w": {"kind": "exponential"}},
                }
            },
            "weights": "weight",
            "offset": "offset",
        },
    ),
    "inverse wishart": (
        "y ~ x + (x + w + v | school)",
        {"groups": {"school": {"kind": "inverse_wishart", "nu": 5.7, "scale": scale(4)}}},
    ),
    "inverse wishart of one effect": (
        "y ~ x + (1 | school)",
        {"groups": {"school": {"kind": "inverse_wishart", "nu": 0.6, "scale": [[3.0]]}}},
    ),
    "wishart": (
        "y ~ x + (w | school)",
        {"groups": {"school": {"kind": "wishart", "nu": 1.3, "scale": scale(2, 0.1)}}},
    ),
    "hierarchical": (
        "y ~ x + (x + w | school)",
        {"groups": {"school": {"kind": "hierarchical", "df": 2.5, "scale": {"w": 0.4}}}},
    ),
    "matrices beside others": (
        "y ~ x + w + v + (v | school) + (0 + x + w | school) + (1 + x | room)",
        {
            "beta": {"x": {"kind": "student_t"}},
            "sigma": {"kind": "inverse_gamma", "shape": 1.5, "scale": 4.0},
            "groups": {
                "school": {"0 + x + w | school": {"kind": "wishart", "scale": scale(2)}},
                "room": {"kind": "hierarchical"},
            },
        },
    ),
    "matrices of all terms": (
        "y ~ x + (w | school) + (0 + x | school) + (1 | room)",
        {
            "groups": {
                "school": {
                    "w | school": {"kind": "inverse_wishart", "scale": scale(2)},
                    "0 + x | school": {"kind": "hierarchical", "df": 1},
                },
                "room": {"kind": "wishart", "nu": 2, "scale": [[0.3]]},
            }
        },
    ),
    "known residuals": ("y ~ x + (x | school)", KNOWN),
    "known residuals and a free coefficient": (
        "y ~ x + (1 | school) + (1 | room)",
        {"beta": {"x": {"kind": "student_t"}}, **KNOWN},
    ),
}


# --- x and the graph's coordinates ---


class Graph:
    """The marginal graph as a function of x; its coordinates v = A x are other numbers' order.

    Coefficients alone are really turned: they move as R beta there.
    """

    def __init__(self, spec):
        from pymc.pytensorf import gradient
        from pytensor import function
        from pytensor.compile.mode import Mode

        from hlm_models.graph.marginal import to_pymc_marginal

        model = to_pymc_marginal(spec)
        shapes = {name: np.shape(one) for name, one in model.initial_point().items()}
        self.names = [one.name for one in model.value_vars]
        self.shapes = [shapes[name] for name in self.names]
        sizes = [int(np.prod(shape)) for shape in self.shapes]
        self.ends = np.cumsum(sizes)
        starts = dict(zip(self.names, self.ends - sizes, strict=True))
        self.A = np.zeros((sum(sizes), sum(sizes)))
        self.x = 0
        for label, priors in scalars(spec):
            self._place(starts, label, priors, integration(spec).turn)
        for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
            for label, covariance in labelled(block, prior):
                count = len(covariance.sd_priors())
                if covariance.correlated and count > 1:
                    self._same(starts[f"partial_{label}_logodds__"], count * (count - 1) // 2)
        assert self.x == len(self.A)
        # Interpreted: a handful of evaluations do not pay for compiling.
        self.function = function(
            model.value_vars,
            [model.logp(), gradient(model.logp(), model.value_vars)],
            mode=Mode(linker="py", optimizer="fast_compile"),
        )

    def _same(self, at, count):
        for i in range(count):
            self.A[at + i, self.x + i] = 1.0
        self.x += count

    def _place(self, starts, label, priors, turn):
        if f"{label}_centred__" in starts:
            here = slice(starts[f"{label}_centred__"], starts[f"{label}_centred__"] + len(priors))
            self.A[here, self.x : self.x + len(priors)] = np.linalg.qr(turn, mode="r")
            self.x += len(priors)
            return
        kinds = [prior.kind for prior in priors]
        for k, kind in enumerate(kinds):
            own = label if len(set(kinds)) == 1 else f"{label}_{kind}"
            [name] = {own, f"{own}_log__", f"{own}_interval__"} & set(starts)
            self.A[starts[name] + kinds[:k].count(kind), self.x] = 1.0
            self.x += 1

    def __call__(self, x):
        parts = np.split(self.A @ x, self.ends[:-1])
        value, slopes = self.function(
            *(part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True))
        )
        return float(value) + np.linalg.slogdet(self.A)[1], self.A.T @ slopes


def labelled(block, prior):
    """Terms by the names that the graph gives to their variables."""
    if len(prior.terms) == 1:
        return [(block.group, prior.terms[0])]
    return [(f"{block.group}_{i + 1}", term) for i, term in enumerate(prior.terms)]


def scalars(spec):
    """Names in the graph and priors of all single numbers, in the order that x has them."""
    found = []
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        for label, one in labelled(block, prior):
            word = "shared" if one.structure == "shared" else "sd"
            found.append((f"{word}_{label}", one.sd_priors()))
    free = [spec.priors.beta[k] for k in integration(spec).free]
    if free:
        found.append(("beta_free", free))
    return found if spec.priors.sigma is None else [*found, ("sigma", [spec.priors.sigma])]


def points(found, count, seed=3):
    """Random x about values of a size that the data suggest."""
    spec, rng = found.spec, np.random.default_rng(seed)
    spread = np.std(spec.design.y_net)
    sd = tuple(0.5 * spread / np.sqrt(np.mean(block.z**2, axis=0)) for block in spec.blocks)
    corr = tuple(np.eye(block.q) for block in spec.blocks)
    free = found.coordinates.integration.free
    fit = np.linalg.lstsq(spec.design.X, spec.design.y_net, rcond=None)[0]
    centre = found.coordinates.point(sd, corr, fit[free], float(spread))
    scale = np.full(found.size, 0.5)
    for k, at in enumerate(free, start=found.coordinates.free.start):
        if np.isinf(found.coordinates.scalars[k, 1]):
            scale[k] = 0.2 * spread / np.sqrt(np.mean(spec.design.X[:, at] ** 2))
    return centre + scale * rng.normal(size=(count, found.size))


def assert_same(found, expected, rel=1e-9):
    assert found[0] == pytest.approx(expected[0], rel=rel)
    np.testing.assert_allclose(
        found[1], expected[1], rtol=rel, atol=rel * np.abs(expected[1]).max()
    )


def assert_that_of_the_graph(spec):
    found, graph = target(spec), Graph(spec)
    for x in points(found, 3):
        assert_same(found(x), graph(x))


@pytest.mark.parametrize("name", ZOO)
def test_it_is_the_density_of_the_graph(name):
    assert_that_of_the_graph(build_or_skip(name))


@pytest.mark.parametrize("kind", ["flat", "student_t"])
@pytest.mark.parametrize("name", [pytest.param(one, marks=SLOW) for one in list_models()])
def test_it_is_so_with_other_priors_of_the_coefficients(name, kind):
    assert_that_of_the_graph(build_or_skip(name, [f"priors.beta={{kind: {kind}}}"]))


@pytest.mark.parametrize("name", [pytest.param(one, marks=SLOW) for one in list_models()])
def test_it_is_so_with_uniform_priors(name):
    spec = build_or_skip(name)
    spread = 9 * float(np.std(spec.design.y_net))
    uniform = f"{{kind: uniform, lower: 0, upper: {spread}}}"
    beta = f"{{kind: uniform, lower: {-9 * spread}, upper: {9 * spread}}}"
    overrides = [f"priors.beta={beta}"]
    if spec.priors.sigma is not None:
        overrides.append(f"priors.sigma={uniform}")
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        if len(prior.terms) == 1 and prior.terms[0].matrix_form() is None:
            kind = prior.terms[0].kind
            overrides.append(f"priors.groups.{block.group}={{kind: {kind}, sd: {uniform}}}")
    assert_that_of_the_graph(build_or_skip(name, overrides))


LONG = {
    "wishart",
    "hierarchical",
    "matrices of all terms",
    "known residuals and a free coefficient",
}


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=SLOW) if one in LONG else one for one in MODELS]
)
def test_it_is_the_density_of_the_graph_of_other_models(name):
    formula, settings = MODELS[name]
    assert_that_of_the_graph(made(formula, **settings))


# --- elementary terms that no prior of ours has yet ---


def test_every_elementary_term_is_in_value_and_gradient():
    plain = target(made(*MODELS["crossed"][:1], **MODELS["crossed"][1]))
    at = plain.coordinates
    scalars = at.scalars.copy()
    rng = np.random.default_rng(7)
    # constant, (bounds and loc stay), linear, quadratic, weight, spread, log power, 1 / x^2
    extra = rng.uniform(0.2, 1.0, (len(scalars), 10))
    extra[:, 1:4] = 0.0
    extra[:, 7] = 0.0
    m = len(scalars)
    extra[m - 2, 8:] = 0.0
    assert np.isinf(scalars[m - 2, 1])
    scalars[:, [0, 4, 5, 8, 9]] += extra[:, [0, 4, 5, 8, 9]]
    changed = replace(plain, coordinates=replace(at, scalars=frozen(scalars)))
    for x in points(plain, 3):
        value = np.where(np.isinf(at.scalars[:, 1]), x[:m], np.exp(x[:m]))
        slope = np.where(np.isinf(at.scalars[:, 1]), 1.0, value)
        gap = value - scalars[:, 3]
        power, square = extra[:, 8], extra[:, 9]
        positive = np.where(power > 0, value, 1.0)
        more = extra[:, 0] + extra[:, 4] * value - extra[:, 5] * gap**2
        more += power * np.log(positive) - square / positive**2
        by_value = extra[:, 4] - 2 * extra[:, 5] * gap
        by_value += power / positive + 2 * square / positive**3
        expected = plain(x)
        expected[1][:m] += by_value * slope
        assert_same(changed(x), (expected[0] + more.sum(), expected[1]), rel=1e-10)


# --- centred, whitened, folded ---

FOLDED = {
    "correlated": lambda: made(*MODELS["four correlated effects"][:1]),
    "two terms": lambda: made(MODELS["two terms"][0]),
    "one variance": lambda: made(MODELS["one variance"][0], **MODELS["one variance"][1]),
    "several factors": lambda: made(MODELS["crossed"][0], **MODELS["crossed"][1]),
    "free": lambda: made(MODELS["several kinds"][0], **MODELS["several kinds"][1]),
    "matrix": lambda: made(MODELS["inverse wishart"][0], **MODELS["inverse wishart"][1]),
    "matrices": lambda: made(
        MODELS["matrices beside others"][0], **MODELS["matrices beside others"][1]
    ),
    "known": lambda: made(MODELS["known residuals"][0], **MODELS["known residuals"][1]),
}


def turned(name, seed=1):
    """A target of any centre, turn and folds, and the plain one."""
    plain = target(FOLDED[name]())
    rng = np.random.default_rng(seed)
    at, d = plain.coordinates, plain.size
    half_line = np.isfinite(at.scalars[:, 1]) & np.isinf(at.scalars[:, 2])
    folds = np.zeros(d)
    foldable = np.flatnonzero(half_line[: at.free.start])
    [x] = points(plain, 1, seed)
    folds[foldable] = np.exp(x[foldable]) / rng.uniform(0.2, 2.0, len(foldable))
    # One is as it was: signs must be right beside it too.
    folds[foldable[0]] = 0.0 if len(foldable) > 2 else folds[foldable[0]]
    u = x.copy()
    u[folds > 0] = np.arcsinh(np.exp(x[folds > 0]) / folds[folds > 0])
    whiten = 0.2 * rng.normal(size=(d, d)) + 0.5 * np.eye(d)
    folded = replace(plain, centre=frozen(u), whiten=frozen(whiten), fold=frozen(folds))
    return plain, folded


def moved(folded, rng):
    """A point z whose folded numbers are of both signs."""
    u = folded.centre.copy()
    u[folded.fold > 0] *= rng.choice([-1, 1], np.count_nonzero(folded.fold))
    u += 0.1 * rng.normal(size=len(u))
    return np.linalg.solve(folded.whiten, u - folded.centre)


def signs(folded, z):
    """u, and the sign of every folded number: one where there is no fold."""
    u = folded.centre + folded.whiten @ z
    return u, np.where((folded.fold > 0) & (u < 0), -1.0, 1.0)


def pairs(coordinates):
    """Places of all partial correlations, with those of the two standard deviations."""
    for rows in coordinates.blocks:
        firsts = coordinates.row_first[rows]
        for a, first in enumerate(firsts):
            for c in range(first, a):
                at = coordinates.row_partial[rows][a] + c - first
                yield at, coordinates.row_sd[rows][a], coordinates.row_sd[rows][c]


@pytest.mark.parametrize("name", FOLDED)
def test_in_z_it_is_the_plain_density_at_its_points_and_the_jacobian(name):
    plain, folded = turned(name)
    rng = np.random.default_rng(2)
    fold = folded.fold > 0
    assert fold.any()
    for _ in range(4):
        z = moved(folded, rng)
        u, sign = signs(folded, z)
        x = folded.points(z)
        np.testing.assert_allclose(
            np.exp(x[fold]), folded.fold[fold] * np.abs(np.sinh(u[fold])), rtol=1e-12
        )
        value, slopes = plain(x)
        # |dx/du| = coth |u| of a folded one.
        by_u = 1 / np.tanh(u)
        expected = value + np.sum(np.log(np.abs(by_u[fold])))
        turn = np.ones(len(x))
        for at, one, other in pairs(plain.coordinates):
            turn[at] = sign[one] * sign[other]
        slope = slopes * turn
        slope[fold] = slopes[fold] * by_u[fold] + np.tanh(u[fold]) - by_u[fold]
        assert_same(folded(z), (expected, folded.whiten.T @ slope))


@pytest.mark.parametrize("name", FOLDED)
def test_the_gradient_in_z_is_that_of_the_value(name):
    _, folded = turned(name)
    z, h = moved(folded, np.random.default_rng(5)), 1e-4
    slopes = folded(z)[1]

    def central(step):
        return (folded(z + step)[0] - folded(z - step)[0]) / 2

    expected = [(8 * central(h / 2 * e) - central(h * e)) / (3 * h) for e in np.eye(len(z))]
    np.testing.assert_allclose(slopes, expected, rtol=1e-6, atol=1e-6 * np.abs(slopes).max())


@pytest.mark.parametrize("name", FOLDED)
def test_both_signs_of_a_folded_number_are_one_model(name):
    plain, folded = turned(name)
    z = moved(folded, np.random.default_rng(8))
    u, _ = signs(folded, z)
    expected, x = folded(z)[0], folded.points(z)
    for k in np.flatnonzero(folded.fold):
        flipped = u.copy()
        flipped[k] = -u[k]
        for at, one, other in pairs(plain.coordinates):
            flipped[at] *= -1 if (one == k) != (other == k) else 1
        there = np.linalg.solve(folded.whiten, flipped - folded.centre)
        assert folded(there)[0] == pytest.approx(expected, rel=1e-11)
        np.testing.assert_allclose(folded.points(there), x, rtol=1e-9, atol=1e-11)


def test_where_the_signs_meet_value_and_gradient_are_finite_and_continuous():
    _, folded = turned("correlated")
    [k] = np.flatnonzero(folded.fold)[:1]
    u = folded.centre.copy()
    found = []
    for value in (-1e-7, -1e-13, 0.0, 1e-13, 1e-7):
        u[k] = value
        found.append(folded(np.linalg.solve(folded.whiten, u - folded.centre)))
    assert all(np.isfinite(one[0]) and np.isfinite(one[1]).all() for one in found)
    values = [one[0] for one in found]
    np.testing.assert_allclose(values, values[2], rtol=0, atol=1e-3)


# --- coordinates and back ---


@given(name=st.sampled_from(sorted(MODELS)), seed=st.integers(0, 1000))
def test_values_are_parameters_and_points_undo_them(name, seed):
    formula, settings = MODELS[name]
    spec = CACHE.setdefault(name, made(formula, **settings))
    found = target(spec)
    at = found.coordinates
    [x] = points(found, 1, seed)
    # One x, two, and a table of them are the same numbers.
    draws = at.values(np.array([[x, x]]))
    here = at.values(x)
    np.testing.assert_array_equal(draws.sigma, np.full((1, 2), here.sigma))
    m, bounds = len(at.scalars), at.scalars[:, 1:3]
    known = spec.priors.sigma is None
    natural = np.concatenate([np.ravel(here.beta_free), [] if known else [here.sigma]])
    for value, (lower, upper) in zip(natural, bounds[at.free.start :], strict=True):
        assert lower < value < upper
    assert here.sigma == 1.0 or not known
    for block, prior, sd, corr, factor in zip(
        spec.blocks, spec.priors.blocks, here.sd, here.corr, here.factor, strict=True
    ):
        assert (sd > 0).all()
        np.testing.assert_array_equal(np.diag(corr), 1.0)
        np.testing.assert_allclose(factor @ factor.T, corr, atol=1e-14)
        np.testing.assert_array_equal(factor, np.tril(factor))
        for term, one in zip(block.terms, prior.terms, strict=True):
            here_sd = sd[term.columns]
            assert np.isfinite(one.log_density(here_sd, corr[term.columns, term.columns]))
            outside = np.delete(corr[term.columns], term.columns, axis=1)
            np.testing.assert_array_equal(outside, 0.0)
    # The way back takes correlations a little inwards: their logits, where they are given so.
    inside = [0.98 * one + 0.02 * np.eye(len(one)) for one in here.corr]
    back = at.point(here.sd, here.corr, here.beta_free, float(here.sigma))
    np.testing.assert_allclose(back[:m], x[:m], rtol=1e-9, atol=1e-9)
    for found_corr, one in zip(at.values(back).corr, inside, strict=True):
        np.testing.assert_allclose(found_corr, one, atol=1e-9)


CACHE = {}


def test_a_point_on_the_boundary_is_moved_inside():
    spec = made("y ~ x + (x + w | school)")
    at = target(spec).coordinates
    ones = np.ones((3, 3))
    x = at.point((np.array([0.0, 1.0, 2.0]),), (ones,), np.zeros(0), 1.0)
    assert np.isfinite(x).all()
    [corr] = at.values(x).corr
    np.testing.assert_allclose(corr, 0.98 * ones + 0.02 * np.eye(3), atol=0.01)
    spec = made(MODELS["uniform"][0], **MODELS["uniform"][1])
    at = target(spec).coordinates
    for edge in (-1e9, 1e9):
        x = at.point((np.array([edge]),), (np.eye(1),), np.full(2, edge), edge)
        found = at.values(x)
        assert np.isfinite(x).all()
        assert 0 < found.sigma < 9
        assert (np.abs(found.beta_free) < 90).all()


def test_names_say_what_each_number_is():
    formula, settings = MODELS["one variance"]
    beta = {"w": {"kind": "student_t"}}
    at = target(made(formula, beta=beta, **settings)).coordinates
    assert at.names == (
        "sd_school[Intercept]",
        "sd_school[x]",
        "sd_school[0 + w + v || school]",
        "sd_room[Intercept]",
        "beta[w]",
        "sigma",
        "partial_school[x, Intercept]",
    )
    four = target(made("y ~ x + (x + w | school)")).coordinates
    assert four.names[-3:] == (
        "partial_school[x, Intercept]",
        "partial_school[w, Intercept]",
        "partial_school[w, x]",
    )


@pytest.mark.parametrize("kind", [HalfStudentT, StudentT])
def test_a_prior_without_elementary_terms_has_no_target(kind, monkeypatch):
    spec = made("y ~ x + (x | school)", beta={"x": {"kind": "student_t"}})
    assert target(spec) is not None
    monkeypatch.setattr(kind, "elementary", lambda self, *, place: None)
    assert target(spec) is None


def test_a_known_sigma_is_no_coordinate():
    at = target(made("y ~ x + (x | school)", **KNOWN)).coordinates
    assert at.names == ("sd_school[Intercept]", "sd_school[x]", "partial_school[x, Intercept]")
    free = target(made("y ~ x + (x | school)", beta={"x": {"kind": "student_t"}}, **KNOWN))
    assert free.coordinates.names[2] == "beta[x]"


def test_one_effects_inverse_wishart_is_the_inverse_gamma_of_its_variance():
    matrix = {"kind": "inverse_wishart", "nu": 0.6, "scale": [[3.0]]}
    one = {"kind": "diagonal", "sd": {"kind": "inverse_gamma", "shape": 0.3, "scale": 1.5}}
    found, same = (
        target(made("y ~ x + (1 | school)", groups={"school": prior})) for prior in (matrix, one)
    )
    for x in points(found, 3):
        assert_same(found(x), same(x), rel=1e-12)


def test_correlations_without_shapes_have_no_target(monkeypatch):
    spec = made("y ~ x + (x | school)")
    monkeypatch.setattr(LKJ, "partial_shapes", lambda self: None)
    assert target(spec) is None


# --- what cannot be computed ---


@pytest.mark.parametrize("name", ["correlated", "several factors", "matrices"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e6, -1e6])
def test_a_point_beyond_numbers_is_minus_infinity_with_a_gradient_of_zeros(name, bad):
    plain, folded = turned(name)
    for found in (plain, folded):
        for k in range(found.size):
            z = np.zeros(found.size) if found is folded else points(found, 1)[0]
            z[k] = bad
            value, slopes = found(z)
            assert np.isfinite(slopes).all()
            assert value == -np.inf or np.isfinite(bad)
            if value == -np.inf:
                np.testing.assert_array_equal(slopes, 0.0)


def test_what_is_compiled_gives_the_same_bits_again():
    _, folded = turned("several factors")
    z = moved(folded, np.random.default_rng(3))
    first = folded(z)
    folded(-z)
    again = folded(z)
    assert again[0] == first[0]
    np.testing.assert_array_equal(again[1], first[1])
