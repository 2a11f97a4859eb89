"""Point estimates without each level, against fits of models built anew and against lme4."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

import hlm_models as hlm
from hlm_models.errors import InputErrors, RefusalError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "deletion.json").read_text())


def made_up(seed=5, n=100):
    rng = np.random.default_rng(seed)
    g, h = rng.choice(list("pqrstuvw"), n), rng.choice(list("abcde"), n)
    effect = dict(zip("pqrstuvwabcde", rng.normal(0, 2, 13), strict=True))
    x = rng.normal(4, 2, n)
    y = 3 + x + [effect[a] + effect[b] for a, b in zip(g, h, strict=True)] + rng.normal(size=n)
    columns = {"o": rng.normal(size=n), "w": rng.uniform(0.5, 2, n), "s": rng.uniform(0.5, 2, n)}
    return pd.DataFrame({"y": y, "x": x, "g": g, "h": h} | columns)


FRAME = made_up()


def fit_of(formula, data=FRAME, engine="reml", **keys):
    model = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return hlm.fit(hlm.build(model | keys, data=data), engine=engine)


SHARED = {"priors": {"groups": {"g": {"kind": "shared"}}}}
CASES = {
    "one": ("y ~ x + (x | g)", "g", {}),
    "one variance": ("y ~ x + (x || g)", "g", SHARED),
    "weights and offset": ("y ~ x + offset(o) + (x | g)", "g", {"weights": "w"}),
    "known sd": ("y ~ x + (1 | g)", "g", {"residual": {"kind": "known", "sd": "s"}}),
    "no coefficient": ("y ~ 0 + (1 | g)", "g", {}),
    "crossed, the larger": ("y ~ x + (1 | g) + (1 | h)", "g", {"weights": "w"}),
    "crossed, the smaller": ("y ~ x + (1 | g) + (1 | h)", "h", {}),
    "nested": ("y ~ x + (1 | h/g)", "h", {"weights": "w"}),
}


def density(fit, rows):
    """Dense log density of some rows of a model at the estimates of a fit of the same formula."""
    spec = rows.spec
    design = spec.design
    weights = np.ones(design.n) if design.weights is None else design.weights
    V = np.diag(fit.sigma**2 / weights)
    for block, estimate in zip(spec.blocks, fit.random, strict=True):
        V += block.z @ estimate.cov @ block.z.T * (block.level[:, None] == block.level)
    return multivariate_normal(design.X @ fit.beta, V).logpdf(design.y_net)


@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize("case", CASES)
def test_it_is_a_fit_of_a_model_built_from_the_other_rows(case, engine):
    formula, by, keys = CASES[case]
    fit = fit_of(formula, engine=engine, **keys)
    found = hlm.case_deletion(fit, by)
    [block] = [block for block in fit.spec.blocks if block.group == by]
    np.testing.assert_array_equal(found.n, block.sizes)
    for j in (0, 3):
        rest = FRAME[FRAME[by] != block.labels[j]].reset_index(drop=True)
        fresh = fit_of(formula, rest, engine, **keys)
        # Criteria of about 300 are told apart to 1e-13 of themselves: an estimate may be off
        # by about 1e-6 of its standard error.
        np.testing.assert_allclose(found.beta[j], fresh.beta, rtol=1e-6, atol=1e-6)
        assert found.sigma[j] == pytest.approx(fresh.sigma, rel=1e-6)
        for sd, corr, one in zip(found.sd, found.corr, fresh.random, strict=True):
            np.testing.assert_allclose(sd[j], one.sd, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(corr[j], one.corr, rtol=1e-5, atol=1e-5)
        expected = density(fresh, fit) - density(fresh, fresh)
        assert found.log_density[j] == pytest.approx(expected, abs=2e-5)


def test_changes_are_in_standard_errors_and_distances_in_their_covariance():
    fit = fit_of("y ~ x + (1 | g)")
    found = hlm.case_deletion(fit)
    moved = found.beta - fit.beta
    np.testing.assert_allclose(found.change, moved / np.sqrt(np.diag(fit.vcov_beta)), rtol=1e-12)
    [all_rows] = fit.random
    np.testing.assert_allclose(
        found.change_log_sd[0] * all_rows.se_log_sd, np.log(found.sd[0] / all_rows.sd), rtol=1e-9
    )
    np.testing.assert_allclose(
        fit.sigma * np.exp(found.change_log_sigma * fit.se_log_sigma), found.sigma, rtol=1e-12
    )
    by_hand = [d @ np.linalg.inv(fit.vcov_beta) @ d / 2 for d in moved]
    np.testing.assert_allclose(found.cooks, by_hand, rtol=1e-9)
    np.testing.assert_array_equal(found.cooks, hlm.cooks_distance(fit, "g"))


def test_the_order_of_levels_and_rows_changes_nothing():
    fit = fit_of("y ~ x + (x | g)")
    mixed = fit_of("y ~ x + (x | g)", FRAME.sample(frac=1, random_state=2).reset_index(drop=True))
    one, other = hlm.case_deletion(fit).frame(), hlm.case_deletion(mixed).frame()
    pd.testing.assert_frame_equal(one, other.loc[one.index], rtol=1e-6, atol=1e-7)


def test_the_frame_has_a_row_a_level_and_the_names_of_the_summary():
    fit = fit_of("y ~ x + (x | g) + (1 | h)")
    found = hlm.case_deletion(fit, "h")
    frame = found.frame()
    assert frame.index.name == "h"
    names = set(hlm.summary(fit).index)
    assert names <= set(frame.columns)
    rest = ["n", "cooks", "log_density", "change[Intercept]", "change[x]", "change[log sigma]"]
    rest += [f"change[log {name}]" for name in names if name.startswith("sd_")]
    assert sorted(set(frame.columns) - names) == sorted(rest)
    assert frame.loc["c", "corr_g[Intercept, x]"] == found.corr[0][2, 1, 0]


MACRO = FRAME.assign(macro=(FRAME["g"] == "q").astype(float))
TWO = FRAME[FRAME["g"].isin(["p", "q"])].reset_index(drop=True)
LITTLE = made_up(n=14).assign(g=["p"] * 12 + ["q", "r"])
UNDETERMINED = {
    "a column": ("y ~ macro + (1 | g)", MACRO, {}, ["q"]),
    "a column, two groups": ("y ~ macro + (1 | g) + (1 | h)", MACRO, {}, ["q"]),
    "one level": ("y ~ x + (1 | g)", TWO, {}, ["p", "q"]),
    "one level, two groups": ("y ~ x + (1 | g) + (1 | h)", TWO, {}, ["p", "q"]),
    "few rows": ("y ~ x + (1 | g)", LITTLE, {}, ["p"]),
}


@pytest.mark.parametrize("case", UNDETERMINED)
def test_what_the_other_rows_do_not_determine_is_not_a_number(case):
    formula, data, keys, lost = UNDETERMINED[case]
    found = hlm.case_deletion(fit_of(formula, data, **keys), "g")
    for values in (found.beta, found.sigma, *found.sd, *found.corr, found.cooks, found.log_density):
        there = np.isfinite(values).reshape(len(values), -1)
        assert list(np.array(found.levels)[~there.any(axis=1)]) == lost
        assert (there.all(axis=1) == there.any(axis=1)).all()


@pytest.mark.parametrize("formula", ["y ~ x + (x | g)", "y ~ x + (x || g)"])
def test_effects_count_as_the_engine_counts_them(formula):
    # One level has many rows: without it there are as many effects as rows.
    data = pd.concat([FRAME[FRAME["g"] == "p"], FRAME.groupby("g").head(2)]).drop_duplicates()
    fit = fit_of(formula, data.reset_index(drop=True))
    found = hlm.case_deletion(fit)
    for label in ("p", "q"):
        left = fit.spec.without(np.flatnonzero(fit.spec.design.table.frame()["g"] == label))
        if label == "p":
            with pytest.raises(RefusalError, match="random effects for 14 rows"):
                hlm.fit(left, engine="reml")
        there = np.isfinite(found.sigma[found.levels.index(label)])
        assert there == (label != "p")


def test_progress_counts_the_levels():
    steps = []
    hlm.case_deletion(fit_of("y ~ x + (1 | h)"), progress=steps.append)
    assert [(step.done, step.total) for step in steps] == [(j, 5) for j in range(6)]


def test_what_it_is_not_for_is_refused():
    fit = fit_of("y ~ x + (1 | g) + (1 | h)")
    with pytest.raises(InputErrors, match="several groups, name one of them: g, h"):
        hlm.case_deletion(fit)
    with pytest.raises(InputErrors, match="'school' is not a group of this model"):
        hlm.case_deletion(fit, "school")


@pytest.mark.golden
@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize("name", ["dyestuff", "sleepstudy-slopes", "penicillin"])
def test_it_is_what_lme4_finds_when_it_fits_again(name, engine):
    golden = GOLDEN[name]
    fit = hlm.fit(name, engine=engine)
    found = hlm.case_deletion(fit, golden["by"])
    assert sorted(found.levels) == sorted(one["level"] for one in golden[engine])
    for one in golden[engine]:
        j = found.levels.index(one["level"])
        assert found.n[j] == one["n"]
        np.testing.assert_allclose(found.beta[j], one["beta"], rtol=1e-6)
        assert found.sigma[j] == pytest.approx(one["sigma"], rel=1e-6)
        assert found.log_density[j] == pytest.approx(one["log_density"], abs=1e-5)
        for block, sd, corr in zip(fit.spec.blocks, found.sd, found.corr, strict=True):
            # On the boundary lme4 stops beside zero.
            np.testing.assert_allclose(sd[j], one["sd"][block.group], rtol=2e-6, atol=1e-4)
            lower = corr[j][np.tril_indices(block.q, -1)]
            np.testing.assert_allclose(lower, one["corr"][block.group], rtol=1e-4, atol=2e-6)


@pytest.mark.golden
@pytest.mark.parametrize("name", ["dyestuff", "sleepstudy-slopes", "penicillin"])
def test_the_distances_are_those_of_lme4s_influence(name):
    golden = GOLDEN[name]
    found = hlm.case_deletion(hlm.fit(name, engine="reml"), golden["by"])
    J, p = found.beta.shape
    order = [found.levels.index(level) for level in golden["cooks_levels"]]
    # Its fits end by default tolerances, far from the boundary at about 1e-4 of a distance.
    np.testing.assert_allclose(
        found.cooks[order] * (J - p) / J, golden["cooks"], rtol=1e-3, atol=1e-6
    )


def test_on_the_boundary_it_finds_the_deeper_of_the_basins():
    fit = hlm.fit("dyestuff2", engine="reml")
    assert fit.singular
    found = hlm.case_deletion(fit)
    for j, label in enumerate(found.levels):
        fresh = hlm.fit(fit.spec.without(np.flatnonzero(fit.spec.blocks[0].level == j)), "reml")
        assert found.sigma[j] == pytest.approx(fresh.sigma, rel=1e-6), label
        # The search comes near zero, and is not moved onto it.
        np.testing.assert_allclose(found.sd[0][j], fresh.random[0].sd, atol=1e-3 * fresh.sigma)
