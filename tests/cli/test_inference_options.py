"""`hlm fit` with tests and intervals: the Python functions' numbers, in print and in JSON."""

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.cli import main
from hlm_models.cli.progress import shown
from hlm_models.inference import bootstrap as bootstrap_module
from hlm_models.results.progress import Step

REML = ("--engine", "reml")
GROWTH = """\
schema: 1
name: growth
data: {source: orthodont}
formula: distance ~ sex*age + (1 | subject)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "growth.yaml").write_text(GROWTH)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def printed(capsys):
    def call(*arguments, code=0):
        capsys.readouterr()
        assert main(["fit", *arguments]) == code
        return capsys.readouterr().out

    return call


@pytest.fixture
def document(printed):
    def call(*arguments):
        return json.loads(printed(*arguments, "--json"))

    return call


@pytest.fixture
def refused(folder, capsys):
    """The last line of the message of a fit that must fail and leave no file."""

    def call(*arguments, code=2):
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        capsys.readouterr()
        assert main(["fit", *arguments]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert "Traceback" not in err
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
        return err.splitlines()[-1]

    return call


def section(text, heading):
    """The lines of the table under a heading, its head and rule left out."""
    block = next(piece for piece in text.split("\n\n") if piece.startswith(heading))
    return [line.split() for line in block.splitlines()[3:]]


# ---- without options ----


def test_a_plain_fit_has_satterthwaites_df_and_shares_of_the_variance(printed, document):
    fit = hlm.fit("pastes", engine="reml")
    found = document("pastes", *REML)
    assert found["df_method"] == "satterthwaite"
    assert not {"anova", "intervals"} & set(found)
    assert found["aicc"] == fit.aicc
    assert found["icc"] == hlm.icc(fit).reset_index().to_dict("records")
    assert [row["group"] for row in found["icc"]] == [
        *(block.group for block in fit.spec.blocks),
        "all groups",
    ]
    assert found["r2"] == {
        "marginal": hlm.r2(fit).marginal,
        "conditional": hlm.r2(fit).conditional,
    }
    text = printed("pastes", *REML)
    assert f"AICc {fit.aicc:.2f}, BIC {fit.bic:.2f}\n" in text
    together = hlm.icc(fit).loc["all groups", "adjusted"]
    assert f"ICC {together:.3f}, R2 marginal 0.000, conditional {together:.3f}" in text
    assert "Degrees of freedom" not in text


def test_an_aicc_of_too_few_rows_is_null(folder, document):
    (folder / "d.csv").write_text("y,g\n1,a\n2,a\n4,b\n7,b\n3,c\n")
    text = GROWTH.replace("orthodont", "{file: d.csv}").replace("growth", "few")
    text = text.replace("distance ~ sex*age + (1 | subject)", "y ~ 1 + (1 | g)")
    (folder / "few.yaml").write_text(text)
    assert document("few.yaml", *REML)["aicc"] is None


# ---- degrees of freedom and type III tests ----


def test_kenward_roger_changes_the_rows_of_the_coefficients(printed, document):
    fit = hlm.fit("grunfeld-intercept", engine="reml")
    plain = document("grunfeld-intercept", *REML)
    found = document("grunfeld-intercept", *REML, "--df", "kenward-roger")
    assert found["df_method"] == "kenward-roger"
    for row, test in zip(
        found["beta"], hlm.coefficient_tests(fit, df="kenward-roger").rows, strict=True
    ):
        assert row["name"] == test.name
        assert row["estimate"] == test.estimate
        for key in ("se", "df", "lower", "upper", "p"):
            assert row[key] == pytest.approx(getattr(test, key), rel=1e-12), key
        assert row["statistic"] == pytest.approx(test.t, rel=1e-12)
    np.testing.assert_allclose(
        np.sqrt(np.diag(found["vcov_beta"])), [row["se"] for row in found["beta"]], rtol=1e-14
    )
    changed = {"beta", "vcov_beta", "df_method"}
    same = set(found) - changed - {"seconds"}
    assert {key: found[key] for key in same} == {key: plain[key] for key in same}
    assert all(found[key] != plain[key] for key in changed)
    text = printed("grunfeld-intercept", *REML, "--df", "kenward-roger")
    assert "Degrees of freedom of the coefficients: kenward-roger" in text
    [row] = [line.split() for line in text.splitlines() if line.startswith("beta[market_value]")]
    assert row[3] == "127.6"


def test_satterthwaite_may_be_asked_for_by_name(document):
    plain = document("grunfeld-intercept", *REML)
    found = document("grunfeld-intercept", *REML, "--df", "satterthwaite")
    assert found["beta"] == plain["beta"]
    assert found["df_method"] == "satterthwaite"


@pytest.mark.parametrize("df", ["satterthwaite", "kenward-roger"])
def test_anova_gives_the_type_three_tests_of_the_method(df, printed, document):
    expected = hlm.anova(hlm.fit("growth.yaml", engine="reml"), df=df)
    found = document("growth.yaml", *REML, "--anova", "--df", df)
    assert found["anova"] == [
        {"term": term, "num_df": one.num_df, "den_df": one.den_df, "F": one.F, "p": one.p}
        for term, one in zip(expected.terms, expected.tests, strict=True)
    ]
    assert found["df_method"] == df
    lines = section(printed("growth.yaml", *REML, "--anova", "--df", df), "Type III tests")
    assert [line[0] for line in lines] == ["sex", "age", "sex:age"]
    assert [float(line[3]) for line in lines] == pytest.approx(
        [one.F for one in expected.tests], rel=1e-3
    )


def test_anova_of_an_ml_fit_is_by_satterthwaite(document):
    expected = hlm.anova(hlm.fit("growth.yaml", engine="ml"))
    found = document("growth.yaml", "--engine", "ml", "--anova")
    assert [row["F"] for row in found["anova"]] == [one.F for one in expected.tests]


def test_anova_of_an_intercept_alone_is_empty(printed, document):
    assert document("dyestuff", *REML, "--anova")["anova"] == []
    assert "Type III tests: none" in printed("dyestuff", *REML, "--anova")


# ---- intervals ----


def test_profile_intervals_of_every_parameter(printed, document):
    fit = hlm.fit("dyestuff", engine="reml")
    found = document("dyestuff", *REML, "--intervals", "profile")["intervals"]
    assert (found["kind"], found["level"]) == ("profile", 0.95)
    expected = hlm.profile(fit).curves
    assert [row["name"] for row in found["rows"]] == list(hlm.summary(fit).index)
    for row, curve in zip(found["rows"], expected, strict=True):
        assert row == {
            key: getattr(curve, key) for key in ("name", "estimate", "lower", "upper", "note")
        }
    lines = section(
        printed("dyestuff", *REML, "--intervals", "profile"), "95% profile intervals (estimates by"
    )
    assert [line[0] for line in lines] == [row["name"] for row in found["rows"]]


def test_a_bound_inside_the_interval_is_said(printed):
    text = printed("dyestuff2", *REML, "--intervals", "profile")
    assert "the interval reaches the bound 0" in text


def test_bootstrap_intervals_are_percentiles_of_the_seed(printed, document):
    fit = hlm.fit("dyestuff", engine="reml", seed=9)
    options = ("--intervals", "bootstrap", "--bootstrap-draws", "30", "--set", "fit.seed=9")
    found = document("dyestuff", *REML, *options)["intervals"]
    expected = hlm.bootstrap(fit, 30, seed=9)
    assert (found["kind"], found["level"], found["draws"]) == ("bootstrap", 0.95, 30)
    assert (found["failed"], found["singular"]) == (expected.failed, expected.singular)
    assert [row["name"] for row in found["rows"]] == list(expected.names)
    for row in found["rows"]:
        assert (row["lower"], row["upper"]) == expected.interval(row["name"])
        assert row["note"] == ""
    other = document("dyestuff", *REML, *options[:-1], "fit.seed=8")["intervals"]
    assert other["rows"] != found["rows"]
    text = printed("dyestuff", *REML, *options)
    heading = f"(percentiles; 30 draws, 0 failed, {expected.singular} singular)"
    assert f"95% bootstrap intervals {heading}" in text
    assert len(section(text, "95% bootstrap")) == 3


def test_a_parameter_that_is_undefined_in_some_draws_says_how_many_it_rests_on(
    document, monkeypatch
):
    real = bootstrap_module._Refits.row

    def row(self, index):
        found = real(self, index)
        return np.full_like(found, np.nan) if index == 3 else found

    monkeypatch.setattr(bootstrap_module._Refits, "row", row)
    options = ("--intervals", "bootstrap", "--bootstrap-draws", "10")
    found = document("dyestuff", *REML, *options)["intervals"]
    assert found["failed"] == 1
    assert {row["note"] for row in found["rows"]} == {"from 9 of 10 draws"}


def test_a_resumed_bootstrap_makes_only_what_is_missing(folder, document, monkeypatch):
    made = []
    real = bootstrap_module._Refits.row

    def row(self, index):
        made.append(index)
        return real(self, index)

    monkeypatch.setattr(bootstrap_module._Refits, "row", row)
    options = (*REML, "--intervals", "bootstrap", "--resume", "boot", "--bootstrap-draws")
    document("dyestuff", *options, "6")
    again = document("dyestuff", *options, "10")["intervals"]
    assert made == list(range(10))
    assert len((folder / "boot" / "draws.jsonl").read_text().splitlines()) == 11
    whole = document("dyestuff", *options[:4], "--bootstrap-draws", "10")["intervals"]
    assert again == whole


@pytest.mark.slow
def test_worker_processes_of_the_command_change_no_number(folder, document):
    options = ["dyestuff", *REML, "--intervals", "bootstrap", "--bootstrap-draws", "8"]
    alone = document(*options)["intervals"]
    run = subprocess.run(
        [sys.executable, "-m", "hlm_models", "fit", *options, "--workers", "2", "--json"],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
    )
    spread = json.loads(run.stdout)["intervals"]
    for one, other in zip(alone["rows"], spread["rows"], strict=True):
        assert [other[key] for key in ("lower", "upper")] == pytest.approx(
            [one[key] for key in ("lower", "upper")], rel=1e-6
        )


def test_all_options_at_once_beside_a_saved_fit(folder, document):
    options = ("--df", "kenward-roger", "--anova", "--intervals", "profile", "--out", "fit.json")
    found = document("growth.yaml", *REML, *options)
    assert {"df_method", "anova", "intervals"} <= set(found)
    saved = hlm.load_fit("fit.json", hlm.build("growth.yaml"))
    plain = hlm.fit("growth.yaml", engine="reml")
    np.testing.assert_array_equal(saved.vcov_beta, plain.vcov_beta)
    np.testing.assert_array_equal(saved.df, plain.df)


# ---- refusals ----


WITHOUT_EFFECT = {
    "df of draws": (("--df", "kenward-roger"), "--df: nuts gives a posterior"),
    "df of the default engine": (("--df", "satterthwaite"), "--df: nuts gives a posterior"),
    "anova of draws": (("--engine", "nuts", "--anova"), "--anova: nuts gives a posterior"),
    "intervals of draws": (
        ("--engine", "nuts", "--intervals", "bootstrap", "--workers", "2"),
        "--intervals, --workers: nuts gives a posterior",
    ),
    "draws of no bootstrap": (
        (*REML, "--bootstrap-draws", "50"),
        "--bootstrap-draws: has an effect with --intervals bootstrap only",
    ),
    "workers of a profile": (
        (*REML, "--intervals", "profile", "--workers", "2"),
        "--workers: has an effect with --intervals bootstrap only",
    ),
    "a folder of no bootstrap": (
        (*REML, "--anova", "--resume", "boot"),
        "--resume: has an effect with --intervals bootstrap only",
    ),
    "a misspelt method": (
        (*REML, "--df", "kenward-rogers"),
        "df: 'kenward-rogers' is no method for degrees of freedom; did you mean 'kenward-roger'? "
        "(methods: satterthwaite, kenward-roger)",
    ),
    "a misspelt kind": (
        (*REML, "--intervals", "profil", "--workers", "2"),
        "--intervals: 'profil' is no kind of interval; did you mean 'profile'? "
        "(kinds: profile, bootstrap)",
    ),
    "too few draws": (
        (*REML, "--intervals", "bootstrap", "--bootstrap-draws", "1"),
        "Error: Invalid value for '--bootstrap-draws'",
    ),
    "no workers": (
        (*REML, "--intervals", "bootstrap", "--workers", "0"),
        "Error: Invalid value for '--workers'",
    ),
}


@pytest.mark.parametrize("case", WITHOUT_EFFECT)
def test_an_option_without_effect_or_sense_is_refused_before_fitting(case, refused, monkeypatch):
    from hlm_models.engines import likelihood

    def fit(*arguments, **keywords):
        raise AssertionError("fitted before the options were looked at")

    monkeypatch.setattr(likelihood, "fit", fit)
    arguments, message = WITHOUT_EFFECT[case]
    assert refused("dyestuff", *arguments, "--out", "fit.json").startswith(message)


def test_one_folder_of_draws_is_not_for_several_models(refused):
    options = (*REML, "--intervals", "bootstrap", "--resume", "boot")
    message = "--resume: there are several models for one folder"
    assert refused("dyestuff", "rail", *options) == message


def test_kenward_roger_of_an_ml_fit_is_refused_before_fitting(refused, monkeypatch):
    from hlm_models.engines import likelihood

    def fit(*arguments, **keywords):
        raise AssertionError("fitted before the options were looked at")

    monkeypatch.setattr(likelihood, "fit", fit)
    options = ("--engine", "ml", "--df", "kenward-roger", "--out", "fit.json")
    message = refused("dyestuff", *options, code=3)
    assert message.startswith("--df: Kenward and Roger's method is about REML estimates")
    assert "--engine reml" in message


def test_a_fit_at_a_given_theta_has_no_profile(refused):
    options = ("--intervals", "profile", "--set", "reml.theta=[0.5]", "--out", "fit.json")
    assert refused("dyestuff", *REML, *options).startswith("reml.theta: profile takes a fit at its")


def test_draws_of_another_seed_are_left_alone(refused, document):
    options = (*REML, "--intervals", "bootstrap", "--resume", "boot", "--bootstrap-draws", "4")
    document("dyestuff", *options)
    message = refused("dyestuff", *options, "--set", "fit.seed=77", "--out", "fit.json")
    assert "holds draws of another fit, seed or statistic" in message


def test_ctrl_c_in_a_bootstrap_keeps_the_finished_draws(folder, printed, monkeypatch):
    real = bootstrap_module._Refits.row

    def row(self, index):
        if index == 3:
            raise KeyboardInterrupt
        return real(self, index)

    options = ("--intervals", "bootstrap", "--resume", "boot", "--bootstrap-draws", "5")
    with monkeypatch.context() as patch:
        patch.setattr(bootstrap_module._Refits, "row", row)
        assert printed("dyestuff", *REML, *options, "--out", "fit.json", code=130) == ""
    assert not Path("fit.json").exists()
    assert len((folder / "boot" / "draws.jsonl").read_text().splitlines()) == 4
    assert "5 draws" in printed("dyestuff", *REML, *options)


# ---- progress ----


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("divergences", "detail"), [(None, "12 of 40 draws"), (0, "12 of 40 draws, 0 divergent")]
)
def test_a_bar_speaks_of_divergences_only_where_draws_can_diverge(divergences, detail, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("NO_COLOR", "1")
    with shown("model") as progress:
        progress(Step("stage", 12, 40, divergences))
    assert detail in terminal.getvalue()
    assert ("divergent" in terminal.getvalue()) == (divergences is not None)


def test_a_variance_that_the_data_do_not_inform_is_warned_of_and_not_tested(
    folder, printed, refused
):
    rows = [f"s{g},a{g},{(7 * i + 3 * g) % 11}" for g in range(4) for i in range(6)]
    (folder / "arms.csv").write_text("\n".join(["school,arm,y", *rows]) + "\n")
    (folder / "arms.yaml").write_text(
        "schema: 1\nname: arms\ndata: {source: {file: arms.csv}}\nformula: y ~ arm + (1 | school)\n"
    )
    assert "the criterion is flat in some direction" in printed("arms.yaml", *REML)
    message = refused("arms.yaml", *REML, "--anova", "--out", "fit.json", code=3)
    assert message.startswith("no degrees of freedom: the criterion is flat")
