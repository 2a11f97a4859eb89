"""The board, on canned draws and canned estimates; and as a whole on real ones (slow)."""

import json
import math
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from canned_board import CannedEvidence, estimate, install

import hlm_models as hlm
from hlm_models.comparison import board as board_module
from hlm_models.comparison.board import Entry, check_models, make_board
from hlm_models.elpd.grouping import Grouping
from hlm_models.errors import FitError, InputErrors, RefusalError
from hlm_models.results.checks import Check

ROOT = Path(__file__).parents[2]
canned_posterior = runpy.run_path(str(ROOT / "tests" / "report" / "canned.py"))["canned_posterior"]
MODELS = ("sleepstudy-intercept", "sleepstudy-uncorrelated", "sleepstudy-slopes")


@pytest.fixture(scope="module")
def entries():
    found = {}
    for name in MODELS:
        spec = hlm.build(name)
        reml = hlm.fit(spec, "reml")
        found[name] = Entry(canned_posterior(spec, reml, np.random.default_rng(1)), reml)
    return found


@pytest.fixture
def asked(monkeypatch):
    """Estimates that cost nothing; what they are asked for is kept."""
    return install(monkeypatch)


def made(entries, *args, **options):
    return make_board(entries, *args, provenance={}, **options)


@pytest.fixture
def board(entries, asked):
    return made(entries)


def test_the_best_stands_first_with_paired_differences(board):
    assert [row.name for row in board.rows] == [
        "sleepstudy-slopes", "sleepstudy-uncorrelated", "sleepstudy-intercept",
    ]  # fmt: skip
    best = board.models["sleepstudy-slopes"].elpd.pointwise
    for row in board.rows:
        own = board.models[row.name].elpd.pointwise
        assert row.elpd == pytest.approx(own.sum())
        assert row.elpd_diff == pytest.approx((own - best).sum(), abs=1e-9)
        assert row.dse == pytest.approx(math.sqrt(180) * np.std(own - best, ddof=1))
    assert sum(row.weight for row in board.rows) == pytest.approx(1)
    assert sum(row.weight_bma for row in board.rows) == pytest.approx(1)


def test_differences_are_those_of_arviz(board):
    import xarray as xr
    from arviz_stats import compare
    from arviz_stats.utils import ELPDDataLOO

    given = {}
    for name, model in board.models.items():
        one = model.elpd
        given[name] = ELPDDataLOO(
            elpd=one.elpd,
            se=one.se,
            p=one.p,
            n_samples=one.draws,
            n_data_points=one.size,
            scale="log",
            warning=False,
            good_k=one.good_k,
            elpd_i=xr.DataArray(one.pointwise, dims="obs"),
            pareto_k=xr.DataArray(one.pareto_k, dims="obs"),
        )
    table = compare(given, round_to="none")
    assert list(table.index) == [row.name for row in board.rows]
    for row in board.rows:
        theirs = table.loc[row.name]
        assert row.elpd_diff == pytest.approx(theirs["elpd_diff"], abs=1e-9)
        # ArviZ divides by n, we and R's loo by n - 1.
        assert row.dse == pytest.approx(theirs["dse"] * math.sqrt(180 / 179), abs=1e-9)


def test_the_likelihoods_are_those_of_our_fitter(board):
    for row in board.rows:
        ml, reml = (hlm.fit(row.name, engine) for engine in ("ml", "reml"))
        assert (row.loglik, row.aic, row.bic) == pytest.approx((ml.loglik, ml.aic, ml.bic))
        assert row.df == ml.parameters
        assert row.reml == pytest.approx(reml.criterion)
        assert row.why_no_reml == ""


def test_every_nested_pair_is_tested_once_by_ml_and_by_reml_where_it_may(board):
    short = {name: name.removeprefix("sleepstudy-") for name in MODELS}
    pairs = [(short[t.smaller], short[t.larger], t.test.engine) for t in board.tests]
    assert sorted(pairs) == [
        ("intercept", "slopes", "ml"),
        ("intercept", "slopes", "reml"),
        ("intercept", "uncorrelated", "ml"),
        ("intercept", "uncorrelated", "reml"),
        ("uncorrelated", "slopes", "ml"),
        ("uncorrelated", "slopes", "reml"),
    ]
    for one in board.tests:
        again = hlm.likelihood_ratio(
            hlm.fit(one.smaller, one.test.engine), hlm.fit(one.larger, one.test.engine)
        )
        assert one.test.p == pytest.approx(again.p)
        assert one.test.reference == again.reference


