import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from canned import canned_agreement, canned_posterior

from hlm_models import build, fit, icc, r2
from hlm_models.report.figures import Bar, Levels, caterpillar, forest, shortened, standardised
from hlm_models.report.page import Run, render, write
from hlm_models.report.tables import number, short
from hlm_models.results.checks import Check
from hlm_models.results.summary import parameters

MODELS = ["dyestuff", "grunfeld-slopes", "sleepstudy-uncorrelated"]
VOID = {"meta", "img", "br", "hr", "wbr", "link", "input"}
FAILED = Check("r_hat", "fail", 1.31, 1.05, "the chains disagree on <sigma>")


class Page(HTMLParser):
    """Text by section, addresses, and whether every tag is closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.unbalanced, self.addresses, self.tags = [], [], [], []
        self.text, self.headings = "", []
        self.feed(text)
        self.close()
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append((tag, self.getpos()))

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


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
    return Run(posterior, reference, canned_agreement(posterior, reference), provenance)


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
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', text)) == set(found)


def test_nothing_is_fetched(text, page):
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in page.addresses)
    assert "@import" not in text
    assert not re.search(r"url\(\s*['\"]?(?!#)", text)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)


def test_two_pages_of_a_run_are_equal_whatever_the_users_style(slopes, slopes_text):
    import matplotlib

    with matplotlib.rc_context({"axes.titlesize": 40, "svg.fonttype": "path"}):
        before = dict(matplotlib.rcParams)
        assert render(slopes) == slopes_text
        assert dict(matplotlib.rcParams) == before


def test_every_figure_has_a_caption_and_a_description(text):
    figures = re.findall(r"<figure.*?</figure>", text, flags=re.DOTALL)
    assert len(figures) == 5
    for figure in figures:
        assert "Wrong would be" in figure
        drawn = re.findall(r"<svg[^>]*>|<img[^>]*>", figure)
        assert drawn
        assert all(re.search(r'(aria-label|alt)="[^"]+"', one) for one in drawn)


def test_every_table_names_model_and_engine(run, text):
    captions = re.findall(r"<caption>(.*?)</caption>", text)
    assert len(captions) == text.count("<table>") == 8
    assert all(caption.startswith(f"{run.spec.name}, ") for caption in captions)
    assert all(re.search("nuts|reml|all engines", caption) for caption in captions)


def test_a_failed_check_stands_before_the_model():
    warned = Check("ess_bulk", "warn", 91.25, 400, "few effective draws")
    text = Page(render(finished(build("dyestuff"), checks=[warned, FAILED]))).text
    model = text.index("The model")
    failed = text.index("the chains disagree on <sigma>; value 1.31, threshold 1.05")
    warning = text.index("few effective draws; value 91.25, threshold 400")
    assert failed < warning < model


def test_passed_checks_make_no_box(slopes, slopes_text):
    assert '<aside class="box' not in slopes_text
    assert f"all {len(slopes.checks)} checks passed" in slopes_text


def test_a_point_fit_alone_has_no_heading_of_the_posterior(slopes):
    page = Page(render(Run(None, slopes.reference, None, {})))
    assert page.headings == [
        "The answer in short", "The model", "The data", "Estimates", "Group effects",
        "All checks", "Where this came from",
    ]  # fmt: skip
    assert "posterior" not in page.text
    assert "b_subject[days]" in page.text


def test_the_point_fit_has_its_criteria_and_shares_of_the_variance(run, page):
    fit = run.reference
    shares, together = r2(fit), icc(fit).loc["all groups", "adjusted"]
    assert f"AICc {fit.aicc:,.2f}, BIC {fit.bic:,.2f}" in page.text
    assert (
        f"ICC {together:.3f} of all groups, R2 {shares.marginal:.3f} marginal and "
        f"{shares.conditional:.3f} conditional." in page.text
    )


def test_a_posterior_alone_does_not_mention_reml(slopes):
    page = Page(render(Run(slopes.posterior, None, None, {})))
    assert "Posterior against" not in " ".join(page.headings)
    assert "REML" not in page.text
    assert "Chains" in page.headings


def test_what_a_posterior_did_not_store_is_left_out(slopes):
    data = slopes.posterior.data.copy()
    del data["posterior_predictive"]
    data["posterior"] = data["posterior"].to_dataset().drop_vars("b_subject")
    page = Page(render(Run(replace(slopes.posterior, data=data), None, None, {})))
    assert "Group effects" not in page.headings
    assert "Data against the model's replications" not in page.headings


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
    assert not {"script", "u"} & set(page.tags)
    assert "<script" not in text
    assert "<b>bold" not in text
    assert "beta[x<i>]" in page.text
    assert "beta[f[<u>b]]" in page.text
    assert "<b>bold" in page.text
    assert "汉字 &amp;" in page.text


def test_a_large_model_stays_small():
    rng = np.random.default_rng(3)
    J, n = 684, 12_974
    school, x = rng.permutation(np.arange(n) % J), rng.standard_normal(n)
    b = rng.standard_normal((J, 2)) * [3, 1]
    y = 50 + 2 * x + b[school, 0] + b[school, 1] * x + 9 * rng.standard_normal(n)
    frame = pd.DataFrame({"y": y, "x": x, "school": school})
    text = render(finished(build(formula="y ~ x + (x | school)", data=frame), draws=1000))
    assert len(text.encode()) < 5e6
    assert "684 levels, sorted" in text
    assert "12,974 rows" in text


def test_write_makes_a_file_that_is_the_page(slopes, tmp_path):
    alone = Run(None, slopes.reference, None, {})
    write(alone, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == render(alone)


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


def test_bars_are_standardised_by_the_posterior():
    assert standardised(Bar("a", 5.0, 3.0, 9.0), centre=4.0, scale=2.0) == Bar("a", 0.5, -0.5, 2.5)


def test_a_far_estimate_and_a_missing_interval_are_drawn():
    nan = float("nan")
    pair = (Bar("a", 0.0, -2.0, 2.0), Bar("a", 1000.0, nan, nan))
    assert "<svg" in forest([pair], reference="REML", alt="far")


@pytest.mark.parametrize("J", [1, 60, 61, 200, 201, 3000])
def test_all_levels_are_drawn_and_at_most_sixty_labelled(J):
    middle = np.random.default_rng(4).standard_normal(J)
    main = Levels(middle, middle - 1, middle + 1)
    labels = [f"level{j}" for j in range(J)]
    text = caterpillar(labels, main, middle, title="b", names=("posterior", "REML"), alt=f"b {J}")
    if text.startswith("<img"):
        assert J == 3000
    else:
        # Two legend markers stand beside those of the levels; ticks refer to theirs by <use> too.
        assert text.count("<use") >= (2 * J if J <= 200 else J)
        assert text.count(">level") == (len(range(0, J, -(-J // 60))) if J <= 200 else 0)


def test_long_labels_are_cut_in_the_middle():
    assert shortened("a" * 30, 30) == "a" * 30
    assert shortened("abcdefghij" * 4, 10) == "abcdef…hij"
    assert shortened("two\nlines\x00", 20) == "two lines"
