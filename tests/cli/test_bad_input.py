"""Every mistake of a user gets one message with its place and its repair, and leaves no trace."""

import functools
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pseudo_terminal import lines_of, on_terminal

from hlm_models.cli import main

MODEL = """\
schema: 1
name: m
data: {source: {file: d.csv}}
formula: y ~ x + (x | g)
"""
SOURCE = "data: {source: {file: d.csv}}"
FORMULA = "formula: y ~ x + (x | g)"
TOP_KEYS = (
    "about, allow_macro_in_z, contrasts, data, family, fit, formula, macro, name, offset, priors, "
    "reference, reml, residual, schema, weights"
)
EXCERPT = re.compile(r"  [> ] (\s*\d* \| |--set |\s*\^+$)")
"""Lines below a message, of the file or the override that it is about."""


def frame() -> pd.DataFrame:
    """48 rows in 8 groups; w is constant within g, t is text, u has no spread."""
    rng = np.random.default_rng(5)
    g = np.repeat(np.arange(8), 6)
    x = rng.normal(size=48).round(4)
    return pd.DataFrame(
        {
            "y": (2 + rng.normal(size=8)[g] + 0.5 * x + rng.normal(size=48)).round(4),
            "x": x,
            "w": (g % 3).astype(float),
            "u": 1.5,
            "g": [f"g{i}" for i in g],
            "h": [f"h{i % 6}" for i in range(48)],
            "pair": [f"p{i // 2}" for i in range(48)],
            "one": "a",
            "row": [f"r{i}" for i in range(48)],
            "t": ["low", "high"] * 24,
            "gap": np.where(np.arange(48) == 6, math.nan, x),
            "far": np.where(np.arange(48) == 6, math.inf, x),
        }
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a sound model file, its data and a file that nobody may read."""
    (tmp_path / "m.yaml").write_text(MODEL)
    frame().to_csv(tmp_path / "d.csv", index=False)
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "secret.csv").write_text("password\nswordfish\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def listing(folder: Path) -> dict[str, bytes | None]:
    """All files below a folder, hidden ones too, with their content."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def refused(folder, capsys):
    """Run `hlm` on what it must refuse; the lines of its message, without excerpts of files."""

    def call(*arguments: str, code: int = 2) -> list[str]:
        before = listing(folder)
        capsys.readouterr()
        assert main(list(arguments)) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert "Traceback" not in err
        assert listing(folder) == before
        return [line for line in err.splitlines() if not EXCERPT.match(line)]

    return call


def rewritten(folder: Path, old: str, new: str) -> None:
    assert old in MODEL
    (folder / "m.yaml").write_text(MODEL.replace(old, new))


COMMANDS = {
    "check": ["check", "m.yaml"],
    "show": ["show", "m.yaml"],
    "fit": ["fit", "m.yaml", "--engine", "reml"],
    "run": ["run", "m.yaml"],
}

FILES = {
    "an unknown key": (
        FORMULA,
        f"{FORMULA}\npriers: {{}}",
        "m.yaml:5: priers: unknown key; did you mean 'priors'?",
    ),
    "a misspelt kind": (
        FORMULA,
        f"{FORMULA}\npriors:\n  sigma: {{kind: halfnormal}}",
        "m.yaml:6: priors.sigma.kind: unknown kind 'halfnormal'; did you mean 'half_normal'? "
        "(known: exponential, flat, half_normal, half_student_t, inverse_gamma, uniform, "
        "unit_information)",
    ),
    "a wrong type": (
        FORMULA,
        f"{FORMULA}\nfit: {{chains: four}}",
        "m.yaml:5: fit.chains: expected a whole number, found 'four'",
    ),
    "a schema of the future": (
        "schema: 1",
        "schema: 2",
        "m.yaml:1: schema: schema 2 is newer than this version knows (1): upgrade hlm_models",
    ),
    "an empty model file": (MODEL, "", "m.yaml: the file is empty"),
    "a missing data file": (
        SOURCE,
        "data: {source: {file: dd.csv}}",
        "m.yaml:3: data.source: there is no file dd.csv; did you mean 'd.csv'?",
    ),
    "an empty data file": (
        SOURCE,
        "data: {source: {file: empty.csv}}",
        "empty.csv: the file is empty",
    ),
    "a misspelt dataset": (
        SOURCE,
        "data: {source: sleepstdy}",
        "m.yaml:3: data.source: there is no dataset 'sleepstdy'; did you mean 'sleepstudy'? "
        "(there are: dyestuff, dyestuff2, eight_schools, grunfeld, hsb, insteval, nels, oats, "
        "orthodont, oxide, pastes, penicillin, pixel, radon, rail, sleepstudy)",
    ),
    "a predictor that is not there": (
        FORMULA,
        "formula: y ~ far_ + (1 | g)",
        "m.yaml:4: formula: there is no column 'far_'; did you mean 'far'?",
    ),
    "a group that is not there": (
        FORMULA,
        "formula: y ~ x + (1 | Pair)",
        "m.yaml:4: formula: there is no column 'Pair'; did you mean 'pair'?",
    ),
    "a column that is not there, in where": (
        SOURCE,
        'data: {source: {file: d.csv}, where: "farr > 0"}',
        "m.yaml:3: data.where: there is no column 'farr'; did you mean 'far'?",
    ),
    "text for the response": (
        FORMULA,
        "formula: t ~ x + (1 | g)",
        "m.yaml:4: formula: t must hold numbers, but row 1 holds 'low'; derive a number from it, "
        "or choose another response",
    ),
    "text in a function of numbers": (FORMULA, "formula: y ~ log(t) + (1 | g)", "m.yaml:4: "),
    "a response with no variation": (
        FORMULA,
        "formula: u ~ x + (1 | g)",
        "m.yaml:4: formula: u is 1.5 in every row; nothing varies",
    ),
    "one group": (
        FORMULA,
        "formula: y ~ x + (1 | one)",
        "m.yaml:4: formula: one has one level: a variance between groups cannot be estimated; "
        "leave the terms of one out",
    ),
    "missing values": (
        FORMULA,
        "formula: y ~ gap + (1 | g)",
        "m.yaml:3: data.missing: gap misses 1 of 48 values, first in row 7; give them, or let "
        "their rows go with `missing: drop`",
    ),
    "infinite values": (
        FORMULA,
        "formula: y ~ far + (1 | g)",
        "m.yaml:4: formula: far is infinite in 1 of 48 rows, first in row 7; leave them out with "
        "`where: isfinite(far)`",
    ),
    "a rank-deficient X": (
        FORMULA,
        "formula: y ~ x + w + I(2*x + w) + (1 | g)",
        "m.yaml:4: formula: X is rank deficient: ",
    ),
    "a column twice in X": (
        FORMULA,
        "formula: y ~ x + I(2*x) + (1 | g)",
        "m.yaml:4: formula: X is rank deficient: x is a linear combination of I(2 * x); leave one "
        "out",
    ),
    "a group nested in itself": (
        FORMULA,
        "formula: y ~ x + (1 | h/g/h)",
        "m.yaml:4: formula: the group of '(1 | h/g/h)' nests 'h' in itself",
    ),
    "a constant column in X": (
        FORMULA,
        "formula: y ~ x + u + (1 | g)",
        "m.yaml:4: formula: X is rank deficient: u is constant; leave it out",
    ),
    "a macro predictor in Z": (
        FORMULA,
        "formula: y ~ w + (w | g)",
        "m.yaml:4: formula: w is constant within g, so its effect cannot vary by g: write "
        "(1 | g) in place of (w | g) (`allow_macro_in_z: true` fits it all the same)",
    ),
    "a macro role that does not hold": (
        FORMULA,
        f"{FORMULA}\nmacro: {{g: [x]}}",
        "m.yaml:5: macro.g: x varies within g, for instance in 'g0', so it is not a macro column; "
        "take it out of macro, or derive its mean by g",
    ),
    "a call outside the allow-list": (
        FORMULA,
        "formula: y ~ eval(x) + (1 | g)",
        "m.yaml:4: formula: 'eval' is not a function that a formula may call (allowed: C, I, bs, "
        "center, exp, log, poly, scale, sqrt); make other columns with data.derive",
    ),
    "an attribute access": (
        FORMULA,
        "formula: y ~ x.real + (1 | g)",
        "m.yaml:4: formula: attribute access 'x.real' is not allowed, in the formula; a column "
        "with a dot in its name is written `x.real` in backticks",
    ),
    "an attribute access in a call": (
        FORMULA,
        "formula: y ~ I(x.__class__) + (1 | g)",
        "m.yaml:4: formula: attribute access 'x.__class__' is not allowed, in the formula",
    ),
    "an unbalanced parenthesis": (
        FORMULA,
        "formula: y ~ x + (1 | g",
        "m.yaml:4: formula: unbalanced parenthesis: '(' at column 9 is not closed: "
        "'y ~ x + (1 | g'",
    ),
    "a sub-select on a file": (
        SOURCE,
        "data:\n  source: {file: d.csv}\n"
        "  where: \"x > (SELECT length(password) FROM read_csv('secret.csv'))\"",
        "m.yaml:5: data.where: \"x > (SELECT length(password) FROM read_csv('secret.csv'))\" "
        "holds a sub-select, which is refused; a value over several rows is written "
        "avg(x) OVER (PARTITION BY g)",
    ),
    "a function that reads a file": (
        SOURCE,
        "data:\n  source: {file: d.csv}\n  where: \"read_text('secret.csv') IS NOT NULL\"",
        "m.yaml:5: data.where: read_text is refused: it makes a table, and an expression gives "
        "one value a row from the columns of its own table alone",
    ),
    "a second statement": (
        SOURCE,
        "data:\n  source: {file: d.csv}\n  where: \"x > 0; COPY data TO 'stolen.csv'\"",
        "m.yaml:5: data.where: \"x > 0; COPY data TO 'stolen.csv'\" is not one SQL expression",
    ),
    "the environment read by SQL": (
        SOURCE,
        "data:\n  source: {file: d.csv}\n  where: \"getenv('HOME') = g\"",
        "m.yaml:5: data.where: ",
    ),
    "a condition that keeps no row": (
        SOURCE,
        'data: {source: {file: d.csv}, where: "x > 100"}',
        "m.yaml:3: data.where: 'x > 100' keeps none of the 48 rows",
    ),
    "a prior of a coefficient that is not there": (
        FORMULA,
        f"{FORMULA}\npriors:\n  beta:\n    xx: {{kind: flat}}",
        "m.yaml:7: priors.beta.xx: 'xx' is not a coefficient of this model; did you mean 'x'? "
        "(coefficients: Intercept, x)",
    ),
    "a weight of zero": (
        FORMULA,
        f"{FORMULA}\nweights: w",
        "m.yaml:5: weights: w is 0 in row 1, and in 18 of 48 rows not above 0 as a weight must be; "
        "leave these rows out with `where: w > 0`, or derive other weights",
    ),
    "a negative weight": (
        FORMULA,
        "formula: y ~ w + (1 | g)\nweights: x",
        "m.yaml:5: weights: x is -0.8019 in row 1, and in ",
    ),
    "a missing weight": (
        FORMULA,
        f"{FORMULA}\nweights: gap",
        "m.yaml:3: data.missing: gap misses 1 of 48 values, first in row 7; give them, or let "
        "their rows go with `missing: drop`",
    ),
    "an infinite weight": (
        FORMULA,
        f"{FORMULA}\nweights: far",
        "m.yaml:5: weights: far is infinite in 1 of 48 rows, first in row 7; leave them out with "
        "`where: isfinite(far)`",
    ),
    "text for weights": (
        FORMULA,
        f"{FORMULA}\nweights: t",
        "m.yaml:5: weights: t must hold numbers, but row 1 holds 'low'; derive a number from it, "
        "or choose another column",
    ),
    "a group for weights": (
        FORMULA,
        f"{FORMULA}\nweights: g",
        "m.yaml:5: weights: g must hold numbers, but row 1 holds 'g0'; derive a number from it, "
        "or choose another column",
    ),
    "weights that are not there": (
        FORMULA,
        f"{FORMULA}\nweights: farr",
        "m.yaml:5: weights: there is no column 'farr'; did you mean 'far'?",
    ),
    "text for the offset": (
        FORMULA,
        f"{FORMULA}\noffset: t",
        "m.yaml:5: offset: t must hold numbers, but row 1 holds 'low'; derive a number from it, "
        "or choose another column",
    ),
    "text for the offset of the formula": (
        FORMULA,
        "formula: y ~ x + offset(t) + (1 | g)",
        "m.yaml:4: formula: t must hold numbers, but row 1 holds 'low'; derive a number from it, "
        "or choose another column",
    ),
    "the response for the offset": (
        FORMULA,
        f"{FORMULA}\noffset: y",
        "m.yaml:5: offset: the response less y is 0 in every row; nothing varies: choose another "
        "offset",
    ),
    "an offset in two places": (
        FORMULA,
        "formula: y ~ x + offset(w) + (1 | g)\noffset: w",
        "m.yaml:5: offset: the formula has an offset too; leave one of them out",
    ),
    "two offsets in the formula": (
        FORMULA,
        "formula: y ~ x + offset(w) + offset(u) + (1 | g)",
        "m.yaml:4: formula: one column may be the offset, found w and u; derive their sum",
    ),
    "an offset of more than one column": (
        FORMULA,
        "formula: y ~ x + offset(log(w)) + (1 | g)",
        "m.yaml:4: formula: 'offset(log(w))': an offset is one column, added as "
        "`+ offset(column)` or by the key `offset: column`; make the column with data.derive",
    ),
    "contrasts of a factor that is not there": (
        FORMULA,
        "formula: y ~ t + (1 | g)\ncontrasts:\n  tt: sum",
        "m.yaml:6: contrasts.tt: 'tt' is not a factor among the predictors; did you mean 't'? "
        "(factors: t)",
    ),
    "contrasts of numbers": (
        FORMULA,
        f"{FORMULA}\ncontrasts: {{x: sum}}",
        "m.yaml:5: contrasts.x: x holds numbers, which have no contrasts; derive labels, as "
        'x_label: "CAST(x AS VARCHAR)" does',
    ),
    "a reference that is no level": (
        FORMULA,
        "formula: y ~ t + (1 | g)\ncontrasts:\n  t: {kind: sum, reference: lo}",
        "m.yaml:6: contrasts.t.reference: 'lo' is not a level of t; did you mean 'low'? "
        "(levels: high, low)",
    ),
}
"""What is wrong: what stands in the model file in place of what, and the whole message; one that
ends in a blank is only the beginning of it."""


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("what", FILES)
def test_a_bad_model_file_gets_one_message_with_place_and_repair(what, command, folder, refused):
    old, new, expected = FILES[what]
    rewritten(folder, old, new)
    [message] = refused(*COMMANDS[command])
    if expected.endswith(" "):
        assert message.startswith(expected)
        assert len(message) > len(expected) + 10
    else:
        assert message == expected
    assert "swordfish" not in message


def test_all_problems_of_a_file_come_at_once(folder, refused):
    (folder / "m.yaml").write_text(
        MODEL.replace("name: m", "name: n") + "colour: red\nfit: {draws: 1, cores: all}\n"
    )
    assert [line.split(": ")[:2] for line in refused("run", "m.yaml")] == [
        ["m.yaml:2", "name"],
        ["m.yaml:5", "colour"],
        ["m.yaml:6", "fit.draws"],
        ["m.yaml:6", "fit.cores"],
    ]


def test_problems_of_several_columns_come_at_once(folder, refused):
    rewritten(folder, FORMULA, "formula: t ~ gap + far + xx + (1 | one)")
    messages = refused("fit", "m.yaml", "--engine", "reml")
    assert len(messages) == 5
    assert [" ".join(line.split()[:3]) for line in messages] == [
        "m.yaml:4: formula: t",
        "m.yaml:4: formula: far",
        "m.yaml:4: formula: there",
        "m.yaml:3: data.missing: gap",
        "m.yaml:4: formula: one",
    ]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_missing_model_file(command, refused):
    first, _, *rest = COMMANDS[command]
    assert refused(first, "no.yaml", *rest) == ["no.yaml: there is no such file"]


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_model_is_refused_with_the_nearest(command, refused):
    first, _, *rest = COMMANDS[command]
    assert refused(first, "sleepstudy-slope", *rest) == [
        "there is no model 'sleepstudy-slope'; did you mean 'sleepstudy-slopes'? "
        "(`hlm list` shows all)"
    ]


def test_a_name_in_two_folders_of_models_is_refused(folder, refused):
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "m.yaml").write_text(MODEL)
    expected = ["b/m.yaml: the model 'm' is also in a/m.yaml; rename one of them"]
    for command in (["list"], ["show", "m"], ["check", "m"], ["run", "m"]):
        assert refused(*command, "--configs", "a", "--configs", "b") == expected


