"""Log likelihoods by row and by group, against dense normal densities of every draw."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

import hlm_models as hlm
from hlm_models.comparison import pointwise
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.posterior import point_at, posterior_tree
from hlm_models.spec import density
from hlm_models.spec.density import Point
from hlm_models.spec.simulate import draw_prior

CHAINS, DRAWS = 2, 3


def posterior_of(spec, points, chains=CHAINS):
    """A fit whose draws are these points, the chains one after the other."""
    values = {"sigma": [point.sigma for point in points]}
    if spec.design.p:
        values["beta"] = [point.beta for point in points]
    dims, coords = {"sigma": (), "beta": ("coef",)}, {}
    for f, block in enumerate(spec.blocks):
        g, effect = block.group, f"effect_{block.group}"
        dims |= {f"sd_{g}": (effect,), f"corr_{g}": (effect, f"{effect}_2"), f"b_{g}": (g, effect)}
        coords |= {g: list(block.labels), effect: list(block.effects)}
        for name in ("sd", "corr", "b"):
            values[f"{name}_{g}"] = [getattr(point, name)[f] for point in points]
    shaped = {
        name: (("chain", "draw", *dims[name]), np.array(v).reshape(chains, -1, *np.shape(v)[1:]))
        for name, v in values.items()
    }
    coords |= {"chain": range(chains), "draw": range(len(points) // chains)}
    data = xr.DataTree.from_dict({"posterior": xr.Dataset(shaped, coords)})
    return PosteriorFit(spec, "nuts", data, "made up", "centered", 0, (), {}, 1)


def around(spec, seed=1):
    """Draws in the region of the data: coefficients near least squares, correlations any."""
    rng, design = np.random.default_rng(seed), spec.design
    centre = np.linalg.lstsq(design.X, design.y_net)[0]
    spread = np.std(design.y_net - design.X @ centre)
    points = []
    for _ in range(CHAINS * DRAWS):
        corrs = draw_prior(spec, rng).corr
        sds = tuple(
            spread * np.exp(0.3 * rng.normal(size=block.q)) / np.sqrt(np.mean(block.z**2, axis=0))
            for block in spec.blocks
        )
        bs = tuple(
            rng.standard_normal((block.J, block.q)) @ (sd[:, None] * np.linalg.cholesky(corr)).T
            for block, sd, corr in zip(spec.blocks, sds, corrs, strict=True)
        )
        beta = centre + 0.1 * spread / np.sqrt(np.mean(design.X**2, axis=0)) * rng.normal(
            size=design.p
        )
        points.append(Point(beta, spread * float(np.exp(0.5 * rng.normal())), sds, corrs, bs))
    return posterior_of(spec, points)


def points_of(fit):
    posterior = fit.data["posterior"].to_dataset()
    sizes = posterior.sizes["chain"], posterior.sizes["draw"]
    return {at: point_at(fit.spec, posterior, *at) for at in np.ndindex(sizes)}


def dense(fit, by, integrated):
    """Every draw's density of the rows of each level of `by`, by the whole covariance matrix."""
    spec = fit.spec
    [group] = [block for block in spec.blocks if block.group == by]
    weights = np.ones(spec.design.n) if spec.design.weights is None else spec.design.weights
    found = np.empty((CHAINS, DRAWS, group.J))
    for at, point in points_of(fit).items():
        given = replace(
            point,
            b=tuple(
                b * (block.group not in integrated)
                for block, b in zip(spec.blocks, point.b, strict=True)
            ),
        )
        mean = density.linear_predictor(spec, given)
        V = np.diag(point.sigma**2 / weights)
        for block, sd, corr in zip(spec.blocks, point.sd, point.corr, strict=True):
            if block.group in integrated:
                same = block.level[:, None] == block.level
                V += block.z @ (sd[:, None] * corr * sd) @ block.z.T * same
        for j in range(group.J):
            rows = np.flatnonzero(group.level == j)
            normal = multivariate_normal(mean[rows], V[np.ix_(rows, rows)])
            found[*at, j] = normal.logpdf(spec.design.y[rows])
    return found


