"""The references of the zoo: every fit meets them, and a change of any one is found."""

import functools
import json
import os
from decimal import ROUND_CEILING, Decimal
from pathlib import Path

import pytest

import hlm_models as hlm
from hlm_models.api.models import read_config
from hlm_models.config.settings import PosteriorReference
from hlm_models.engines.find import find
from hlm_models.results.summary import parameters
from hlm_models.zoo.badges import packaged_badges
from hlm_models.zoo.estimates import estimates
from hlm_models.zoo.judge import judge
from hlm_models.zoo.references import digest_of, reference_problems

GOLDEN = Path(__file__).parents[1] / "golden"
NEEDS_NELS = pytest.mark.skipif(
    "HLM_DATA" not in os.environ,
    reason="NELS is not bundled, and HLM_DATA does not name the folder of nels.csv",
)
NAMES = hlm.list_models()
POINT = ("reml", "ml")


def marked(name):
    marks = [NEEDS_NELS] if name.startswith("nels") else []
    return [*marks, pytest.mark.slow] if name.startswith("insteval") else marks


MODELS = [pytest.param(name, id=name, marks=marked(name)) for name in NAMES]


@functools.cache
def spec_of(name):
    return hlm.build(name)


@functools.cache
def references_of(name):
    return read_config(name)[0].reference


@functools.cache
def point_estimates(name):
    return tuple(estimates(hlm.fit(spec_of(name), engine)) for engine in POINT)


@functools.cache
def badges():
    return packaged_badges()


def moved(reference, name, difference):
    """The reference with the number of a difference moved by four tolerances or a little more."""
    value = reference.values[name]
    if isinstance(reference, PosteriorReference):
        key = "sd" if difference.name.startswith("sd of ") else "mean"
        # Away from what was found, since an sd may not become negative.
        away = 1 if difference.reference >= difference.found else -1
        number = getattr(value, key) + 4 * away * difference.tolerance
        if key == "sd" and number <= 0:
            number = getattr(value, key) + 4 * difference.tolerance
        new = value.model_copy(update={key: number})
    else:
        number = Decimal(value)
        unit = Decimal(1).scaleb(number.as_tuple().exponent)
        steps = (Decimal(4 * difference.tolerance) / unit).to_integral_value(ROUND_CEILING)
        new = str(number + steps * unit)
    return reference.model_copy(update={"values": {**reference.values, name: new}})


def every_change(name, found):
    """Lists of references with one number changed, for all numbers that the estimates have."""
    references = references_of(name)
    for i, reference in enumerate(references):
        for parameter in reference.values:
            alone = reference.model_copy(
                update={"values": {parameter: reference.values[parameter]}}
            )
            kinds = {one.name: one for one in judge([alone], found).differences}
            for difference in kinds.values():
                new = moved(reference, parameter, difference)
                yield parameter, [*references[:i], new, *references[i + 1 :]]


@pytest.mark.golden
@pytest.mark.parametrize("name", MODELS)
def test_reml_and_ml_meet_every_reference(name):
    verdict = judge(references_of(name), point_estimates(name))
    assert not verdict.beyond
    assert not verdict.failed
    held = sum(len(one.values) for one in references_of(name) if one.engine in POINT)
    assert len(verdict.differences) == held


@pytest.mark.golden
@pytest.mark.parametrize("name", MODELS)
def test_a_change_of_any_number_of_reml_or_ml_fails_the_model(name):
    found = point_estimates(name)
    changes = list(every_change(name, found))
    assert len(changes) == sum(
        len(one.values) for one in references_of(name) if one.engine in POINT
    )
    for parameter, references in changes:
        verdict = judge(references, found)
        assert [one.name for one in verdict.beyond] == [parameter]
        assert digest_of(references) != digest_of(references_of(name))


@pytest.mark.parametrize("name", MODELS)
def test_references_are_about_their_model(name):
    assert reference_problems(spec_of(name), references_of(name)) == ()


@pytest.mark.parametrize("name", NAMES)
def test_every_model_has_a_reference_from_outside(name):
    assert {one.engine for one in references_of(name)}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("nels-bayes")])
def test_a_model_about_its_prior_has_a_posterior_to_meet(name):
    assert "posterior" in {one.engine for one in references_of(name)}


# --- numbers that a committed script made ---

MADE = {
    (path.name.replace(".json", ".R"), name): one
    for path in [GOLDEN / "zoo.json", GOLDEN / "zoo_posterior.json"]
    for name, one in json.loads(path.read_text("utf-8"))["models"].items()
}


@pytest.mark.parametrize("name", NAMES)
def test_numbers_of_our_scripts_are_those_they_wrote(name):
    """What a model file says to be from tests/golden/zoo*.R stands in the file of that script."""
    for reference in references_of(name):
        for script in ("zoo.R", "zoo_posterior.R"):
            if f"tests/golden/{script}" not in reference.source:
                continue
            made = MADE[script, name]
            if script == "zoo.R":
                [fit] = [one for one in made if one["engine"] == reference.engine]
                for key, printed in reference.values.items():
                    unit = 10.0 ** Decimal(printed).as_tuple().exponent
                    assert abs(fit["values"][key] - float(printed)) <= 0.5001 * unit
            else:
                for key, value in reference.values.items():
                    said = value.model_dump(exclude_none=True)
                    assert said == {
                        one: pytest.approx(made["values"][key][one], rel=0.05) for one in said
                    }
                    assert value.mean == pytest.approx(made["values"][key]["mean"], rel=1e-5)


# --- the badges that are packed with the zoo ---


@pytest.mark.parametrize("name", MODELS)
def test_the_packed_badge_is_of_the_model_and_the_references_as_they_are(name):
    """Who changes a model or a reference verifies it: hlm verify --badges configs/verified.json."""
    badge, spec = badges()[name], spec_of(name)
    assert badge.standing(digest=spec.digest, references=digest_of(references_of(name))) == "pass"
    assert (badge.n, badge.p) == (spec.design.n, spec.design.p)
    assert dict(badge.groups) == {block.group: block.J for block in spec.blocks}
    named = {one.name for one in parameters(spec)}
    for one in badge.estimates:
        assert set(one.parameters) == named
        assert one.draws == find(one.engine).draws


@pytest.mark.parametrize("name", NAMES)
def test_the_packed_badge_says_what_its_estimates_say(name):
    badge = badges()[name]
    verdict = judge(references_of(name), badge.estimates)
    assert verdict.status == badge.status == "pass"
    assert verdict.worst == badge.worst
    assert {"reml", "ml", "nuts"} <= {one.engine for one in badge.estimates}


@pytest.mark.parametrize("name", NAMES)
def test_a_change_of_any_number_fails_the_model_and_no_other(name):
    found = badges()[name].estimates
    others = {other: badge.status for other, badge in badges().items() if other != name}
    assert set(others.values()) == {"pass"}
    for parameter, references in every_change(name, found):
        verdict = judge(references, found)
        assert verdict.status == "fail"
        assert {one.name.removeprefix("sd of ") for one in verdict.beyond} == {parameter}


def test_there_is_a_badge_for_every_model_and_no_other():
    assert set(badges()) == set(NAMES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("dyestuff", "nuts"),
        ("dyestuff", "gibbs"),
        ("sleepstudy-slopes", "nuts"),
        ("eight-schools", "nuts"),
        pytest.param("nels-bayes-macro", "gibbs", marks=NEEDS_NELS),
    ],
)
def test_posteriors_meet_their_references(name, engine):
    found = estimates(hlm.fit(spec_of(name), engine))
    verdict = judge(references_of(name), [found])
    assert verdict.status == "pass", verdict