def test_reml_criteria_are_compared_within_a_fixed_part_however_it_is_written(entries, asked):
    """Twice the days is the same fixed part; the days squared are another one."""
    written = {
        "raw": "reaction ~ days + (1 | subject)",
        "doubled": "reaction ~ I(days * 2) + (1 | subject)",
        "squared": "reaction ~ days + I(days**2) + (1 | subject)",
    }
    given = {}
    for name, formula in written.items():
        spec = hlm.build("sleepstudy-intercept", overrides=[f"formula={formula}", f"name={name}"])
        given[name] = Entry(
            canned_posterior(spec, hlm.fit(spec, "reml"), np.random.default_rng(1)),
            hlm.fit(spec, "reml"),
        )
    board = made(given)
    rows = {row.name: row for row in board.rows}
    assert rows["raw"].reml == pytest.approx(rows["doubled"].reml, abs=1e-6)
    first = next(row.name for row in board.rows if row.name != "squared")
    assert rows[first].reml == pytest.approx(given[first].reml.criterion)
    assert math.isnan(rows["squared"].reml)
    assert rows["squared"].why_no_reml == "no other model has the same fixed part"
    note = "REML criteria are comparable only where the fixed part is the same"
    assert any(one.startswith(note) for one in board.notes)
    tested = {(one.smaller, one.larger, one.test.engine) for one in board.tests}
    assert tested == {("raw", "squared", "ml"), ("doubled", "squared", "ml")}


def test_bayes_factors_are_to_the_largest_marginal_likelihood(board):
    values = {row.name: row for row in board.rows}
    assert values["sleepstudy-slopes"].log_bayes_factor == 0
    assert values["sleepstudy-intercept"].log_bayes_factor == pytest.approx(-3)
    assert board.evidence_notes == (
        "sleepstudy-slopes, sleepstudy-uncorrelated and sleepstudy-intercept: a warning",
    )


def test_a_refused_marginal_likelihood_says_why(entries, asked, monkeypatch):
    def refuse(fit, *, progress):
        if fit.spec.name == "sleepstudy-slopes":
            raise RefusalError("flat priors")
        return CannedEvidence(-900.0)

    monkeypatch.setattr(board_module, "log_marginal_likelihood", refuse)
    rows = {row.name: row for row in made(entries).rows}
    assert rows["sleepstudy-slopes"].why_no_evidence == "flat priors"
    assert math.isnan(rows["sleepstudy-slopes"].log_bayes_factor)
    assert rows["sleepstudy-intercept"].log_bayes_factor == 0
    # The first model has none that could be smaller.
    assert not any("is largest for" in note for note in made(entries).notes)
    left_out = made(entries, evidence=False).rows[0]
    assert left_out.why_no_evidence == "not asked for"


def test_an_ml_fit_that_is_refused_says_why(entries, asked, monkeypatch):
    real = board_module.require

    def require(name, spec):
        if name == "ml" and spec.name == "sleepstudy-slopes":
            raise RefusalError("too large")
        return real(name, spec)

    monkeypatch.setattr(board_module, "require", require)
    board = made(entries)
    row = board.rows[0]
    assert (row.why_no_likelihood, row.df) == ("too large", None)
    assert math.isnan(row.loglik)
    assert all("slopes" not in one.larger for one in board.tests)


def test_a_given_theta_is_no_optimum(entries, asked):
    name = "sleepstudy-slopes"
    posterior = entries[name].posterior
    reml = posterior.spec.reml.model_copy(update={"theta": (1.0, 0.0, 0.2)})
    spec = replace(posterior.spec, reml=reml)
    board = made(entries | {name: Entry(replace(posterior, spec=spec))})
    [row] = [row for row in board.rows if row.name == name]
    assert math.isnan(row.loglik)
    assert math.isnan(row.reml)
    assert "reml.theta" in row.why_no_likelihood
    assert not any(name in (one.smaller, one.larger) for one in board.tests)