def nested_frame():
    """Four factors: d in c in b in a, and t in a too but crossed with b, c and d; u across all."""
    rng = np.random.default_rng(3)
    n = 240
    a, b, c, d = rng.integers(0, 3, n), rng.integers(0, 2, n), rng.integers(0, 2, n), None
    d, t, u = rng.integers(0, 2, n), rng.integers(0, 3, n), rng.integers(0, 5, n)
    names = {"a": [f"a{i}" for i in a], "u": [f"u{i}" for i in u]}
    names["b"] = [f"{x}b{i}" for x, i in zip(names["a"], b, strict=True)]
    names["c"] = [f"{x}c{i}" for x, i in zip(names["b"], c, strict=True)]
    names["d"] = [f"{x}d{i}" for x, i in zip(names["c"], d, strict=True)]
    names["t"] = [f"{x}t{i}" for x, i in zip(names["a"], t, strict=True)]
    x = rng.normal(3, 2, n)
    y = 1 + x + rng.normal(size=3)[a] + rng.normal(size=5)[u] + rng.normal(size=n)
    return pd.DataFrame(names | {"x": x, "y": y, "w": rng.uniform(0.3, 3, n), "o": 5 * x**2})


FRAME = nested_frame()


def from_frame(formula, **more):
    head = {"schema": 1, "name": "made-up", "data": {"source": "frame"}, "formula": formula}
    return hlm.build(head | more, data=FRAME)


SHARED = {"priors": {"groups": {"a": {"kind": "shared"}}}}
CHAIN = "y ~ x + (x | a) + (1 | b) + (x | c) + (1 | d)"
CASES = {
    "three effects": (lambda: hlm.build("grunfeld-slopes"), "firm", {"firm"}),
    "two effects": (lambda: hlm.build("radon-slopes"), "county", {"county"}),
    "diagonal": (lambda: hlm.build("sleepstudy-uncorrelated"), "subject", {"subject"}),
    "outer of two": (lambda: hlm.build("pastes"), "batch", {"batch", "batch:cask"}),
    "inner of two": (lambda: hlm.build("pastes"), "batch:cask", {"batch:cask"}),
    "slopes outside": (lambda: hlm.build("pixel"), "dog", {"dog", "dog:side"}),
    "crossed": (lambda: hlm.build("penicillin"), "plate", {"plate"}),
    "crossed, other way": (lambda: hlm.build("penicillin"), "sample", {"sample"}),
    "weights and offset": (
        lambda: from_frame("y ~ x + offset(o) + (x | a)", weights="w"), "a", {"a"},
    ),
    "shared": (lambda: from_frame("y ~ x + (x || a)", **SHARED), "a", {"a"}),
    "no coefficient": (lambda: from_frame("y ~ 0 + (1 | a)"), "a", {"a"}),
    "chain of four": (lambda: from_frame(CHAIN), "a", {"a", "b", "c", "d"}),
    "chain from its second": (lambda: from_frame(CHAIN, weights="w"), "b", {"b", "c", "d"}),
    "crossed within": (
        lambda: from_frame("y ~ x + (x | a) + (1 | c) + (x | t)"), "a", {"a", "c", "t"},
    ),
    "nested and crossed": (
        lambda: from_frame(
            "y ~ x + offset(o) + (1 | a) + (x | b) + (1 | d) + (x || u)", weights="w"
        ),
        "a",
        {"a", "b", "d"},
    ),
    "crossed with all": (
        lambda: from_frame("y ~ x + (1 | a) + (x | b) + (x || u)", weights="w"), "u", {"u"},
    ),
}  # fmt: skip


@pytest.fixture(scope="module", params=list(CASES))
def case(request):
    build, by, integrated = CASES[request.param]
    return around(build()), by, integrated


def test_a_groups_density_is_the_dense_normal_of_its_rows(case):
    fit, by, integrated = case
    found = hlm.log_likelihood(fit, "group", by)
    assert (found.focus, found.by) == ("group", by)
    assert found.shape == (CHAINS, DRAWS, found.size)
    np.testing.assert_allclose(found.block(0, found.size), dense(fit, by, integrated), rtol=1e-9)


def test_a_rows_density_is_that_of_the_plain_one(case):
    fit, _, _ = case
    found = hlm.log_likelihood(fit)
    assert (found.focus, found.by, found.size) == ("observation", None, fit.spec.design.n)
    values = found.block(0, found.size)
    for at, point in points_of(fit).items():
        expected = density.log_likelihood(fit.spec, point)
        np.testing.assert_allclose(values[at], expected, rtol=1e-11, atol=1e-11)


def test_blocks_are_the_dataset_in_pieces(case, monkeypatch):
    fit, by, _ = case
    for found in (hlm.log_likelihood(fit), hlm.log_likelihood(fit, "group", by)):
        whole = found.dataset()["y_obs"].values
        monkeypatch.setattr(pointwise, "CACHED", 50)
        pieces = list(found.blocks(7 * CHAINS * DRAWS))
        at = [i for here, _ in pieces for i in range(here.start, here.stop)]
        assert at == list(range(found.size))
        assert max(values.shape[2] for _, values in pieces) <= 7
        together = np.concatenate([values for _, values in pieces], axis=2)
        np.testing.assert_allclose(together, whole, rtol=1e-12, atol=1e-12)
        assert [here.stop - here.start for here, _ in found.blocks(1)] == [1] * found.size


