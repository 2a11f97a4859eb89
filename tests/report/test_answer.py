import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
from canned import canned_agreement, canned_posterior

from hlm_models import build, fit
from hlm_models.api.findings import findings
from hlm_models.report.answer import answer, estimates
from hlm_models.results.checks import Check
from hlm_models.results.summary import draw_rows, point_rows

FAILED = Check("r_hat", "fail", 1.31, 1.05, "the chains disagree")


def rows():
    """Made so that every sign is what its name says; x:w, x:f[b] and h are not."""
    rng = np.random.default_rng(0)
    n = 600
    frame = pd.DataFrame(
        {
            "x": rng.standard_normal(n),
            "w": rng.standard_normal(n) + 3,
            "bin": rng.integers(0, 2, n),
            "f": np.tile(["a", "b", "c"], n // 3),
            "h": np.repeat(["u", "v"], n // 2),
            "g": np.arange(n) % 20,
            "noise": rng.standard_normal(n),
        }
    )
    effect = rng.standard_normal(20)[frame["g"]]
    mean = 3 + 2 * frame["x"] - 1.5 * frame["w"] + 2 * (frame["f"] == "b") + frame["bin"]
    joint = 0.5 * frame["x"] * frame["w"]
    return frame.assign(y=mean + joint + effect + rng.standard_normal(n))


ROWS = rows()


def said(spec, *, engines="reml", checks=None, agree=True, units=None):
    reference = fit(spec, engine="reml")
    fits, found, posterior = [reference], None, None
    if engines != "reml":
        posterior = canned_posterior(spec, reference, np.random.default_rng(1))
        fits = [posterior] if engines == "nuts" else [posterior, reference]
    if engines == "both":
        found = canned_agreement(posterior, reference)
        if agree:
            rows = tuple(replace(row, verdict="agree") for row in found.rows)
            found = replace(found, rows=rows)
    table = estimates(draw_rows(posterior) if posterior else (), point_rows(reference))
    told = findings(fits[0])
    listed = [(one.engine, check) for one in fits for check in one.checks]
    return answer(
        spec.design,
        {one.name: one for one in table},
        units=told.units if units is None else units,
        split=told.variance,
        agreement=found,
        engines=[one.engine for one in fits],
        checks=listed if checks is None else checks,
    )


def of(formula, **more):
    return said(build(formula=formula, data=ROWS), **more)


def test_a_predictor_has_direction_size_unit_and_interval():
    first, _ = said(build("sleepstudy-slopes"))
    assert first == (
        "reaction is higher by 10.5 ms per unit of days, on average over the levels of subject "
        "(95% interval 7.2 to 13.7); the effect of days differs between levels of subject with a "
        "standard deviation of 5.9 ms (3.9 to 9.0)."
    )


def test_a_number_of_zeros_and_ones_is_a_difference_between_the_two():
    first, second = said(build("radon-pooled"))
    assert "is lower by 0.613 where floor is 1 than where it is 0" in first
    assert second.startswith("The predictors account for 7% of the variance of log_radon")
    assert "the model has no groups" in second


def test_a_long_unit_stands_once_behind_the_response():
    first, _ = said(build("radon-pooled"))
    assert first.startswith("log_radon (log of pCi/L) is lower")
    assert first.count("pCi/L") == 1


def test_no_predictors_the_mean_and_how_much_groups_differ():
    first, second = said(build("penicillin"))
    assert first.startswith("The mean of diameter is 22.97 mm (95% interval 20.95 to 25.00)")
    assert "a standard deviation of 0.85 mm (0.62 to 1.15) between levels of plate" in first
    assert "1.93 mm (1.04 to 3.60) between levels of sample" in first
    assert "15% lies between levels of plate and 79% of sample" in second


def test_the_sign_of_a_mean_may_be_uncertain_and_residuals_known():
    first, second = said(build("eight-schools"))
    assert "its sign uncertain" in first
    assert "standard deviation of 0 points between levels of school, at its limit" in first
    assert "the rest is the known error of the rows" in second
    assert second.endswith("4 of the 5 checks of reml passed, and singular warns.")


def test_many_predictors_the_clearest_three_and_the_others_by_name():
    first, _ = of("y ~ x + w + f + bin + noise + (1 | g)")
    assert first.startswith("With the other predictors held, y is higher by")
    assert first.count("95% interval") == 3
    assert "away from 0 too: bin" in first
    assert re.search(r"the sign is uncertain for f\[c\] \(−0\.\d+ to 0\.\d+\) and noise", first)


def test_a_main_effect_beside_its_interaction_says_where_the_other_stands():
    first, _ = of("y ~ x * w + (1 | g)")
    assert re.search(r"higher by \S+ per unit of x, where w is 0 \(", first)
    assert re.search(r"lower by \S+ per unit of w, where x is 0 \(", first)
    assert re.search(r"the change of y per unit of x is higher by \S+ per unit of w \(", first)


def test_a_main_effect_beside_a_factor_says_at_which_level():
    first, _ = of("y ~ x * f + w + (x | g)")
    assert re.search(
        r"per unit of x, where f is a, on average over the levels of g \(95% interval", first
    )
    assert re.search(r"where f is b than where it is a, where x is 0 \(95%", first)


def test_slopes_within_each_level_are_no_differences():
    first, _ = of("y ~ w + h + x:h + (1 | g)")
    assert re.search(r"per unit of x, where h is [uv] \(95% interval", first)
    assert "than where it is None" not in first


def test_means_of_levels_are_no_differences():
    first, _ = of("y ~ 0 + f + (1 | g)")
    assert re.match(r"The mean of y is \S+ where f is a \(95%.* where f is b \(.* and ", first)
    assert "higher" not in first


def test_sum_contrasts_are_differences_from_the_average():
    spec = build(
        {
            "schema": 1,
            "name": "m",
            "data": {"source": "frame"},
            "formula": "y ~ f + x + w + (1 | g)",
            "contrasts": {"f": "sum"},
        },
        data=ROWS,
    )
    first, _ = said(spec)
    assert "than on average over its levels" in first


def test_curves_have_no_change_per_unit():
    first, _ = of("y ~ bs(x, df=4) + (1 | g)")
    assert first == (
        "y changes along x in a curve (bs(x, df=4)), whose coefficients say little one by one."
    )
    first, _ = of("y ~ x + I(x ** 2) + (1 | g)")
    assert "y changes along x in a curve (x and I(x ** 2))" in first
    assert "per unit" not in first


def test_transforms_keep_their_names():
    first, _ = of("exp(x) ~ log(w + 10) + (1 | g)")
    assert "exp(x)" in first
    assert "log(w + 10)" in first


def test_nothing_away_from_zero_is_said():
    first, _ = of("y ~ noise + (1 | g)")
    assert first.startswith(
        "No coefficient of y is clearly away from 0: the sign is uncertain for noise ("
    )


def test_three_things_together_are_not_taken_apart():
    frame = ROWS.assign(y=ROWS["y"] + 3 * ROWS["x"] * ROWS["w"] * ROWS["bin"])
    first, _ = said(build(formula="y ~ x * w * bin + (1 | g)", data=frame))
    assert "x, w and bin act together: the coefficient of x:w:bin is" in first


def test_a_mean_without_an_intercept_is_none():
    first, _ = of("y ~ 0 + (1 | g)")
    assert first.startswith("y varies around 0, having no mean in this model")


def test_a_mean_beside_varying_slopes_is_where_they_are_zero():
    first, _ = of("y ~ 1 + (x | g)")
    assert first.startswith("The mean of y where x is 0 is ")


def test_two_engines_agree_and_checks_pass():
    _, second = said(build("penicillin"), engines="both")
    assert second.endswith(
        "the two ways of fitting, nuts and reml, agree on all 4 parameters; all 7 checks of nuts "
        "and reml passed."
    )


def test_parameters_that_disagree_are_named():
    _, second = said(build("pastes"), engines="both", agree=False)
    assert "nuts and reml, agree on 3 of 4 parameters, not on sd_batch[Intercept]" in second


def test_where_nothing_agrees_nothing_is_counted():
    spec = build("rail")
    reference = fit(spec, engine="reml")
    posterior = canned_posterior(spec, reference, np.random.default_rng(1))
    found = canned_agreement(posterior, reference)
    shifted = replace(found, rows=tuple(replace(row, verdict="shifted") for row in found.rows[:2]))
    _, second = answer(
        spec.design,
        {one.name: one for one in estimates(draw_rows(posterior), ())},
        units={},
        split=None,
        agreement=shifted,
        engines=["nuts", "reml"],
        checks=[],
    )
    assert second == (
        "The two ways of fitting, nuts and reml, differ in beta[Intercept] and "
        "sd_rail[Intercept]; nothing of nuts and reml was checked."
    )


def test_what_is_on_the_boundary_cannot_be_compared():
    _, second = said(build("grunfeld-slopes"), engines="both", agree=False)
    assert "cannot be compared: reml has them on the boundary" in second


def test_one_engine_has_no_agreement():
    for engine in ("reml", "nuts"):
        _, second = said(build("penicillin"), engines=engine)
        assert "agree" not in second
        assert f"checks of {engine} passed." in second


def test_a_posterior_has_intervals_of_shares():
    _, second = said(build("penicillin"), engines="nuts")
    assert re.search(r"\d+% \(\d+% to \d+%\) lies between levels of plate", second)


def test_a_failed_check_comes_first():
    first, second = said(
        build("sleepstudy-slopes"), engines="both", checks=[("nuts", FAILED), ("reml", FAILED)]
    )
    assert first.startswith(
        "Not to be used before r_hat (nuts) and r_hat (reml) are mended: reaction is higher"
    )
    assert "0 of the 2 checks of nuts and reml passed, and r_hat fails" in second


def test_both_are_one_sentence_each():
    for formula in ("y ~ x", "y ~ 1", "y ~ x * w * f + (x | g)", "y ~ 0 + f + (1 | g)"):
        for sentence in of(formula):
            assert sentence.endswith(".")
            assert ". " not in sentence
            assert "nan" not in sentence
            assert "None" not in sentence


def test_an_estimate_is_sure_where_its_interval_leaves_zero_out():
    one = estimates((), point_rows(fit(build("rail"), engine="reml")))[0]
    assert one.sure
    assert not replace(one, lower=-1.0).sure
    assert not replace(one, lower=math.nan, upper=math.nan).sure
