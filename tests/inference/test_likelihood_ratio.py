import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hlm_models as hlm
from hlm_models.errors import FitError, InputErrors, RefusalError
from hlm_models.inference.likelihood_ratio import likelihood_ratio
from hlm_models.inference.nesting import More, more, written

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "profile.json").read_text())["ratios"]


def build(formula, source="sleepstudy", **options):
    derive = {"day": "CAST(days AS VARCHAR)"} if source == "sleepstudy" else {}
    data = {"source": source, "derive": derive}
    return hlm.build({"schema": 1, "name": "m", "data": data, "formula": formula, **options})


def fits(smaller, larger, source="sleepstudy", engine="ml"):
    return tuple(hlm.fit(build(one, source), engine=engine) for one in (smaller, larger))


@pytest.mark.golden
@pytest.mark.parametrize("name", GOLDEN)
def test_statistics_are_those_of_lme4(name):
    entry, source = GOLDEN[name], name.partition(":")[0]
    found = likelihood_ratio(*fits(entry["smaller"].lower(), entry["larger"].lower(), source))
    assert found.statistic == pytest.approx(entry["statistic"], abs=1e-6)
    assert found.df == entry["df"]
    assert found.p_naive == pytest.approx(entry["p"], rel=1e-5)


@pytest.mark.golden
@pytest.mark.skipif("HLM_DATA" not in os.environ, reason="HLM_DATA: no folder with the NELS file")
def test_the_numbers_of_the_lecture():
    formulas = ("1 + (1 | school)", "ses + (ses | school)", "ses * flp + (ses | school)")
    one, two, three = (
        hlm.fit(build(f"mscore ~ {formula}", "nels"), engine="ml") for formula in formulas
    )
    first, second = likelihood_ratio(one, two), likelihood_ratio(two, three)
    assert (round(first.statistic, 1), first.df) == (1372.2, 3)
    assert first.reference == "the 50:50 mixture of chi-squares on 2 and 3 df"
    assert (round(second.statistic, 1), second.df) == (160.8, 2)
    assert second.reference == "the chi-square on 2 df"


@pytest.mark.parametrize(
    ("smaller", "larger", "df", "below"),
    [
        # what is added: one correlated slope, one independent slope, these with a coefficient
        ("days + (1 | subject)", "days + (days | subject)", 2, 1),
        ("days + (1 | subject)", "days + (days || subject)", 1, 0),
        ("1 + (1 | subject)", "days + (days | subject)", 3, 2),
        ("1 + (1 | subject)", "days + (days || subject)", 2, 1),
        ("days + (days | subject)", "days + (days + I(days ** 2) | subject)", 3, 2),
        ("days + (days || subject)", "days + (days + I(days ** 2) | subject)", 4, 3),
    ],
)
def test_one_variance_has_a_mixture(smaller, larger, df, below):
    found = likelihood_ratio(*fits(f"reaction ~ {smaller}", f"reaction ~ {larger}"))
    assert (found.df, found.effects, found.draws) == (df, 1, 0)
    lower = stats.chi2(below).sf(found.statistic) if below else float(found.statistic <= 0)
    upper = stats.chi2(df).sf(found.statistic)
    assert found.p == pytest.approx((lower + upper) / 2, rel=1e-9)
    assert found.p_naive == pytest.approx(upper, rel=1e-9)
    assert found.p < found.p_naive
    assert np.isnan(found.p_se)
    shown = str(found)
    assert f"{found.p:.4g}" in shown
    assert f"{found.p_naive:.4g}" in shown
    assert found.frame()["p"].item() == found.p


@pytest.mark.parametrize(
    ("smaller", "larger", "expected"),
    [
        ("days + (1 | subject)", "days + (days | subject)", More(0, 1, 2)),
        ("days + (1 | subject)", "days + (days + I(days ** 2) | subject)", More(0, 2, 5)),
        ("days + (1 | subject)", "days + (days + I(days ** 2) || subject)", More(0, 2, 2)),
        ("days + (days || subject)", "days + (days | subject)", More(0, 0, 1)),
        ("days + (0 + days | subject)", "days + (days | subject)", More(0, 1, 2)),
        ("days + (1 | subject)", "days + (1 | subject) + (1 | day)", More(0, 1, 1)),
        ("days + (1 | subject)", "days + (days | subject) + (1 | day)", More(0, 2, 3)),
        ("1 + (1 | subject)", "days + I(days ** 2) + (1 | subject)", More(2, 0, 2)),
        # the same columns otherwise written
        ("days + (days | subject)", "center(days) + (center(days) + I(days ** 2) | subject)",
         More(0, 1, 3)),
        ("days + (0 + center(days) | subject)", "days + (days | subject)", More(0, 1, 2)),
    ],
)  # fmt: skip
def test_what_the_larger_model_has_more(smaller, larger, expected):
    assert more(build(f"reaction ~ {smaller}"), build(f"reaction ~ {larger}")) == expected


