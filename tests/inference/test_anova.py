"""Type III tests: classical mean squares of balanced layouts, and what must not matter."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import hlm_models as hlm
from hlm_models.inference.type_three import type_three

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "inference.json").read_text("utf-8"))
CAKE = pd.DataFrame(GOLDEN["cake"]).astype({"replicate": str})
UNEVEN = CAKE[CAKE.holes == 0]
RANDOM = " + (1 | replicate) + (1 | recipe:replicate)"
METHODS = ("satterthwaite", "kenward-roger")


def fitted(fixed, frame, engine="reml", **more):
    model = {"schema": 1, "name": "m", "data": {"source": "frame"}, **more}
    model["formula"] = f"angle ~ {fixed}{RANDOM}"
    return hlm.fit(hlm.build(model, data=frame), engine=engine)


@pytest.mark.parametrize("df", METHODS)
def test_a_balanced_split_plot_has_the_classical_f(df):
    # Whole plots recipe:replicate (3 x 15), split by temperature (6). As everything is balanced and
    # no variance is at zero, both methods are exact for terms within one stratum.
    fit = fitted("recipe * temperature", CAKE)
    y = CAKE.set_index(["recipe", "replicate", "temperature"]).angle.to_xarray().to_numpy()
    plots = y.mean(axis=2)
    between = plots - plots.mean(axis=0) - plots.mean(axis=1)[:, None] + plots.mean()
    within = y - plots[:, :, None] - y.mean(axis=1)[:, None, :] + y.mean(axis=(1, 2))[:, None, None]
    error_between, error_within = 6 * np.sum(between**2) / 28, np.sum(within**2) / 210
    table = hlm.anova(fit, df=df).frame()
    recipe = 90 * np.sum((y.mean(axis=(1, 2)) - y.mean()) ** 2) / 2
    temperature = 45 * np.sum((y.mean(axis=(0, 1)) - y.mean()) ** 2) / 5
    assert_allclose(table.F["recipe"], recipe / error_between, rtol=1e-5)
    assert_allclose(table.F["temperature"], temperature / error_within, rtol=1e-5)
    assert_allclose(table.den_df, [28, 210, 210], rtol=1e-5)
    assert list(table.index) == ["recipe", "temperature", "recipe:temperature"]
    assert list(table.num_df) == [2, 5, 10]


def test_coding_and_reference_do_not_matter():
    other = {"recipe": "sum", "temperature": {"kind": "treatment", "reference": "205"}}
    tables = [
        hlm.anova(fitted("recipe * temperature", UNEVEN, contrasts=contrasts), df="kenward-roger")
        for contrasts in ({}, other, {"recipe": {"kind": "treatment", "reference": "C"}})
    ]
    for table in tables[1:]:
        assert_allclose(table.frame(), tables[0].frame(), rtol=1e-5)


def test_the_unit_of_a_covariate_does_not_matter():
    frames = [UNEVEN.assign(temp=UNEVEN.temp * unit) for unit in (1.0, 1e6, 1e-6)]
    tables = [
        hlm.anova(fitted("recipe * temp", frame), df="kenward-roger").frame() for frame in frames
    ]
    for table in tables[1:]:
        assert_allclose(table, tables[0], rtol=1e-5)


def test_a_factor_is_tested_where_its_covariate_is_zero_and_the_slope_averaged():
    design = fitted("recipe * temp", UNEVEN).spec.design
    L = type_three(design)
    at = {name: k for k, name in enumerate(design.coef)}
    expected = np.zeros((1, design.p))
    expected[0, [at["temp"], at["recipe[B]:temp"], at["recipe[C]:temp"]]] = 1, 1 / 3, 1 / 3
    assert_allclose(L["temp"] / L["temp"][0, at["temp"]], expected, atol=1e-9)
    assert_allclose(L["recipe"], np.eye(design.p)[[at["recipe[B]"], at["recipe[C]"]]], atol=1e-9)


def test_numbers_are_tested_by_their_coefficients():
    fit = hlm.fit("grunfeld-slopes", engine="reml")
    table, rows = hlm.anova(fit).frame(), hlm.coefficient_tests(fit).frame().iloc[1:]
    assert list(table.index) == ["market_value", "capital"]
    assert_allclose(table.F, rows.t**2, rtol=1e-9)
    assert_allclose(table.den_df, rows.df, rtol=1e-9)


@pytest.mark.parametrize(
    ("fixed", "terms"),
    [
        ("0 + recipe", {"recipe": 3}),
        ("recipe + poly(temp, 2)", {"recipe": 2, "poly(temp, 2)": 2}),
        ("recipe + C(temp)", {"recipe": 2, "C(temp)": 5}),
        ("recipe * poly(temp, 2)", {"recipe": 2, "poly(temp, 2)": 2, "recipe:poly(temp, 2)": 4}),
        ("temp + recipe:temp", {"temp": 1, "recipe:temp": 2}),
    ],
)
def test_terms_of_many_kinds(fixed, terms):
    table = hlm.anova(fitted(fixed, UNEVEN)).frame()
    assert dict(table.num_df) == terms
    assert (table.F > 0).all()


def test_number_levels_and_labels_say_the_same():
    one = hlm.anova(fitted("recipe * C(temp)", UNEVEN), df="kenward-roger").frame()
    other = hlm.anova(fitted("recipe * temperature", UNEVEN), df="kenward-roger").frame()
    assert_allclose(one, other, rtol=1e-6)
