"""Predictions of posteriors, by brute force over the draws, and what new groups must not have."""

import runpy
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.prediction import posterior as room
from hlm_models.prediction.given import Draws, effects_given
from hlm_models.prediction.predict import predict
from hlm_models.results import posterior as storage
from hlm_models.results.posterior import posterior_tree
from hlm_models.results.rows import model_rows
from hlm_models.target.conditional import draw_posterior
from hlm_models.target.draws import VarianceDraws

drawn = runpy.run_path(str(Path(__file__).with_name("drawn.py")))
made_up, spec_of, drawn_fit = drawn["made_up"], drawn["spec_of"], drawn["drawn_fit"]
flat, covariances = drawn["flat"], drawn["covariances"]

WEIGHED = {"weights": "w", "offset": "o"}
CASES = {
    "intercept": lambda: spec_of("y ~ x + (1 | g)"),
    "slopes": lambda: spec_of("y ~ x + (x | g)"),
    "weights and offset": lambda: spec_of("y ~ x + (x | g)", **WEIGHED),
    "known": lambda: spec_of("y ~ x + (x | g)", residual={"kind": "known", "sd": "w"}),
    "no coefficient": lambda: spec_of("y ~ 0 + (x | g)"),
    "independent": lambda: spec_of("y ~ x + (x || g)"),
    "nested": lambda: spec_of("y ~ x + (1 | g) + (x | g:h)"),
    "crossed": lambda: spec_of("y ~ x + (x | g) + (1 | h)", **WEIGHED),
}


@pytest.fixture(params=CASES)
def fit(request):
    return drawn_fit(CASES[request.param]())


def dense(fit, draw):
    """Mean and variance of the rows' z'b given one draw and the data, V formed in full."""
    design = fit.spec.design
    wide, Psi = [], []
    for block in fit.spec.blocks:
        Z = np.zeros((design.n, block.J, block.q))
        Z[np.arange(design.n), block.level] = block.z
        wide.append(Z.reshape(design.n, -1))
        Psi.append(np.kron(np.eye(block.J), covariances(fit, block.group)[draw]))
    Z = np.concatenate(wide, axis=1)
    D = np.zeros((Z.shape[1],) * 2)
    at = 0
    for part in Psi:
        D[at : at + len(part), at : at + len(part)] = part
        at += len(part)
    weights = np.ones(design.n) if design.weights is None else design.weights
    V = Z @ D @ Z.T + np.diag(flat(fit, "sigma")[draw] ** 2 / weights)
    beta = flat(fit, "beta")[draw] if design.p else np.zeros(0)
    offset = 0.0 if design.offset is None else design.offset
    gain = np.linalg.solve(V, Z @ D @ Z.T).T
    return gain @ (design.y - offset - design.X @ beta), np.diag(Z @ D @ Z.T - gain @ Z @ D @ Z.T)


