"""Every prior without a conjugate update is refused by name, with what to use instead."""

from dataclasses import replace

import pytest
from gibbs_cases import FORMULAS, frame, made

import hlm_models as hlm
from hlm_models.errors import InputErrors, RefusalError
from hlm_models.gibbs.refusals import refusals
from hlm_models.parts.families import FAMILIES


def built(formula, *overrides):
    model = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return hlm.build(model, data=frame(), overrides=overrides)


@pytest.mark.parametrize("name", FORMULAS)
def test_conjugate_models_are_taken(name):
    assert refusals(made(name)) == ()


@pytest.mark.parametrize(
    ("formula", "override", "expected"),
    [
        (
            "y ~ x + (x | g)",
            "priors.groups.g={kind: lkj, eta: 2}",
            "corr_g (x | g) has lkj(2), which has no conjugate update: use inverse_wishart, "
            "wishart or hierarchical",
        ),
        (
            "y ~ x + (x || g)",
            "priors.groups.g={kind: diagonal, sd: {x: {kind: half_normal, scale: 0.5}}}",
            "sd_g[x] has half_normal(0.5), which has no conjugate update: use half_student_t or "
            "inverse_gamma",
        ),
        (
            "y ~ x + (x || g)",
            "priors.groups.g={kind: shared, sd: {kind: uniform, lower: 0, upper: 3}}",
            "sd_g[x || g] has uniform(0, 3), which has no conjugate update: use half_student_t or "
            "inverse_gamma",
        ),
        (
            "y ~ x + (1 | g)",
            "priors.sigma={kind: exponential, scale: 2}",
            "sigma has exponential(2), which has no conjugate update: use half_student_t or "
            "inverse_gamma",
        ),
        (
            "y ~ x + (1 | g)",
            "priors.beta.x={kind: uniform, lower: -1, upper: 1}",
            "beta[x] has uniform(-1, 1), which has no conjugate update: use normal, student_t or "
            "flat",
        ),
        (
            "y ~ x + u + (1 | g)",
            "priors.beta={kind: horseshoe}",
            "beta[x], beta[u] have horseshoe, which has no conjugate update: use normal, student_t "
            "or flat",
        ),
    ],
)
def test_a_prior_that_is_not_conjugate_is_named_with_the_repair(formula, override, expected):
    assert refusals(built(formula, override)) == (expected,)


def test_every_reason_is_given_and_who_can():
    spec = built(
        "y ~ x + (x | g)",
        "priors.sigma={kind: half_normal, scale: 1}",
        "priors.beta.x={kind: uniform, lower: -1, upper: 1}",
    )
    with pytest.raises(RefusalError) as refused:
        hlm.fit(spec, engine="gibbs")
    lines = str(refused.value).splitlines()
    assert [line.split(" has ")[0] for line in lines[:3]] == [
        "gibbs: refused: beta[x]",
        "gibbs: refused: corr_g (x | g)",
        "gibbs: refused: sigma",
    ]
    assert lines[3] == "       eligible: nuts, reml, ml"


def test_another_family_is_refused():
    class Other(FAMILIES["gaussian"]):
        kind: str = "other"

    spec = replace(made("intercept"), family=Other())
    assert refusals(spec) == ("the family is other, and conjugate updates need gaussian",)


def test_coefficients_of_several_groups_are_no_scheme():
    with pytest.raises(RefusalError, match="draws coefficients of one group, and here are g, h"):
        hlm.fit(made("crossed"), engine="gibbs", gibbs={"scheme": "coefficients"})


def test_coefficients_need_an_effect_that_has_one():
    with pytest.raises(RefusalError, match=r"needs an effect of g \(Intercept\) .* \(none\)"):
        hlm.fit(made("no coefficients"), engine="gibbs", gibbs={"scheme": "coefficients"})


@pytest.mark.parametrize(
    ("engine", "settings", "message"),
    [
        ("gibbs", {"target_accept": 0.9}, "gibbs makes no use of target_accept"),
        ("gibbs", {"sampler": "pymc", "draws": 20}, "gibbs makes no use of sampler"),
        ("gibbs", {"parameterization": "centered"}, "gibbs makes no use of parameterization"),
        ("nuts", {"gibbs": {"thin": 2}}, "nuts makes no use of gibbs"),
        ("reml", {"gibbs": {"thin": 2}}, "reml does not sample, so gibbs would have no effect"),
        ("gibbs", {"gibbs": {"thin": 0}}, "fit.gibbs.thin: Input should be greater than 0"),
        ("gibbs", {"gibbs": {"thinn": 2}}, "no such setting; did you mean 'thin'"),
        ("gibbs", {"gibs": {"thin": 2}}, "no such setting; did you mean 'gibbs'"),
    ],
)
def test_a_setting_without_effect_is_refused(engine, settings, message):
    with pytest.raises(InputErrors, match=message):
        hlm.fit(made("intercept"), engine=engine, **settings)


def test_settings_of_another_engine_in_a_model_file_are_fine():
    spec = built("y ~ x + (1 | g)", "fit.target_accept=0.9", "fit.gibbs.thin=2")
    fit = hlm.fit(spec, engine="gibbs", chains=2, draws=50, tune=50)
    assert fit.data["posterior"].sizes["draw"] == 50
