"""A model of some of the rows: the same columns, levels and priors, and fits that are right."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from dense_marginal import dense_marginal
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest

import hlm_models as hlm
from hlm_models.algebra.correlation import correlation_root
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.results.prior import level_means
from hlm_models.spec.density import Point, joint_log_density
from hlm_models.spec.information import latent_parameterization, mean_reliability
from hlm_models.target.density import target


def made_up(n=120, seed=5):
    rng = np.random.default_rng(seed)
    g, h = rng.choice(list("pqrstuvw"), n), rng.choice(list("abcde"), n)
    effect = dict(zip("pqrstuvwabcde", rng.normal(0, 2, 13), strict=True))
    x = rng.normal(4, 2, n)
    y = 3 + x + [effect[a] + effect[b] for a, b in zip(g, h, strict=True)] + rng.normal(size=n)
    columns = {"x": x, "g": g, "h": h, "o": rng.normal(size=n), "w": rng.uniform(0.5, 2, n)}
    return pd.DataFrame({"y": y, "s": rng.uniform(0.5, 2, n), **columns})


FRAME = made_up()


def model(formula, data=FRAME, **keys):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return hlm.build(head | keys, data=data)


def rows_of(spec, group, labels):
    [block] = [block for block in spec.blocks if block.group == group]
    return np.flatnonzero(np.isin(np.array(block.labels)[block.level], labels))


SHARED = {"priors": {"groups": {"g": {"kind": "shared"}}}}
CASES = {
    "one group": ("y ~ x + (x | g)", {}, "g", ["q", "t"]),
    "weights and offset": ("y ~ x + offset(o) + (x | g)", {"weights": "w"}, "g", ["q"]),
    "known sd": ("y ~ x + (1 | g)", {"residual": {"kind": "known", "sd": "s"}}, "g", ["q"]),
    "one variance": ("y ~ x + (x || g)", SHARED, "g", ["q"]),
    "crossed, the larger": ("y ~ x + (x | g) + (1 | h)", {}, "g", ["q", "t"]),
    "crossed, the smaller": ("y ~ x + (x | g) + (1 | h)", {"weights": "w"}, "h", ["c"]),
    "nested": ("y ~ x + (1 | h/g)", {}, "h", ["c"]),
    "without an intercept": ("y ~ 0 + x + (0 + x | g)", {}, "g", ["q"]),
    "no coefficient": ("y ~ 0 + (1 | g)", {}, "g", ["q"]),
    "a factor": ("y ~ x * h + (1 | g)", {"weights": "w"}, "g", ["q"]),
}


@pytest.mark.parametrize("case", CASES)
def test_columns_levels_and_priors_are_those_of_all_rows(case):
    formula, keys, group, labels = CASES[case]
    spec = model(formula, **keys)
    out = rows_of(spec, group, labels)
    left = spec.without(out)
    kept = np.setdiff1d(np.arange(spec.design.n), out)
    whole, design = spec.design, left.design
    assert left.priors is spec.priors
    assert design.coef == whole.coef
    assert design.x_scaling is whole.x_scaling
    np.testing.assert_array_equal(design.y, whole.y[kept])
    np.testing.assert_array_equal(design.X, whole.X[kept])
    for one, other in zip(design.blocks, whole.blocks, strict=True):
        assert (one.labels, one.effects) == (other.labels, other.effects)
        np.testing.assert_array_equal(one.z, other.z[kept])
        np.testing.assert_array_equal(one.level, other.level[kept])
        assert not one.z.flags.writeable
        assert one.z.flags.f_contiguous
    frame = whole.table.frame()
    pd.testing.assert_frame_equal(
        design.table.frame().astype(object), frame.iloc[kept].reset_index(drop=True).astype(object)
    )


@pytest.mark.parametrize("case", CASES)
def test_the_likelihood_is_the_dense_one_of_the_rows_that_are_left(case):
    formula, keys, group, labels = CASES[case]
    spec = model(formula, **keys)
    left = spec.without(rows_of(spec, group, labels))
    found, rng = target(left), np.random.default_rng(1)
    for _ in range(3):
        x = found.coordinates.point(
            tuple(np.exp(rng.normal(size=block.q)) for block in left.blocks),
            tuple(np.eye(block.q) for block in left.blocks),
            np.zeros(0),
            float(np.exp(rng.normal())),
        )
        at = found.coordinates.values(x)
        twin = dense_marginal(left, at.sd, at.factor, float(at.sigma))
        whole = replace(target(spec), spec=spec)
        # Priors of what is sampled are the same of both models, so that they drop out.
        full = dense_marginal(spec, at.sd, at.factor, float(at.sigma))
        assert found(x)[0] - whole(x)[0] == pytest.approx(twin.value - full.value, rel=1e-9)


@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize("case", [case for case in CASES if case != "a factor"])
def test_a_point_fit_is_that_of_a_model_built_from_the_other_rows(case, engine):
    formula, keys, group, labels = CASES[case]
    spec = model(formula, **keys)
    out = rows_of(spec, group, labels)
    found = hlm.fit(spec.without(out), engine=engine)
    data = FRAME.drop(index=out).reset_index(drop=True)
    fresh = hlm.fit(model(formula, data, **keys), engine=engine)
    assert found.criterion == pytest.approx(fresh.criterion, rel=1e-9)
    assert found.sigma == pytest.approx(fresh.sigma, rel=1e-5)
    np.testing.assert_allclose(found.beta, fresh.beta, rtol=1e-5)
    np.testing.assert_allclose(found.vcov_beta, fresh.vcov_beta, rtol=1e-4)
    np.testing.assert_allclose(found.df, fresh.df, rtol=1e-2)
    for one, other in zip(found.random, fresh.random, strict=True):
        np.testing.assert_allclose(one.sd, other.sd, rtol=1e-4, atol=1e-5)
        # A level without rows has the law of a new one; the others have what a fresh fit has.
        [block] = [block for block in spec.blocks if block.group == one.group]
        [own] = [own for own in fresh.spec.blocks if own.group == one.group]
        for j, label in enumerate(block.labels):
            if label in own.labels:
                b = other.b[own.labels.index(label)]
                np.testing.assert_allclose(one.b[j], b, rtol=1e-3, atol=1e-4)
            else:
                np.testing.assert_allclose(one.b[j], 0.0, atol=1e-12)
                np.testing.assert_allclose(one.b_cov[j], one.cov, rtol=1e-9, atol=1e-12)


def test_a_large_mean_of_the_response_costs_no_digits():
    # Folds in which a predictor has another mean: what is taken off y must fit the rows left.
    data = made_up().assign(y=lambda d: d["y"] + 1e9, macro=lambda d: (d["g"] < "t").astype(float))
    spec = model("y ~ x + macro + (1 | g)", data)
    out = rows_of(spec, "g", ["p", "q", "r"])
    found = hlm.fit(spec.without(out), engine="reml")
    there = data.drop(index=out).reset_index(drop=True)
    # The same shifted back: differences of numbers near 1e9 have 7 digits after the point.
    fresh = hlm.fit(
        model("y ~ x + macro + (1 | g)", there.assign(y=there["y"] - 1e9)), engine="reml"
    )
    assert found.sigma == pytest.approx(fresh.sigma, rel=1e-6)
    np.testing.assert_allclose(found.beta[1:], fresh.beta[1:], rtol=1e-6)


@given(st.permutations(range(12)), st.integers(1, 11))
def test_the_digest_is_of_what_is_left_out_and_not_of_its_order(order, count):
    spec = hlm.build("dyestuff")
    rows = order[:count]
    found = spec.without(rows).digest
    assert found == spec.without(np.array([*rows[::-1], rows[0]])).digest
    assert found != spec.digest
    assert found != spec.without([*rows, 20]).digest


def test_with_nothing_left_out_it_is_the_same_model():
    spec = hlm.build("dyestuff")
    assert spec.without([]).digest == spec.digest


def test_rows_may_be_left_out_in_turn():
    spec = hlm.build("dyestuff")
    twice = spec.without([0, 7]).without([0])
    np.testing.assert_array_equal(twice.design.y, spec.without([0, 1, 7]).design.y)


def test_the_digest_keeps_what_the_priors_were_worked_out_from():
    # The rows that are left are the same, the numbers of the priors are not.
    data = FRAME.assign(y=FRAME["y"] + 50.0 * (FRAME.index == 3))
    one, other = model("y ~ x + (1 | g)"), model("y ~ x + (1 | g)", data)
    assert one.without([3]).digest != other.without([3]).digest


@pytest.mark.parametrize("rows", [[30], [-1], [0.5], ["A"], [True] * 30])
def test_what_is_no_row_is_refused(rows):
    with pytest.raises(InputErrors, match=r"rows: .*whole numbers from 0 to 29"):
        hlm.build("dyestuff").without(rows)


def test_all_rows_are_not_left_out():
    with pytest.raises(InputErrors, match="all 30 rows would be left out"):
        hlm.build("dyestuff").without(range(30))


MACRO = FRAME.assign(macro=(FRAME["g"] == "q").astype(float))


@pytest.mark.parametrize("formula", ["y ~ x + macro + (1 | g)", "y ~ macro + (1 | g) + (1 | h)"])
def test_coefficients_that_the_rows_left_do_not_tell_apart_are_refused_by_name(formula):
    spec = model(formula, MACRO)
    left = spec.without(rows_of(spec, "g", ["q"]))
    for engine in ("reml", "ml"):
        with pytest.raises(RefusalError, match=f"{engine}: refused: macro cannot be told apart"):
            hlm.fit(left, engine=engine)
    assert (
        hlm.fit(left, engine="nuts", draws=50, chains=2).data["posterior"]["beta"].notnull().all()
    )


def test_only_flat_priors_need_the_rows():
    flat = {"beta": {"kind": "flat"}}
    spec = model("y ~ x + macro + (1 | g)", MACRO, priors=flat)
    with pytest.raises(RefusalError, match="macro cannot be told apart in the rows that are left"):
        hlm.fit(spec.without(rows_of(spec, "g", ["q"])), engine="nuts")
    assert spec.design.dependent(range(3)) == ()


def test_only_the_columns_that_depend_are_named():
    data = MACRO.assign(z=np.where(FRAME["g"] == "q", FRAME["x"], 2 * FRAME["w"]) * 1e-6)
    spec = model("y ~ x + z + w + (1 | g)", data)
    left = spec.without(rows_of(spec, "g", ["q"])).design
    assert left.dependent(range(4)) == ("z", "w")
    assert left.dependent([0, 1, 2]) == ()


def test_one_level_has_no_variance_between_groups():
    spec = hlm.build("dyestuff")
    left = spec.without(rows_of(spec, "batch", list("ABCDE")))
    with pytest.raises(RefusalError, match="batch has rows in one level only"):
        hlm.fit(left, engine="reml")
    assert mean_reliability(left.design) == 0.0


def test_levels_without_rows_do_not_count_for_a_flat_prior():
    flat = {"groups": {"batch": {"kind": "diagonal", "sd": {"kind": "flat"}}}}
    spec = hlm.build({**hlm.build("dyestuff").config, "priors": flat})
    with pytest.raises(RefusalError, match="flat prior and batch 2 levels"):
        hlm.fit(spec.without(rows_of(spec, "batch", list("ABCD"))), engine="nuts")


def test_effects_count_for_the_levels_that_have_rows():
    spec = hlm.build("sleepstudy-slopes")
    # Two rows of 17 subjects and ten of one: 36 effects for 44 rows, 34 for the 34 without it.
    days = spec.design.X[:, 1]
    few = spec.without(np.flatnonzero((days > 1) & (spec.blocks[0].level > 0)))
    assert few.design.n == 44
    assert [count for _, count in few.marginal.effects] == [36]
    hlm.fit(few, engine="reml")
    left = few.without(range(10))
    assert [count for _, count in left.marginal.effects] == [34]
    with pytest.raises(RefusalError, match="34 random effects for 34 rows"):
        hlm.fit(left, engine="reml")


def test_the_latent_form_is_chosen_by_the_levels_that_have_rows():
    spec = hlm.build("dyestuff")
    left = spec.without(rows_of(spec, "batch", ["B", "E"]))
    data = spec.design.table.frame()
    fresh = hlm.build("dyestuff", data=data[~data["batch"].isin(["B", "E"])].astype({"batch": str}))
    assert mean_reliability(left.design) == pytest.approx(mean_reliability(fresh.design), rel=1e-9)
    assert latent_parameterization(left.design) == latent_parameterization(fresh.design)


@pytest.mark.slow
@pytest.mark.parametrize("parameterization", ["centered", "noncentered"])
def test_the_latent_graph_is_the_joint_density(parameterization):
    spec = hlm.build("dyestuff")
    left = spec.without(rows_of(spec, "batch", ["B"]))
    graph = hlm.to_pymc(left, parameterization)
    logp, rng = graph.compile_logp(jacobian=False), np.random.default_rng(2)
    found = []
    for _ in range(3):
        at, values = graph.initial_point(), {}
        for name, value in at.items():
            values[name] = np.asarray(value + 0.3 * rng.normal(size=np.shape(value)))
        sd, sigma = np.exp(values["sd_batch_log__"]), float(np.exp(values["sigma_log__"]))
        beta = np.linalg.solve(left.design.x_scaling.R, values["beta_centred__"])
        if parameterization == "centered":
            b = values["c_batch"] - beta * (left.blocks[0].sizes > 0)[:, None]
            more = 0.0
        else:
            # z is b in units of sd: six factors of sd between the densities.
            b, more = values["z_batch"] * sd, 6 * np.log(sd[0])
        point = Point(beta, sigma, sd=(sd,), corr=(np.eye(1),), b=(b,))
        found.append(float(logp(values)) - joint_log_density(left, point) - more)
    # Densities of some hundreds, to ten digits.
    np.testing.assert_allclose(found, 0.0, atol=1e-7)


def standardised(fit, group, levels):
    """Effects of some levels over their standard deviations: standard normal by the prior."""
    posterior = fit.data["posterior"].to_dataset()
    [block] = [block for block in fit.spec.blocks if block.group == group]
    at = [block.labels.index(label) for label in levels]
    b = posterior[f"b_{group}"].values[:, :, at]
    sd, corr = posterior[f"sd_{group}"].values, posterior[f"corr_{group}"].values
    root = sd[..., None] * correlation_root(corr)
    return np.linalg.solve(root[:, :, None], b[..., None])[..., 0]


SAMPLED = {
    "marginal, one group": ("sleepstudy-slopes", "subject", ["310"], "nuts", {}),
    "marginal, crossed": ("penicillin", "sample", ["C"], "nuts", {}),
    "marginal, the other": ("penicillin", "plate", ["c", "f"], "nuts", {}),
    "marginal, nested": ("pastes", "batch", ["B"], "nuts", {}),
    "gibbs, one group": ("dyestuff", "batch", ["B"], "gibbs", {}),
    "gibbs, effects": ("dyestuff", "batch", ["B"], "gibbs", {"gibbs": {"scheme": "effects"}}),
    "gibbs, crossed": ("penicillin", "sample", ["C"], "gibbs", {}),
}


@pytest.mark.parametrize("case", SAMPLED)
def test_effects_of_a_level_without_rows_are_drawn_from_the_prior(case):
    name, group, labels, engine, settings = SAMPLED[case]
    spec = hlm.build(name)
    left = spec.without(rows_of(spec, group, labels))
    fit = hlm.fit(left, engine=engine, draws=100, chains=2, seed=11, **settings)
    z = standardised(fit, group, labels)
    # Given all else each draw is another: that of the prior, whatever the chain does.
    assert kstest(z.ravel(), "norm").pvalue > 1e-4


@pytest.mark.slow
def test_the_centred_form_draws_them_from_the_prior_too():
    # Of the other latent form they are standard normals, scaled, whatever the data.
    spec = hlm.build("dyestuff")
    left = spec.without(rows_of(spec, "batch", ["B"]))
    fit = hlm.fit(left, engine="nuts", parameterization="centered", seed=3, target_accept=0.99)
    z = standardised(fit, "batch", ["B"])
    # Every tenth draw: a chain's neighbours depend on each other.
    assert kstest(z[:, ::10].ravel(), "norm").pvalue > 1e-4


def test_means_of_levels_are_of_those_that_have_rows():
    spec = hlm.build("dyestuff")
    left = spec.without(rows_of(spec, "batch", ["B", "F"]))
    [block] = left.blocks
    by_hand = [[left.design.y[block.level == j].mean() for j in (0, 2, 3, 4)]]
    np.testing.assert_allclose(level_means(left.design.y[None], block), by_hand, rtol=1e-12)


def test_a_level_without_rows_is_none_that_predictions_know():
    spec = hlm.build("pastes")
    left = spec.without(rows_of(spec, "batch", ["B"]))
    fit = hlm.fit(left, engine="reml")
    frame = spec.design.table.frame(["batch", "cask"]).astype(str)
    with pytest.raises(InputErrors, match="'B' in row 1 is not a level of batch"):
        hlm.predict(fit, frame[frame["batch"] == "B"].reset_index(drop=True))
    others = frame[frame["batch"] != "B"].reset_index(drop=True)
    found = hlm.predict(fit, others)
    np.testing.assert_allclose(found.frame()["mean"], hlm.fitted(fit), rtol=1e-9)
