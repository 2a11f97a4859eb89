"""The page of what priors say, and the part of a run's page that has prior and posterior."""

import re
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from canned import canned_posterior
from reading import Page

import hlm_models as hlm
from hlm_models.comparison.sensitivity import sensitivity_rows
from hlm_models.report.page import Run
from hlm_models.report.page import render as render_run
from hlm_models.report.pictures import OVERLAID
from hlm_models.report.prior import render
from hlm_models.results.fits import PosteriorFit
from hlm_models.results.prior import implied_prior

MODELS = {
    "sleepstudy-slopes": [],
    "pastes": [],
    "eight-schools": [],
    "hsb-random-coefficients": [
        "priors.groups.school={kind: inverse_wishart, nu: 30, scale: [[99, 0], [0, 99]]}"
    ],
}


@pytest.fixture(scope="module", params=MODELS)
def implied(request):
    spec = hlm.build(request.param, overrides=MODELS[request.param])
    return implied_prior(spec, 200, 1)


@pytest.fixture(scope="module")
def text(implied):
    return render(implied)


def test_the_page_is_whole_and_needs_no_network(implied, text):
    page = Page(text)
    assert page.unbalanced == []
    assert page.open == []
    assert all(one.startswith(("#", "data:")) for one in page.addresses)
    assert implied.spec.name in page.text


def test_every_quantity_stands_in_the_table(implied, text):
    rows = re.findall(r'<th scope="row" class="name[ a-z]*">(.*?)</th>', text)
    assert rows[: len(implied.quantities)] == [one.name for one in implied.quantities]


def test_every_finding_is_said_at_the_top(implied, text):
    page = Page(text).text
    assert ("Findings" in page) == bool(implied.findings)
    top = page[: page.index("In numbers")]
    assert all(sentence in top for _, sentence in implied.findings)


def test_every_figure_says_what_would_look_wrong_and_is_described(implied, text):
    figures = re.findall(r"<figure.*?</figure>", text, flags=re.DOTALL)
    groups = [block for block in implied.spec.blocks if block.J > 1]
    assert len(figures) == 2 + len(groups)
    for figure in figures:
        assert "Wrong would be" in figure
        drawn = re.findall(r"<svg[^>]*>|<img[^>]*>", figure)
        assert drawn
        assert all(re.search(r'(aria-label|alt)="[^"]+"', one) for one in drawn)
    shown = [name for name in implied.draws if not name.startswith("beta[")]
    assert len(re.findall('(?:aria-label|alt)="[^"]*prior density of', figures[0])) == len(shown)


def test_the_same_draws_give_the_same_page(implied, text):
    again = implied_prior(implied.spec, 200, 1)
    assert render(again) == text
    assert render(implied_prior(implied.spec, 200, 2)) != text


def run_of(spec):
    reference = hlm.fit(spec, engine="reml")
    posterior = canned_posterior(spec, reference, np.random.default_rng(1), draws=100)
    return Run(posterior, reference, None, {}, sensitivity_rows(posterior))


def overlays(text):
    [section] = re.findall("<h3>Prior and posterior</h3>.*?</figure>", text, flags=re.DOTALL)
    return section, re.findall(
        r'(?:aria-label|alt)="[^"]*: prior and posterior of ([^"]*)"', section
    )


def test_a_run_shows_prior_and_posterior_of_every_parameter():
    run = run_of(hlm.build("sleepstudy-slopes"))
    section, shown = overlays(render_run(run))
    assert shown == [row.parameter for row in run.sensitivity]
    for row in run.sensitivity:
        assert f"{row.prior:.3f}" in section
        assert f"{row.likelihood:.3f}" in section
    bare, shown = overlays(render_run(replace(run, sensitivity=())))
    assert "<table>" not in bare
    assert len(shown) == len(run.sensitivity)


@pytest.mark.parametrize("override", ["priors={preset: flat}", "priors.sigma={kind: flat}"])
def test_an_improper_prior_has_no_line(override):
    spec = hlm.build("dyestuff", overrides=[override])
    fit = run_of(hlm.build("dyestuff")).posterior
    _, shown = overlays(render_run(Run(replace(fit, spec=spec), None, None, {})))
    assert shown == ["beta[Intercept]", "sd_batch[Intercept]", "sigma"]


def test_a_prior_without_a_closed_form_has_a_line_from_draws():
    spec = hlm.build("sleepstudy-slopes", overrides=["priors.beta={kind: horseshoe}"])
    drawn = implied_prior(spec, 200, 1).data["prior"].to_dataset()
    tree = xr.DataTree.from_dict({"posterior": drawn})
    fit = PosteriorFit(spec, "nuts", tree, "canned", "marginal", 0, (), {}, 1)
    section, shown = overlays(render_run(Run(fit, None, None, {})))
    assert "beta[days]" in shown
    assert "nan" not in section


def test_of_many_parameters_those_that_the_prior_moves_are_shown(monkeypatch):
    run = run_of(hlm.build("sleepstudy-slopes"))
    monkeypatch.setattr("hlm_models.report.pictures.OVERLAID", 2)
    _, shown = overlays(render_run(run))
    most = sorted(run.sensitivity, key=lambda row: -row.prior)[:2]
    assert set(shown) == {row.parameter for row in most}
    assert OVERLAID > 2


def test_numbers_are_as_exact_as_so_few_draws_allow(implied, text):
    one = next(one for one in implied.quantities if one.name == "beta[Intercept]")
    row = text[text.index(">beta[Intercept]</th>") :]
    mean = re.findall(r'<td class="number">(.*?)</td>', row)[0]
    error = (one.upper - one.lower) / 3.29 / np.sqrt(200)
    _, _, places = mean.partition(".")
    assert 10.0 ** -len(places) > 0.0099 * error
    assert 10.0 ** -len(places) <= error or not places


def test_densities_begin_where_the_parameter_does():
    page = render(implied_prior(hlm.build("sleepstudy-slopes"), 200, 1))
    svg = re.search(r'<svg[^>]*aria-label="[^"]*density of sigma".*?</svg>', page, re.DOTALL)[0]
    assert ">0</text>" in svg