def test_a_name_of_the_zoo_in_a_folder_of_models_is_refused(folder, refused):
    (folder / "a").mkdir()
    (folder / "a" / "dyestuff.yaml").write_text(MODEL.replace("name: m", "name: dyestuff"))
    [message] = refused("list", "--configs", "a")
    assert message.startswith("a/dyestuff.yaml: the model 'dyestuff' is also in ")
    assert message.endswith("dyestuff.yaml; rename one of them")


def test_a_folder_of_models_that_does_not_exist_is_refused(refused):
    assert refused("list", "--configs", "none") == ["none: there is no such folder of models"]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("fit.chainz=2", "--set fit.chainz: unknown key; did you mean 'chains'?"),
        ("fit.chains", "--set: expected key.path=value, found 'fit.chains'"),
        ("fit.chains=two", "--set fit.chains: expected a whole number, found 'two'"),
        ("colour=red", f"--set colour: unknown key (known: {TOP_KEYS})"),
        ("fit={chains", "--set: not valid YAML: "),
    ],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_bad_override_is_refused(command, override, expected, refused):
    [message] = refused(*COMMANDS[command], "--set", override)
    assert message == expected or (expected.endswith(" ") and message.startswith(expected))


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (["fit", "m.yaml", "--engine", "gibbs"], "fit.target_accept=0.99"),
        (["fit", "m.yaml", "--engine", "nuts"], "fit.gibbs.thin=5"),
        (["run", "m.yaml", "--engines", "gibbs,reml"], "fit.sampler=pymc"),
        (["calibrate", "m.yaml", "--engine", "nuts"], "fit.gibbs.scheme=effects"),
    ],
)
def test_a_setting_that_no_sampler_would_use_is_refused(words, setting, refused):
    [message] = refused(*words, "--set", setting)
    engine = "gibbs" if "gibbs" in " ".join(words) else "nuts"
    key = setting.partition("=")[0]
    assert message == f"--set {key}: {engine} would make no use of it: leave it out"