def test_effects_given_a_draw_are_those_of_the_dense_covariance(fit):
    mean, variance = effects_given(
        Draws.of(fit.spec, fit.data["posterior"].to_dataset()), model_rows(fit.spec)
    )
    for draw in (0, 17, 79):
        wanted, left = dense(fit, draw)
        np.testing.assert_allclose(mean[draw], wanted, rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(variance[draw], left, rtol=1e-8, atol=1e-10)


def parts(fit, kind):
    """Mean and variance (S, n) of the expected response given each draw, by brute force."""
    design = fit.spec.design
    mean = np.zeros((len(flat(fit, "sigma")), design.n))
    if design.p:
        mean += flat(fit, "beta") @ design.X.T
    if design.offset is not None:
        mean += design.offset
    left = np.zeros_like(mean)
    if kind == "existing":
        for draw in range(len(mean)):
            more, left[draw] = dense(fit, draw)
            mean[draw] += more
    if kind == "typical":
        for block in fit.spec.blocks:
            Psi = covariances(fit, block.group)
            left += np.einsum("na,sab,nb->sn", block.z, Psi, block.z)
    return mean, left


@pytest.mark.parametrize("kind", ["existing", "population", "typical"])
def test_means_variances_and_quantiles_are_those_of_the_mixture(fit, kind):
    mean, left = parts(fit, kind)
    found = predict(fit, groups=kind, level=0.9)
    weights = fit.spec.design.weights
    residual = flat(fit, "sigma")[:, None] ** 2 / (1.0 if weights is None else weights)
    residual = np.broadcast_to(residual, mean.shape)
    np.testing.assert_allclose(found.mean, mean.mean(axis=0), rtol=1e-9)
    np.testing.assert_allclose(found.var_parameter, mean.var(axis=0, ddof=1), rtol=1e-7)
    np.testing.assert_allclose(found.var_group, left.mean(axis=0), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.var_residual, residual.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.se**2, found.var_parameter + found.var_group)
    for row in (0, 31):
        for name, p, variance in (
            ("lower", 0.05, left),
            ("upper", 0.95, left),
            ("pred_lower", 0.05, left + residual),
            ("pred_upper", 0.95, left + residual),
        ):
            c, s = mean[:, row], np.sqrt(variance[:, row])
            if not s.any():
                wanted = np.quantile(c, p)
            else:

                def off(t, c=c, s=s, p=p):
                    return stats.norm.cdf((t - c) / s).mean() - p

                wanted = optimize.brentq(off, -200, 200, xtol=1e-12)
            assert getattr(found, name)[row] == pytest.approx(wanted, rel=1e-9)


def test_groups_may_differ_in_what_is_asked_of_them():
    fit = drawn_fit(CASES["crossed"]())
    data = made_up()
    g, h = fit.spec.blocks
    found = predict(fit, data, groups={"g": "typical", "h": "existing"})
    # By hand: h given the data with g integrated out, of which a new level is independent.
    alone = predict(fit, data, groups={"g": "population", "h": "existing"})
    Psi = covariances(fit, "g").mean(axis=0)
    more = np.einsum("na,ab,nb->n", g.z, Psi, g.z)
    np.testing.assert_allclose(found.var_group, alone.var_group + more)
    np.testing.assert_allclose(found.mean, alone.mean)
    lent = predict(
        fit, data, groups={"g": "borrowed", "h": "borrowed"}, borrow={"g": "q", "h": "b"}
    )
    same = predict(fit, data.assign(g="q", h="b"))
    pd.testing.assert_frame_equal(lent.frame(), same.frame())
    assert h.group == "h"


def test_both_kinds_of_fit_give_the_same_columns():
    spec = spec_of("y ~ x + (1 | g)", reml={"theta": [0.5]})
    new = pd.DataFrame({"x": [1.0, 7.0], "g": ["r", "s"]}, index=["first", "second"])
    drawn, point = predict(drawn_fit(spec), new), predict(hlm.fit(spec, "reml"), new)
    assert list(drawn.frame()) == list(point.frame())
    assert list(drawn.frame().index) == list(point.frame().index) == ["first", "second"]


# --- draws ---


def test_draws_of_existing_groups_have_the_effects_of_the_posterior(fit):
    design = fit.spec.design
    wanted = np.zeros((80, design.n))
    if design.p:
        wanted += flat(fit, "beta") @ design.X.T
    if design.offset is not None:
        wanted += design.offset
    for block in fit.spec.blocks:
        b = flat(fit, f"b_{block.group}")
        wanted += np.einsum("snq,nq->sn", b[:, block.level], block.z)
    found = predict(fit)
    np.testing.assert_allclose(found.draws(seed=1), wanted, rtol=1e-10)
    population = predict(fit, groups="population").draws(seed=1)
    np.testing.assert_allclose(population, parts(fit, "population")[0], rtol=1e-12)


@pytest.mark.parametrize("kind", ["existing", "typical"])
def test_draws_have_the_means_and_variances_of_the_frame(kind):
    spec = spec_of("y ~ x + (x | g) + (1 | h)", **WEIGHED)
    fit = drawn_fit(spec, draws=1000)
    found = predict(fit, made_up().head(7), groups=kind, level=0.9)
    for name, draws, variance in (
        ("", found.draws(seed=5), found.se**2),
        ("pred_", found.draws("new", seed=5), found.se**2 + found.var_residual),
    ):
        # 2000 draws; five standard errors of a mean, of a variance (heavier tails than a normal's)
        # and of the share inside an interval.
        error = np.sqrt(variance / 2000)
        assert np.all(np.abs(draws.mean(axis=0) - found.mean) < 5 * error)
        np.testing.assert_allclose(draws.var(axis=0), variance, rtol=5 * np.sqrt(8 / 2000))
        lower, upper = (getattr(found, f"{name}{side}") for side in ("lower", "upper"))
        inside = np.mean((lower < draws) & (draws < upper), axis=0)
        np.testing.assert_allclose(inside, 0.9, atol=5 * np.sqrt(0.09 / 2000))


def test_the_same_seed_gives_the_same_draws_and_new_ones_add_residuals():
    fit = drawn_fit(CASES["slopes"](), draws=2000)
    found = predict(fit, made_up().head(3), groups="typical")
    np.testing.assert_array_equal(found.draws(seed=4), found.draws(seed=4))
    assert np.abs(found.draws(seed=4) - found.draws(seed=5)).min() > 0
    residuals = found.draws("new", seed=4) - found.draws("mean", seed=4)
    standard = residuals / flat(fit, "sigma")[:, None]
    np.testing.assert_allclose(standard.std(axis=0), 1.0, atol=5 / np.sqrt(2 * 4000))
    assert np.abs(np.corrcoef(standard.T)[0, 1:]).max() < 5 / np.sqrt(4000)


def test_rows_of_one_new_group_go_together():
    fit = drawn_fit(CASES["intercept"]())
    new = pd.DataFrame({"x": 2.0, "g": ["new", "other", "new", None, None]})
    draws = predict(fit, new, groups="typical").draws(seed=1)
    np.testing.assert_array_equal(draws[:, 0], draws[:, 2])
    assert np.abs(draws[:, 0] - draws[:, 1]).min() > 0
    # Without a label a row is a level of its own, as is every row where there is no such column.
    assert np.abs(draws[:, 3] - draws[:, 4]).min() > 0
    alone = predict(fit, new[["x"]], groups="typical").draws(seed=1)
    assert np.abs(alone[:, 0] - alone[:, 2]).min() > 0


def test_new_levels_of_a_nested_group_are_told_by_both_labels():
    fit = drawn_fit(spec_of("y ~ x + (1 | g:h)"))
    new = pd.DataFrame({"x": 2.0, "g": ["p", "p", "u", "p"], "h": ["z", "y", "z", "z"]})
    draws = predict(fit, new, groups="typical").draws(seed=1)
    same = np.array([[np.array_equal(a, b) for a in draws.T] for b in draws.T])
    labels = (new["g"] + new["h"]).to_numpy()
    np.testing.assert_array_equal(same, labels == labels[:, None])


def test_without_new_data_the_levels_of_the_model_stand_for_new_ones():
    fit = drawn_fit(CASES["intercept"]())
    [block] = fit.spec.blocks
    draws = predict(fit, groups="typical").draws(seed=2) - flat(fit, "beta") @ fit.spec.design.X.T
    for j in range(block.J):
        mine = draws[:, block.level == j]
        np.testing.assert_allclose(mine, mine[:, :1] @ np.ones((1, mine.shape[1])), rtol=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "both", "seed": 1}, "kind: kind is mean or new, not 'both'"),
        ({"seed": -1}, "seed: a whole number from 0 on is needed, not -1"),
    ],
)
def test_other_draws_are_refused(options, message):
    found = predict(drawn_fit(CASES["intercept"]()), made_up().head(2))
    with pytest.raises(InputErrors, match=message):
        found.draws(**options)