@pytest.mark.parametrize(
    ("smaller", "larger", "why"),
    [
        ("days + (1 | subject)", "0 + days + (1 | subject)", "Intercept of the fixed part"),
        ("days + (days | subject)", "days + (1 | subject)", "do not cover"),
        ("days + (days | subject)", "days + (days || subject)", "do not cover"),
        ("days + (0 + center(days) | subject)", "days + (days || subject)", "do not cover"),
        ("days + (1 | day)", "days + (1 | subject)", "no random effects of day"),
    ],
)
def test_models_that_are_not_nested(smaller, larger, why):
    with pytest.raises(RefusalError, match=why):
        more(build(f"reaction ~ {smaller}"), build(f"reaction ~ {larger}"))


def shared(spec, *structures):
    """The same model with other covariances of its terms."""
    spec.__dict__["marginal"] = replace(spec.marginal, structures=(structures,))
    return spec


def test_a_shared_variance_comes_apart():
    one = shared(build("reaction ~ days + (days || subject)"), "shared")
    apart, free = build("reaction ~ days + (days || subject)"), "reaction ~ days + (days | subject)"
    assert more(one, apart) == More(0, 0, 1)
    assert more(one, build(free)) == More(0, 0, 2)
    with pytest.raises(RefusalError, match="do not cover"):
        more(apart, one)
    formula = "reaction ~ days + (1 | subject)"
    two = shared(build(f"{formula} + (0 + days + I(days ** 2) || subject)"), "diagonal", "shared")
    assert more(build(formula), two) == More(0, 1, 1)


def crossed(part, **options):
    n = 120
    data = pd.DataFrame({"y": np.sin(np.arange(n)), "x": np.cos(np.arange(n) ** 2.0),
                         "f": [*"abc"] * 40, "g": np.repeat([*"klmnop"], 20)})  # fmt: skip
    # The same cells as those of f and g, in another order.
    data["cell"] = (data["g"] + data["f"]).str.upper()
    return hlm.build({"schema": 1, "name": "m", "data": {"source": "frame"}, **options,
                      "formula": f"y ~ x + {part}"}, data=data)  # fmt: skip


@pytest.mark.parametrize("cells", ["g:f", "f:g", "cell"])
def test_factors_of_a_group_may_stand_in_any_order(cells):
    small, large = crossed(f"(1 | {cells})"), crossed("(x | f:g) + (1 | g)")
    assert more(small, large) == More(0, 2, 3)
    with pytest.raises(InputErrors, match="nothing to test"):
        more(small, crossed("(1 | f:g)"))


def test_what_may_be_nested_in_a_way_that_is_not_seen_is_not_denied():
    # Compound symmetry is one of the covariances of the effects of f.
    with pytest.raises(RefusalError, match=r"is not recognised as nested.*random effects of g:f"):
        more(crossed("(1 | g) + (1 | g:f)"), crossed("(0 + f | g)"))
    with pytest.raises(RefusalError, match="is not nested in the larger one: x of the fixed part"):
        more(crossed("(1 | g)"), crossed("(1 | g) - x"))


def test_models_that_differ_in_the_covariance_alone_are_told_apart():
    shared_variance = {"priors": {"groups": {"g": {"kind": "shared"}}}}
    small, large = crossed("(x || g)", **shared_variance), crossed("(x || g)")
    assert written(small, large) == (
        "y ~ x + (x || g) [(x || g) shared]",
        "y ~ x + (x || g) [(x || g) diagonal]",
    )
    found = likelihood_ratio(hlm.fit(small, engine="ml"), hlm.fit(large, engine="ml"))
    assert "shared]  against  y" in str(found)
    assert list(found.frame().index) == [found.larger] == ["y ~ x + (x || g) [(x || g) diagonal]"]
    other = crossed("(x | g)")
    assert written(large, other) == ("y ~ x + (x || g)", "y ~ x + (x | g)")


def test_the_same_data_are_needed():
    frame = build("reaction ~ days + (1 | subject)").design
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": frame.y, "x": frame.X[:, 1], "g": frame.blocks[0].level.astype(str),
                         "w": rng.uniform(1, 2, frame.n)})  # fmt: skip

    def model(formula, rows=data, **options):
        config = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
        return hlm.build({**config, **options}, data=rows)

    small = model("y ~ x + (1 | g)")
    for larger, why in [
        (model("y ~ x + (x | g)", data.iloc[1:]), "180 and 179 rows"),
        (model("y ~ x + (x | g)", data.assign(y=data["y"] + 1)), "different responses"),
        (model("y ~ x + (x | g)", data.assign(g=np.roll(data["g"], 3))), "different levels"),
        (model("y ~ x + (x | g)", weights="w"), "different weights"),
        (small, "nothing to test"),
    ]:
        with pytest.raises(InputErrors, match=why):
            more(small, larger)


