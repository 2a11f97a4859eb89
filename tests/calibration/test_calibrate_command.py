"""`hlm calibrate`: its document, its page, exit codes and refusals."""

import json

import pytest
from toys import PRIORS, Toy, engine, model

import hlm_models as hlm
from hlm_models.api import calibration as api
from hlm_models.calibration.simulations import Simulations
from hlm_models.cli import main

MODEL = """\
schema: 1
name: toy
data: {source: {file: d.csv}}
formula: y ~ 1 + (1 | g)
priors: %s
"""
KEYS = {
    *("model", "engine", "formula", "simulations", "failed", "seed", "ranks", "error", "level"),
    *("settings", "quantities", "failures", "checks"),
}


@pytest.fixture
def file(tmp_path):
    spec = model()
    rows = zip(spec.design.y, "aaabbbcccddd", strict=True)
    (tmp_path / "d.csv").write_text("y,g\n" + "".join(f"{y},{g}\n" for y, g in rows))
    (tmp_path / "toy.yaml").write_text(MODEL % json.dumps(PRIORS))
    return str(tmp_path / "toy.yaml")


@pytest.fixture
def toy(monkeypatch):
    """Puts a toy in the place of the engine that is named."""

    def put(one):
        monkeypatch.setattr(api, "require", lambda *_, drawing: engine(one))

    return put


def test_the_document_and_the_page(file, toy, tmp_path, capsys):
    toy(Toy(fails=True))
    page = tmp_path / "page.html"
    words = ["calibrate", file, "--simulations", "20", "--seed", "5", "--json", "--out", str(page)]
    assert main(words) == 1
    out = capsys.readouterr()
    found = json.loads(out.out)
    assert set(found) == KEYS
    assert (found["model"], found["simulations"], found["seed"]) == ("toy", 20, 5)
    assert found["failed"] == len(found["failures"]) > 0
    assert out.err == ""
    assert page.read_text().startswith("<!DOCTYPE html>")
    # The same in Python.
    assert found == hlm.calibrate(file, simulations=20, seed=5).document()
    assert main(words) == 2
    assert f"--out: {page} exists" in capsys.readouterr().err
    assert main([*words, "--force"]) == 1


def test_exit_codes_tell_a_wrong_sampler_from_a_right_one(file, toy, capsys):
    toy(Toy())
    assert main(["calibrate", file, "--simulations", "60"]) == 0
    out = capsys.readouterr().out
    assert "60 simulations, seed 1, 2 chains of 250 draws" in out
    assert "log likelihood" in out
    toy(Toy(sigma_df=-6, fails=True))
    assert main(["calibrate", file, "--simulations", "60"]) == 1
    out = " ".join(capsys.readouterr().out.split())  # lines are broken where the table is wide
    assert "quantities whose ranks are not uniform (" in out
    assert "<b>too large</b> & more" in out


def test_settings_folder_and_seed_are_used(file, toy, tmp_path, capsys):
    one = Toy()
    toy(one)
    words = ["calibrate", file, "--simulations", "20", "--folder", str(tmp_path / "kept"), "--json"]
    changes = ["--set", "fit.draws=140", "--set", "fit.seed=9"]
    assert main([*words, *changes]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["seed"], found["settings"]["draws"]) == (9, 140)
    assert one.asked.count(140) == 20
    one.asked.clear()
    assert main([*words, *changes]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert one.asked == []
    assert main(words) == 2
    assert "simulations of another model, engine, seed or settings" in capsys.readouterr().err


REFUSED = [
    (["--engine", "reml"], "engine: reml has no draws"),
    (["--engine", "nutz"], "there is no engine 'nutz'; did you mean 'nuts'?"),
    (["--simulations", "19"], "simulations: a whole number of at least 20 is needed"),
    (["--workers", "0"], "workers: a whole number of at least 1 is needed"),
    (["--seed", "-1"], "seed: a whole number from 0 on is needed"),
    (["--force"], "--force: has an effect with --out only"),
    (["--out", "page.pdf"], "--out: a page is saved as .html"),
    (["--out", "nowhere/page.html"], "--out: there is no folder nowhere"),
    (["--set", "priors.sigma={kind: flat}"], "priors: sigma has an improper prior"),
    (["--set", "fit.chains=1", "--set", "fit.draws=50"], "fit.draws: 1 chains of 50 draws"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_bad_input_is_refused_before_anything_is_fitted(file, words, message, capsys, monkeypatch):
    monkeypatch.setattr(Simulations, "row", None)
    assert main(["calibrate", file, *words]) == 2
    out = capsys.readouterr()
    assert message in out.err
    assert "Traceback" not in out.err
    assert out.out == ""


def test_nuts_itself_by_name(capsys):
    assert main(["calibrate", "dyestuff", "--simulations", "20", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["engine"] == "nuts"
    assert {one["name"] for one in found["quantities"]} >= {"sigma", "sd_batch[Intercept]"}
    assert found["failed"] == 0
