"""Leave-one-out of rows and of groups: its two forms, and what it does where k is bad."""

from contextlib import nullcontext

import numpy as np
import pytest
import xarray as xr
from made_up import PAIRS, conditional_draws, from_frame, points_of
from scipy.special import logsumexp

import hlm_models as hlm
from hlm_models.elpd import loo as module
from hlm_models.elpd.loo import own_group
from hlm_models.elpd.psis import leave_one_out
from hlm_models.elpd.refits import Refits
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.results.checks import Check


@pytest.fixture(scope="module")
def sleepstudy():
    """Four rows are far off, so that their weights given the drawn effects are bad."""
    return conditional_draws(hlm.build("sleepstudy-slopes"), 4, 400)


@pytest.fixture(scope="module")
def pastes():
    return conditional_draws(hlm.build("pastes"), 4, 400)


@pytest.fixture
def asked(monkeypatch):
    """Columns that exact refits were asked for, which foresee -100 - column."""
    found = []

    def exact(log_likelihood, fit, columns, progress):
        assert fit.spec is log_likelihood.spec
        found.append((log_likelihood.focus, log_likelihood.form, columns.tolist()))
        return Refits(-100.0 - columns, (Check("r_hat", "warn", 1.02, 1.01, "without row 1"),))

    monkeypatch.setattr(module, "exact", exact)
    return found


@pytest.mark.parametrize(("focus", "by"), [("observation", None), ("group", "batch")])
def test_without_bad_weights_it_is_that_of_the_whole_matrix(pastes, focus, by, monkeypatch):
    monkeypatch.setattr(module, "NUMBERS", 7 * 1600)
    fit = pastes if focus == "group" else conditional_draws(hlm.build("dyestuff"), 4, 400)
    whole = hlm.log_likelihood(fit, focus, by)
    expected = leave_one_out(whole.block(0, whole.size))
    found = hlm.loo(fit, focus, by)
    np.testing.assert_array_equal(found.pointwise, expected.elpd)
    np.testing.assert_array_equal(found.lpd, expected.lpd)
    np.testing.assert_array_equal(found.pareto_k, expected.pareto_k)
    assert set(found.how) == {"psis"}
    assert (found.focus, found.by, found.method, found.draws) == (focus, by, "loo", 1600)
    assert (found.bad, found.refits, found.check().status) == (0, 0, "pass")
    assert found.elpd == pytest.approx(expected.elpd.sum())
    assert found.p == pytest.approx((expected.lpd - expected.elpd).sum())
    assert found.se == pytest.approx(np.sqrt(whole.size * np.var(expected.elpd, ddof=1)))


@pytest.mark.parametrize(("focus", "by"), [("observation", None), ("group", "batch")])
def test_it_is_that_of_arviz(pastes, focus, by):
    # 1600 draws have a tail of a whole number of weights; see test_psis.py.
    import arviz_stats as az

    tree = pastes.data.copy()
    likelihood = hlm.log_likelihood(pastes, focus, by)
    tree["log_likelihood"] = xr.DataTree(likelihood.dataset())
    found = leave_one_out(likelihood.block(0, likelihood.size), r_eff=np.ones(likelihood.size))
    with (
        pytest.warns(UserWarning, match="Estimated shape")
        if focus == "observation"
        else nullcontext()
    ):
        theirs = az.loo(tree, pointwise=True, reff=1.0)
    np.testing.assert_allclose(found.elpd, theirs.elpd_i.values, rtol=1e-9)
    np.testing.assert_allclose(found.pareto_k, theirs.pareto_k.values, rtol=1e-9)
    assert (found.lpd - found.elpd).sum() == pytest.approx(theirs.p, rel=1e-9)
    ours = hlm.loo(pastes, focus, by, refit=False)
    assert ours.good_k == pytest.approx(theirs.good_k)


