"""The verdict is a function of estimates and references alone."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hlm_models.config.settings import PointReference, PosteriorReference
from hlm_models.zoo.estimates import Estimate, Estimates
from hlm_models.zoo.judge import judge

POINT = {"beta[x]": Estimate(1.2345678, 0.25), "sd_g[x]": Estimate(0.0, None)}
DRAWN = {"beta[x]": Estimate(1.23, 0.25, mcse=0.003, mcse_error=0.002)}


def point(engine="reml", parameters=POINT, failed=()):
    criteria = {"criterion": 100.12345, "loglik": -50.061725, "aic": 106.1, "bic": 108.2}
    return Estimates(engine, parameters, criteria, failed, 0.1)


def drawn(engine="nuts", parameters=DRAWN):
    return Estimates(engine, parameters, {}, (), 0.1)


def of_point(values, **more):
    return PointReference(engine="reml", source="a book", values=values, **more)


def of_posterior(value, **more):
    return PosteriorReference.model_validate(
        {"engine": "posterior", "source": "Stan", "values": {"beta[x]": value}, **more}
    )


def status(reference, *found):
    return judge([reference], found).status


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("1.2345678", "pass"),
        ("1.23457", "pass"),
        ("1.23456", "fail"),
        ("1.23", "pass"),
        ("1.2300", "fail"),
        ("1", "pass"),
        ("1.24", "fail"),
        ("12345678e-7", "pass"),
        ("0.12346e1", "pass"),
    ],
)
def test_a_number_is_held_to_half_a_unit_of_its_last_digit(printed, expected):
    assert status(of_point({"beta[x]": printed}), point()) == expected


def test_a_number_that_was_rounded_at_five_is_met():
    found = {"beta[x]": Estimate(0.125, 0.1)}
    for printed in ("0.12", "0.13"):
        assert status(of_point({"beta[x]": printed}), point(parameters=found)) == "pass"


def test_more_than_the_digits_is_allowed_where_within_says_so():
    assert status(of_point({"beta[x]": "1.2300"}), point()) == "fail"
    assert status(of_point({"beta[x]": "1.2300"}, within=0.004, why="it stopped"), point()) == (
        "pass"
    )
    assert status(of_point({"beta[x]": "1.2300"}, within=0.003, why="it stopped"), point()) == (
        "fail"
    )


@pytest.mark.parametrize(
    ("name", "printed"),
    [("se[x]", "0.25"), ("criterion", "100.123"), ("loglik", "-50.0617"), ("sd_g[x]", "0.000")],
)
def test_standard_errors_criteria_and_zeros_are_held_too(name, printed):
    assert status(of_point({name: printed}), point()) == "pass"
    assert status(of_point({name: printed[:-1] + "9"}), point()) == "fail"


def test_a_number_that_a_fit_does_not_have_fails():
    found = {"beta[x]": Estimate(1.0, None)}
    verdict = judge([of_point({"se[x]": "0.25"})], [point(parameters=found)])
    assert verdict.status == "fail"
    assert verdict.worst is not None
    assert math.isinf(verdict.worst.units)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_number_meets_none(value):
    found = point(parameters={"beta[x]": Estimate(value, 0.25)})
    assert status(of_point({"beta[x]": "1.23"}), found) == "fail"


def test_a_reference_is_for_its_engine_only():
    reference = of_point({"beta[x]": "9.9"})
    assert status(reference, point("ml")) == "none"
    assert status(reference, drawn()) == "none"
    assert status(reference, point("ml"), point("reml")) == "fail"


def test_a_posterior_is_held_for_every_engine_that_draws():
    reference = of_posterior({"mean": 1.23, "mcse": 0.001})
    verdict = judge([reference], [drawn("nuts"), drawn("gibbs"), point()])
    assert [one.engine for one in verdict.differences] == ["nuts", "gibbs"]


@given(st.floats(-8, 8).filter(lambda z: abs(abs(z) - 4) > 0.01))
def test_a_posterior_mean_is_held_to_four_combined_errors(z):
    mean = 1.23 + z * math.hypot(0.003, 0.004)
    expected = "pass" if abs(z) < 4 else "fail"
    assert status(of_posterior({"mean": mean, "mcse": 0.004}), drawn()) == expected


@given(st.floats(-8, 8).filter(lambda z: abs(abs(z) - 4) > 0.01))
def test_a_posterior_sd_is_held_to_four_combined_errors(z):
    sd = 0.25 + z * math.hypot(0.002, 0.001)
    value = {"mean": 1.23, "mcse": 0.001, "sd": sd, "mcse_sd": 0.001}
    assert status(of_posterior(value), drawn()) == ("pass" if abs(z) < 4 else "fail")


def test_a_posterior_sd_without_its_error_is_held_to_what_is_stated():
    value = {"mean": 1.23, "mcse": 0.001, "sd": 0.26}
    assert status(of_posterior(value, within=0.05, why="rounded"), drawn()) == "pass"
    assert status(of_posterior(value, within=0.03, why="rounded"), drawn()) == "fail"


def test_a_failed_check_fails_the_model_whatever_the_numbers():
    found = point(failed=("gradient: no minimum",))
    verdict = judge([of_point({"beta[x]": "1.23"})], [found])
    assert verdict.status == "fail"
    assert verdict.failed == ("reml: gradient: no minimum",)
    assert not verdict.beyond
    assert judge([], [found]).status == "fail"


def test_without_a_reference_there_is_no_pass():
    assert judge([], [point(), drawn()]).status == "none"


def test_the_worst_is_counted_in_tolerances():
    verdict = judge(
        [of_point({"beta[x]": "1.23457", "se[x]": "0.3", "criterion": "90"})], [point()]
    )
    assert verdict.worst is not None
    assert verdict.worst.name == "criterion"
    assert verdict.worst.units == pytest.approx(10.12345 / 0.5)
    assert [one.name for one in verdict.beyond] == ["criterion"]
