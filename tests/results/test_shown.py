"""What Python prints of models and fits, and equations for a paper."""

import numpy as np
import pandas as pd
import pytest

import hlm_models as hlm
from hlm_models.spec.describe import describe

SPEC = hlm.build("sleepstudy-slopes")
FIT = hlm.fit(SPEC, "reml")


def test_a_model_and_a_fit_print_in_few_lines():
    for one in (SPEC, FIT):
        text = repr(one)
        assert "sleepstudy-slopes" in text.splitlines()[0]
        assert "180 rows, 18 subject" in text.splitlines()[0]
        assert text.splitlines()[1] == "reaction ~ days + (days | subject)"
        assert len(text.splitlines()) < 20
        assert "array(" not in text


def test_a_fit_prints_the_numbers_of_its_summary():
    text = repr(FIT)
    for name, row in hlm.summary(FIT).iterrows():
        assert f"{row['estimate']:.4g} ({row['se']:.4g})" in text
        assert str(name) in text
    assert f"REML criterion {FIT.criterion:.4f}" in text


def test_a_posterior_prints_means_and_sds():
    found = hlm.fit("dyestuff", "gibbs", draws=60, tune=50, chains=2)
    text = repr(found)
    frame = hlm.summary(found)
    assert f"{frame.loc['sigma', 'mean']:.4g} ({frame.loc['sigma', 'sd']:.4g})" in text
    assert "2 chains of 60 draws; checks: " in text
    assert "divergences" not in text


def test_a_notebook_shows_tables_with_names_escaped():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"y": rng.normal(size=40), "<b>x": rng.normal(size=40)})
    frame["g"] = np.repeat(list("abcdefgh"), 5)
    spec = hlm.build(formula="y ~ `<b>x` + (1 | g)", data=frame)
    for html in (spec._repr_html_(), hlm.fit(spec, "reml")._repr_html_()):
        assert "<table" in html
        assert "<b>" not in html
        assert "&lt;b&gt;x" in html


def test_equations_of_a_model_and_of_a_fit_in_both_formats():
    assert hlm.equations(SPEC) == hlm.equations(FIT) == describe(SPEC).text()
    latex = hlm.equations(FIT, format="latex")
    assert latex.startswith("\\begin{align*}\n")
    assert latex.endswith("\n\\end{align*}")


def test_equations_of_something_else_are_refused():
    with pytest.raises(hlm.InputErrors, match=r"model: give a model that is built.*not str"):
        hlm.equations("sleepstudy-slopes")
    with pytest.raises(hlm.InputErrors, match="format: format is text or latex, not 'latx'; did"):
        hlm.equations(SPEC, format="latx")