def test_effects_that_are_not_stored_are_drawn_again(monkeypatch):
    spec = CASES["slopes"]()
    stored = drawn_fit(spec)
    values = {
        name: stored.data["posterior"][name].values for name in ("sigma", "sd_g", "corr_g", "beta")
    }
    known = VarianceDraws(
        values["sigma"],
        (values["sd_g"],),
        (values["corr_g"],),
        (np.linalg.cholesky(values["corr_g"]),),
        np.zeros((2, 40, 0)),
    )
    trees = []
    for most in (storage.STORED_EFFECTS, 0):
        monkeypatch.setattr(storage, "STORED_EFFECTS", most)
        seed = np.random.SeedSequence(7)
        found, again = draw_posterior(spec, known, seed)
        tree = posterior_tree(spec, found, {}, seed, with_log_likelihood=False, redrawn=again)
        trees.append(predict(type(stored)(**{**vars(stored), "data": tree})))
    there, again = trees
    assert "b_g" not in again.fit.data["posterior"]
    pd.testing.assert_frame_equal(there.frame(), again.frame())
    np.testing.assert_allclose(again.draws(seed=1), there.draws(seed=1), rtol=1e-12)
    monkeypatch.setattr(room, "NUMBERS", 1)
    np.testing.assert_allclose(again.draws(seed=1), there.draws(seed=1), rtol=1e-12)


# --- rows by blocks, draws thinned ---


@pytest.mark.parametrize("kind", ["existing", "typical"])
def test_blocks_of_rows_leave_the_answer_as_it_is(fit, kind, monkeypatch):
    whole = predict(fit, groups=kind).frame()
    monkeypatch.setattr(room, "NUMBERS", 1_000)
    pd.testing.assert_frame_equal(predict(fit, groups=kind).frame(), whole, rtol=1e-9)


def test_draws_are_thinned_evenly_where_passes_over_several_factors_take_long(monkeypatch):
    fit = drawn_fit(CASES["crossed"](), draws=300)
    monkeypatch.setattr(room, "PASSES", 50)
    whole = predict(fit, made_up().head(5))
    monkeypatch.setattr(room, "WORK", 1.0)
    thinned = predict(fit, made_up().head(5))
    at = np.linspace(0, 599, 50).astype(int)
    np.testing.assert_allclose(thinned.var_residual * made_up()["w"].head(5), np.mean(
        flat(fit, "sigma")[at] ** 2
    ))  # fmt: skip
    assert np.abs(whole.mean - thinned.mean).max() > 0
    # Where nothing is passed over, all draws serve.
    every = predict(fit, made_up().head(5), groups="typical")
    np.testing.assert_allclose(every.mean, parts(fit, "typical")[0][:, :5].mean(axis=0))