def test_an_estimate_that_fails_names_its_model(entries, asked, monkeypatch):
    def fail(fit, focus, by):
        raise FitError("no luck")

    monkeypatch.setattr(board_module, "waic", fail)
    with pytest.raises(FitError, match=r"^sleepstudy-intercept: no luck"):
        made(entries)


@pytest.mark.parametrize(
    ("below", "sd", "sentence"),
    [
        (1.2, 2.0, "b comes first, but is not told apart from a (1.2 below, standard error"),
        (30.0, 100.0, "b comes first, but is not told apart from a (30.0 below, standard error"),
        (30.0, 1.0, "b is expected to foresee new data best: a (30.0 below, standard error"),
        (3.5, 0.01, "b comes first, but is not told apart from a (3.5 below, standard error"),
    ],
)
def test_the_sentence_says_no_more_than_the_numbers(
    entries, asked, monkeypatch, below, sd, sentence
):
    """Told apart is what is at least 4 below, and at least two standard errors."""
    noise = np.random.default_rng(1).normal(0, 1, 180)
    noise = (noise - noise.mean()) / noise.std(ddof=1) * sd / math.sqrt(180)

    def loo(fit, focus, by, *, progress):
        one = estimate(fit, focus, by)
        worse = fit.spec.name == "sleepstudy-intercept"
        common = -fit.spec.design.y / 60
        return replace(one, pointwise=common + (noise - below / 180 if worse else 0.0))

    monkeypatch.setattr(board_module, "loo", loo)
    two = {"a": entries["sleepstudy-intercept"], "b": entries["sleepstudy-slopes"]}
    board = made(two)
    assert board.winner.startswith(sentence)
    assert board.rows[1].dse == pytest.approx(sd)
    small = any(note.startswith("differences of elpd below 4 are small") for note in board.notes)
    assert small == (below < 4)


def test_few_groups_make_the_errors_unsure(entries, asked):
    board = made(entries, "group")
    assert any("elpd is a sum over 18 levels of subject" in note for note in board.notes)
    assert not any("elpd is a sum" in note for note in made(entries).notes)


@pytest.mark.parametrize(("bad", "status"), [(0, "pass"), (3, "warn")])
def test_weights_that_stayed_bad_are_a_check(entries, asked, monkeypatch, bad, status):
    def loo(fit, focus, by, *, progress):
        one = estimate(fit, focus, by)
        k = np.where(np.arange(one.size) < bad, 0.9, 0.3)
        return replace(one, pareto_k=k, how=("psis",) * one.size)

    monkeypatch.setattr(board_module, "loo", loo)
    board = made(entries)
    assert [one.status for _, one in board.checks if one.code == "pareto_k"] == [status] * 3
    assert {row.bad for row in board.rows} == {bad}


def test_an_unsteady_waic_is_a_check(entries, asked, monkeypatch):
    def waic(fit, focus, by):
        one = estimate(fit, focus, by, method="waic")
        return replace(one, lpd=one.pointwise + np.where(np.arange(one.size) < 3, 0.5, 0.1))

    monkeypatch.setattr(board_module, "waic", waic)
    found = [one for _, one in made(entries).checks if one.code == "p_waic"]
    assert [(one.status, one.value) for one in found] == [("warn", 3)] * 3


def test_checks_of_refits_are_on_the_board_and_k_of_folds_is_not(entries, asked, monkeypatch):
    check = Check("r_hat", "fail", 1.2, 1.05, "of a refit")

    def kfold(fit, k, by, *, seed, progress):
        return replace(estimate(fit, "observation", by, method="kfold"), checks=(check,))

    monkeypatch.setattr(board_module, "kfold_elpd", kfold)
    checks = made(entries, kfold=5).checks
    assert ("sleepstudy-slopes", check) in checks
    assert "pareto_k" not in {one.code for _, one in checks}