@pytest.mark.parametrize("command", ["prior", "calibrate"])
def test_a_folder_is_no_page(command, refused, tmp_path, monkeypatch):
    (tmp_path / "there.html").mkdir()
    page = str(tmp_path / "there.html")
    [message] = refused(command, "m.yaml", "--out", page, "--force")
    assert message == f"--out: {page} is a folder: name a file"


def test_a_formula_that_an_override_brought_is_not_blamed_on_the_file(refused):
    [message] = refused("check", "m.yaml", "--set", "formula=y ~ xx + (1 | g)")
    assert message == "--set formula: there is no column 'xx'; did you mean 'x'?"


@pytest.mark.parametrize(
    "arguments", [["fit", "m.yaml", "--engine", "remel"], ["run", "m.yaml", "--engines", "remel"]]
)
def test_a_misspelt_engine_is_refused_with_the_nearest(arguments, refused):
    assert refused(*arguments) == [
        "engine: there is no engine 'remel'; did you mean 'reml'? (engines: nuts, gibbs, reml, ml)"
    ]


def test_a_run_without_an_engine_is_refused(refused):
    [message] = refused("run", "m.yaml", "--engines", ",")
    assert "engine" in message


def test_the_log_likelihood_of_an_engine_without_draws_is_refused(refused):
    assert refused("fit", "m.yaml", "--engine", "reml", "--log-likelihood") == [
        "engine: reml has no draws to keep the log likelihood of"
    ]


