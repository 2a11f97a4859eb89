"""`hlm predict`, with canned draws in place of NUTS."""

import json
import runpy
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.cli import main
from hlm_models.engines import likelihood, nuts
from hlm_models.results.checks import Check

ROOT = Path(__file__).parents[2]
canned_posterior = runpy.run_path(str(ROOT / "tests" / "report" / "canned.py"))["canned_posterior"]

NEW = """\
firm,market_value,capital,note
General Motors,2000,1000,large
US Steel,1500,200,
"""
GM = ["predict", "grunfeld-slopes", "--new", "new.csv"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new.csv").write_text(NEW)
    return tmp_path


@pytest.fixture
def calls(monkeypatch):
    """Engines, NUTS canned, with a count of their calls."""
    counted: Counter[str] = Counter()
    real = likelihood.fit

    def point(spec, settings, progress, *, reml):
        counted["reml" if reml else "ml"] += 1
        return real(spec, settings, progress, reml=reml)

    def drawn(spec, settings, progress, *, with_log_likelihood=False):
        counted["nuts"] += 1
        ref = real(spec, settings, progress, reml=True)
        rng = np.random.default_rng(settings.seed)
        fit = canned_posterior(spec, ref, rng, draws=100, replicates=20)
        return replace(fit, seconds={**spec.seconds, **fit.seconds}, seed=settings.seed)

    monkeypatch.setattr(likelihood, "fit", point)
    monkeypatch.setattr(nuts, "fit", drawn)
    return counted


def run_quickly(monkeypatch, *words):
    from hlm_models.api import runs

    monkeypatch.setattr(runs, "write", lambda page, path: path.write_text("page"))
    assert main(["run", *words]) == 0


def test_the_document_has_the_rows_with_the_lectures_numbers(folder, capsys):
    assert main([*GM, "--engine", "reml", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert {key: document[key] for key in ("model", "engine", "level", "groups", "folder")} == {
        "model": "grunfeld-slopes",
        "engine": "reml",
        "level": 0.95,
        "groups": {"firm": "existing"},
        "folder": None,
    }
    first, second = document["rows"]
    assert set(first) == {
        *("firm", "market_value", "capital", "note"),
        *("mean", "se", "lower", "upper", "pred_lower", "pred_upper", "var"),
    }
    assert (first["firm"], first["note"], second["note"]) == ("General Motors", "large", None)
    assert first["mean"] == pytest.approx(528.966, abs=5e-3)
    wanted = hlm.predict(hlm.fit("grunfeld-slopes", "reml"), pd.read_csv("new.csv")).frame()
    for row, (_, own) in zip(document["rows"], wanted.iterrows(), strict=True):
        for name in ("mean", "se", "lower", "upper", "pred_lower", "pred_upper"):
            assert row[name] == pytest.approx(own[name])
        assert row["var"] == pytest.approx(
            {part: own[f"var_{part}"] for part in ("parameter", "group", "residual")}
        )


def test_new_data_that_json_has_no_type_for_are_text(folder, capsys):
    new = pd.read_csv("new.csv").assign(
        when=pd.to_datetime(["2020-01-02", None]),
        price=[Decimal("1.50"), None],
        size=[2, 3],
        many=pd.array([2**60 + 1, None], dtype="Int64"),
    )
    new.to_parquet("new.parquet")
    words = ["predict", "grunfeld-slopes", "--new", "new.parquet", "--engine", "reml", "--json"]
    assert main(words) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    told = [[row[name] for name in ("firm", "when", "price", "size", "many")] for row in rows]
    assert told == [
        ["General Motors", "2020-01-02 00:00:00", "1.50", 2, 2**60 + 1],
        ["US Steel", None, None, 3, None],
    ]


def test_the_table_shows_what_the_model_reads_and_the_shares(folder, capsys):
    words = ["--engine", "reml", "--groups", "firm=borrowed", "--borrow", "US Steel"]
    assert main([*GM, *words, "--level", "0.9"]) == 0
    out = capsys.readouterr().out
    assert "grunfeld-slopes by reml, a new fit" in out
    assert "Effects of firm: borrowed from US Steel" in out
    assert "90% interval" in out
    assert "note" not in out
    line = next(one for one in out.splitlines() if one.lstrip().startswith("General Motors"))
    assert line.split()[2:5] == ["2000", "1000", "696.5"]
    assert sum(int(share.rstrip("%")) for share in line.split()[-3:]) in (99, 100, 101)
    # What the checks say of the fit is not kept back.
    assert "singular" in out


def test_the_file_has_all_columns_and_is_not_written_over(folder, capsys):
    words = [*GM, "--engine", "ml", "--groups", "typical", "--out", "p.csv"]
    assert main(words) == 0
    found = pd.read_csv("p.csv")
    assert list(found)[:5] == ["firm", "market_value", "capital", "note", "mean"]
    assert {"var_parameter", "var_group", "var_residual"} < set(found)
    assert main(words) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


def test_many_rows_are_cut_in_the_table_only(folder, capsys):
    pd.DataFrame({"market_value": np.arange(50.0), "capital": 1.0}).to_parquet("new.parquet")
    words = ["predict", "grunfeld-slopes", "--new", "new.parquet", "--groups", "population"]
    assert main([*words, "--engine", "reml"]) == 0
    out = capsys.readouterr().out
    assert "10 more rows: --out FILE or --json has all" in out
    assert main([*words, "--engine", "reml", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rows"]) == 50


def test_labels_of_text_that_look_like_numbers_stay_text(folder, capsys):
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": rng.normal(size=30), "g": ["01", "1", "x"] * 10})
    data["y"] += 50 * (data["g"] == "01")
    data.to_csv("d.csv", index=False)
    text = "schema: 1\nname: mine\ndata: {source: {file: d.csv}}\nformula: y ~ 1 + (1 | g)\n"
    Path("mine.yaml").write_text(text)
    Path("rows.csv").write_text("g\n01\n1\n")
    words = ["predict", "mine.yaml", "--new", "rows.csv", "--engine", "reml", "--json"]
    assert main(words) == 0
    first, second = json.loads(capsys.readouterr().out)["rows"]
    assert (first["g"], second["g"]) == ("01", "1")
    assert first["mean"] > 40 > second["mean"]


def test_a_finished_run_of_the_model_is_used(folder, capsys, calls, monkeypatch):
    run_quickly(monkeypatch, "grunfeld-slopes")
    calls.clear()
    capsys.readouterr()
    documents = {}
    for words in (GM, ["predict", "runs/grunfeld-slopes", *GM[2:]], [*GM, "--engine", "reml"]):
        assert main([*words, "--json"]) == 0
        documents[tuple(words)] = json.loads(capsys.readouterr().out)
    by_name, by_folder, point = documents.values()
    assert not calls
    assert by_name == by_folder
    assert by_name["engine"] == "nuts"
    assert by_name["folder"] == "runs/grunfeld-slopes"
    assert point["engine"] == "reml"
    assert main(GM) == 0
    assert "the fit of runs/grunfeld-slopes" in capsys.readouterr().out


def test_a_run_of_another_model_is_not_used(folder, capsys, calls, monkeypatch):
    run_quickly(
        monkeypatch, "grunfeld-slopes", "--set", "priors.sigma={kind: half_normal, scale: 9}"
    )
    calls.clear()
    assert main(GM) == 0
    assert calls["nuts"] == 1
    assert "a new fit" in capsys.readouterr().out
    # Nor where settings are overridden, or the engine is another.
    assert main([*GM, "--set", "fit.seed=5"]) == 0
    assert main([*GM, "--engine", "ml"]) == 0
    assert calls == {"nuts": 2, "ml": 1}
    assert [one.name for one in Path("runs").iterdir() if one.is_symlink()] == ["grunfeld-slopes"]


def test_a_run_of_changed_data_is_not_used(folder, capsys, calls, monkeypatch):
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": rng.normal(size=30), "g": np.repeat(list("abcde"), 6)})
    data.to_csv("d.csv", index=False)
    text = "schema: 1\nname: mine\ndata: {source: {file: d.csv}}\nformula: y ~ 1 + (1 | g)\n"
    Path("mine.yaml").write_text(text)
    data[["g"]].head(2).to_csv("new.csv", index=False)
    run_quickly(monkeypatch, "mine.yaml")
    calls.clear()
    assert main(["predict", "mine.yaml", "--new", "new.csv"]) == 0
    assert not calls
    data.assign(y=-data["y"]).to_csv("d.csv", index=False)
    assert main(["predict", "mine.yaml", "--new", "new.csv"]) == 0
    assert calls["nuts"] == 1
    assert main(["predict", "runs/mine", "--new", "new.csv"]) == 2
    assert "data" in capsys.readouterr().err


def test_a_fit_whose_check_fails_has_exit_code_1(folder, capsys, calls, monkeypatch):
    inner = nuts.fit

    def failing(*args, **keys):
        fit = inner(*args, **keys)
        return replace(fit, checks=(Check("r_hat", "fail", 2.0, 1.05, "chains differ"),))

    monkeypatch.setattr(nuts, "fit", failing)
    assert main(GM) == 1
    assert "chains differ" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--groups", "typicl"], "groups: 'typicl' is none of existing, population, typical"),
        (["--groups", "fim=typical"], "'fim' is not a group of this model; did you mean 'firm'?"),
        (["--groups", "firm=typical,firm=existing"], "--groups: firm is named twice"),
        (["--groups", "firm=typical,x"], "--groups: 'firm=typical,x' is to be one word, or"),
        (["--groups", "borrowed"], "borrow: say which level of firm lends its effects"),
        (["--groups", "borrowed", "--borrow", "IBN"], "borrow: 'IBN' is not a level of firm"),
        (["--borrow", "IBM"], "borrow has an effect with groups='borrowed' only"),
        (["--level", "95"], "level: a number between 0 and 1 is needed, not 95"),
        (["--engine", "rml"], "there is no engine 'rml'; did you mean 'reml'?"),
        (["--force"], "--force: has an effect with --out only"),
        (["--out", "p.txt"], "--out: predictions are saved as .csv, not 'p.txt'"),
        (["--out", "there/p.csv"], "--out: there is no folder there"),
        (["--set", "fit.gibbs.scheme=joint"], "--set fit.gibbs.scheme: nuts would make no use"),
        (["--new", "old.csv"], "--new: there is no file"),
        (["--new", "new.txt"], "a table is read from .csv, .parquet"),
        (["--new", "taken.csv"], "taken.csv: mean would stand there twice"),
        (["--new", "bad.csv"], "bad.csv: market_value must hold finite numbers, but row 2 holds"),
        (["--new", "bad.csv"], "bad.csv: 'General Motor' in row 1 is not a level of firm in the"),
        (["--new", "bad.csv"], "bad.csv: capital misses 1 of 2 values, first in row 1"),
        (["--new", "firmless.csv"], "a column 'firm', which is not there; new groups, with group"),
        (["--new", "empty.csv"], "empty.csv: there is a header but no row"),
    ],
)
def test_bad_input_is_refused_before_anything_is_fitted(words, message, folder, capsys, calls):
    Path("new.txt").write_text(NEW)
    Path("taken.csv").write_text("firm,market_value,capital,mean\nIBM,1,2,3\n")
    Path("bad.csv").write_text("firm,market_value,capital\nGeneral Motor,1,\nIBM,many,3\n")
    Path("firmless.csv").write_text("market_value,capital\n1,2\n")
    Path("empty.csv").write_text("firm,market_value,capital\n")
    before = set(folder.iterdir())
    assert main([*GM, *words]) == 2
    assert message in capsys.readouterr().err
    assert not calls
    assert set(folder.iterdir()) == before


def test_what_has_no_effect_on_a_run_is_refused(folder, capsys, calls, monkeypatch):
    run_quickly(monkeypatch, "grunfeld-slopes")
    refused = {
        ("--set", "fit.seed=3"): "--set: has no effect on the finished run",
        ("--configs", "."): "--configs: has no effect on the finished run",
        ("--engine", "ml"): "--engine: the run runs/grunfeld-slopes has no fit by ml (it has nuts",
    }
    for words, message in refused.items():
        assert main(["predict", "runs/grunfeld-slopes", "--new", "new.csv", *words]) == 2
        assert message in capsys.readouterr().err
    assert main(["predict", "./", "--new", "new.csv"]) == 2
    assert "not the folder of a finished run" in capsys.readouterr().err