def test_bad_weights_are_first_replaced_by_the_integrated_form_and_then_by_refits(
    sleepstudy, asked
):
    given = hlm.log_likelihood(sleepstudy)
    raw = leave_one_out(given.block(0, 180))
    inside = hlm.log_likelihood(sleepstudy, form="integrated")
    steady = leave_one_out(inside.block(0, 180))
    found = hlm.loo(sleepstudy)
    good = found.good_k
    assert good == pytest.approx(1 - 1 / np.log10(1600))
    by_weights = raw.pareto_k <= good
    by_integration = ~by_weights & (steady.pareto_k <= good)
    refitted = ~by_weights & ~by_integration
    assert by_integration.sum() > 0
    assert refitted.sum() > 0
    how = np.array(found.how)
    np.testing.assert_array_equal(how == "psis", by_weights)
    np.testing.assert_array_equal(how == "integrated", by_integration)
    np.testing.assert_array_equal(how == "refit", refitted)
    np.testing.assert_array_equal(found.pointwise[by_weights], raw.elpd[by_weights])
    np.testing.assert_allclose(
        found.pointwise[by_integration], steady.elpd[by_integration], rtol=1e-9
    )
    np.testing.assert_array_equal(found.pointwise[refitted], -100.0 - np.flatnonzero(refitted))
    np.testing.assert_array_equal(found.lpd, raw.lpd)
    assert asked == [("observation", "integrated", np.flatnonzero(refitted).tolist())]
    assert (found.bad, found.refits) == (0, refitted.sum())
    assert [check.code for check in found.checks] == ["r_hat"]
    assert np.all(found.pareto_k[refitted] > good)
    assert np.all(found.pareto_k[~refitted] <= good)


def test_without_refits_bad_weights_stay_and_are_seen(sleepstudy, asked):
    found = hlm.loo(sleepstudy, refit=False)
    raw = leave_one_out(hlm.log_likelihood(sleepstudy).block(0, 180))
    assert asked == []
    assert found.bad > 0
    bad = ~(found.pareto_k <= found.good_k)
    assert bad.sum() == found.bad
    np.testing.assert_array_equal(found.pointwise[bad], raw.elpd[bad])
    check = found.check()
    assert (check.code, check.status, check.value) == ("pareto_k", "warn", found.bad)
    assert check.message == f"rows whose weights have a k above 0.69 ({found.bad} of 180)"


def test_the_integrated_form_asked_for_is_not_tried_again(sleepstudy, asked):
    found = hlm.loo(sleepstudy, form="integrated")
    assert {"integrated", "refit"} == set(found.how)
    assert asked == [
        ("observation", "integrated", np.flatnonzero(np.array(found.how) == "refit").tolist())
    ]
    assert hlm.loo(sleepstudy, form="integrated", refit=False).bad == found.refits


def test_a_model_without_random_terms_is_refitted_where_weights_are_bad(asked):
    spec = from_frame("y ~ x")
    y = spec.design.y.copy()
    y[17] += 200
    fit = conditional_draws(spec.with_response(y), 2, 200)
    found = hlm.loo(fit)
    assert asked == [("observation", "conditional", [17])]
    assert found.how[17] == "refit"
    by_pair = hlm.loo(fit, "group", PAIRS, refit=False)
    assert (by_pair.by, list(by_pair.names)) == ("pair", ["first", "second"])


def test_both_forms_of_a_row_agree_within_their_monte_carlo_error():
    spec, differences = hlm.build("sleepstudy-intercept"), []
    for seed in range(12):
        fit = conditional_draws(spec, 2, 1000, seed=seed)
        forms = hlm.log_likelihood(fit), hlm.log_likelihood(fit, form="integrated")
        one, other = (leave_one_out(form.block(0, 180)) for form in forms)
        assert other.pareto_k.mean() < one.pareto_k.mean()
        # What worse weights estimate is biased; few rows have such.
        good = (one.pareto_k < 0.7) & (other.pareto_k < 0.7)
        assert good.sum() > 172
        differences.append((one.elpd - other.elpd)[good].sum())
    assert abs(np.mean(differences)) < 4 * np.std(differences, ddof=1) / np.sqrt(12)
    # Not because the error is large: the sum over the rows is known to less than one.
    assert np.std(differences, ddof=1) < 1


def quadrature(fit, by, j, nodes=60):
    """Log density of the rows of level j at each draw, b integrated by Gauss and Hermite.

    Nodes are spread by the prior around where least squares sees the effects, so that the rule is
    not exact and the weights are not those of the integrand.
    """
    spec = fit.spec
    block = next(block for block in spec.blocks if block.group == by)
    rows = np.flatnonzero(block.level == j)
    z, y, X = block.z[rows], spec.design.y[rows], spec.design.X[rows]
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.stack(np.meshgrid(*[x] * block.q, indexing="ij"), axis=-1).reshape(-1, block.q)
    log_weight = sum(np.meshgrid(*[np.log(w)] * block.q, indexing="ij")).reshape(-1)
    found = {}
    for at, point in points_of(fit).items():
        [f] = [f for f, one in enumerate(spec.blocks) if one is block]
        Psi = point.sd[f][:, None] * point.corr[f] * point.sd[f]
        r = y - X @ point.beta
        for g, other in enumerate(spec.blocks):
            if g != f:
                r = r - np.einsum("ia,ia->i", other.z[rows], point.b[g][other.level[rows]])
        precise = z.T @ z / point.sigma**2 + np.linalg.inv(Psi)
        around = np.linalg.solve(precise, z.T @ r) / point.sigma**2
        root = 1.3 * np.linalg.cholesky(np.linalg.inv(precise))
        b = around * 0.9 + grid @ root.T
        log_prior = -0.5 * np.einsum("ka,ab,kb->k", b, np.linalg.inv(Psi), b)
        log_prior -= 0.5 * np.linalg.slogdet(2 * np.pi * Psi)[1]
        errors = r - b @ z.T
        log_rows = -0.5 * np.sum(errors**2, axis=1) / point.sigma**2
        log_rows -= len(rows) * (np.log(point.sigma) + 0.5 * np.log(2 * np.pi))
        terms = log_rows + log_prior + log_weight + 0.5 * np.sum(grid**2, axis=1)
        found[at] = logsumexp(terms) + np.linalg.slogdet(root)[1]
    return found