@pytest.mark.parametrize("arguments", [["fit", "m.yaml", "--engine", "reml"], ["run", "m.yaml"]])
def test_a_group_with_a_level_a_row_is_refused_with_the_count(arguments, folder, refused):
    rewritten(folder, FORMULA, "formula: y ~ x + (1 | row)")
    assert refused(*arguments, code=3)[0] == (
        "reml: refused: (1 | row) has 48 random effects for 48 rows: they cannot be told from the "
        "residual"
    )


@pytest.mark.parametrize("arguments", [["fit", "m.yaml", "--engine", "reml"], ["run", "m.yaml"]])
def test_too_large_crossed_groups_are_refused_with_exit_3(arguments, folder, refused, monkeypatch):
    monkeypatch.setattr("hlm_models.algebra.schur.DENSE", 2)
    rewritten(folder, FORMULA, "formula: y ~ x + (1 | g) + (1 | h)")
    assert refused(*arguments, code=3) == [
        "reml: refused: all groups but the largest have 6 effects that are too entangled for a "
        "sparse factorisation, and more than the 2 that one dense matrix can hold",
        "      eligible: nuts",
    ]


@pytest.mark.parametrize("arguments", [["fit", "m.yaml", "--engine", "ml"], ["run", "m.yaml"]])
def test_too_many_effects_are_refused_by_the_engine_with_exit_3(arguments, folder, refused):
    rewritten(folder, FORMULA, "formula: y ~ x + (x | pair)")
    engine = "ml" if "ml" in arguments else "reml"
    assert refused(*arguments, code=3) == [
        f"{engine}: refused: (x | pair) has 48 random effects for 48 rows: they cannot be told "
        "from the residual",
        f"{' ' * len(engine)}  eligible: nuts",
    ]


