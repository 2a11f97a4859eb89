"""Tests of coefficients against lmerTest, pbkrtest and emmeans (tests/golden/inference.R)."""

import functools
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import hlm_models as hlm
from hlm_models.inference.kenward_roger import kenward_roger

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((ROOT / "tests" / "golden" / "inference.json").read_text("utf-8"))
CAKE = "angle ~ recipe * temperature + (1 | replicate) + (1 | recipe:replicate)"
FORMULAS = {
    "sleepstudy slopes": "reaction ~ days + (days | subject)",
    "sleepstudy slopes, ml": "reaction ~ days + (days | subject)",
    "sleepstudy independent": "reaction ~ days + (days || subject)",
    "grunfeld intercept": "investment ~ market_value + capital + (1 | firm)",
    "grunfeld slope": "investment ~ market_value + capital + (capital | firm)",
    "penicillin": "diameter ~ 1 + (1 | plate) + (1 | sample)",
    "pastes": "strength ~ 1 + (1 | batch/cask)",
    "dyestuff2, singular": "yield ~ 1 + (1 | batch)",
    "orthodont": "distance ~ sex * age + (age | subject)",
    "cake": CAKE,
    "cake, one factor": "angle ~ recipe + (1 | replicate) + (1 | recipe:replicate)",
    "cake, uneven": CAKE,
    "cake, uneven, sums": CAKE,
    "hsb": "mathach ~ sex * sector + sector * ses + (ses | school)",
}
CLOSE = {"rtol": 1e-4}
"""What degrees of freedom and p values are promised to."""


def data(name):
    source = name.split(",")[0].split()[0]
    if source == "cake":
        frame = pd.DataFrame(GOLDEN["cake"]).astype({"replicate": str})
        return frame[frame.holes == 0] if "uneven" in name or "one" in name else frame
    frame = pd.read_csv(ROOT / "hlm_models" / "parts" / "datasets" / f"{source}.csv")
    if source == "hsb":
        frame = frame[frame.school.isin(frame.school.unique()[:20])]
    if name == "grunfeld slope":
        frame = frame.assign(
            investment=frame.investment / 100,
            market_value=frame.market_value / 1000,
            capital=frame.capital / 1000,
        )
    return frame


@functools.cache
def fitted(name):
    model = {
        "schema": 1,
        "name": "m",
        "data": {"source": "frame"},
        "formula": FORMULAS[name],
    }
    if "sums" in name:
        model["contrasts"] = {"recipe": "sum", "temperature": "sum"}
    spec = hlm.build(model, data=data(name))
    return hlm.fit(spec, engine="ml" if name.endswith("ml") else "reml")


def methods():
    return [(name, df) for name, case in GOLDEN["cases"].items() for df in case["methods"]]


def many(values):
    return np.atleast_1d(np.array(values, dtype=float))


def ours(piece, fit):
    """R's `sexMale`, or `sex1` of sum contrasts, as `sex[Male]`."""
    for factor in fit.spec.design.factors:
        level = piece.removeprefix(factor.name)
        if level != piece and level:
            counted = factor.contrast == "sum"
            return f"{factor.name}[{factor.levels[int(level) - 1] if counted else level}]"
    return piece.replace("(Intercept)", "Intercept")


def order(name, fit):
    """Places of R's coefficients among ours."""
    names = GOLDEN["cases"][name]["names"] if len(fit.beta) > 1 else ["(Intercept)"]
    translated = [":".join(ours(piece, fit) for piece in one.split(":")) for one in names]
    assert sorted(translated) == sorted(fit.spec.design.coef)
    return [fit.spec.design.coef.index(one) for one in translated]


def assert_f(ours, theirs):
    for column in ("num_df", "den_df", "F", "p"):
        assert_allclose(ours[column], many(theirs[column]), err_msg=column, **CLOSE)


