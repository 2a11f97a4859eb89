"""`hlm prior`, and what `hlm run` says of prior and data; with canned draws in place of NUTS."""

import json
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.cli import main
from hlm_models.engines import likelihood, nuts

ROOT = Path(__file__).parents[2]
canned_posterior = runpy.run_path(str(ROOT / "tests" / "report" / "canned.py"))["canned_posterior"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_prints_every_quantity_of_the_summary(folder, capsys):
    assert main(["prior", "sleepstudy-slopes", "--draws", "200", "--seed", "5"]) == 0
    out = capsys.readouterr().out
    found = hlm.prior_summary("sleepstudy-slopes", 200, seed=5)
    lines = {line.split("  ")[0]: line.split() for line in out.splitlines() if line}
    for name, row in found.iterrows():
        assert str(name) in lines
        assert f"{row['median']:.4g}"[:4] in " ".join(lines[str(name)])
    assert "200 draws from the prior, seed 5" in out
    assert not list(folder.iterdir())


def test_findings_are_said_below_the_table(folder, capsys):
    narrow = "priors.groups.subject={kind: lkj, eta: 300}"
    assert main(["prior", "sleepstudy-slopes", "--draws", "200", "--set", narrow]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "corr_subject[Intercept, days]: 90% of the draws lie between" in out


def test_one_document_and_a_page(folder, capsys):
    words = ["prior", "sleepstudy-slopes", "--draws", "100", "--out", "p.html", "--json"]
    assert main(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert {"model", "draws", "responses", "seed", "quantities", "page"} == set(document)
    assert document["draws"] == 100
    keys = {"name", "mean", "median", "lower", "upper", "observed", "finding"}
    assert all(set(one) == keys for one in document["quantities"])
    assert "What do the priors say" in Path(document["page"]).read_text("utf-8")
    assert main(words) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*words, "--force"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "p.pdf"], ".html"),
        (["--out", "there/p.html"], "there is no folder there"),
        (["--force"], "--out"),
        (["--set", "priors={preset: flat}"], "preset: weak"),
        (["--draws", "1"], "--draws"),
    ],
)
def test_bad_input_is_refused_with_the_repair(words, message, folder, capsys):
    assert main(["prior", "sleepstudy-slopes", *words]) == 2
    assert message in capsys.readouterr().err
    assert not list(folder.iterdir())


@pytest.fixture
def canned(monkeypatch):
    real = likelihood.fit

    def drawn(spec, settings, progress, *, with_log_likelihood=False):
        ref = real(spec, settings, progress, reml=True)
        fit = canned_posterior(spec, ref, np.random.default_rng(1), draws=200, replicates=20)
        return replace(fit, seconds={**spec.seconds, **fit.seconds}, seed=settings.seed)

    monkeypatch.setattr(nuts, "fit", drawn)


def test_a_run_keeps_its_sensitivity(canned, folder, capsys):
    assert main(["run", "dyestuff", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    names = ["beta[Intercept]", "sd_batch[Intercept]", "sigma"]
    assert [one["parameter"] for one in document["sensitivity"]] == names
    keys = {"parameter", "prior", "likelihood", "diagnosis", "tail", "overlap", "width"}
    assert all(set(one) == keys for one in document["sensitivity"])
    codes = [one["code"] for one in document["fits"]["nuts"]["checks"]]
    assert codes[-2:] == ["prior_data_conflict", "prior_sensitivity"]
    assert "prior_data_conflict" not in str(document["fits"]["reml"]["checks"])
    found = hlm.load_run(document["folder"])
    assert [row.parameter for row in found.sensitivity] == names
    assert found.document()["sensitivity"] == document["sensitivity"]
    assert "Prior and posterior" in found.page.read_text("utf-8")


def test_a_run_without_draws_has_none(folder, capsys):
    assert main(["run", "dyestuff", "--engines", "reml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sensitivity"] == []


def test_a_conflict_is_a_warning_and_no_failure(canned, folder, capsys):
    tight = "priors.beta={kind: normal, loc: 1400, scale: 20}"
    assert main(["run", "dyestuff", "--engines", "nuts", "--set", tight]) == 0
    out = capsys.readouterr().out
    assert any("warn" in line and "prior_data_conflict" in line for line in out.splitlines())
