"""The commands with canned draws in place of sampling: documents, folders, exit codes."""

import csv
import json
import os
import runpy
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import hlm_models as hlm
from hlm_models.api import runs
from hlm_models.cli import main
from hlm_models.config.schema import SCHEMA_FILE
from hlm_models.engines import likelihood, nuts
from hlm_models.errors import HlmError, InputErrors, ModelMismatchError
from hlm_models.parts import datasets
from hlm_models.results.checks import Check

ROOT = Path(__file__).parents[2]
canned_posterior = runpy.run_path(str(ROOT / "tests" / "report" / "canned.py"))["canned_posterior"]

MODEL = """\
schema: 1
name: mine
data: {source: {file: d.csv}}
formula: y ~ x + (x | g)
"""

COMMON = {
    *("model", "engine", "formula", "n", "p", "groups", "converged", "singular", "seed"),
    *("seconds", "beta", "random", "sigma", "checks"),
}
POINT = {
    *("criterion", "loglik", "aic", "aicc", "bic", "icc", "r2", "df_method", "vcov_beta", "theta"),
}
DRAWN = {"divergences", "parameterization", "sampler"}


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


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def quick_page(monkeypatch):
    """A page without figures, where the page is not what is tested."""
    pages = []

    def write(page, path):
        pages.append(page)
        path.write_text(f"page {len(pages)}")

    monkeypatch.setattr(runs, "write", write)
    return pages


@pytest.fixture
def own_model(folder):
    """A user's model file and its data, in a folder of their own."""
    home = folder / "home"
    home.mkdir()
    rng = np.random.default_rng(8)
    g, x = np.repeat(np.arange(8), 6), rng.normal(size=48)
    y = 2 + rng.normal(size=8)[g] + (0.5 + 0.5 * rng.normal(size=8)[g]) * x + rng.normal(size=48)
    lines = [f"{a:.4f},{b:.4f},g{c}" for a, b, c in zip(y, x, g, strict=True)]
    (home / "d.csv").write_text("\n".join(["y,x,g", *lines]) + "\n")
    (home / "mine.yaml").write_text(MODEL)
    return home / "mine.yaml"


