"""Exact refits: what they fit, what they foresee, and what they say where a fit goes wrong."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

import hlm_models as hlm
from hlm_models.elpd.refits import by_fold, exact, gravest, refits
from hlm_models.engines import nuts
from hlm_models.errors import FitError, RefusalError
from hlm_models.results import posterior
from hlm_models.results.checks import Check
from hlm_models.results.posterior import EFFECTS_SEED
from hlm_models.spec.density import residual_scale

FEW = {"draws": 100, "chains": 2}


@pytest.fixture(scope="module")
def dyestuff():
    return hlm.fit("dyestuff", engine="nuts", seed=5, **FEW)


@pytest.fixture(scope="module")
def crossed():
    return hlm.fit("penicillin", engine="nuts", seed=6, **FEW)


def log_mean(values):
    return logsumexp(values) - np.log(values.size)


def test_a_column_is_foreseen_by_a_fit_without_its_rows(crossed):
    scored = hlm.log_likelihood(crossed, "group", "sample")
    [one] = refits(scored, crossed, [[2]])
    out = np.flatnonzero(crossed.spec.blocks[1].level == 2)
    np.testing.assert_array_equal(scored.rows(2), out)
    assert one.fit.spec.digest == crossed.spec.without(out).digest
    assert one.fit.engine == crossed.engine
    assert one.fit.parameterization == crossed.parameterization
    sizes = one.fit.data["posterior"].sizes
    assert (sizes["chain"], sizes["draw"]) == (2, 100)
    # The density of all rows' model at the draws of the other rows'.
    again = replace(scored, posterior=one.fit.data["posterior"].to_dataset())
    assert one.log_density == pytest.approx([log_mean(again.block(2, 3))], rel=1e-12)


def test_a_row_is_foreseen_given_the_effects_that_the_others_left(dyestuff):
    [one] = refits(hlm.log_likelihood(dyestuff), dyestuff, [[7]])
    draws, design = one.fit.data["posterior"].to_dataset(), dyestuff.spec.design
    eta = (
        draws["beta"].values[:, :, 0] + draws["b_batch"].values[:, :, design.blocks[0].level[7], 0]
    )
    scale = residual_scale(dyestuff.spec, draws["sigma"].values)
    by_hand = log_mean(norm(eta, scale).logpdf(design.y[7]))
    assert one.log_density[0] == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize("form", ["conditional", "integrated"])
def test_both_forms_of_a_row_come_from_one_fit(dyestuff, form):
    scored = hlm.log_likelihood(dyestuff, form=form)
    other = hlm.log_likelihood(dyestuff, form="conditional")
    [one], [two] = refits(scored, dyestuff, [[7]]), refits(other, dyestuff, [[7]])
    np.testing.assert_array_equal(
        one.fit.data["posterior"]["beta"], two.fit.data["posterior"]["beta"]
    )
    # The same number by 200 draws, whose densities are about as far apart as they are large.
    assert one.log_density[0] == pytest.approx(two.log_density[0], abs=0.3)


def test_neither_order_nor_company_changes_a_number(dyestuff):
    scored = hlm.log_likelihood(dyestuff, "group")
    one = exact(scored, dyestuff, [4, 0, 2]).log_density
    other = exact(scored, dyestuff, np.array([2, 4])).log_density
    np.testing.assert_array_equal(one[[2, 0]], other)


def test_columns_of_a_fold_are_left_out_together(dyestuff):
    scored = hlm.log_likelihood(dyestuff, "group")
    found = by_fold(scored, dyestuff, [[1, 3], [0]]).log_density
    alone = exact(scored, dyestuff, [1, 3, 0]).log_density
    assert found[2] == alone[2]
    assert not np.isclose(found[:2], alone[:2], rtol=1e-12).any()


def test_no_column_is_no_fit(dyestuff):
    found = exact(hlm.log_likelihood(dyestuff), dyestuff, [])
    assert found.log_density.shape == (0,)
    assert found.checks == ()


def test_gibbs_is_refitted_by_its_scheme():
    fit = hlm.fit("dyestuff", engine="gibbs", gibbs={"scheme": "effects"}, seed=2, **FEW)
    [one] = refits(hlm.log_likelihood(fit, "group"), fit, [[2]])
    assert (one.fit.engine, one.fit.parameterization) == ("gibbs", "effects")


def test_effects_that_are_not_stored_are_those_of_the_refit(dyestuff, monkeypatch):
    scored = hlm.log_likelihood(dyestuff)
    stored = exact(scored, dyestuff, [7]).log_density
    monkeypatch.setattr(posterior, "STORED_EFFECTS", 0)
    [one] = refits(scored, dyestuff, [[7]])
    assert EFFECTS_SEED in one.fit.data["posterior"].attrs
    np.testing.assert_array_equal(one.log_density, stored)


def test_progress_counts_the_fits(dyestuff):
    steps = []
    exact(hlm.log_likelihood(dyestuff, "group"), dyestuff, [0, 1], progress=steps.append)
    assert [(step.done, step.total, step.unit) for step in steps] == [
        (0, 2, "fits"),
        (1, 2, "fits"),
        (2, 2, "fits"),
    ]


def test_a_fit_that_fails_names_the_column(dyestuff, monkeypatch):
    def breaks(*_, **__):
        raise FitError("a chain broke")

    monkeypatch.setattr(nuts, "fit", breaks)
    with pytest.raises(FitError, match="fitting without batch B: a chain broke"):
        exact(hlm.log_likelihood(dyestuff, "group"), dyestuff, [1])
    with pytest.raises(FitError, match="fitting without row 4, 1, 2 and 3 others: a chain broke"):
        by_fold(hlm.log_likelihood(dyestuff), dyestuff, [[4, 1, 2, 3, 8, 9]])


def test_an_engine_that_refuses_the_rest_says_without_what():
    spec = hlm.build("dyestuff")
    flat = {"groups": {"batch": {"kind": "diagonal", "sd": {"kind": "flat"}}}}
    data = spec.design.table.frame()
    data = data[data["batch"].isin(["A", "B", "C"])].astype({"batch": str})
    fit = hlm.fit(hlm.build({**spec.config, "priors": flat}, data=data), engine="nuts", **FEW)
    with pytest.raises(RefusalError, match=r"without batch B: nuts: refused: .*batch 2 levels"):
        exact(hlm.log_likelihood(fit, "group"), fit, [1])


def check(code, value, status, threshold):
    return Check(code, status, value, threshold, f"the {code}")


def test_of_each_check_the_gravest_is_told_and_of_which_fit():
    found = gravest(
        [
            (check("r_hat", 1.001, "pass", 1.01), "A"),
            (check("ess", 900.0, "pass", 400.0), "A"),
            (check("r_hat", 1.02, "warn", 1.01), "B"),
            (check("ess", 700.0, "pass", 400.0), "B"),
            (check("r_hat", 1.04, "warn", 1.01), "C"),
            (check("ess", 800.0, "pass", 400.0), "C"),
        ]
    )
    assert [(one.code, one.status, one.value) for one in found] == [
        ("r_hat", "warn", 1.04),
        ("ess", "pass", 700.0),
    ]
    assert found[0].message == "the r_hat without C; so warn 2 of 3 fits"
    assert found[1].message == "the ess without B"


@pytest.mark.parametrize(
    ("values", "worst"), [([(90.0, 100.0), (20.0, 25.0)], 20.0), ([(20.0, 25.0), (3.0, 25.0)], 3.0)]
)
def test_small_is_grave_where_it_is_a_lower_bound_that_is_crossed(values, worst):
    statuses = {100.0: "warn", 25.0: "fail"}
    [found] = gravest((check("ess", v, statuses[t], t), str(v)) for v, t in values)
    assert found.value == worst


def test_too_few_draws_show_in_the_checks(dyestuff):
    found = exact(hlm.log_likelihood(dyestuff, "group"), dyestuff, [0, 4])
    by_code = {one.code: one for one in found.checks}
    assert {"r_hat", "ess_bulk", "ess_tail", "divergences"} <= set(by_code)
    # 200 draws are fewer than two chains need.
    assert by_code["ess_bulk"].status != "pass"
    assert "without batch" in by_code["ess_bulk"].message