EXACT = "the model fits the data exactly: sigma tends to zero and no fit exists"


@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize(
    ("response", "formula"),
    [
        ("3 * w", "far ~ 1 + (1 | g)"),
        ("3 * w", "far ~ x + (1 | g)"),
        ("3 * w", "far ~ x + (1 | g/pair)"),
        ("1 + 2 * x", "far ~ x + (1 | g)"),
        ("1 + 2 * x", "far ~ x + (1 | g) + (1 | h)"),
    ],
)
def test_effects_that_fit_the_data_exactly_are_told(response, formula, engine, folder, refused):
    frame().eval(f"far = {response}").to_csv(folder / "d.csv", index=False)
    rewritten(folder, FORMULA, f"formula: {formula}")
    assert refused("fit", "m.yaml", "--engine", engine, code=1) == [EXACT]


@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize("digits", range(2, 14))
def test_a_residual_that_tends_to_zero_is_fitted_or_refused_but_never_wrong(
    digits, engine, folder, capsys
):
    # The groups differ by 1 or so; within them there is noise of 10^-digits alone.
    data = frame()
    noise = np.random.default_rng(1).normal(size=48) * 10.0**-digits
    data["far"] = data.groupby("g")["y"].transform("mean") + noise
    data.to_csv(folder / "d.csv", index=False, float_format="%.17g")
    rewritten(folder, FORMULA, "formula: far ~ 1 + (1 | g)")
    code = main(["fit", "m.yaml", "--engine", engine, "--json"])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    if code == 0:
        within = noise - pd.Series(noise).groupby(data["g"]).transform("mean")
        # Of 8 groups of 6 rows: the variances of groups and rows are orthogonal.
        assert json.loads(out)["sigma"] == pytest.approx(np.sqrt(np.sum(within**2) / 40), rel=1e-3)
    elif out:
        document = json.loads(out)
        assert not document["converged"]
        assert "fail" in [check["status"] for check in document["checks"]]
    else:
        assert err.splitlines()[-1] == EXACT
    assert code == 0 if digits < 4 else code in (0, 1)