def strict(text: str):
    """One JSON document, without the NaN and Infinity that Python would write."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def hlm_json(capsys):
    """Run `hlm ... --json`: the document, once stdout is known to hold nothing else."""

    def call(*arguments, code=0):
        capsys.readouterr()
        assert main([*arguments, "--json"]) == code
        return strict(capsys.readouterr().out)

    return call


# ---- list, show, check ----


def test_list_names_every_model_with_its_data_and_formula(capsys, hlm_json):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = hlm_json("list")["models"]
    assert [one["name"] for one in found] == list(hlm.list_models())
    assert [line.split()[0] for line in lines[2:]] == list(hlm.list_models())
    assert all(set(one) == {"name", "about", "formula", "source"} for one in found)
    assert all(one["formula"] in line for one, line in zip(found, lines[2:], strict=True))


def test_list_shows_further_folders_too(folder, own_model, hlm_json):
    found = hlm_json("list", "--configs", "home")["models"]
    [mine] = [one for one in found if one["name"] == "mine"]
    assert mine["source"] == "d.csv"


@pytest.mark.parametrize("model", hlm.list_models())
def test_show_has_the_contracts_keys_for_every_model(model, hlm_json, capsys):
    if model.startswith("nels") and "HLM_DATA" not in os.environ:
        pytest.skip("HLM_DATA is not set: no NELS file")
    found = hlm_json("show", model)
    assert {"model", "equations", "priors", "sizes", "engines"} <= set(found)
    assert found["model"] == model
    assert set(found["engines"]) == {"nuts", "gibbs", "reml", "ml"}
    assert found["engines"]["nuts"]["eligible"]
    assert all("auto" not in prior for prior in found["priors"].values())
    assert main(["show", model]) == 0
    text = capsys.readouterr().out
    assert all(prior in text and name in text for name, prior in found["priors"].items())


def test_show_says_which_engine_refuses_and_why(own_model, hlm_json, monkeypatch):
    monkeypatch.setattr("hlm_models.algebra.schur.DENSE", 1)
    found = hlm_json("show", "home/mine.yaml", "--set", "data.derive={h: x > 0}",
                     "--set", "formula=y ~ x + (1 | g) + (1 | h)")  # fmt: skip
    assert found["engines"]["nuts"] == {"eligible": True, "refusals": []}
    assert not found["engines"]["reml"]["eligible"]
    assert "one dense matrix" in found["engines"]["reml"]["refusals"][0]


def test_check_reads_several_models_and_fits_nothing(own_model, calls, capsys):
    assert main(["check", "dyestuff", "home/mine.yaml", "rail"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "dyestuff: 30 rows, 6 batch: ok",
        "home/mine.yaml: 48 rows, 8 g: ok",
        "rail: 18 rows, 6 rail: ok",
    ]
    assert err == ""
    assert not calls


def test_check_tells_all_problems_of_all_models_at_once(folder, own_model, capsys, hlm_json):
    (folder / "a.yaml").write_text(MODEL.replace("mine", "a") + "fit: {chains: 0, drws: 3}\n")
    names = ["a.yaml", "dyestuff", "rial", "home/mine.yaml"]
    own_model.write_text(MODEL.replace("x | g", "xx | g"))
    assert main(["check", *names]) == 2
    out, err = capsys.readouterr()
    assert out == "dyestuff: 30 rows, 6 batch: ok\n"
    messages = [line for line in err.splitlines() if not line.startswith("  ")]
    assert len(messages) == 4
    assert sum(line.startswith("  > ") for line in err.splitlines()) == 3
    found = hlm_json("check", *names, code=2)
    assert set(found) == {"problems"}
    assert all(set(one) == {"file", "line", "key", "message"} for one in found["problems"])
    assert [(one["file"], one["line"], one["key"]) for one in found["problems"]] == [
        ("a.yaml", 5, "fit.chains"),
        ("a.yaml", 5, "fit.drws"),
        ("", None, ""),
        ("home/mine.yaml", 4, "formula"),
    ]
    assert "did you mean 'rail'?" in found["problems"][2]["message"]


def test_check_of_a_sound_model_has_no_problems_in_json(hlm_json):
    assert hlm_json("check", "dyestuff") == {"problems": []}


# ---- fit ----


@pytest.mark.parametrize("engine", ["reml", "ml"])
def test_the_document_of_a_point_fit_has_every_key_of_the_contract(engine, hlm_json):
    found = hlm_json("fit", "sleepstudy-slopes", "--engine", engine)
    assert set(found) >= COMMON | POINT
    assert not DRAWN & set(found)
    assert (found["model"], found["engine"]) == ("sleepstudy-slopes", engine)
    assert found["criterion"].keys() == {"name", "value"}
    assert found["criterion"]["name"] == engine
    assert found["loglik"] == -found["criterion"]["value"] / 2
    assert (found["n"], found["p"], found["groups"]) == (180, 2, {"subject": 18})
    assert {"read", "build", "compile", "fit"} <= set(found["seconds"])
    row = {"name", "estimate", "se", "df", "statistic", "p", "lower", "upper"}
    assert all(set(one) >= row for one in found["beta"])
    assert [one["name"] for one in found["beta"]] == ["Intercept", "days"]
    assert np.shape(found["vcov_beta"]) == (2, 2)
    assert len(found["theta"]) == 3
    [random] = found["random"]
    assert set(random) >= {"group", "columns", "sd", "corr", "cov"}
    assert random["columns"] == ["Intercept", "days"]
    assert (np.shape(random["sd"]), np.shape(random["corr"]), np.shape(random["cov"])) == (
        (2,), (2, 2), (2, 2),
    )  # fmt: skip
    assert isinstance(found["sigma"], float)
    for one in found["checks"]:
        assert set(one) >= {"code", "status", "value", "threshold", "message"}
        assert one["status"] in ("pass", "warn", "fail")


def test_the_document_of_a_posterior_has_every_key_of_the_contract(calls, hlm_json):
    found = hlm_json("fit", "sleepstudy-slopes", "--engine", "nuts", "--set", "fit.seed=9")
    assert calls["nuts"] == 1
    assert set(found) >= COMMON | DRAWN
    assert not POINT & set(found)
    assert found["seed"] == 9
    assert {"read", "build", "compile", "fit"} <= set(found["seconds"])
    row = {"name", "mean", "sd", "lower", "upper", "ess_bulk", "ess_tail", "r_hat", "mcse_mean"}
    assert [one["name"] for one in found["beta"]] == ["Intercept", "days"]
    assert all(set(one) >= row for one in found["beta"])
    cell = {"mean", "sd", "ess_bulk", "r_hat"}
    [random] = found["random"]
    assert all(set(one) >= cell for one in [found["sigma"], *random["sd"]])
    for matrix in (random["corr"], random["cov"]):
        assert all(set(one) >= cell for line in matrix for one in line)
        assert np.shape(matrix) == (2, 2)
    assert random["corr"][0][0]["mean"] == 1
    assert random["corr"][0][0]["r_hat"] is None


def test_the_documents_of_several_models_are_one_list(hlm_json):
    found = hlm_json("fit", "dyestuff", "rail", "--engine", "reml")
    assert [one["model"] for one in found] == ["dyestuff", "rail"]


def test_a_singular_fit_is_a_warning_and_strict_json(hlm_json):
    found = hlm_json("fit", "dyestuff2", "--engine", "reml")
    assert found["singular"]
    assert found["converged"]
    assert [one["status"] for one in found["checks"] if one["code"] == "singular"] == ["warn"]


def test_fit_prints_the_summary_and_the_checks(capsys):
    assert main(["fit", "dyestuff", "--engine", "ml"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("dyestuff by ml: 30 rows, 6 batch\nyield ~ 1 + (1 | batch)\n")
    for word in (
        "beta[Intercept]",
        "sd_batch[Intercept]",
        "sigma",
        "deviance 327.3271",
        "singular",
    ):
        assert word in out
    assert err == ""


@pytest.mark.parametrize(("engine", "file"), [("reml", "fit.json"), ("nuts", "fit.nc")])
def test_a_fit_is_saved_and_can_be_loaded(engine, file, folder, calls, capsys):
    assert main(["fit", "dyestuff", "--engine", engine, "--out", file]) == 0
    found = hlm.load_fit(folder / file, hlm.build("dyestuff"))
    assert found.engine == engine
    assert [path.name for path in folder.iterdir()] == [file]
    assert main(["fit", "dyestuff", "--engine", engine, "--out", file]) == 2
    assert main(["fit", "dyestuff", "--engine", engine, "--out", file, "--force"]) == 0


@pytest.mark.parametrize(("status", "code"), [("fail", 1), ("warn", 0), ("pass", 0)])
@pytest.mark.parametrize("command", ["fit", "run"])
def test_only_a_failed_check_makes_exit_code_1(
    command, status, code, folder, quick_page, monkeypatch, capsys
):
    real = likelihood.fit

    def fit(*arguments, **keywords):
        check = Check("made_up", status, 2.0, 1.0, "made up")
        return replace(real(*arguments, **keywords), checks=(check,))

    monkeypatch.setattr(likelihood, "fit", fit)
    engine = ["--engine", "reml"] if command == "fit" else ["--engines", "reml"]
    assert main([command, "dyestuff", *engine]) == code
    assert "made_up" in capsys.readouterr().out
    assert main([command, "dyestuff", *engine, "--json"]) == code
    assert strict(capsys.readouterr().out)


# ---- run ----


def test_a_run_writes_its_folder_and_its_page(folder, calls, capsys):
    assert main(["run", "sleepstudy-slopes"]) == 0
    out, err = capsys.readouterr()
    [target] = [path for path in (folder / "runs").iterdir() if not path.is_symlink()]
    assert target.name.startswith("sleepstudy-slopes-")
    assert len(target.name.removeprefix("sleepstudy-slopes-")) == 8
    assert (folder / "runs" / "sleepstudy-slopes").resolve() == target.resolve()
    assert {path.name for path in (folder / "runs").iterdir()} == {target.name, "sleepstudy-slopes"}
    assert {path.name for path in target.iterdir()} == {
        *("config.yaml", "provenance.json", "run.json", "report.html"),
        *("fit-nuts.nc", "fit-reml.json", "summary-nuts.csv", "summary-reml.csv", "agreement.csv"),
    }
    assert f"Saved: runs/{target.name}" in out
    assert "Page: runs/sleepstudy-slopes/report.html" in out
    assert "Checks of nuts" in out
    assert err == ""
    assert calls == {"nuts": 1, "reml": 1}
    page = (target / "report.html").read_text()
    assert "<html" in page
    assert "sleepstudy-slopes" in page
    config = yaml.safe_load((target / "config.yaml").read_text())
    assert config["fit"]["draws"] == 1000
    provenance = strict((target / "provenance.json").read_text())
    assert {"seed", "versions", "digest", "seconds", "data"} <= set(provenance)
    assert provenance["data"]["rows"] == 180
    with (target / "summary-reml.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["parameter"] for row in rows] == [
        *("beta[Intercept]", "beta[days]", "sd_subject[Intercept]", "sd_subject[days]"),
        *("corr_subject[Intercept, days]", "sigma"),
    ]
    written = strict((target / "run.json").read_text())
    assert set(written["fits"]) == {"nuts", "reml"}


def test_the_document_of_a_run_has_every_key_of_the_contract(folder, calls, quick_page, hlm_json):
    found = hlm_json("run", "sleepstudy-slopes")
    assert set(found) >= {"fits", "agreement", "folder", "page"}
    assert set(found["fits"]["reml"]) >= COMMON | POINT
    assert set(found["fits"]["nuts"]) >= COMMON | DRAWN
    keys = {"parameter", "posterior", "reml", "d", "spread_ratio", "verdict", "why"}
    assert all(set(row) >= keys for row in found["agreement"])
    assert all(set(row["posterior"]) == {"mean", "sd"} for row in found["agreement"])
    assert all(set(row["reml"]) == {"estimate", "se"} for row in found["agreement"])
    assert len(found["agreement"]) == 6
    assert Path(found["folder"]).is_dir()
    assert Path(found["page"]).is_file()


def test_a_run_on_the_boundary_is_strict_json(folder, calls, quick_page, hlm_json):
    found = hlm_json("run", "dyestuff2")
    [row] = [row for row in found["agreement"] if row["verdict"] == "boundary"]
    assert row["d"] is None
    assert row["reml"]["se"] is None


def test_several_runs_are_one_list(folder, calls, quick_page, hlm_json):
    found = hlm_json("run", "dyestuff", "rail", "--engines", "reml")
    assert [one["fits"]["reml"]["model"] for one in found] == ["dyestuff", "rail"]


def test_a_finished_run_is_reused_and_says_so(folder, calls, quick_page, capsys, hlm_json):
    assert main(["run", "dyestuff"]) == 0
    assert "Saved: " in capsys.readouterr().out
    before = {path.name: path.read_bytes() for path in (folder / "runs" / "dyestuff").iterdir()}
    assert main(["run", "dyestuff"]) == 0
    assert "reused" in capsys.readouterr().out
    assert hlm_json("run", "dyestuff")["reused"]
    assert calls == {"nuts": 1, "reml": 1}
    after = {path.name: path.read_bytes() for path in (folder / "runs" / "dyestuff").iterdir()}
    assert after == before


def test_a_reused_run_gives_the_same_numbers(folder, calls, quick_page, hlm_json):
    first, again = hlm_json("run", "dyestuff"), hlm_json("run", "dyestuff")
    assert again.pop("reused")
    assert not first.pop("reused")
    assert again == first


def test_force_computes_anew_in_the_same_folder(folder, calls, quick_page, hlm_json):
    first = hlm_json("run", "dyestuff")
    again = hlm_json("run", "dyestuff", "--force")
    assert not again["reused"]
    assert again["folder"] == first["folder"]
    assert calls == {"nuts": 2, "reml": 2}
    assert sorted(path.name for path in (folder / "runs").iterdir()) == [
        "dyestuff", Path(first["folder"]).name,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        ["--set", "fit.seed=2"],
        ["--set", "fit.draws=500"],
        ["--set", "priors.sigma.kind=half_normal"],
        ["--engines", "reml"],
        ["--log-likelihood"],
    ],
    ids=" ".join,
)
def test_another_setting_is_another_folder(change, folder, calls, quick_page, hlm_json):
    first, other = hlm_json("run", "dyestuff"), hlm_json("run", "dyestuff", *change)
    assert not other["reused"]
    assert other["folder"] != first["folder"]
    assert (folder / "runs" / "dyestuff").resolve() == (folder / other["folder"]).resolve()
    assert hlm_json("run", "dyestuff")["reused"]
    assert (folder / "runs" / "dyestuff").resolve() == (folder / first["folder"]).resolve()


def test_the_number_of_processors_does_not_change_the_folder(folder, calls, quick_page, hlm_json):
    first = hlm_json("run", "dyestuff", "--engines", "reml")
    other = hlm_json("run", "dyestuff", "--engines", "reml", "--set", "fit.cores=1")
    assert other["reused"]
    assert other["folder"] == first["folder"]


def test_an_out_folder_is_used_as_named(folder, calls, quick_page, hlm_json):
    found = hlm_json("run", "dyestuff", "--engines", "reml", "--out", "deep/there")
    assert found["folder"] == "deep/there"
    assert (folder / "deep" / "there" / "run.json").is_file()
    assert not (folder / "runs").exists()


def test_an_out_folder_of_a_run_is_replaced_with_force(folder, calls, quick_page, hlm_json):
    hlm_json("run", "dyestuff", "--engines", "reml", "--out", "there")
    (folder / "there" / "old.txt").write_text("from the first run")
    hlm_json("run", "rail", "--engines", "reml", "--out", "there", "--force")
    assert hlm.load_run(folder / "there").spec.name == "rail"
    assert not (folder / "there" / "old.txt").exists()
    assert [path.name for path in folder.iterdir()] == ["there"]


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt(), ValueError("a bug")])
def test_an_interrupted_write_leaves_no_half_folder(error, folder, calls, monkeypatch):
    def write(page, path):
        path.write_text("half a page")
        raise error

    monkeypatch.setattr(runs, "write", write)
    if isinstance(error, KeyboardInterrupt):
        assert main(["run", "dyestuff", "--engines", "reml"]) == 130
    else:
        with pytest.raises(type(error)):
            hlm.run("dyestuff", engines=["reml"])
    assert list(folder.rglob("*")) in ([], [folder / "runs"])


def test_an_interrupted_write_leaves_the_old_run(folder, calls, quick_page, hlm_json, monkeypatch):
    first = hlm_json("run", "dyestuff", "--engines", "reml")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def write(page, path):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "write", write)
    assert main(["run", "dyestuff", "--engines", "reml", "--force"]) == 130
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert hlm_json("run", "dyestuff", "--engines", "reml")["folder"] == first["folder"]


def test_something_of_the_users_in_place_of_the_link_is_left_alone(folder, quick_page, hlm_json):
    (folder / "runs").mkdir()
    (folder / "runs" / "dyestuff").write_text("mine")
    found = hlm_json("run", "dyestuff", "--engines", "reml")
    assert (folder / "runs" / "dyestuff").read_text() == "mine"
    assert Path(found["page"]).is_file()


# ---- report and load_run ----


def test_report_writes_the_page_again_without_fitting(folder, calls, quick_page, capsys, hlm_json):
    assert main(["run", "dyestuff"]) == 0
    page = folder / "runs" / "dyestuff" / "report.html"
    page.unlink()
    calls.clear()
    capsys.readouterr()
    assert main(["report", "runs/dyestuff"]) == 0
    assert capsys.readouterr().out == "runs/dyestuff/report.html\n"
    assert page.read_text() == "page 2"
    assert hlm_json("report", "runs/dyestuff") == {"page": "runs/dyestuff/report.html"}
    assert not calls
    first, again, _ = quick_page
    assert again.agreement.rows == first.agreement.rows
    assert again.provenance == first.provenance


def test_a_loaded_run_has_the_same_numbers_bit_for_bit(folder, calls, quick_page):
    first = hlm.run("sleepstudy-slopes")
    found = hlm.load_run(first.folder)
    assert found.reused
    assert found.spec.digest == first.spec.digest
    np.testing.assert_array_equal(found.fits["reml"].beta, first.fits["reml"].beta)
    for name, values in first.fits["nuts"].data["posterior"].data_vars.items():
        np.testing.assert_array_equal(found.fits["nuts"].data["posterior"][name], values)
    assert found.agreement.rows == first.agreement.rows
    documents = [run.document() | {"reused": None} for run in (first, found)]
    assert documents[0] == documents[1]


def test_a_run_of_a_users_file_reloads_from_another_folder(
    folder, own_model, calls, quick_page, monkeypatch, capsys
):
    assert main(["run", "home/mine.yaml"]) == 0
    target = (folder / "runs" / "mine").resolve()
    (folder / "away").mkdir()
    monkeypatch.chdir(folder / "away")
    assert hlm.load_run(target).fits["reml"].spec.name == "mine"
    assert main(["report", str(target)]) == 0


def test_a_run_of_a_users_file_is_found_again_by_another_path(
    folder, own_model, calls, quick_page, hlm_json, monkeypatch
):
    first = hlm_json("run", "home/mine.yaml")
    assert hlm_json("run", str(own_model.resolve()))["folder"] == first["folder"]
    assert calls == {"nuts": 1, "reml": 1}


def test_a_run_is_refused_when_its_data_have_changed(folder, own_model, calls, quick_page, capsys):
    assert main(["run", "home/mine.yaml"]) == 0
    data = own_model.with_name("d.csv")
    lines = data.read_text().splitlines()
    data.write_text("\n".join([lines[0], "9.9,0.1,g0", *lines[2:]]) + "\n")
    capsys.readouterr()
    with pytest.raises(ModelMismatchError):
        hlm.load_run(folder / "runs" / "mine")
    assert main(["report", "runs/mine"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "other data" in err
    assert "Traceback" not in err


def test_changed_data_are_another_run(folder, own_model, calls, quick_page, hlm_json):
    first = hlm_json("run", "home/mine.yaml")
    data = own_model.with_name("d.csv")
    data.write_text(data.read_text().replace("g7", "g9"))
    assert hlm_json("run", "home/mine.yaml")["folder"] != first["folder"]


@pytest.mark.parametrize("file", ["config.yaml", "provenance.json", "fit-reml.json"])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_a_damaged_run_is_refused_with_a_message(file, damage, folder, quick_page, capsys):
    hlm.run("dyestuff", engines=["reml"])
    path = folder / "runs" / "dyestuff" / file
    if damage == "missing":
        path.unlink()
    else:
        half = path.read_text()[: path.stat().st_size // 2]
        # Half of a YAML file may be a whole one.
        cut = "schema: [1" if file == "config.yaml" else half
        path.write_text(cut if damage == "truncated" else "")
    capsys.readouterr()
    with pytest.raises(HlmError) as caught:
        hlm.load_run(folder / "runs" / "dyestuff")
    assert file in str(caught.value)
    assert main(["report", "runs/dyestuff"]) == 2


# ---- schema and data ----


def test_schema_prints_the_committed_schema(capsys):
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == (ROOT / "configs" / SCHEMA_FILE).read_text()


def test_data_list_names_every_dataset_with_source_and_licence(capsys, hlm_json):
    found = hlm_json("data", "list")["datasets"]
    assert [one["name"] for one in found] == list(datasets.names())
    keys = {"name", "title", "about", "source", "taken_from", "licence", "rows", "groups"}
    assert all(set(one) >= keys | {"bundled", "columns"} for one in found)
    assert all(one["source"] and one["licence"] for one in found)
    assert {one["name"] for one in found if not one["bundled"]} == {"nels"}
    assert main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(datasets.names())


def test_data_export_writes_the_rows_as_csv(folder, capsys):
    assert main(["data", "export", "sleepstudy"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    rows = list(csv.DictReader(out.splitlines()))
    assert len(rows) == 180
    assert list(rows[0]) == ["reaction", "days", "subject"]
    assert main(["data", "export", "sleepstudy", "--out", "s.csv"]) == 0
    assert capsys.readouterr().out == ""
    assert (folder / "s.csv").read_text() == out
    assert main(["data", "export", "rail", "--out", "s.csv"]) == 2
    assert "--force" in capsys.readouterr().err
    assert (folder / "s.csv").read_text() == out
    assert main(["data", "export", "rail", "--out", "s.csv", "--force"]) == 0
    assert len((folder / "s.csv").read_text().splitlines()) == 19


def test_an_exported_dataset_is_the_same_model_when_read_back(folder, capsys):
    assert main(["data", "export", "sleepstudy", "--out", "s.csv"]) == 0
    again = hlm.build("sleepstudy-slopes", overrides=[f"data.source={{file: {folder / 's.csv'}}}"])
    assert again.digest == hlm.build("sleepstudy-slopes").digest


def test_data_that_are_not_bundled_need_hlm_data(folder, monkeypatch, capsys):
    monkeypatch.delenv("HLM_DATA", raising=False)
    for arguments in (["data", "export", "nels"], ["data", "export", "nels", "--out", "n.csv"]):
        assert main(arguments) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("data.source: HLM_DATA is not set. ")
        assert len(err.splitlines()) == 1
    assert main(["data", "export", "nells"]) == 2
    assert "did you mean 'nels'?" in capsys.readouterr().err
    assert list(folder.iterdir()) == []


def test_help_is_printed_on_request(capsys):
    assert main(["--help"]) == 0
    out, err = capsys.readouterr()
    assert "Usage: hlm" in out
    for name in ("list", "show", "check", "run", "fit", "report", "schema", "data"):
        assert name in out
    assert err == ""


def test_the_python_functions_take_paths_as_text(folder, quick_page):
    ref = hlm.fit("dyestuff", engine="reml")
    hlm.save_fit(ref, "fit.json")
    assert hlm.load_fit("fit.json", ref.spec).criterion == ref.criterion
    run = hlm.run("dyestuff", engines=["reml"], out="there")
    assert hlm.load_run("there").fits["reml"].criterion == ref.criterion
    hlm.write_report(run, "page.html")
    with pytest.raises(InputErrors):
        hlm.load_run("nowhere")
