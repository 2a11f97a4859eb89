"""`hlm verify`: models held against the references in their files, badges, exit codes."""

import json
from pathlib import Path

import pytest

import hlm_models as hlm
from hlm_models.api.models import read_config
from hlm_models.cli import main
from hlm_models.errors import FitError, InputErrors
from hlm_models.zoo.badges import read_badges

MODEL = """schema: 1
name: m
data: {source: rail}
formula: travel ~ 1 + (1 | rail)
fit: {chains: 2, draws: 400, seed: 2}
reference:
  - engine: reml
    source: nlme
    values: {sigma: '4.0208', 'beta[Intercept]': '66.5', loglik: '-61.089'}
"""
QUICK = ["--engines", "reml,ml"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.yaml").write_text(MODEL)
    return tmp_path


def rewritten(folder, old, new, name="m"):
    text = MODEL.replace("name: m\n", f"name: {name}\n")
    assert old in text
    (folder / f"{name}.yaml").write_text(text.replace(old, new))


def verified(capsys, *arguments):
    code = main(["verify", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_model_that_meets_its_references_passes(folder, capsys):
    code, document = verified(capsys, "m.yaml", *QUICK)
    [model] = document["models"]
    assert code == 0
    assert (model["name"], model["status"], model["held"]) == ("m", "pass", 3)
    assert model["engines"] == ["reml", "ml"]
    assert 0 <= model["worst"] <= 1.001
    assert model["where"]["source"] == "nlme"
    assert document["absent"] == []
    assert document["badges"] is None
    assert not (folder / "runs").exists()


def test_one_that_does_not_fails_with_exit_1_and_says_where(folder, capsys):
    rewritten(folder, "4.0208", "4.0209", name="n")
    code, document = verified(capsys, "m.yaml", "n.yaml", *QUICK)
    assert code == 1
    assert [one["status"] for one in document["models"]] == ["pass", "fail"]
    assert main(["verify", "m.yaml", "n.yaml", *QUICK]) == 1
    out = " ".join(capsys.readouterr().out.split())
    assert "n: sigma by reml is 4.021, and 4.021 +- 5.000e-05 in: nlme" in out


def test_one_without_a_reference_is_none(folder, capsys):
    text = MODEL[: MODEL.index("reference:")]
    (folder / "m.yaml").write_text(text)
    code, document = verified(capsys, "m.yaml", *QUICK)
    assert code == 0
    assert document["models"][0] | {"seconds": 0} == {
        "name": "m",
        "status": "none",
        "worst": None,
        "where": None,
        "held": 0,
        "failed": [],
        "engines": ["reml", "ml"],
        "seconds": 0,
    }


@pytest.mark.parametrize("engine", ["reml", "ml"])
def test_one_whose_fit_fails_its_checks_fails(engine, folder, capsys):
    rewritten(folder, "fit:", "reml: {theta: [0.5]}\nfit:")
    code, document = verified(capsys, "m.yaml", "--engines", engine)
    assert code == 1
    assert document["models"][0]["status"] == "fail"
    assert document["models"][0]["failed"][0].startswith(f"{engine}: gradient: ")


def test_one_that_cannot_be_fitted_fails_and_the_others_are_verified(folder, capsys, monkeypatch):
    from hlm_models.engines import likelihood

    real = likelihood.fit

    def fit(spec, *arguments, **keywords):
        if spec.name == "m":
            raise FitError("no fit exists")
        return real(spec, *arguments, **keywords)

    rewritten(folder, "nlme", "nlme", name="n")
    monkeypatch.setattr(likelihood, "fit", fit)
    code, document = verified(capsys, "m.yaml", "n.yaml", "--engines", "reml")
    assert code == 1
    assert [one["status"] for one in document["models"]] == ["fail", "pass"]
    assert document["models"][0]["failed"] == ["reml: no fit exists"]


def test_every_engine_makes_a_badge_and_all_numbers_are_kept(folder, capsys):
    code, document = verified(capsys, "m.yaml", "--badges", "badges.json")
    assert code == 0
    assert document["badges"] == "badges.json"
    badge = read_badges(Path("badges.json"))["m"]
    assert badge.status == "pass"
    assert [one.engine for one in badge.estimates] == ["nuts", "gibbs", "reml", "ml"]
    parameters = ["beta[Intercept]", "sd_rail[Intercept]", "sigma"]
    for one in badge.estimates:
        assert list(one.parameters) == parameters
        mcse = [each.mcse for each in one.parameters.values()]
        assert all(mcse) if one.draws else not any(mcse)
    reml = badge.estimates[2].parameters["beta[Intercept]"]
    summary = hlm.summary(hlm.fit("m.yaml", engine="reml"))
    assert [reml.value, reml.error] == summary.loc["beta[Intercept]", ["estimate", "se"]].tolist()
    spec = hlm.build("m.yaml")
    assert badge.digest == spec.digest
    assert (badge.n, badge.p, dict(badge.groups)) == (18, 1, {"rail": 6})


def test_a_posterior_that_is_not_met_fails(folder, capsys):
    rewritten(
        folder,
        "reference:\n",
        "reference:\n  - {engine: posterior, source: Stan, values: "
        "{'beta[Intercept]': {mean: 90, mcse: 0.1}}}\n",
    )
    code, document = verified(capsys, "m.yaml", "--engines", "nuts")
    assert code == 1
    [model] = document["models"]
    assert (model["status"], model["held"]) == ("fail", 1)
    assert model["where"]["name"] == "beta[Intercept]"


def test_badges_of_some_engines_are_refused(folder, capsys):
    assert main(["verify", "m.yaml", *QUICK, "--badges", "b.json"]) == 2
    assert "badges are of all engines" in capsys.readouterr().err
    assert main(["verify", "m.yaml", "--engines", "remel"]) == 2
    assert "did you mean 'reml'?" in capsys.readouterr().err
    assert main(["verify", "m.yaml", "--engines", ""]) == 2
    assert "there is no engine ''" in capsys.readouterr().err


def test_a_file_that_holds_no_badges_is_refused_before_anything_is_fitted(folder, capsys):
    (folder / "thesis.json").write_text("years of work")
    assert main(["verify", "m.yaml", "--badges", "thesis.json"]) == 2
    assert "thesis.json: this is no file of badges" in capsys.readouterr().err
    assert (folder / "thesis.json").read_text() == "years of work"


@pytest.mark.parametrize("command", [["verify"], ["check"]])
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "sigma:",
            "sgima:",
            "m.yaml:9: reference.0.values.sgima: no parameter of the model by reml; did you mean "
            "'sigma'? (parameters: beta[Intercept], sd_rail[Intercept], sigma, se[Intercept], "
            "criterion, loglik, aic, bic)",
        ),
        (
            "engine: reml\n    source: nlme\n    values: {",
            "engine: posterior\n    source: nlme\n    values: {loglik: {mean: 1, mcse: 1}} # {",
            "m.yaml:9: reference.0.values.loglik: no parameter of the model by posterior "
            "(parameters: beta[Intercept], sd_rail[Intercept], sigma)",
        ),
        (
            "fit:",
            "priors: {sigma: {kind: uniform, lower: 0, upper: 10}}\nfit:",
            "",
        ),
    ],
)
def test_a_reference_to_nothing_is_told_with_file_and_line(
    command, old, new, message, folder, capsys
):
    rewritten(folder, old, new)
    code = main([*command, "m.yaml", *(QUICK if command == ["verify"] else [])])
    assert code == (2 if message else 0)
    assert message in capsys.readouterr().err