def test_checks_of_the_draws_are_on_the_board(entries, asked):
    broken = dict(entries)
    fit = entries["sleepstudy-slopes"].posterior
    check = Check("r_hat", "fail", 1.2, 1.05, "largest R-hat")
    broken["sleepstudy-slopes"] = Entry(replace(fit, checks=(check,)))
    assert ("sleepstudy-slopes", check) in made(broken).checks


def test_a_model_without_the_group_is_scored_by_it(asked):
    specs = {name: hlm.build("pastes", overrides=[f"formula={formula}", f"name={name}"])
             for name, formula in (("both", "strength ~ 1 + (1 | batch/cask)"),
                                   ("one", "strength ~ 1 + (1 | batch)"))}  # fmt: skip
    given = {
        name: Entry(canned_posterior(spec, hlm.fit(spec, "reml"), np.random.default_rng(1)))
        for name, spec in specs.items()
    }
    board = made(given, "group", "batch:cask")
    by = {name: one for name, _, one in asked}
    assert by["both"] == "batch:cask"
    assert isinstance(by["one"], Grouping)
    block = next(b for b in specs["both"].blocks if b.group == "batch:cask")
    assert by["one"].labels == block.labels
    assert np.array_equal(by["one"].level, block.level)
    assert (board.by, len(board.names)) == ("batch:cask", 30)
    with pytest.raises(InputErrors, match="several groups, name one of them"):
        made(given, "group")


def test_groups_in_another_order_are_brought_into_line(entries, asked, monkeypatch):
    def loo(fit, focus, by, *, progress):
        one = estimate(fit, focus, by)
        order = np.arange(one.size)[:: -1 if fit.spec.name == "sleepstudy-slopes" else 1]
        names = [one.names[at] for at in order]
        return replace(
            one, names=names, pointwise=one.pointwise[order], lpd=one.lpd[order],
            pareto_k=one.pareto_k[order],
        )  # fmt: skip

    straight = made(entries, "group")
    monkeypatch.setattr(board_module, "loo", loo)
    turned = made(entries, "group")
    pd.testing.assert_frame_equal(turned.pointwise(), straight.pointwise())
    assert [row.dse for row in turned.rows] == pytest.approx([row.dse for row in straight.rows])


def test_folds_are_the_same_for_all_models(entries, asked):
    board = made(entries, kfold=5)
    assert asked == [(name, 5, 1) for name in MODELS]
    assert board.folds == 5
    document = board.document()
    assert document["method"] == "5-fold"
    assert document["models"][0]["elpd_loo"] is None
    assert document["models"][0]["elpd"] == pytest.approx(board.rows[0].elpd)


def test_differences_of_rows_are_summed_by_group(board, entries):
    one = board.difference("sleepstudy-intercept")
    group, labels, sums = board.by_level(one)
    block = entries["sleepstudy-slopes"].posterior.spec.blocks[0]
    assert (group, labels) == ("subject", block.labels)
    first = one.pointwise[block.level == 0].sum()
    assert sums[0] == pytest.approx(first)
    assert sums.sum() == pytest.approx(one.elpd_diff)
    with pytest.raises(InputErrors, match="'slopes' is not on the board"):
        board.difference("slopes")


def test_the_document_is_strict_json_with_the_keys_of_the_contract(board):
    document = json.loads(json.dumps(board.document(), allow_nan=False))
    assert {"focus", "by", "models"} <= set(document)
    keys = {
        "name", "elpd_loo", "se", "p_loo", "elpd_diff", "dse", "weight", "waic", "k_bad", "loglik",
        "aic", "bic",
    }  # fmt: skip
    for row, one in zip(board.rows, document["models"], strict=True):
        assert keys <= set(one)
        assert one["elpd_loo"] == pytest.approx(row.elpd)
        assert one["waic"] == pytest.approx(-2 * row.elpd_waic)
        assert sum(one["agreement"].values()) == row.parameters
    assert len(document["differences"]) == 3
    assert document["differences"][0]["elpd_diff"] == pytest.approx(board.rows[1].elpd_diff)