def test_of_one_factor_the_groups_sum_to_the_density_of_all_rows():
    fit = around(hlm.build("sleepstudy-slopes"))
    found = hlm.log_likelihood(fit, "group").dataset()["y_obs"].sum("subject").values
    [block] = fit.spec.blocks
    for at, point in points_of(fit).items():
        Psi = point.sd[0][:, None] * point.corr[0] * point.sd[0]
        Z = np.zeros((block.J, block.q, fit.spec.design.n))
        Z[block.level, :, np.arange(fit.spec.design.n)] = block.z
        V = np.einsum("jan,ab,jbm->nm", Z, Psi, Z) + point.sigma**2 * np.eye(fit.spec.design.n)
        expected = multivariate_normal(fit.spec.design.X @ point.beta, V).logpdf(fit.spec.design.y)
        assert found[at] == pytest.approx(expected, rel=1e-9)


@given(seed=st.integers(0, 2**32 - 1), log_sd=st.floats(-12, 12))
def test_a_groups_density_is_that_of_its_rows_at_no_effect_times_the_ratio_of_densities(
    seed, log_sd
):
    spec = from_frame("y ~ x + (1 | a)")
    rng = np.random.default_rng(seed)
    block = spec.blocks[0]
    one = Point(
        rng.normal(size=2), float(np.exp(rng.normal())), (np.exp(np.array([log_sd])),),
        (np.eye(1),), (np.zeros((block.J, 1)),),
    )  # fmt: skip
    none = replace(one, sd=(np.zeros(1),))
    fit = posterior_of(spec, [one, none], chains=1)
    rows = hlm.log_likelihood(fit).block(0, spec.design.n)[0, 1]
    found = hlm.log_likelihood(fit, "group").block(0, block.J)[0]
    np.testing.assert_allclose(found[1], np.bincount(block.level, rows), rtol=1e-9)
    # p(y_j) = p(y_j | b = 0) p(b = 0) / p(b = 0 | y_j), b given y_j being normal.
    residual = spec.design.y - spec.design.X @ one.beta
    precision = block.sizes / one.sigma**2 + one.sd[0] ** -2.0
    mean = np.bincount(block.level, residual) / one.sigma**2 / precision
    at_zero = -np.log(one.sd[0]) - np.log(precision) / 2 + precision * mean**2 / 2
    np.testing.assert_allclose(found[0], found[1] + at_zero, rtol=1e-8, atol=1e-8)


def test_a_correlation_that_is_rounded_to_one_has_a_density():
    fit = around(hlm.build("sleepstudy-slopes"))
    points = [replace(point, corr=(np.ones((2, 2)),)) for point in points_of(fit).values()]
    fit = posterior_of(fit.spec, points)
    found = hlm.log_likelihood(fit, "group").block(0, 18)
    np.testing.assert_allclose(found, dense(fit, "subject", {"subject"}), rtol=1e-9)


def test_columns_are_named_in_the_dataset():
    fit = around(hlm.build("pastes"))
    rows = hlm.log_likelihood(fit).dataset()["y_obs"]
    assert rows.dims == ("chain", "draw", "obs")
    assert rows["obs"].values.tolist() == list(range(60)) == list(hlm.log_likelihood(fit).names)
    found = hlm.log_likelihood(fit, focus="group", by="batch")
    levels = found.dataset()["y_obs"]
    assert levels.dims == ("chain", "draw", "batch")
    assert levels["batch"].values.tolist() == list("ABCDEFGHIJ") == list(found.names)
    np.testing.assert_array_equal(levels.sel(batch="C").values, found.block(2, 3)[..., 0])
    np.testing.assert_array_equal(levels["draw"], fit.data["posterior"]["draw"])


def test_the_order_of_the_dims_and_of_memory_does_not_matter():
    fit = around(hlm.build("pastes"))
    turned = fit.data["posterior"].to_dataset().transpose(..., "draw", "chain").astype(np.float64)
    again = replace(fit, data=xr.DataTree.from_dict({"posterior": turned}))
    for focus, by in (("observation", None), ("group", "batch"), ("group", "batch:cask")):
        one, other = (hlm.log_likelihood(x, focus, by).block(1, 5) for x in (fit, again))
        np.testing.assert_array_equal(one, other)