@pytest.mark.parametrize("formula", ["y ~ x + (x | g)", "y ~ x + (1 | g) + (1 | h)"])
@pytest.mark.parametrize("steps", [0, 1])
def test_a_search_that_stops_early_fails_its_certificate(
    steps, formula, folder, capsys, monkeypatch
):
    from hlm_models.algebra.search import minimise
    from hlm_models.spec import optimum

    monkeypatch.setattr(optimum, "minimise", functools.partial(minimise, steps=steps))
    # A search that runs out of steps is taken up again: here it is not.
    monkeypatch.setattr(optimum, "ROUNDS", 0)
    rewritten(folder, FORMULA, f"formula: {formula}")
    assert main(["fit", "m.yaml", "--engine", "reml"]) == 1
    out, err = capsys.readouterr()
    assert "no minimum at where the search ended" in " ".join(out.split())
    assert "Traceback" not in err
    assert main(["fit", "m.yaml", "--engine", "reml", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert document["converged"] is False
    assert {"gradient"} == {c["code"] for c in document["checks"] if c["status"] == "fail"}
    assert main(["run", "m.yaml", "--engines", "reml"]) == 1
    page = (folder / "runs" / "m" / "report.html").read_text("utf-8")
    assert "no minimum at where the search ended" in page


@pytest.mark.parametrize("command", ["list", "show", "check", "run", "fit", "report", "schema"])
def test_an_unknown_option_is_refused(command, refused):
    arguments = [command] if command in ("list", "schema") else [command, "m.yaml"]
    message = "\n".join(refused(*arguments, "--frobnicate"))
    assert "No such option: --frobnicate" in message


def test_a_missing_argument_and_an_unknown_command_are_refused(refused):
    assert "Missing argument" in "\n".join(refused("run"))
    assert "No such command 'rnu'" in "\n".join(refused("rnu"))


@pytest.fixture
def no_engine(monkeypatch):
    """Engines that must not be called: what is refused is refused before computing."""
    from hlm_models.engines import likelihood, nuts

    def fail(*arguments, **keywords):
        raise AssertionError("an engine was called")

    monkeypatch.setattr(nuts, "fit", fail)
    monkeypatch.setattr(likelihood, "fit", fail)


def test_an_out_folder_that_exists_is_refused_without_force(folder, refused, no_engine):
    (folder / "there").mkdir()
    assert refused("run", "m.yaml", "--out", "there") == [
        "--out: there exists; name another folder, or write over it with --force"
    ]


def test_a_folder_that_is_no_run_is_not_replaced_even_with_force(folder, refused, no_engine):
    (folder / "there").mkdir()
    (folder / "there" / "thesis.txt").write_text("years of work")
    expected = ["--out: there is not the folder of a run, so --force does not replace it"]
    assert refused("run", "m.yaml", "--out", "there", "--force") == expected
    assert (folder / "there" / "thesis.txt").read_text() == "years of work"


def test_a_file_in_place_of_an_out_folder_is_not_replaced(refused, no_engine):
    refused("run", "m.yaml", "--out", "d.csv")
    refused("run", "m.yaml", "--out", "d.csv", "--force")


def test_one_out_folder_for_several_models_is_refused(refused, no_engine):
    assert refused("run", "m.yaml", "dyestuff", "--out", "o") == [
        "--out: --out names one folder, and there are several models"
    ]


def test_an_out_folder_that_cannot_be_made_is_refused_before_computing(refused, no_engine):
    [message] = refused("run", "m.yaml", "--out", "d.csv/run")
    assert "d.csv" in message


def test_the_file_of_a_fit_is_refused_before_computing(refused, no_engine):
    fit = ["fit", "m.yaml", "--engine", "reml", "--out"]
    assert refused(*fit, "d.csv") == ["--out: a fit by reml is saved as .json, not 'd.csv'"]
    assert refused(*fit, "no/fit.json") == ["--out: there is no folder no"]
    Path("old.json").write_text("{}")
    assert refused(*fit, "old.json") == ["--out: old.json exists; write over it with --force"]


def test_a_folder_that_is_no_run_has_no_report(folder, refused):
    expected = "{}: this is not the folder of a finished run"
    assert refused("report", "none") == [expected.format("none")]
    (folder / "there").mkdir()
    assert refused("report", "there") == [expected.format("there")]


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "m.yaml", "--json"],
        ["fit", "m.yaml", "--engine", "reml", "--json"],
        ["run", "m.yaml", "--json"],
        ["list", "--configs", "none", "--json"],
        ["report", "none", "--json"],
    ],
)
def test_a_refusal_prints_nothing_on_stdout_with_json_either(arguments, folder, refused):
    rewritten(folder, FORMULA, "formula: y ~ xx + (1 | g)")
    [_] = refused(*arguments)