# --- new groups have nothing of old ones ---


def test_a_new_group_has_the_same_answer_wherever_its_label_is_sorted():
    fit = drawn_fit(CASES["slopes"]())
    frames = [
        predict(fit, pd.DataFrame({"x": [3.0], "g": [label]}), groups="typical")
        for label in ("a", "p", "pp", "zz")
    ]
    for other in frames[1:]:
        pd.testing.assert_frame_equal(other.frame(), frames[0].frame())
        np.testing.assert_array_equal(other.draws(seed=1), frames[0].draws(seed=1))
    with pytest.raises(InputErrors, match=r"'pp' in row 1 is not a level of g .*did you mean 'p'"):
        predict(fit, pd.DataFrame({"x": [3.0], "g": ["pp"]}))


def test_a_new_group_has_nothing_of_the_effects_of_old_ones():
    fit = drawn_fit(CASES["slopes"](), draws=2000)
    new = pd.DataFrame({"x": [3.0], "g": ["a"]})
    found = predict(fit, new, groups="typical")
    effect = found.draws(seed=1)[:, 0] - flat(fit, "beta") @ [1.0, 3.0]
    of_old = flat(fit, "b_g") @ [1.0, 3.0]
    assert np.abs(np.corrcoef(effect, of_old.T)[0, 1:]).max() < 5 / np.sqrt(4000)
    # Nor does it matter what these are, or whether they are there.
    posterior = fit.data["posterior"].to_dataset()
    posterior["b_g"] = posterior["b_g"] * 0 + 1e6
    fit.data["posterior"] = type(fit.data)(posterior)
    other = predict(fit, new, groups="typical")
    pd.testing.assert_frame_equal(other.frame(), found.frame())
    np.testing.assert_array_equal(other.draws(seed=1), found.draws(seed=1))


def test_a_new_group_is_less_certain_than_an_old_one(fit):
    # Rows of a level tell something of it: given a draw, less is left than Psi.
    existing, typical = (predict(fit, groups=kind) for kind in ("existing", "typical"))
    assert np.all(typical.var_group > existing.var_group)


def test_labels_are_looked_up_and_not_counted():
    data = made_up()
    names = dict(zip("pqrst", "tprsq", strict=True))
    fit = drawn_fit(spec_of("y ~ x + (x | g)", data))
    other = drawn_fit(spec_of("y ~ x + (x | g)", data.assign(g=data["g"].map(names))))
    new = pd.DataFrame({"x": 3.0, "g": list("pqrst")})
    mine = predict(fit, new).frame()
    theirs = predict(other, new.assign(g=new["g"].map(names))).frame()
    pd.testing.assert_frame_equal(mine, theirs, rtol=1e-9)
    turned = predict(fit, new.iloc[::-1])
    pd.testing.assert_frame_equal(turned.frame().iloc[::-1], mine, rtol=1e-9)
    np.testing.assert_allclose(turned.draws(seed=1)[:, ::-1], predict(fit, new).draws(seed=1))


def test_the_scale_of_a_predictor_changes_nothing():
    data = made_up()
    wide = spec_of("y ~ x + (x | g)", data.assign(x=1000 * data["x"]))
    fit = drawn_fit(spec_of("y ~ x + (x | g)", data))
    posterior = fit.data["posterior"].to_dataset()
    scale = np.array([1.0, 1e-3])
    scaled = posterior.assign(beta=posterior["beta"] * scale, sd_g=posterior["sd_g"] * scale)
    other = type(fit)(**{**vars(fit), "spec": wide, "data": type(fit.data)(children={
        "posterior": type(fit.data)(scaled)})})  # fmt: skip
    pd.testing.assert_frame_equal(predict(fit).frame(), predict(other).frame(), rtol=1e-7)


def test_a_model_without_groups_has_residuals_only_beside_its_coefficients():
    fit = drawn_fit(spec_of("y ~ x"))
    found = predict(fit, pd.DataFrame({"x": [1.0, 2.0]}))
    assert not found.var_group.any()
    np.testing.assert_allclose(found.mean, (flat(fit, "beta") @ [[1, 1], [1, 2]]).mean(axis=0))
    with pytest.raises(InputErrors, match="'g' is not a group of this model"):
        predict(fit, groups={"g": "typical"})
    with pytest.raises(InputErrors, match=r"'typicall' is none of existing, .* 'typical'"):
        predict(fit, groups="typicall")


def test_what_is_no_fit_is_refused():
    with pytest.raises(InputErrors, match="predict takes a fit, and this is str"):
        predict("grunfeld-slopes")