@pytest.mark.parametrize("name", GOLDEN["cases"])
def test_same_fit(name):
    assert_allclose(fitted(name).criterion, GOLDEN["cases"][name]["criterion"], atol=1e-6, rtol=0)


@pytest.mark.parametrize(("name", "df"), methods())
def test_coefficients(name, df):
    fit, theirs = fitted(name), GOLDEN["cases"][name]["methods"][df]["coefficients"]
    ours = hlm.coefficient_tests(fit, df=df).frame().iloc[order(name, fit)]
    for column in ("estimate", "se", "df", "t", "p"):
        assert_allclose(ours[column], many(theirs[column]), err_msg=column, **CLOSE)


@pytest.mark.parametrize(("name", "df"), methods())
def test_anova(name, df):
    fit, theirs = fitted(name), GOLDEN["cases"][name]["methods"][df]["anova"]
    ours = hlm.anova(fit, df=df).frame()
    if theirs is None:
        assert ours.empty
        return
    terms = theirs["term"] if isinstance(theirs["term"], list) else [theirs["term"]]
    assert sorted(terms) == sorted(ours.index)
    assert_f(ours.loc[terms], theirs)


@pytest.mark.parametrize(("name", "df"), methods())
def test_contrasts(name, df):
    fit = fitted(name)
    for one in GOLDEN["cases"][name]["methods"][df]["contrasts"]:
        L = np.zeros((len(one["L"]), len(fit.beta)))
        L[:, order(name, fit)] = one["L"]
        rhs = many(one["rhs"])
        found = hlm.hypothesis(fit, L, rhs, df=df)
        rows = found.frame()
        for column in ("estimate", "se", "df", "t", "p"):
            assert_allclose(rows[column], many(one["rows"][column]), err_msg=column, **CLOSE)
        joint = {key: [getattr(found.joint, key)] for key in ("num_df", "den_df", "F", "p")}
        assert_f(joint, one["joint"])


@pytest.mark.parametrize(
    "name", [name for name, case in GOLDEN["cases"].items() if case["vcov_adjusted"]]
)
def test_adjusted_covariance(name):
    fit = fitted(name)
    at = order(name, fit)
    theirs = np.atleast_2d(GOLDEN["cases"][name]["vcov_adjusted"])
    ours = kenward_roger(fit).vcov_beta[np.ix_(at, at)]
    size = np.sqrt(np.outer(np.diag(theirs), np.diag(theirs)))
    assert_allclose(ours / size, theirs / size, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "df", "index"),
    [
        (name, df, index)
        for name, case in GOLDEN["cases"].items()
        for index, found in enumerate(case["means"])
        for df in found
    ],
)
def test_means(name, df, index):
    theirs = GOLDEN["cases"][name]["means"][index][df]
    ours = hlm.marginal_means(
        fitted(name), theirs["specs"], by=theirs["by"], at=theirs["at"] or None, df=df
    )
    table = ours.frame()
    keys = [*theirs["specs"], *theirs["by"]]
    cells = [
        tuple(map(str, cell)) for cell in zip(*(theirs["cells"][k] for k in keys), strict=True)
    ]
    place = {tuple(_text(x) for x in cell): i for i, cell in enumerate(ours.cells)}
    table = table.iloc[[place[cell] for cell in cells]]
    for column in ("mean", "se", "df", "lower", "upper"):
        assert_allclose(table[column], many(theirs[column]), err_msg=column, **CLOSE)
    for adjust, known in theirs["differences"].items():
        found = ours.differences(adjust).frame()
        # emmeans lists `by` first and then pairs, as we do, with the cells of `by` in its order.
        for column in ("estimate", "se", "df", "t", "lower", "upper"):
            assert_allclose(
                found[column], many(known[column]), err_msg=column, rtol=1e-4, atol=1e-6
            )
        # Its Tukey p values are good to about 1e-6.
        assert_allclose(found["p"], many(known["p"]), rtol=1e-4, atol=1e-6)


def _text(value):
    return f"{value:g}" if isinstance(value, float) else value