@pytest.mark.parametrize(
    ("model", "by"),
    [("dyestuff", "batch"), ("sleepstudy-slopes", "subject"), ("penicillin", "plate")],
)
def test_the_elpd_of_groups_is_that_of_numerical_integration(model, by):
    fit = conditional_draws(hlm.build(model), 2, 20)
    likelihood = hlm.log_likelihood(fit, "group", by)
    values = likelihood.block(0, likelihood.size)
    integrated = np.empty_like(values)
    for j in range(likelihood.size):
        for at, value in quadrature(fit, by, j).items():
            integrated[*at, j] = value
    np.testing.assert_allclose(values, integrated, rtol=1e-9, atol=1e-6)
    found = hlm.loo(fit, "group", by, refit=False)
    expected = leave_one_out(integrated)
    np.testing.assert_allclose(found.pointwise, expected.elpd, atol=1e-6)


def test_the_own_group_is_the_outermost_around_the_one_with_the_most_levels():
    assert own_group(hlm.build("pastes"), None).name == "batch"
    assert own_group(hlm.build("pastes"), "batch:cask").name == "batch:cask"
    assert own_group(hlm.build("penicillin"), None).name == "plate"
    assert own_group(hlm.build("insteval"), None).name == "s"
    assert own_group(from_frame("y ~ x"), None) is None


def test_what_cannot_be_meant_is_refused(pastes):
    with pytest.raises(InputErrors, match="by: 'batsh' is not a group of this model; did you mean"):
        hlm.loo(pastes, by="batsh")
    with pytest.raises(InputErrors, match="form: the effects are always integrated out"):
        hlm.loo(pastes, "group", "batch", form="integrated")
    with pytest.raises(InputErrors, match="by: the model has several groups, name one"):
        hlm.loo(pastes, "group")
    with pytest.raises(InputErrors, match="focus: 'row' is none of observation, group"):
        hlm.loo(pastes, "row")
    with pytest.raises(RefusalError, match="loo takes draws"):
        hlm.loo(hlm.fit("pastes", engine="reml"))


def test_progress_tells_how_many_columns_are_done(pastes, monkeypatch):
    monkeypatch.setattr(module, "NUMBERS", 25 * 1600)
    steps = []
    hlm.loo(pastes, form="integrated", by="batch", refit=False, progress=steps.append)
    assert [(step.done, step.total, step.unit) for step in steps] == [
        (0, 60, "rows"), (25, 60, "rows"), (50, 60, "rows"), (60, 60, "rows"),
    ]  # fmt: skip


def test_the_frame_has_a_row_a_column_and_the_question_is_told(pastes):
    found = hlm.loo(pastes, "group", "batch", refit=False)
    frame = found.frame()
    assert frame.index.name == "batch"
    assert frame.index.tolist() == list("ABCDEFGHIJ")
    assert frame["elpd"].sum() == pytest.approx(found.elpd)
    assert frame["p"].sum() == pytest.approx(found.p)
    assert found.question == "How well does the model foresee all rows of a new batch?"
    assert hlm.loo(pastes, refit=False).question.endswith(
        "a new row in the groups that it has seen?"
    )


@pytest.mark.slow
def test_refits_give_what_weights_estimate():
    fit = hlm.fit("sleepstudy-slopes", engine="nuts", seed=1)
    found = hlm.loo(fit)
    assert found.refits > 0
    assert found.check().status == "pass"
    left = hlm.loo(fit, refit=False)
    bad = np.array(found.how) == "refit"
    np.testing.assert_array_equal(found.pointwise[~bad], left.pointwise[~bad])
    # Weights with a k below 1 are biased by tenths, not more.
    assert np.all(np.abs(found.pointwise - left.pointwise)[bad] < 1)