def test_a_reference_that_no_engine_can_meet_is_told(folder, capsys):
    (folder / "d.csv").write_text("y,g\n" + "".join(f"{i % 3}.{i},{i}\n" for i in range(8)))
    rewritten(
        folder,
        "data: {source: rail}\nformula: travel ~ 1 + (1 | rail)",
        "data: {source: {file: d.csv}}\nformula: y ~ 1 + (1 | g)",
    )
    assert main(["check", "m.yaml"]) == 2
    err = capsys.readouterr().err
    assert "reference.0.engine: no engine can meet it (reml: (1 | g) has 8 random effects" in err


def test_what_is_overridden_is_checked_without_the_references_of_the_file(folder, capsys):
    rewritten(folder, "sigma:", "sgima:")
    assert main(["check", "m.yaml", "--set", "fit.draws=100"]) == 0


def test_a_reference_changes_neither_the_model_nor_what_a_run_stores(folder):
    spec = hlm.build("m.yaml")
    rewritten(folder, "4.0208", "5.0000")
    other = hlm.build("m.yaml")
    assert spec.digest == other.digest
    assert spec.config == other.config
    assert "reference" not in spec.config
    first = hlm.run("m.yaml", engines=["reml"])
    rewritten(folder, "4.0208", "6.0000")
    again = hlm.run("m.yaml", engines=["reml"])
    assert again.reused
    assert again.folder == first.folder
    for file in first.folder.glob("*.[jy]*"):
        assert "nlme" not in file.read_text("utf-8")
    assert len(read_config("m.yaml")[0].reference) == 1


def test_show_tells_the_sources(folder, capsys):
    assert main(["show", "m.yaml"]) == 0
    assert "reml: nlme" in capsys.readouterr().out
    assert main(["show", "m.yaml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["references"] == [
        {"engine": "reml", "source": "nlme"}
    ]


@pytest.fixture
def small_zoo(folder, monkeypatch):
    """A zoo of two models, of one of which the data are not here."""
    from hlm_models.config import registry

    rewritten(
        folder,
        "data: {source: rail}\nformula: travel ~ 1 + (1 | rail)",
        "data: {source: nels}\nformula: mscore ~ 1 + (1 | school)",
        name="far",
    )
    monkeypatch.setattr(registry, "default_folders", lambda: (folder,))
    monkeypatch.setattr("hlm_models.api.models.default_folders", lambda: (folder,))
    monkeypatch.delenv("HLM_DATA", raising=False)


def test_models_without_their_data_are_told_and_the_exit_code_is_1(small_zoo, capsys):
    code, document = verified(capsys, *QUICK)
    assert code == 1
    assert [(one["name"], one["status"]) for one in document["models"]] == [("m", "pass")]
    assert document["absent"] == [{"name": "far", "why": "HLM_DATA names no folder with nels.csv"}]
    assert main(["verify", *QUICK]) == 1
    assert "far: not verified: HLM_DATA names no folder with nels.csv" in capsys.readouterr().out


def test_a_model_without_its_data_that_was_asked_for_is_bad_input(small_zoo, capsys):
    assert main(["verify", "far", *QUICK]) == 2
    assert "HLM_DATA is not set" in capsys.readouterr().err


def test_in_python_the_numbers_are_a_frame(folder):
    found = hlm.verify(["m.yaml"], engines=["reml"])
    frame = found.frame()
    assert not found.failed
    assert frame.columns.tolist() == [
        *("model", "engine", "name", "found", "reference", "tolerance", "units", "source")
    ]
    assert frame["name"].tolist() == ["sigma", "beta[Intercept]", "loglik"]
    assert (frame["units"] <= 1.001).all()
    assert hlm.verify([], engines=["reml"]).frame().empty
    with pytest.raises(InputErrors, match="name at least one engine"):
        hlm.verify(["m.yaml"], engines=[])
