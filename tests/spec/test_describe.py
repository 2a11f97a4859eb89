import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlm_models import build
from hlm_models.spec.describe import describe
from hlm_models.spec.notation import Symbol


def text(name):
    return describe(build(name)).text()


def test_a_two_level_model_is_written_by_levels():
    lines = text("hsb-slopes-as-outcomes").splitlines()
    assert lines[0].startswith("Level 1: rows i = 1..7,185")
    assert lines[1].strip() == "mathachᵢ = α₀ⱼ + α₁ⱼ csesᵢ + eᵢ,   eᵢ ~ N(0, σ²)"
    assert lines[2].startswith("Level 2: school j = 1..160")
    level = next(line for line in lines if line.strip().startswith("α₀ⱼ ="))
    slope = next(line for line in lines if line.strip().startswith("α₁ⱼ ="))
    assert "β[Intercept] + β[meanses] meansesⱼ + β[catholic] catholicⱼ + b[Intercept]ⱼ" in level
    assert "β[cses] + β[meanses:cses] meansesⱼ + β[catholic:cses] catholicⱼ + b[cses]ⱼ" in slope
    assert lines[-1].strip() == "(b[Intercept]ⱼ, b[cses]ⱼ) ~ N(0, Ψ)"


def test_a_slope_that_does_not_vary_has_no_effect_and_no_index():
    found = text("radon-intercept")
    assert "α₁ floorᵢ" in found
    assert "α₁ = β[floor]" in found
    assert "b[floor]" not in found
    assert "b[Intercept]ⱼ ~ N(0, sd²)" in found


def test_independent_effects_are_said_to_be_so():
    assert "diagonal" in text("sleepstudy-uncorrelated")
    assert "diagonal" not in text("sleepstudy-slopes")


def with_shared(formula, priors):
    head = {"schema": 1, "name": "m", "data": {"source": "sleepstudy"}, "formula": formula}
    return describe(build({**head, "priors": {"groups": {"subject": priors}}}))


def test_a_shared_variance_is_said_to_be_so():
    found = with_shared("reaction ~ days + (days || subject)", {"kind": "shared"})
    assert found.text().endswith("(b[Intercept]ⱼ, b[days]ⱼ) ~ N(0, Ψ),  Ψ = sd² I")
    rows = {row.parameter: row.prior for row in found.priors}
    assert [name for name in rows if name.startswith("sd")] == ["sd_subject[days || subject]"]
    assert rows["sd_subject[days || subject]"].startswith("half_student_t(3, ")
    term = "0 + days + I(days**2) || subject"
    text = with_shared(f"reaction ~ days + (1 | subject) + ({term})", {term: {"kind": "shared"}})
    assert text.text().endswith(f"Ψ diagonal, one sd for ({term})")


def test_two_groups_are_written_on_one_line():
    penicillin = {
        "schema": 1,
        "name": "m",
        "data": {"source": "penicillin"},
        "formula": "diameter ~ 1 + (1 | plate) + (1 | sample)",
    }
    found = describe(build(penicillin))
    assert "b_plate[Intercept] + b_sample[Intercept] + eᵢ" in found.text()
    assert dict(found.sizes) == {"rows": 144, "plate": 24, "sample": 6}


@pytest.mark.parametrize("name", ["sleepstudy-slopes", "sleepstudy-uncorrelated", "rail"])
def test_every_parameter_has_a_row_with_its_prior_in_numbers(name):
    spec = build(name)
    rows = {row.parameter: row.prior for row in describe(spec).priors}
    [block] = spec.blocks
    expected = [f"beta[{coef}]" for coef in spec.design.coef]
    expected += [f"sd_{block.group}[{effect}]" for effect in block.effects] + ["sigma"]
    assert set(expected) <= set(rows)
    assert len(rows) == len(expected) + sum(term.correlated for term in block.terms)
    assert not any("auto" in prior for prior in rows.values())
    s_y = np.std(spec.design.y, ddof=1)
    assert rows["sigma"] == f"half_student_t(3, {s_y:.6g})"


def test_the_correlation_has_a_row_that_names_its_term():
    rows = {row.parameter: row.prior for row in describe(build("sleepstudy-slopes")).priors}
    assert rows["corr_subject (days | subject)"] == "lkj(2)"