def test_frame_csv_and_markdown_have_every_model(board, tmp_path):
    board.to_csv(tmp_path / "board.csv")
    read = pd.read_csv(tmp_path / "board.csv", index_col="name")
    assert list(read.index) == [row.name for row in board.rows]
    assert read["elpd_diff"].to_numpy() == pytest.approx([r.elpd_diff for r in board.rows])
    lines = board.markdown().splitlines()
    tables = [line for line in lines if line.startswith("|")]
    assert len({line.count("|") for line in tables[:5]}) == 1
    for row in board.rows:
        assert sum(line.startswith(f"| {row.name} |") for line in tables) == 2
    assert board.winner in lines
    assert "By leave-one-out over rows: 180 rows of sleepstudy" in lines[0]


def test_markdown_says_folds_and_keeps_its_columns(entries, asked):
    slopes, intercept = (entries[name] for name in ("sleepstudy-slopes", "sleepstudy-intercept"))
    lines = made({"a | b": slopes, "c": intercept}, kfold=5, by="subject", focus="group").markdown()
    assert "By 5-fold over levels of subject: 180 rows" in lines
    assert lines.count(r"| a \| b |") == 2


@pytest.mark.parametrize(
    ("names", "focus", "by", "message"),
    [
        (MODELS[:1], "observation", None, "two models or more"),
        (MODELS, "county", None, "'county' is none of observation, group"),
        (MODELS, "observation", "subject", "take focus='group'"),
        (MODELS, "group", "subjekt", "'subjekt' is a group of none of the models; did you mean"),
    ],
)
def test_what_cannot_be_asked_is_refused(entries, names, focus, by, message):
    specs = {name: entries[name].posterior.spec for name in names}
    with pytest.raises(InputErrors, match=message):
        check_models(specs, focus, by, kfold=None)


def test_one_model_twice_is_refused(entries):
    spec = entries["sleepstudy-slopes"].posterior.spec
    with pytest.raises(InputErrors, match="again: this is the same model, of the same data, as a"):
        check_models({"a": spec, "again": spec}, "observation", None, kfold=None)


def test_a_single_fold_is_refused(entries):
    specs = {name: one.posterior.spec for name, one in entries.items()}
    with pytest.raises(InputErrors, match="at least 2"):
        check_models(specs, "observation", None, kfold=1)


@pytest.mark.parametrize(("focus", "most"), [("observation", 180), ("group", 18)])
def test_more_folds_than_there_is_to_leave_out_are_refused(entries, focus, most):
    specs = {name: one.posterior.spec for name, one in entries.items()}
    check_models(specs, focus, None, kfold=most)
    with pytest.raises(InputErrors, match=f"kfold: {most + 1} folds of {most} .*from 2 to {most}"):
        check_models(specs, focus, None, kfold=most + 1)


def test_what_has_no_draws_is_refused(entries):
    fits = {"a": entries["sleepstudy-slopes"].posterior, "b": hlm.fit(MODELS[0], "reml"), "c": 3}
    with pytest.raises(InputErrors) as caught:
        hlm.compare(fits)
    assert [problem.key for problem in caught.value.problems] == ["b", "c"]
    assert "hlm run sleepstudy-intercept" in str(caught.value)
    with pytest.raises(InputErrors, match="by name"):
        hlm.compare([fits["a"]])


@pytest.mark.slow
@pytest.mark.parametrize("focus", ["observation", "group"])
def test_real_fits_of_sleepstudy(focus):
    """The reaction times: slopes vary by subject; whether they are correlated is not told."""
    fits = {name: hlm.fit(name) for name in MODELS}
    board = hlm.compare(fits, focus)
    assert board.rows[-1].name == "sleepstudy-intercept"
    assert board.rows[-1].elpd_diff < -10
    assert board.rows[1].elpd_diff > -4
    assert not board.rows[1].behind
    assert all(row.bad == 0 for row in board.rows)
    assert sum(row.weight for row in board.rows) == pytest.approx(1)
    if focus == "observation":
        folded = hlm.compare(fits, kfold=6, evidence=False)
        for row in folded.rows:
            [same] = [one for one in board.rows if one.name == row.name]
            # K-fold leaves out more at once, and has its own noise.
            assert row.elpd == pytest.approx(same.elpd, abs=12)
