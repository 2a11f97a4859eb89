import sys
from pathlib import Path

import pytest

from hlm_models.config.located import parse_value, parse_yaml, read_yaml
from hlm_models.errors import InputErrors

TEXT = """\
# a comment
schema: 1

data:
  source: radon
  derive: {cold: "1", warm: "2"}
macro:
  county:
    - floor
    - log_uranium
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(InputErrors) as caught:
        parse_yaml(text, "m.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_every_key_and_list_element_has_its_line():
    assert parse_yaml(TEXT).lines == {
        ("schema",): 2,
        ("data",): 4,
        ("data", "source"): 5,
        ("data", "derive"): 6,
        ("data", "derive", "cold"): 6,
        ("data", "derive", "warm"): 6,
        ("macro",): 7,
        ("macro", "county"): 8,
        ("macro", "county", 0): 9,
        ("macro", "county", 1): 10,
    }


def test_a_path_that_the_file_lacks_has_the_line_of_the_nearest_key_above():
    located = parse_yaml(TEXT)
    assert located.line(("data", "where")) == 4
    assert located.line(("macro", "county", 7, "deep")) == 8
    assert located.line(("fit", "chains")) is None


def test_lines_are_counted_with_windows_line_ends_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "m.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    assert read_yaml(path).lines == parse_yaml(TEXT).lines


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1e6", 1e6),
        ("-2.5E+3", -2500.0),
        (".5", 0.5),
        ("1.", 1.0),
        (".inf", float("inf")),
        ("12", 12),
        ("-3", -3),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("no", "no"),
        ("on", "on"),
        ("2026-01-31", "2026-01-31"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("e3", "e3"),
        (".", "."),
        ("[a, {b: 1}]", ["a", {"b": 1}]),
    ],
)
def test_a_plain_word_has_the_type_of_yaml_1_2(text, value):
    read = parse_value(text)
    assert read == value
    assert type(read) is type(value)


def test_keys_are_text_as_written():
    assert parse_yaml("{1: a, true: b, ~: c, 1 | g: d}").data == {
        "1": "a",
        "true": "b",
        "~": "c",
        "1 | g": "d",
    }


def test_an_alias_stands_for_the_value_and_the_line_of_its_anchor():
    located = parse_yaml("a: &wide\n  kind: normal\nb: *wide\n")
    assert located.data["b"] == {"kind": "normal"}
    assert located.lines["b",] == 3
    assert located.lines["b", "kind"] == 2


def test_a_duplicate_key_is_a_problem_and_the_first_value_stays():
    located = parse_yaml("a: 1\nb: {c: 1,\n  c: 2}\na: 3\n", "m.yaml")
    assert located.data == {"a": 1, "b": {"c": 1}}
    assert [str(problem) for problem in located.problems] == [
        "m.yaml:3: b.c: given twice; the first is on line 2",
        "m.yaml:4: a: given twice; the first is on line 1",
    ]


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n...\n"])
def test_an_empty_file_is_refused(text):
    [problem] = problems_of(text)
    assert problem.startswith("m.yaml")
    assert "empty" in problem or "expected keys" in problem


@pytest.mark.parametrize("text", ["- a\n", "word\n", "3\n"])
def test_a_top_level_that_is_no_mapping_is_refused(text):
    assert problems_of(text) == [
        "m.yaml:1: expected keys with values (`key: value`) at the top of the file"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: 1\nb: c: d\n", 2),
        ("a: 1\nb: [1, 2\n\n\n", 2),
        ("a: 1\n\tb: 2\n", 2),
        ("a: 1\nb: 'open\nc: 2\n", 3),
        ("a: *nowhere\n", 1),
        ("a: 1\n--- \nb: 2\n", 2),
        ("a: 1\nb: \x07\n", 2),
    ],
)
def test_a_syntax_error_names_its_line(text, line):
    [problem] = problems_of(text)
    assert problem.startswith(f"m.yaml:{line}: not valid YAML: ")


@pytest.mark.parametrize(
    "text", ["a: !!python/name:os.system x", "a: !mine {b: 1}", "a: !!set {b}", "a: !!int four"]
)
def test_a_foreign_tag_is_a_problem_and_is_not_followed(text):
    located = parse_yaml(text)
    assert located.data == {"a": None}
    assert [problem.key for problem in located.problems] == ["a"]


def test_a_key_that_is_a_list_is_a_problem():
    [problem] = parse_yaml("a: 1\n? [b, c]\n: 2\n").problems
    assert problem.line == 2


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " + "{b: " * 1000, "a: &a {b: *a}"])
def test_bottomless_nesting_is_refused(text):
    [problem] = problems_of(text)
    assert "nested more than" in problem


def test_aliases_of_aliases_are_refused_before_they_fill_the_memory():
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    [problem] = problems_of("\n".join(rows))
    assert "anchors written out" in problem


def test_a_number_too_long_to_read_is_a_problem():
    [problem] = parse_yaml(f"a: {'9' * (sys.get_int_max_str_digits() + 1)}").problems
    assert "cannot read" in problem.message


def test_a_missing_file_is_refused(tmp_path):
    path = tmp_path / "none.yaml"
    with pytest.raises(InputErrors, match="there is no such file") as caught:
        read_yaml(path)
    assert caught.value.problems[0].file == str(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(InputErrors, match="this is a folder, not a file"):
        read_yaml(tmp_path)


def test_a_file_as_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("a: 1")
    with pytest.raises(InputErrors, match="cannot be read: Not a directory"):
        read_yaml(Path(tmp_path / "file" / "m.yaml"))


def test_bytes_that_are_not_utf8_are_refused_with_their_line(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("schema: 1\nabout: Müller\n".encode("latin-1"))
    with pytest.raises(InputErrors) as caught:
        read_yaml(path)
    message = "byte 0xfc is not UTF-8; save the file as UTF-8"
    assert str(caught.value) == f"{path}:2: {message}"


def test_a_lone_surrogate_from_the_command_line_is_refused():
    with pytest.raises(InputErrors, match="not Unicode"):
        parse_value("\udcff")


@pytest.mark.parametrize(
    ("text", "repair"),
    [
        ("data:\n\tsource: rail\n", "this is a tab: indent with blanks"),
        ("about: a: b\n", "put a text that holds ': ' in quotes"),
        ("about: @home\n", "put a text that begins so in quotes"),
        ("data:\n  source:\n   file: a.csv\n where: x\n", "one level one indentation"),
    ],
)
def test_a_syntax_error_says_what_most_often_repairs_it(text, repair):
    [problem] = problems_of(text)
    assert repair in problem
