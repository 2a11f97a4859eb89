import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from canned import canned_agreement, canned_posterior
from markupsafe import Markup
from reading import Page

from hlm_models import build, fit
from hlm_models.api.findings import findings
from hlm_models.errors import RefusalError
from hlm_models.report.page import Run, render, write
from hlm_models.report.tables import interval, number, rounded, short
from hlm_models.results.checks import Check
from hlm_models.results.summary import parameters

MODELS = ["dyestuff2", "pastes"]
FAILED = Check("r_hat", "fail", 1.31, 1.05, "the chains disagree on <sigma>")
ORDER = [
    "Question and answer", "Checks", "The model", "The data", "Posterior against REML",
    "Group effects", "Regression lines by group", "Where the variance lies",
    "Data against the model's replications", "Estimates and diagnostics",
    "Where this came from, and how to make it again",
]  # fmt: skip


def finished(spec, *, draws=250, checks=None):
    reference = fit(spec, engine="reml")
    posterior = canned_posterior(
        spec, reference, np.random.default_rng(1), draws=draws, checks=checks
    )
    provenance = {
        "model": spec.name,
        "command": f"hlm run {spec.name}",
        "created": "2026-01-02T03:04:05+00:00",
        "versions": {"numpy": "2.2"},
        "seed": 1,
        "data": {"source": "somewhere", "rows": spec.design.n, "digest": "abc123"},
        "digest": spec.digest,
        "seconds": {"nuts": {"fit": 1.5}, "reml": {"build": 0.1, "fit": 0.2}},
        "config": spec.config,
    }
    return Run(
        posterior,
        reference,
        canned_agreement(posterior, reference),
        provenance,
        findings=findings(posterior, reference),
    )


def alone(fit, **more):
    return Run(
        fit if fit.engine == "nuts" else None,
        None if fit.engine == "nuts" else fit,
        None,
        {},
        findings=findings(fit),
        **more,
    )


@pytest.fixture
def sketched(monkeypatch):
    """Figures are not drawn, for tests of what else stands in a page."""
    monkeypatch.setattr(
        "hlm_models.report.markup.markup",
        lambda _, alt: Markup('<svg aria-label="{}"></svg>').format(alt),
    )


@pytest.fixture(scope="module", params=MODELS)
def run(request):
    return finished(build(request.param))


@pytest.fixture(scope="module")
def slopes():
    return finished(build("sleepstudy-slopes"))


@pytest.fixture(scope="module")
def text(run):
    return render(run)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


@pytest.fixture(scope="module")
def slopes_text(slopes):
    return render(slopes)


def test_sections_stand_in_their_order(slopes_text):
    assert Page(slopes_text).headings == ORDER


def test_the_answer_stands_before_all_tables(slopes_text):
    text = Page(slopes_text).text
    assert text.index("reaction is higher by") < text.index("the coefficients, reaction in ms")
    assert "nuts and reml, agree on" in text


def test_every_parameter_and_verdict_is_on_the_page(run, page):
    for one in parameters(run.spec):
        assert page.text.count(one.name) >= 3
    for row in run.agreement.rows:
        assert {"spread": "spread differs"}.get(row.verdict, row.verdict) in page.text
        assert row.why in page.text
    for _, check in run.checks:
        assert check.message in page.text


def test_tags_are_balanced(page):
    assert page.unbalanced == []
    assert page.open == []


def test_identifiers_are_unique_and_all_that_are_referred_to_exist(text):
    found = re.findall(r'\bid="([^"]+)"', text)
    assert len(found) == len(set(found))
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) <= set(found)


def test_nothing_is_fetched(text, page):
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    assert "@import" not in text
    assert not re.search(r"url\(\s*['\"]?(?!#)", text)
    assert not {"link", "iframe", "object"} & set(page.tags)
    assert set(page.scripts) <= {"", "application/json"}
    assert page.scripts.count("") == 1


