"""`hlm compare`: names, files and runs to a board and its folder; with canned draws and elpds."""

import json
import runpy
import shlex
import shutil
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.cli import main
from hlm_models.comparison import board as board_module
from hlm_models.engines import likelihood, nuts
from hlm_models.errors import RefusalError
from hlm_models.results.checks import Check

TESTS = Path(__file__).parents[1]
canned_posterior = runpy.run_path(str(TESTS / "report" / "canned.py"))["canned_posterior"]
canned_board = runpy.run_path(str(TESTS / "comparison" / "canned_board.py"))
MODELS = ["sleepstudy-intercept", "sleepstudy-slopes"]

MODEL = """\
schema: 1
name: mine
data: {source: sleepstudy}
formula: reaction ~ days + (1 | subject)
priors: {sigma: {kind: exponential, scale: 30}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def install(monkeypatch):
    """NUTS, the estimates and the pages canned; how often the first is called."""
    counted = Counter()
    real = likelihood.fit

    def drawn(spec, settings, progress, *, with_log_likelihood=False):
        counted[spec.name] += 1
        ref = real(spec, settings, progress, reml=True)
        fit = canned_posterior(spec, ref, np.random.default_rng(1), draws=100, replicates=20)
        return replace(fit, seconds={**spec.seconds, **fit.seconds}, seed=settings.seed)

    monkeypatch.setattr(nuts, "fit", drawn)
    canned_board["install"](monkeypatch)
    monkeypatch.setattr(
        "hlm_models.api.runs.write", lambda page, path: path.write_text(page.spec.name)
    )
    monkeypatch.setattr(
        "hlm_models.api.comparison.write_comparison",
        lambda board, path: path.write_text(board.winner),
    )
    return counted


@pytest.fixture
def calls(monkeypatch):
    return install(monkeypatch)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """What a first comparison prints, its calls of NUTS, and its folder, not to be changed."""
    made = tmp_path_factory.mktemp("first")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as out:
        patch.chdir(made)
        counted = install(patch)
        assert main(["compare", *MODELS]) == 0
    return out.getvalue(), counted, made


@pytest.fixture
def compared(first, folder, calls):
    """What the first comparison printed; its runs and board are in the folder."""
    out, _, made = first
    shutil.copytree(made / "runs", folder / "runs", symlinks=True)
    return out


def test_names_give_board_page_and_runs(compared, first, folder):
    assert first[1] == dict.fromkeys(MODELS, 1)
    [made] = folder.glob("runs/compare-????????")
    assert {one.name for one in made.iterdir()} == {
        "board.csv", "board.json", "board.md", "comparison.html", "pointwise.csv",
    }  # fmt: skip
    assert all((folder / "runs" / name / "run.json").is_file() for name in MODELS)
    assert max(map(len, compared.splitlines())) <= 100
    lines = [line for line in compared.splitlines() if line.startswith("sleepstudy-slopes  ")]
    assert len(lines) == 2
    words = " ".join(compared.split())
    assert "sleepstudy-slopes is expected to foresee new data best" in words
    assert f"Page: runs/{made.name}/comparison.html" in words
    assert pd.read_csv(made / "pointwise.csv").shape == (180, 3)


def test_the_same_again_is_reused_until_forced(compared, folder, calls, capsys):
    [made] = folder.glob("runs/compare-????????")
    written = made.stat().st_ino
    assert main(["compare", *MODELS]) == 0
    assert "Made before, and reused" in capsys.readouterr().out
    assert made.stat().st_ino == written
    assert main(["compare", *MODELS, "--force"]) == 0
    assert "Made before" not in capsys.readouterr().out
    [again] = folder.glob("runs/compare-????????")
    assert again.stat().st_ino != written
    assert not calls


def test_another_question_is_another_folder(compared, folder, capsys):
    assert main(["compare", *MODELS, "--focus", "group", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["focus"], document["by"]) == ("group", "subject")
    assert main(["compare", *MODELS, "--kfold", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["method"] == "5-fold"
    assert len(list(folder.glob("runs/compare-*"))) == 3


def test_the_document_is_what_is_in_the_folder(compared, folder, capsys):
    assert main(["compare", *MODELS, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document.pop("reused") is True
    kept = json.loads((Path(document["folder"]) / "board.json").read_text("utf-8"))
    assert document == {key: value for key, value in kept.items() if key != "reused"}
    assert document["provenance"]["command"] == f"hlm compare {' '.join(MODELS)}"
    assert set(document["runs"]) == set(MODELS)


def test_names_files_and_runs_may_be_mixed(compared, folder, calls, capsys):
    (folder / "mine.yaml").write_text(MODEL)
    words = ["compare", "runs/sleepstudy-slopes", "sleepstudy-intercept", "mine.yaml", "--json"]
    assert main([*words, "--out", "there"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {one["name"] for one in document["models"]} == {*MODELS, "mine"}
    assert calls == {"mine": 1}
    assert (folder / "there" / "comparison.html").is_file()
    assert main([*words, "--out", "there"]) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*words, "--out", "there", "--force"]) == 0
    (folder / "other").mkdir()
    (folder / "other" / "mine.txt").write_text("keep me")
    assert main([*words, "--out", "other", "--force"]) == 2
    assert "not the folder of a comparison" in capsys.readouterr().err


def test_the_command_that_is_recorded_finds_the_models(calls, folder, capsys):
    (folder / "my models").mkdir()
    (folder / "my models" / "mine.yaml").write_text(MODEL)
    assert main(["compare", "mine", MODELS[1], "--configs", "my models", "--json"]) == 0
    command = json.loads(capsys.readouterr().out)["provenance"]["command"]
    assert main([*shlex.split(command)[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reused"]


def test_markdown_and_csv(compared, folder, capsys):
    assert main(["compare", *MODELS, "--markdown", "--csv", "b.csv"]) == 0
    out = capsys.readouterr().out
    [made] = folder.glob("runs/compare-????????")
    assert out.strip() == (made / "board.md").read_text("utf-8").strip()
    assert (folder / "b.csv").read_bytes() == (made / "board.csv").read_bytes()
    assert main(["compare", *MODELS, "--csv", "b.csv"]) == 2
    assert main(["compare", *MODELS, "--csv", "b.csv", "--force"]) == 0
    assert main(["compare", *MODELS, "--markdown", "--json"]) == 2


def test_no_evidence_leaves_it_out(calls, folder, capsys, monkeypatch):
    monkeypatch.delattr(board_module, "log_marginal_likelihood")
    assert main(["compare", *MODELS, "--no-evidence", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {one["why_no_evidence"] for one in document["models"]} == {"not asked for"}


def test_a_refused_marginal_likelihood_is_told_in_the_terminal(calls, folder, capsys, monkeypatch):
    def refuse(fit, *, progress):
        raise RefusalError("the prior of beta is flat")

    monkeypatch.setattr(board_module, "log_marginal_likelihood", refuse)
    assert main(["compare", *MODELS]) == 0
    words = " ".join(capsys.readouterr().out.split())
    assert "sleepstudy-slopes: no marginal likelihood: the prior of beta is flat" in words


def test_a_failed_check_is_exit_code_1(calls, folder, capsys, monkeypatch):
    def loo(fit, focus, by, *, progress):
        check = Check("r_hat", "fail", 1.2, 1.05, "of a refit")
        return replace(canned_board["estimate"](fit, focus, by), checks=(check,))

    monkeypatch.setattr(board_module, "loo", loo)
    assert main(["compare", *MODELS]) == 1
    assert "of a refit" in capsys.readouterr().out
    assert main(["compare", *MODELS]) == 1


def refused(words, capsys, code=2):
    assert main(["compare", *words]) == code
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sleepstudy-slopes"], "two models or more"),
        (["sleepstudy-slopes", "sleepstudy-slopes"], "sleepstudy-slopes: this model is given twic"),
        (["sleepstudy-slopes", "dyestuff"], "dyestuff: the response is yield, and reaction in"),
        ([*MODELS, "--focus", "grup"], "'grup' is none of observation, group; did you mean"),
        ([*MODELS, "--focus", "group", "--by", "county"], "'county' is a group of none of"),
        ([*MODELS, "--by", "subject"], "take focus='group'"),
        ([*MODELS, "--kfold", "1"], "--kfold"),
        ([*MODELS, "--kfold", "181"], "kfold: 181 folds of 180 rows: give a number from 2 to 180"),
        ([*MODELS, "--csv", "nowhere/b.csv"], "--csv: there is no folder nowhere"),
        (["sleepstudy-slops", "sleepstudy-slopes"], "sleepstudy-slops"),
        (["runs/nothing", "sleepstudy-slopes"], "runs/nothing"),
        ([*MODELS, "--set", "fit.chains=0"], "fit.chains"),
    ],
)
def test_bad_input_is_refused_before_anything_is_fitted(words, message, calls, folder, capsys):
    assert message in refused(words, capsys)
    assert not calls
    assert not list(folder.iterdir())


def test_an_override_that_no_model_has_is_told_once(calls, folder, capsys):
    assert refused([*MODELS, "--set", "fitt.seed=3"], capsys).count("unknown key") == 1


def test_what_nuts_refuses_is_refused_before_others_are_fitted(calls, folder, capsys, monkeypatch):
    def require(engine, spec):
        if spec.name == MODELS[1]:
            raise RefusalError(f"{engine} cannot fit {spec.name}")

    monkeypatch.setattr("hlm_models.api.comparison.require", require)
    assert "nuts cannot fit sleepstudy-slopes" in refused(MODELS, capsys, code=3)
    assert not calls


def test_a_folder_that_lost_a_file_is_made_anew(compared, folder, capsys):
    [made] = folder.glob("runs/compare-????????")
    (made / "board.md").unlink()
    assert main(["compare", *MODELS, "--markdown"]) == 0
    assert (made / "board.md").is_file()
    assert "By leave-one-out" in capsys.readouterr().out
    (made / "board.json").write_text("{")
    message = refused(MODELS, capsys)
    assert "board.json: cannot be read" in message
    assert "--force" in message


def test_one_model_under_two_names_is_refused(calls, folder, capsys):
    text = MODEL.replace("mine", "again")
    (folder / "mine.yaml").write_text(MODEL)
    (folder / "again.yaml").write_text(text)
    message = refused(["mine.yaml", "again.yaml"], capsys)
    assert "again: this is the same model, of the same data, as mine" in message


def test_rows_dropped_in_one_model_only_are_refused(calls, folder, capsys):
    rows = hlm.build("sleepstudy-slopes").design.table.frame()
    rows = rows.assign(days=rows["days"].where(rows.index != 5))
    rows.to_csv("d.csv", index=False)
    for name, formula in (("a", "reaction ~ 1"), ("b", "reaction ~ days")):
        Path(f"{name}.yaml").write_text(
            f"schema: 1\nname: {name}\ndata: {{source: {{file: d.csv}}, missing: drop}}\n"
            f"formula: {formula} + (1 | subject)\n"
        )
    message = refused(["a.yaml", "b.yaml"], capsys)
    assert "b: there are 179 rows, and 180 in a (b: 1 of 180 rows dropped: days misses 1" in message


def test_a_run_without_draws_is_refused_before_others_are_fitted(calls, folder, capsys):
    assert main(["run", "sleepstudy-slopes", "--engines", "reml"]) == 0
    message = refused(["runs/sleepstudy-slopes", "sleepstudy-intercept"], capsys)
    assert "sleepstudy-slopes: this has no draws, only reml: fit it with nuts too" in message
    assert not calls


def test_folders_of_models_have_no_effect_on_finished_runs(compared, capsys):
    words = ["runs/sleepstudy-slopes", "runs/sleepstudy-intercept", "--configs", "."]
    assert "--configs: has no effect on finished runs" in refused(words, capsys)


def test_a_setting_has_no_effect_on_a_finished_run(compared, capsys):
    words = ["runs/sleepstudy-slopes", "sleepstudy-intercept", "--set", "fit.seed=3"]
    assert "--set: has no effect on the finished run runs/sleepstudy-slopes" in refused(
        words, capsys
    )


def test_nothing_is_left_behind_where_the_page_fails(calls, folder, monkeypatch):
    def fail(board, path):
        raise KeyboardInterrupt

    monkeypatch.setattr("hlm_models.api.comparison.write_comparison", fail)
    assert main(["compare", *MODELS]) == 130
    assert not list(folder.glob("runs/.*compare*"))
    assert not list(folder.glob("runs/compare*"))


@pytest.mark.slow
def test_radon_on_a_fresh_folder(folder, capsys):
    names = ["radon-intercept", "radon-slopes", "radon-uranium"]
    assert main(["compare", *names, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["models"][0]["name"] == "radon-uranium"
    assert Path(document["page"]).is_file()
    by_ml = {(one["smaller"], one["larger"]): one["p"] for one in document["likelihood_ratio"]}
    assert by_ml[("radon-slopes", "radon-uranium")] < 1e-6
