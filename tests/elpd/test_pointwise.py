"""Log likelihoods by row and by group, against dense normal densities of every draw."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from made_up import (
    ACROSS,
    CASES,
    CHAINS,
    DRAWS,
    PAIRS,
    around,
    dense,
    dense_rows,
    from_frame,
    points_of,
    posterior_of,
)
from scipy.stats import multivariate_normal, norm

import hlm_models as hlm
from hlm_models.elpd import pointwise
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.results.posterior import posterior_tree
from hlm_models.spec import density
from hlm_models.spec.density import Point


@pytest.fixture(scope="module", params=list(CASES))
def case(request):
    build, by, integrated = CASES[request.param]
    return around(build()), by, integrated


def test_a_groups_density_is_the_dense_normal_of_its_rows(case):
    fit, by, integrated = case
    found = hlm.log_likelihood(fit, "group", by)
    assert (found.focus, found.by) == ("group", getattr(by, "name", by))
    assert found.shape == (CHAINS, DRAWS, found.size)
    np.testing.assert_allclose(found.block(0, found.size), dense(fit, by, integrated), rtol=1e-9)


def test_a_rows_integrated_density_is_the_dense_normal_given_the_others_of_its_level(case):
    fit, by, integrated = case
    found = hlm.log_likelihood(fit, by=by, form="integrated")
    assert (found.focus, found.by, found.size) == ("observation", None, fit.spec.design.n)
    rows = np.random.default_rng(1).permutation(found.size)[:15]
    residual, log_sd = dense_rows(fit, by, integrated, rows)
    for ours, twin in zip(found.predictive(rows), (residual, log_sd), strict=True):
        np.testing.assert_allclose(ours, twin, rtol=1e-9, atol=1e-9)
    expected = norm.logpdf(residual) - log_sd
    np.testing.assert_allclose(found.take(rows), expected, rtol=1e-9, atol=1e-9)
    whole = found.block(0, found.size)
    np.testing.assert_allclose(whole[:, :, rows], expected, rtol=1e-9, atol=1e-9)


def test_what_a_row_is_beside_its_mean_makes_its_density(case):
    fit, by, _ = case
    for found in (hlm.log_likelihood(fit), hlm.log_likelihood(fit, by=by, form="integrated")):
        some = np.array([7, 3, 5])
        residual, log_sd = found.predictive(some)
        np.testing.assert_allclose(found.take(some), norm.logpdf(residual) - log_sd, rtol=1e-10)


def test_the_rows_of_a_column_are_those_of_its_level(case):
    fit, by, _ = case
    found = hlm.log_likelihood(fit, "group", by)
    group = hlm.grouping(fit.spec, by)
    rows = [found.rows(column) for column in range(found.size)]
    assert sorted(np.concatenate(rows)) == list(range(fit.spec.design.n))
    assert all(np.all(group.level[some] == column) for column, some in enumerate(rows))
    assert hlm.log_likelihood(fit).rows(5).tolist() == [5]
    assert hlm.log_likelihood(fit, by=by, form="integrated").rows(5).tolist() == [5]


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
    for found in (
        hlm.log_likelihood(fit),
        hlm.log_likelihood(fit, by=by, form="integrated"),
        hlm.log_likelihood(fit, "group", by),
    ):
        whole = found.dataset()["y_obs"].values
        monkeypatch.setattr(pointwise, "CACHED", 50)
        pieces = list(found.blocks(7 * CHAINS * DRAWS))
        at = np.concatenate([here for here, _ in pieces])
        assert sorted(at) == list(range(found.size))
        assert found.form == "integrated" or np.all(np.diff(at) > 0)
        assert max(values.shape[2] for _, values in pieces) <= 7
        together = np.concatenate([values for _, values in pieces], axis=2)
        np.testing.assert_allclose(together, whole[:, :, at], rtol=1e-12, atol=1e-12)
        assert [len(here) for here, _ in found.blocks(1)] == [1] * found.size
        some = np.array([found.size - 1, 0, found.size // 2])[: found.size]
        np.testing.assert_allclose(found.take(some), whole[:, :, some], rtol=1e-12, atol=1e-12)
        [(here, values)] = found.blocks(columns=some)
        np.testing.assert_allclose(values, whole[:, :, here], rtol=1e-12, atol=1e-12)


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


def test_where_a_level_has_one_row_the_integrated_form_is_the_density_of_the_group():
    fit = around(hlm.build("eight-schools"))
    rows = hlm.log_likelihood(fit, form="integrated").block(0, 8)
    np.testing.assert_allclose(rows, hlm.log_likelihood(fit, "group").block(0, 8), rtol=1e-9)


def test_where_nothing_is_integrated_the_integrated_form_is_the_conditional_one():
    for spec, by in (
        (from_frame("y ~ x", weights="w"), PAIRS),
        (from_frame("y ~ x + (x | a)"), ACROSS),
    ):
        fit = around(spec)
        rows = hlm.log_likelihood(fit, by=by, form="integrated").block(0, spec.design.n)
        conditional = hlm.log_likelihood(fit).block(0, spec.design.n)
        np.testing.assert_allclose(rows, conditional, rtol=1e-10)
        level = hlm.grouping(spec, by).level
        groups = [conditional[:, :, level == j].sum(axis=2) for j in range(by.J)]
        found = hlm.log_likelihood(fit, "group", by).block(0, by.J)
        np.testing.assert_allclose(found, np.moveaxis(groups, 0, 2), rtol=1e-10)


def test_the_integrated_form_is_the_density_of_the_level_less_that_of_it_without_the_row():
    fit = around(from_frame("y ~ x + (x | a) + (1 | b) + (1 | u)", weights="w"))
    rows = hlm.log_likelihood(fit, by="a", form="integrated")
    level = hlm.grouping(fit.spec, "a").level
    whole = hlm.log_likelihood(fit, "group", "a").block(0, 3)
    for i in (0, 100, 239):
        rest = replace(fit, spec=fit.spec.without([i]))
        without = hlm.log_likelihood(rest, "group", "a").block(0, 3)
        expected = (whole - without)[:, :, level[i]]
        np.testing.assert_allclose(rows.take(np.array([i]))[:, :, 0], expected, rtol=1e-8)


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
            "by: the density of a row given the drawn effects is not by a group: leave out "
            "by='batch', or take focus='group', or form='integrated'",
        ),
        (
            {"form": "marginal"},
            "form: 'marginal' is none of conditional, integrated",
        ),
        (
            {"form": "integrated"},
            "by: the model has several groups, name one of them: batch:cask, batch",
        ),
        (
            {"form": "integrated", "focus": "group", "by": "batch"},
            "form: the effects are always integrated out of the density of a group: leave out form",
        ),
        (
            {"focus": "group", "by": ACROSS},
            "by: across has 240 rows and the model 60",
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


def test_columns_that_are_not_there_or_there_twice_are_refused():
    found = hlm.log_likelihood(around(hlm.build("pastes")), "group", "batch")
    with pytest.raises(InputErrors, match="column 10 is not among the 10 that there are"):
        found.take(np.array([3, 10]))
    with pytest.raises(InputErrors, match="column -1 is not among the 10 that there are"):
        found.rows(-1)
    with pytest.raises(InputErrors, match="a column is there twice"):
        found.take(np.array([3, 3]))
    with pytest.raises(InputErrors, match="rows have a mean and an sd, and levels have not"):
        found.predictive(np.array([3]))


@pytest.mark.parametrize("level", [[0, 1, 3], [0, 1, 1], [0, 1, -1], [0, 0.5, 2], [[0], [1], [2]]])
def test_levels_without_a_label_or_a_row_are_refused(level):
    with pytest.raises(InputErrors, match="side: each row needs a level from 0 to 2, and each"):
        hlm.Grouping("side", ("left", "right", "both"), np.array(level))


def test_a_grouping_of_a_model_is_that_of_its_block():
    spec = hlm.build("pastes")
    found = hlm.grouping(spec, "batch")
    assert (found.name, found.labels, found.J) == ("batch", tuple("ABCDEFGHIJ"), 10)
    np.testing.assert_array_equal(found.level, spec.blocks[1].level)
    assert hlm.grouping(spec, found) is found
    assert hlm.grouping(hlm.build("dyestuff")).name == "batch"


def test_effects_that_are_nowhere_are_missed_only_where_they_are_given():
    fit = around(hlm.build("pastes"))
    b = ["b_batch", "b_batch:cask"]
    bare = fit.data["posterior"].to_dataset().drop_vars(b)
    without = replace(fit, data=xr.DataTree.from_dict({"posterior": bare}))
    one, other = (hlm.log_likelihood(x, "group", "batch").block(0, 10) for x in (fit, without))
    np.testing.assert_array_equal(one, other)
    one, other = (
        hlm.log_likelihood(x, by="batch", form="integrated").block(0, 60) for x in (fit, without)
    )
    np.testing.assert_array_equal(one, other)
    for focus, by in (("observation", None), ("group", "batch:cask")):
        with pytest.raises(InputErrors, match="has neither the effects b nor the seed"):
            hlm.log_likelihood(without, focus, by).block(0, 1)