def test_two_pages_of_a_run_are_equal_whatever_the_users_style():
    import matplotlib

    run = alone(fit(build("rail"), engine="reml"))
    with matplotlib.rc_context({"axes.titlesize": 40, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        styled = render(run)
        assert dict(matplotlib.rcParams) == before
    assert styled == render(run)


def test_every_figure_has_a_caption_and_a_description(text):
    figures = re.findall(r"<figure.*?</figure>", text, flags=re.DOTALL)
    assert len(figures) >= 6
    for figure in figures:
        assert "Wrong would be" in figure
        drawn = re.findall(r"<svg[^>]*>|<img[^>]*>", figure)
        assert drawn
        assert all(re.search(r'(aria-label|alt)="[^"]+"', one) for one in drawn)


def test_every_table_names_model_and_engine(run, text):
    captions = re.findall(r"<caption>(.*?)</caption>", text)
    assert len(captions) == text.count("<table>")
    assert all(caption.startswith(f"{run.spec.name}, ") for caption in captions)
    assert all(re.search("nuts|reml|all engines", caption) for caption in captions)


def test_a_failed_check_stands_in_the_answer_and_before_the_model_with_what_to_do(sketched):
    warned = Check("ess_bulk", "warn", 91.25, 400, "few effective draws")
    text = Page(render(finished(build("dyestuff"), checks=[warned, FAILED]))).text
    model = text.index("The model")
    first = text.index("Not to be used before r_hat (nuts) is mended")
    failed = text.index("the chains disagree on <sigma>; value 1.31, threshold 1.05")
    warning = text.index("few effective draws; value 91.25, threshold 400")
    remedy = text.index("Draw and tune more")
    assert first < failed < warning < remedy < model


def test_passed_checks_are_a_line(slopes, slopes_text):
    assert '<aside class="box' not in slopes_text
    assert f"All {len(slopes.checks)} checks passed." in Page(slopes_text).text


def test_a_point_fit_alone_has_no_section_of_the_posterior(slopes, sketched):
    page = Page(render(alone(slopes.reference)))
    assert page.headings == [one for one in ORDER if one != "Posterior against REML"]
    assert "posterior" not in page.text
    assert "Chains" not in page.text


def test_a_posterior_alone_does_not_mention_reml(slopes, sketched):
    page = Page(render(alone(slopes.posterior)))
    assert page.headings == [one for one in ORDER if one != "Posterior against REML"]
    assert "REML" not in page.text
    assert "Chains" in page.text


def test_a_model_without_groups_has_no_section_of_them(sketched):
    page = Page(render(finished(build("radon-pooled"))))
    gone = {"Group effects", "Regression lines by group"}
    assert page.headings == [one for one in ORDER if one not in gone]
    assert "No groups: rows count as independent" in page.text


def test_a_model_without_predictors_has_no_lines(sketched):
    page = Page(render(finished(build("dyestuff"))))
    assert page.headings == [one for one in ORDER if one != "Regression lines by group"]


def test_what_a_posterior_did_not_store_is_left_out(slopes, sketched):
    data = slopes.posterior.data.copy()
    del data["posterior_predictive"]
    data["posterior"] = data["posterior"].to_dataset().drop_vars("b_subject")
    page = Page(render(alone(replace(slopes.posterior, data=data))))
    assert "Group effects" not in page.headings
    assert "Data against the model's replications" not in page.headings


def test_what_is_refused_is_left_out_with_its_reason(slopes, sketched, monkeypatch):
    def refuse(fit, group):
        raise RefusalError(f"no line within {group} can be written")

    monkeypatch.setattr("hlm_models.api.findings.pooling", refuse)
    page = Page(render(alone(slopes.reference)))
    assert "Left out: no line within subject can be written." in page.text
    assert "Regression lines by group" not in page.headings
    assert "Group effects" in page.headings


def test_least_squares_that_take_long_are_left_out(slopes, monkeypatch):
    monkeypatch.setattr("hlm_models.api.findings.WORK", 18 * 4**4 - 1)
    [one] = findings(slopes.reference).groups
    assert one.pooling is None
    assert one.shrinkage is None
    assert one.effects is not None
    assert "least squares of 4 columns in each of 18 levels of subject" in one.refused[0]


def test_groups_are_a_tree(sketched):
    text = render(finished(build("pastes")))
    tree = text[text.index('<ul class="tree">') :]
    assert re.search(r"<b>batch</b>.*?<ul[^>]*>.*?<b>batch:cask</b>", tree, flags=re.DOTALL)
    page = Page(text).text
    assert "batch: 10 levels; 6 rows in each" in page
    assert "batch:cask: 30 levels, 3 in each level around it; 2 rows in each" in page
    crossed = Page(render(alone(fit(build("penicillin"), engine="reml")))).text
    assert "2 groups that are crossed" in crossed


def test_units_and_licence_are_those_of_the_dataset(slopes_text):
    page = Page(slopes_text).text
    assert "the response is reaction, in ms" in page
    assert "Average reaction time on that day" in page
    assert "Licence: GPL (>= 2), the licence of lme4" in page


def test_a_file_of_the_user_gets_no_units(sketched):
    frame = pd.DataFrame({"reaction": [1.0, 2, 4, 3, 5, 4.5], "subject": [1, 1, 2, 2, 3, 3]})
    spec = build(formula="reaction ~ 1 + (1 | subject)", data=frame)
    page = Page(render(alone(fit(spec, engine="reml")))).text
    assert " ms" not in page
    assert "Licence" not in page
    assert findings(fit(spec, engine="reml")).units == {}


def test_a_frame_in_place_of_a_dataset_has_no_card():
    frame = pd.DataFrame({"reaction": [1.0, 2, 4, 3, 5, 4], "days": [0, 1] * 3})
    frame["subject"] = list("aabbcc")
    found = findings(fit(build("sleepstudy-intercept", data=frame), engine="reml"))
    assert found.dataset is None
    assert found.units == {}
    assert findings(fit(build("sleepstudy-intercept"), engine="reml")).units["reaction"] == "ms"


def test_levels_are_told_once_and_rows_stand_for_them(slopes, slopes_text):
    [told] = re.findall(
        r'<script type="application/json" class="levels" data-group="subject">(.*?)</script>',
        slopes_text,
    )
    texts = json.loads(told)
    [block] = slopes.spec.blocks
    assert [one.partition("\n")[0] for one in texts] == list(block.labels)
    rows = re.findall(r'<tr data-group="subject" data-level="(\d+)">', slopes_text)
    assert sorted(map(int, rows)) == sorted(2 * list(range(block.J)))


def test_shares_of_the_variance_add_up_to_all(slopes):
    split = slopes.findings.variance
    shares = [row.share.middle for row in (*split.groups, split.residual)]
    assert sum(shares) == pytest.approx(1, abs=1e-12)
    assert all(row.sd.lower < row.sd.middle < row.sd.upper for row in split.groups)


def test_findings_are_the_same_every_time(slopes):
    again = findings(slopes.posterior, slopes.reference)
    for one, other in zip(slopes.findings.groups, again.groups, strict=True):
        for mine, theirs in zip(one.checks, other.checks, strict=True):
            assert np.array_equal(mine.median, theirs.median, equal_nan=True)


def test_checks_by_group_fit_the_rows_of_a_level():
    asked = {
        name: [one.statistic for one in findings(fit(build(name), engine="reml")).groups[0].checks]
        for name in ("sleepstudy-slopes", "eight-schools", "pastes")
    }
    assert asked == {
        "sleepstudy-slopes": ["mean", "sd"],
        "eight-schools": ["mean"],
        "pastes": ["mean", "max"],
    }


def test_the_page_says_how_to_make_it_again(slopes_text):
    page = Page(slopes_text).text
    assert "hlm run sleepstudy-slopes" in page
    assert "To cite this fit: Model sleepstudy-slopes (" in page


def test_a_run_without_a_fit_is_refused():
    with pytest.raises(ValueError, match="a page needs"):
        Run(None, None, None, {})


def test_hostile_names_are_text():
    nasty = [
        "<b>bold",
        "</svg><script>alert(1)</script>",
        "$\\frac{1}{",
        "_hidden",
        "汉字\n\t&amp;",
        "\"'>",
    ]
    rng = np.random.default_rng(2)
    group = np.repeat(nasty, 8)
    frame = pd.DataFrame(
        {"y": rng.standard_normal(48) + np.repeat(np.arange(6), 8), "x<i>": rng.standard_normal(48)}
    ).assign(**{"g&": group, "f": np.tile(["a", "<u>b", "$c"], 16)})
    run = finished(build(formula="y ~ f + `x<i>` + (1 | `g&`)", data=frame))
    text = render(run)
    page = Page(text)
    assert page.unbalanced == []
    assert "u" not in page.tags
    assert set(page.scripts) <= {"", "application/json"}
    assert "<script>alert" not in text
    assert "<b>bold" not in text
    assert "beta[x<i>]" in page.text
    assert "beta[f[<u>b]]" in page.text
    assert "<b>bold" in page.text
    assert "汉字 &amp;" in page.text


@pytest.mark.slow
def test_a_large_model_stays_small():
    rng = np.random.default_rng(3)
    J, n = 684, 12_974
    school, x = rng.permutation(np.arange(n) % J), rng.standard_normal(n)
    b = rng.standard_normal((J, 2)) * [3, 1]
    y = 50 + 2 * x + b[school, 0] + b[school, 1] * x + 9 * rng.standard_normal(n)
    frame = pd.DataFrame({"y": y, "x": x, "school": school})
    text = render(finished(build(formula="y ~ x + (x | school)", data=frame), draws=250))
    assert len(text.encode()) < 5e6
    assert "684 levels, sorted" in text
    assert "12,974 rows" in text


def test_write_makes_a_file_that_is_the_page(slopes, tmp_path, sketched):
    one = alone(slopes.reference)
    write(one, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == render(one)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (3.87654, 0.14, "3.88"), (3.87654, 1.4, "3.9"), (387.654, 14.0, "388"),
        (38765.4, 1400.0, "38,800"), (-0.0004, 0.2, "0.00"), (-2.5, 0.031, "−2.500"),
        (4.0, 0.0, "4"), (4.25, float("nan"), "4.250"), (float("nan"), 1.0, "–"),
        (1.0912e-5, 2e-7, "1.09e-05"), (0.0, 1e-9, "0"), (3.2e8, 1e6, "3.2e+08"),
        (float("inf"), 1.0, "∞"),
    ],
)  # fmt: skip
def test_numbers_have_the_places_of_two_digits_of_their_error(value, error, text):
    assert rounded(value, error) == text


def test_both_ends_of_an_interval_have_the_same_places():
    assert interval(-1.23456, 7.6, 2.3) == "−1.2 to 7.6"
    assert interval(float("nan"), float("nan"), 1.0) == "–"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (None, "–"), (float("nan"), "–"), (float("-inf"), "−∞"), (20.0, "20"),
        (0.0666695, "0.06667"), (0.5, "0.5000"), (-9.36639, "−9.366"), (1527.5, "1,528"),
        (123456.7, "123,457"), (1.0912e-5, "1.09e-05"), (-1e-6, "−1e-06"), (3.2e8, "3.2e+08"),
        (99.996, "100.0"),
    ],
)  # fmt: skip
def test_numbers_have_digits_that_can_be_used(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1.01, "1.01"), (400.0, "400"), (1e-6, "1e-06"), (None, "–"), (-0.5, "−0.5")],
)
def test_thresholds_have_no_idle_zeros(value, text):
    assert short(value) == text
