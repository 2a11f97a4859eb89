"""Weights, offset and the coding of factors are said wherever a model or a fit is described."""

import json
from pathlib import Path

import pytest

import hlm_models as hlm
from hlm_models.cli import main

MODEL = """\
schema: 1
name: growth
data: {source: orthodont, derive: {w: "1.0 + age / 2", o: "age / 10.0"}}
formula: distance ~ age*sex + (1 | subject)
weights: w
offset: o
contrasts: {sex: {kind: sum, reference: Female}}
"""
FACTOR = {
    "name": "sex",
    "contrast": "sum",
    "reference": "Female",
    "levels": ["Female", "Male"],
}


@pytest.fixture
def printed(tmp_path, monkeypatch, capsys):
    (tmp_path / "growth.yaml").write_text(MODEL)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        capsys.readouterr()
        assert main([*arguments]) == 0
        return capsys.readouterr().out

    return call


def test_show_says_the_coding_and_writes_weights_and_offset_into_the_equations(printed):
    text = printed("show", "growth.yaml")
    assert "sex: sum contrasts, reference level Female" in text
    assert "+ oᵢ + eᵢ,   eᵢ ~ N(0, σ² / wᵢ)" in text
    document = json.loads(printed("show", "growth.yaml", "--json"))
    assert document["factors"] == [FACTOR]
    assert "+ oᵢ + eᵢ" in document["equations"][0]["lines"][0]


def test_a_plain_model_has_no_trace_of_them(printed):
    text = printed("show", "sleepstudy-slopes")
    assert "+ eᵢ,   eᵢ ~ N(0, σ²)" in text
    assert "contrasts" not in text
    found = json.loads(printed("fit", "sleepstudy-slopes", "--engine", "reml", "--json"))
    assert (found["weights"], found["offset"], found["factors"]) == (None, None, [])


def test_a_composite_equation_has_them_too(printed):
    text = printed(
        *("show", "penicillin", "--set", "data.derive={w: 'diameter', o: 'diameter / 2'}"),
        *("--set", "weights=w", "--set", "offset=o"),
    )
    assert "+ oᵢ + eᵢ,   eᵢ ~ N(0, σ² / wᵢ)" in text


def test_a_fit_says_them_in_print_and_in_its_document(printed):
    lines = printed("fit", "growth.yaml", "--engine", "reml").splitlines()
    assert lines[1:5] == [
        "distance ~ age*sex + (1 | subject)",
        "weights: w",
        "offset: o",
        "sex: sum contrasts, reference level Female",
    ]
    document = json.loads(printed("fit", "growth.yaml", "--engine", "ml", "--json"))
    assert (document["weights"], document["offset"]) == ("w", "o")
    assert document["factors"] == [FACTOR]
    assert [row["name"] for row in document["beta"]] == [
        *("Intercept", "age", "sex[Male]", "age:sex[Male]")
    ]


def test_a_run_is_found_again_and_its_page_has_the_coding(printed):
    printed("run", "growth.yaml", "--engines", "reml,ml")
    found = json.loads(printed("run", "growth.yaml", "--engines", "reml,ml", "--json"))
    assert found["reused"]
    page = Path(found["page"]).read_text("utf-8")
    assert "coding of factors" in page
    assert "Female, Male" in page
    again = printed(
        "run", "growth.yaml", "--engines", "reml,ml", "--set", "contrasts={sex: sum}", "--json"
    )
    assert not json.loads(again)["reused"]


def test_a_saved_fit_of_another_coding_is_refused(printed, tmp_path):
    from hlm_models.results.save import load_fit

    printed("fit", "growth.yaml", "--engine", "reml", "--out", "fit.json")
    assert load_fit("fit.json", hlm.build("growth.yaml")).criterion > 0
    for change in ("contrasts={sex: sum}", "weights=", "offset="):
        with pytest.raises(hlm.HlmError, match="another model"):
            load_fit("fit.json", hlm.build("growth.yaml", overrides=[change]))