def test_reml_compares_random_parts_only():
    formulas = ("reaction ~ days + (1 | subject)", "reaction ~ days + (days | subject)")
    plain = likelihood_ratio(*fits(*formulas, engine="reml"))
    # Another way to write the same fixed part changes REML's criterion, and not the ratio.
    moved = likelihood_ratio(
        *fits(formulas[0], "reaction ~ I(days - 100) + (days | subject)", engine="reml")
    )
    assert plain.statistic == pytest.approx(moved.statistic, abs=1e-6)
    assert plain.statistic == pytest.approx(42.8369, abs=1e-3)
    small, large = fits("reaction ~ 1 + (1 | subject)", formulas[1], engine="reml")
    with pytest.raises(RefusalError, match="by ML"):
        likelihood_ratio(small, large)
    by_ml, _ = fits(*formulas)
    with pytest.raises(RefusalError, match="fit both by ML"):
        likelihood_ratio(by_ml, large)


def test_a_larger_fit_that_is_worse_is_told():
    small, large = fits("reaction ~ days + (1 | subject)", "reaction ~ days + (days | subject)")
    with pytest.raises(FitError, match="has not reached its optimum"):
        likelihood_ratio(small, replace(large, criterion=small.criterion + 1))
    spec = build("reaction ~ days + (days | subject)", reml={"theta": [1.0, 0.0, 0.1]})
    with pytest.raises(InputErrors, match="given theta"):
        likelihood_ratio(small, hlm.fit(spec, engine="ml"))


def balanced(seed, *, J=40, m=5):
    rng = np.random.default_rng(seed)
    g, x = np.repeat(np.arange(J), m), np.tile(np.linspace(-1, 1, m), J)
    y = rng.normal(size=J)[g] + 0.15 * rng.normal(size=J)[g] * x + rng.normal(size=J * m)
    return pd.DataFrame({"y": y, "x": x, "g": [f"g{i}" for i in g]})


def test_a_simulated_null_agrees_with_the_mixture_that_it_replaces():
    frame = balanced(8)
    small, large = (
        hlm.fit(hlm.build(formula=f"y ~ x + {part}", data=frame), engine="ml")
        for part in ("(1 | g)", "(1 | g) + (0 + x | g)")
    )
    exact = likelihood_ratio(small, large)
    found = likelihood_ratio(small, large, simulate=500, seed=2)
    assert 0.01 < exact.p < 0.4
    assert found.statistic == exact.statistic
    assert found.p == pytest.approx(exact.p, abs=4 * found.p_se + 0.02)
    assert found.p_se == pytest.approx(np.sqrt(found.p * (1 - found.p) / 500))
    assert (found.draws, found.failed, found.effects) == (500, 0, 1)
    again = likelihood_ratio(small, large, simulate=500, seed=2)
    assert again.p == found.p


def test_several_variances_are_simulated():
    small, large = fits(
        "reaction ~ days + (1 | subject)", "reaction ~ days + (days | subject) + (1 | day)"
    )
    steps = []
    found = likelihood_ratio(small, large, simulate=19, progress=steps.append)
    assert found.effects == 2
    assert found.p == pytest.approx(1 / 20)
    assert steps[-1].done == steps[-1].total == 19
    assert "19 responses" in found.reference


def test_an_upper_bound_that_is_small_enough_is_not_simulated():
    formulas = ("reaction ~ days", "reaction ~ days + (days | subject)")
    found = likelihood_ratio(*fits(*formulas))
    assert (found.effects, found.df, found.draws) == (2, 3, 0)
    assert found.p == found.p_naive == stats.chi2.sf(found.statistic, 3) < 1e-20
    assert found.reference == "the chi-square on 3 df, an upper bound"


def test_a_bound_that_leaves_doubt_is_simulated(monkeypatch):
    monkeypatch.setattr("hlm_models.inference.likelihood_ratio.DRAWS", 19)
    frame = balanced(3).assign(h=lambda f: np.resize(["a", "b", "c", "d"], len(f)))
    frame["y"] = np.random.default_rng(3).normal(size=len(frame))
    small, large = (
        hlm.fit(hlm.build(formula=f"y ~ x{part}", data=frame), engine="ml")
        for part in ("", " + (1 | g) + (1 | h)")
    )
    found = likelihood_ratio(small, large)
    assert (found.effects, found.draws) == (2, 19)
    assert found.p_naive > 1 / 20
    assert "19 responses" in found.reference


def test_a_singular_smaller_model_is_noted():
    frame = balanced(3).assign(h=lambda f: np.resize(["a", "b", "c", "d"], len(f)))
    frame["y"] -= frame.groupby("h")["y"].transform("mean")
    small, large = (
        hlm.fit(hlm.build(formula=f"y ~ x + (1 | h){part}", data=frame), engine="ml")
        for part in ("", " + (1 | g)")
    )
    assert small.singular
    assert "singular" in likelihood_ratio(small, large).note


@pytest.mark.parametrize(
    "arguments",
    [{"simulate": 2.5}, {"simulate": True}, {"simulate": 0}, {"seed": None}, {"seed": -1},
     {"workers": "2"}],
)  # fmt: skip
def test_numbers_that_are_none_are_told(arguments):
    smaller, larger = fits("reaction ~ 1 + (1 | subject)", "reaction ~ days + (1 | subject)")
    [key] = arguments
    with pytest.raises(InputErrors, match=f"^{key}: a whole number"):
        likelihood_ratio(smaller, larger, **arguments)
