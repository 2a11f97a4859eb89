import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.results.coef_table import coefficient_table


@pytest.fixture(scope="module")
def two():
    return [hlm.fit(f"sleepstudy-{name}", engine="reml") for name in ("intercept", "slopes")]


def cells(text):
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_markdown_has_a_row_a_parameter_and_a_column_a_fit(two):
    rows = {row[0]: row[1:] for row in cells(coefficient_table(two))}
    assert rows[""] == ["sleepstudy-intercept", "sleepstudy-slopes"]
    assert rows["Intercept"] == ["251.4 (9.7)", "251.4 (6.8)"]
    assert rows["days"] == ["10.47 (0.80)", "10.5 (1.5)"]
    assert rows["sd_subject[Intercept]"] == ["37.12", "24.74"]
    assert rows["sd_subject[days]"] == ["", "5.922"]
    assert rows["corr_subject[Intercept, days]"] == ["", "0.06555"]
    assert rows["sigma"] == ["30.99", "25.59"]
    assert rows["rows"] == ["180", "180"]
    assert rows["levels of subject"] == ["18", "18"]
    assert rows["REML criterion"] == ["1786.5", "1743.6"]
    assert rows["AIC"] == ["1794.5", "1755.6"]


def test_the_frame_has_the_numbers(two):
    frame = coefficient_table({"a": two[0], "b": two[1]}, "frame")
    assert frame.loc["days", ("b", "estimate")] == two[1].beta[1]
    assert frame.loc["days", ("b", "se")] == np.sqrt(two[1].vcov_beta[1, 1])
    assert np.isnan(frame.loc["sd_subject[days]", ("a", "estimate")])
    assert frame.loc["REML criterion", ("a", "estimate")] == two[0].criterion


def test_criteria_of_different_kinds_are_not_in_one_row(two):
    frame = coefficient_table([two[0], hlm.fit("sleepstudy-slopes", engine="ml")], "frame")
    assert frame["sleepstudy-intercept", "estimate"].notna()["REML criterion"]
    assert frame["sleepstudy-intercept", "estimate"].isna()["deviance"]
    assert frame["sleepstudy-slopes", "estimate"].isna()["REML criterion"]


def test_fits_of_one_name_are_numbered(two):
    assert cells(coefficient_table([two[0], two[0]]))[0][1:] == [
        "sleepstudy-intercept (1)",
        "sleepstudy-intercept (2)",
    ]


def made_up_fit():
    rng = np.random.default_rng(2)
    data = hlm.build("sleepstudy-slopes").design.table.frame()
    data = data.assign(a_b=rng.normal(size=180), sigma=rng.normal(size=180))
    return hlm.fit(
        hlm.build(formula="reaction ~ a_b*sigma + C(days) + (1 | subject)", data=data),
        engine="reml",
    )


def test_latex_is_escaped():
    text = coefficient_table({"50% & _more_": made_up_fit()}, "latex")
    assert r" & 50\% \& \_more\_ \\" in text
    assert r"a\_b:sigma & " in text
    assert r"sd\_subject[Intercept] & " in text
    assert " -" not in text  # a minus, not a hyphen
    assert text.count(r"\begin{tabular}{lr}") == 1


def test_markdown_is_escaped():
    text = coefficient_table({"a|b_": made_up_fit()})
    assert r"a\|b\_" in text
    assert "| a_b:sigma | " in text


def test_a_coefficient_may_be_called_as_a_row_of_the_table_is():
    text = coefficient_table(made_up_fit())
    assert sum(line.startswith("| sigma |") for line in text.splitlines()) == 2


def test_no_fit_and_unknown_formats_are_refused(two):
    with pytest.raises(InputErrors, match="at least one fit"):
        coefficient_table([])
    with pytest.raises(InputErrors, match="format is markdown, latex or frame"):
        coefficient_table(two, "html")


def test_names_that_are_no_text_are_refused(two):
    with pytest.raises(InputErrors, match="fits: the name of a column is a text, not 1: write '1'"):
        coefficient_table({1: two[0], 2: two[1]})
    with pytest.raises(InputErrors, match="coefficient_table takes a fit"):
        coefficient_table("sleepstudy-slopes")
