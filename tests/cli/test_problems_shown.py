"""Below a message stands the place in the file, or the override, that it is about."""

import pytest

from hlm_models.cli import main
from hlm_models.cli.problems import excerpt
from hlm_models.errors import Problem

HEAD = "schema: 1\nname: m\ndata: {source: sleepstudy}\n"
FORMULA = "formula: reaction ~ days + (days | subject)\n"


@pytest.fixture
def told(tmp_path, monkeypatch, capsys):
    """The lines that `hlm check` prints of a model file, or of what else it is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def call(text, *words, command="check"):
        (tmp_path / "m.yaml").write_text(text)
        capsys.readouterr()
        assert main([command, "m.yaml", *words]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        return err.splitlines()

    return call


def test_the_line_stands_between_its_neighbours_with_key_and_value_marked(told):
    assert told(HEAD + FORMULA + "fit: {chains: many}\nabout: x\n") == [
        "m.yaml:5: fit.chains: expected a whole number, found 'many'",
        "    4 | formula: reaction ~ days + (days | subject)",
        "  > 5 | fit: {chains: many}",
        "      |       ^^^^^^^^^^^^",
        "    6 | about: x",
    ]


def test_of_several_problems_each_has_its_place(told):
    lines = told(HEAD + FORMULA + "fit:\n  chains: 0\nchians: 4\n")
    assert [line for line in lines if line.startswith("  >")] == [
        "  > 6 |   chains: 0",
        "  > 7 | chians: 4",
    ]
    assert [line for line in lines if "^" in line] == [
        "      |   ^^^^^^^^^",
        "      | ^^^^^^^^^",
    ]


def test_problems_of_one_place_show_it_once(told):
    lines = told(HEAD + FORMULA + "priors: {preset: flat}\n", command="prior")
    assert [line.startswith("m.yaml:5: priors: ") for line in lines[:5]] == [True] * 5
    assert lines[-2:] == ["  > 5 | priors: {preset: flat}", "      | ^^^^^^"]
    assert sum("^" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("formula", "carets"),
    [
        ("reaction ~ days + day + (1 | subject)", "day"),
        ("reaction ~ reactions + (1 | subject)", "reactions"),
        ("reaction ~ days + (1|days|subject)", "(1|days|subject)"),
        ("reaction ~ days + exec(days) + (1 | subject)", "exec"),
        ("reaction ~ days + (1 | subject", "(1 | subject"),
        ("reaction ~ days ^ 2 + (1 | subject)", "^ 2"),
        ("reaction ~ days + I(days)  + (1+days|subject) + ( 1 | Subject)", "Subject"),
        ("reaction ~ 1 + I(0 * days) + (1 | subject)", "I(0 * days)"),
    ],
)
def test_carets_stand_below_the_piece_of_a_formula_that_is_at_fault(formula, carets, told):
    lines = told(HEAD + f"formula: {formula}\n")
    at = next(k for k, line in enumerate(lines) if line.startswith("  > 4 | "))
    below = lines[at + 1]
    start, end = below.index("^"), len(below)
    assert below[start:] == "^" * (end - start)
    assert lines[at][start:end].replace(" ", "") == carets.replace(" ", "")


def test_a_macro_predictor_is_marked_in_the_random_term(told):
    text = "schema: 1\nname: m\ndata: {source: radon}\nformula: >-\n  log_radon ~ log_uranium\n"
    lines = told(text + "  + (log_uranium  | county)\n")
    assert lines[0].startswith("m.yaml:4: formula: log_uranium is constant within county")
    assert lines[-2:] == [
        "  > 6 |   + (log_uranium  | county)",
        "      |     ^^^^^^^^^^^^^^^^^^^^^^^",
    ]


def test_a_preset_that_does_not_do_is_pointed_at(told):
    text = (
        "schema: 1\nname: m\ndata: {source: penicillin}\n"
        "formula: diameter ~ 1 + (1 | plate) + (1 | sample)\npriors:\n  preset: lecture\n"
    )
    assert told(text)[-2:] == ["  > 6 |   preset: lecture", "      |   ^^^^^^^^^^^^^^^"]


def test_carets_allow_for_wide_characters_and_tabs(told):
    lines = told(HEAD + "formula: reaction ~ `漢字` + nix + (1 | subject)\n")
    at = next(k for k, line in enumerate(lines) if line.startswith("  > 4"))
    # Two columns each of 漢 and 字 in front.
    carets = [line for line in lines if "^" in line]
    assert carets[0].index("^") == lines[at].index("`漢字`") + 1
    assert carets[0].count("^") == 4
    assert carets[1].index("^") == lines[at].index("nix") + 2


def test_a_long_line_is_cut_around_what_is_at_fault(told):
    terms = " + ".join(["days"] * 60)
    lines = told(HEAD + f"formula: reaction ~ {terms} + bad + {terms} + (1 | subject)\n")
    [line] = [line for line in lines if line.startswith("  > 4 | ")]
    [below] = [line for line in lines if "^" in line]
    assert len(line) <= 80
    assert line.startswith("  > 4 | …")
    assert line.endswith("…")
    assert line[below.index("^") : len(below)] == "bad"


def test_an_override_is_shown_in_place_of_a_line(told):
    text = HEAD + FORMULA
    assert told(text, "--set", "fit.chains=many")[1:] == [
        "  > --set fit.chains=many",
        "                     ^^^^",
    ]
    assert told(text, "--set=formula=reaction ~ dais + (1|subject)")[1:] == [
        "  > --set formula=reaction ~ dais + (1|subject)",
        "                             ^^^^",
    ]
    lines = told(text, "--set", "priors.preset=flat", command="prior")
    assert lines[-2:] == ["  > --set priors.preset=flat", "                        ^^^^"]


def test_broken_yaml_has_its_line_without_carets(told):
    lines = told("schema: 1\nname: m\ndata: {source: rail\nformula: x\n")
    assert lines[0].startswith("m.yaml:4: not valid YAML")
    assert lines[1:] == ["    3 | data: {source: rail", "  > 4 | formula: x"]


def test_what_is_no_line_of_a_model_file_has_no_excerpt(tmp_path):
    assert excerpt(Problem("x", key="formula")) is None
    assert excerpt(Problem("x", file=str(tmp_path / "gone.yaml"), line=2)) is None
    (tmp_path / "d.csv").write_text("a\nb\n")
    assert excerpt(Problem("x", file=str(tmp_path / "d.csv"), line=2)) is None
    (tmp_path / "short.yaml").write_text("a: 1\n")
    assert excerpt(Problem("x", file=str(tmp_path / "short.yaml"), line=9)) is None


def test_the_file_cannot_command_the_terminal(told):
    lines = told(
        HEAD + 'formula: "reaction ~ `a\\eb` + (1 | subject)"  # \x9b31m\n'.replace("\x9b", "")
    )
    assert not any("\x1b" in line for line in lines)
    lines = told(HEAD + FORMULA + "# \u202e neb\nchians: 1\n")
    assert "    5 | # \\u202e neb" in lines