@pytest.fixture
def interrupted(monkeypatch):
    from hlm_models.engines import nuts

    def fit(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(nuts, "fit", fit)


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "m.yaml"],
        ["run", "m.yaml", "--out", "o"],
        ["run", "m.yaml", "--json"],
        ["run", "m.yaml", "--engines", "reml,nuts"],
        ["fit", "m.yaml"],
        ["fit", "m.yaml", "--out", "fit.nc"],
    ],
)
def test_ctrl_c_while_sampling_leaves_nothing(arguments, refused, interrupted):
    assert refused(*arguments, code=130) == ["interrupted: nothing half-written was left behind"]


def test_ctrl_c_in_the_second_model_does_not_deny_the_first(folder, capsys, interrupted):
    (folder / "n.yaml").write_text(MODEL.replace("name: m", "name: n"))
    assert main(["run", "dyestuff", "--engines", "reml"]) == 0
    capsys.readouterr()
    from hlm_models.engines import likelihood

    real, calls = likelihood.fit, []

    def fit(*arguments, **keywords):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return real(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(likelihood, "fit", fit)
        assert main(["run", "m.yaml", "n.yaml", "--engines", "reml"]) == 130
    assert (folder / "runs" / "m" / "run.json").is_file()
    assert not list((folder / "runs").glob("n*"))
    assert "nothing was written" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "stage", "pause"),
    [
        ("noncentered", "compiling", 2.0),
        ("noncentered", "sampling", 1.0),
        ("marginal", "sampling", 1.0),
    ],
)
def test_a_real_ctrl_c_ends_a_run_with_130_and_no_half_folder(form, stage, pause, tmp_path):
    # Enough draws to be in the middle of them.
    words = ["run", "sleepstudy-slopes", "--set", "fit.draws=400000"]
    out = tmp_path / "out"
    with out.open("w") as file:
        told, code = on_terminal(
            [*words, "--set", f"fit.parameterization={form}"],
            tmp_path,
            interrupt=f"sleepstudy-slopes: {stage}",
            pause=pause,
            columns=160,  # the name of the model in full
            stdout=file,
        )
    assert code == 130, told
    assert out.read_text() == ""
    assert "Traceback" not in told
    assert list(tmp_path.iterdir()) == [out]
    assert lines_of(told)[-2].strip() == "interrupted: nothing half-written was left behind"


def test_a_folder_that_may_not_be_written_to_is_told_before_the_fit(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("os.access", lambda *_: False)
    out = tmp_path / "fit.json"
    assert main(["fit", "rail", "--engine", "reml", "--out", str(out)]) == 2
    assert capsys.readouterr().err == f"--out: {tmp_path} cannot be written to\n"