def test_what_a_fit_keeps_is_the_dataset_of_its_rows():
    fit = around(from_frame("y ~ x + offset(o) + (x | a) + (1 | u)", weights="w"))
    draws, seed = fit.data["posterior"].to_dataset(), np.random.SeedSequence(1)
    values = {name: one.values for name, one in draws.data_vars.items()}
    kept = posterior_tree(fit.spec, values, {}, seed, with_log_likelihood=True)["log_likelihood"]
    found = hlm.log_likelihood(fit).dataset()
    xr.testing.assert_allclose(kept.to_dataset(), found, rtol=1e-12, atol=1e-12)


@pytest.fixture(scope="module")
def many():
    """Draws of a model of many rows, whose whole log likelihood is 30,000,000 numbers."""
    rng, n, J = np.random.default_rng(1), 60_000, 3_000
    frame = pd.DataFrame(
        {"school": rng.integers(0, J, n), "x": rng.normal(size=n), "y": rng.normal(size=n)}
    )
    spec = hlm.build(formula="y ~ x + (x | school)", data=frame)
    point = Point(np.ones(2), 1.0, (np.ones(2),), (np.eye(2),), (np.zeros((J, 2)),))
    return posterior_of(spec, [point] * 500)


@pytest.mark.parametrize(
    ("focus", "numbers", "whole"),
    [("observation", 1_000_000, 30_000_000), ("group", 200_000, 1_500_000)],
)
def test_a_block_needs_no_more_than_itself(many, focus, numbers, whole):
    found = hlm.log_likelihood(many, focus)
    found.block(0, 1)  # what is made once
    assert np.prod(found.shape) == whole
    tracemalloc.start()
    for _, values in found.blocks(numbers):
        assert values.size <= numbers
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # One block in the loop's hands and the next one, and what is worked on.
    assert peak < 3 * 8 * numbers


def test_a_dataset_that_is_too_large_is_refused_with_the_way_to_have_it(monkeypatch):
    fit = around(hlm.build("pastes"))
    monkeypatch.setattr(pointwise, "LARGEST", CHAINS * DRAWS * 60 - 1)
    with pytest.raises(RefusalError, match=r"^2x3x60 log likelihoods .* from blocks\(\)$"):
        hlm.log_likelihood(fit).dataset()
    assert hlm.log_likelihood(fit, "group", "batch").dataset().sizes["batch"] == 10
    monkeypatch.setattr(pointwise, "LARGEST", CHAINS * DRAWS * 60)
    assert hlm.log_likelihood(fit).dataset().sizes["obs"] == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"focus": "groups"},
            r"focus: 'groups' is none of observation, group; did you mean 'group'\?",
        ),
        ({"focus": None}, "focus: None is none of observation, group"),
        (
            {"focus": "group", "by": "batches"},
            r"by: 'batches' is not a group of this model; did you mean 'batch'\? "
            r"\(groups: batch:cask, batch\)",
        ),
        (
            {"focus": "group"},
            "by: the model has several groups, name one of them: batch:cask, batch",
        ),
        (
            {"by": "batch"},
            "by: the log likelihood of a row is not by a group: leave out by='batch', or take "
            "focus='group'",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(arguments, message):
    fit = around(hlm.build("pastes"))
    with pytest.raises(InputErrors, match=f"^{message}$"):
        hlm.log_likelihood(fit, **arguments)


def test_a_fit_without_draws_is_refused():
    fit = hlm.fit("pastes", engine="reml")
    with pytest.raises(RefusalError, match=r"takes draws, fit.*this is a point fit"):
        hlm.log_likelihood(fit)
    with pytest.raises(InputErrors, match=r"takes a fit, and this is ModelSpec"):
        hlm.log_likelihood(fit.spec)


def test_columns_and_numbers_that_are_not_there_are_refused():
    found = hlm.log_likelihood(around(hlm.build("pastes")))
    for start, stop in ((-1, 2), (0, 61), (5, 4)):
        with pytest.raises(InputErrors, match="are not among the 60 that there are"):
            found.block(start, stop)
    assert found.block(3, 3).shape == (CHAINS, DRAWS, 0)
    with pytest.raises(InputErrors, match="numbers: a whole number of at least 1 is needed, not 0"):
        next(found.blocks(0))


def test_effects_that_are_nowhere_are_missed_only_where_they_are_given():
    fit = around(hlm.build("pastes"))
    b = ["b_batch", "b_batch:cask"]
    bare = fit.data["posterior"].to_dataset().drop_vars(b)
    without = replace(fit, data=xr.DataTree.from_dict({"posterior": bare}))
    one, other = (hlm.log_likelihood(x, "group", "batch").block(0, 10) for x in (fit, without))
    np.testing.assert_array_equal(one, other)
    for focus, by in (("observation", None), ("group", "batch:cask")):
        with pytest.raises(InputErrors, match="has neither the effects b nor the seed"):
            hlm.log_likelihood(without, focus, by).block(0, 1)