def test_a_description_carries_name_formula_and_parameterization():
    found = describe(build("rail"))
    assert found.name == "rail"
    assert found.formula == "travel ~ 1 + (1 | rail)"
    assert found.about.strip()
    kind, _, why = found.parameterization.partition(": ")
    assert kind in ("marginal", "centered", "noncentered")
    assert why


def test_latex_has_the_structure_of_the_text():
    for name in ("hsb-slopes-as-outcomes", "penicillin", "eight-schools", "radon-pooled"):
        found = describe(build(name))
        assert [len(lines) for _, lines in found.latex] == [
            len(lines) for _, lines in found.equations
        ]
        assert all(line.count("&") == 1 for _, lines in found.latex for line in lines)


def test_latex_of_a_two_level_model():
    found = describe(build("sleepstudy-slopes"))
    assert found.latex_source().splitlines() == [
        r"\begin{align*}",
        r"&\text{Level 1: rows }i = 1, \dots, 180 \\",
        r"\text{reaction}_{i} &= \alpha_{0j} + \alpha_{1j}\,\text{days}_{i} + e_{i},\quad "
        r"e_{i} \sim N(0, \sigma^{2}) \\",
        r"&\text{Level 2: subject }j = 1, \dots, 18 \\",
        r"\alpha_{0j} &= \beta_{\text{Intercept}} + b_{\text{Intercept},j} \\",
        r"\alpha_{1j} &= \beta_{\text{days}} + b_{\text{days},j} \\",
        r"(b_{\text{Intercept},j}, b_{\text{days},j}) &\sim N(0, \Psi)",
        r"\end{align*}",
    ]


def test_latex_goes_on_with_a_sum_on_the_next_line():
    [(_, (head, tail)), _] = describe(build("penicillin")).latex
    assert head == r"\text{diameter}_{i} &= \beta_{\text{Intercept}}"
    assert tail.startswith(r"&\quad + b_{\text{Intercept}}^{(\text{plate})}")


@given(st.text())
def test_no_character_of_a_name_is_markup_of_latex(name):
    latex = Symbol(name, index="i", named=True).latex
    assert latex.startswith(r"\text{")
    assert latex.endswith("}_{i}")
    inner = latex[len(r"\text{") : -len("}_{i}")]
    rest = re.sub(r"\\text[a-z]+\{\}|\\[{}$&#%_]", "", inner)
    assert not set("\\{}$&#%_^~\n\r") & set(rest)


def test_two_correlated_terms_are_independent_of_each_other():
    head = {"schema": 1, "name": "m", "data": {"source": "sleepstudy"}}
    terms = "(days | subject) + (0 + I(days**2) + I(days**3) | subject)"
    found = describe(build({**head, "formula": f"reaction ~ days + {terms}"})).text()
    first, second = "days | subject", "0 + I(days**2) + I(days**3) | subject"
    assert found.endswith(f"N(0, Ψ),  Ψ block diagonal: ({first}) and ({second})")


def test_a_model_without_coefficients_has_a_mean_of_zero():
    head = {"schema": 1, "name": "m", "data": {"source": "sleepstudy"}}
    found = describe(build({**head, "formula": "reaction ~ 0"}))
    assert "reactionᵢ = 0 + eᵢ," in found.text()


def test_a_colon_in_the_label_of_a_level_parts_no_name():
    n = 24
    frame = pd.DataFrame(
        {
            "y": np.sin(np.arange(n)),
            "x": np.cos(np.arange(n) * 1.7),
            "s": np.repeat(["a:b", "c(d)"], n // 2),
            "g": np.repeat(list("pqrstu"), n // 6),
        }
    )
    found = describe(build(formula="y ~ s * x + (1 | g)", data=frame)).text()
    assert "α₀ⱼ = β[Intercept] + β[s[c(d)]] s[c(d)]ⱼ + b[Intercept]ⱼ" in found
    frame["s"] = np.repeat(["a", "a:b"], n // 2)
    found = describe(build(formula="y ~ s * x + (1 | g)", data=frame)).text()
    assert "α₁ⱼ = β[x] + β[s[a:b]:x] s[a:b]ⱼ" in found
