"""Weights, offset and contrasts in the fitter: dense algebra, lme4, and what must not change."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hlm_models import build, fit
from hlm_models.config.settings import DataSettings
from hlm_models.data.read import read_frame
from hlm_models.errors import FitError

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "weights.json").read_text("utf-8"))
FORMULAS = {
    "slopes": "y ~ x + f + (x | g)",
    "independent": "y ~ x + (x || g)",
    "no intercept": "y ~ 0 + x + (0 + x | g)",
    "crossed": "y ~ x + (x | g) + (1 | h)",
    "factor effects": "y ~ x + (f | g) + (1 | h)",
}


def made_up(seed=1, n=90):
    rng = np.random.default_rng(seed)
    g, h = rng.permutation(np.arange(n) % 9), rng.permutation(np.arange(n) % 4)
    x = rng.normal(3.0, 2.0, n)
    return pd.DataFrame(
        {
            "y": 10 + 3 * x + rng.normal(size=9)[g] * (1 + x) + h + rng.normal(size=n),
            "x": x,
            "f": rng.choice([*"abc"], n),
            "g": [f"g{code}" for code in g],
            "h": [f"h{code}" for code in h],
            "w": rng.uniform(0.2, 5.0, n),
            "o": rng.normal(20.0, 4.0, n),
        }
    )


FRAME = made_up()


def spec(formula, frame=FRAME, **more):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return build({**head, **more}, data=frame)


def factors_at(model, theta):
    """Lambda of every block from the reported theta: lower triangles by columns, by term."""
    found, at = [], 0
    for block in model.blocks:
        Lambda = np.zeros((block.q, block.q))
        for term in block.terms:
            rows, columns = np.tril_indices(term.q) if term.correlated else 2 * [np.arange(term.q)]
            order = np.lexsort((rows, columns))
            part = np.zeros((term.q, term.q))
            part[rows[order], columns[order]] = theta[at : at + len(rows)]
            Lambda[term.columns, term.columns] = part
            at += len(rows)
        found.append(Lambda)
    assert at == len(theta)
    return found


def dense(model, theta, frame=FRAME, *, reml):
    """Criterion and beta with V = W^-1 + sum Z P Z' formed, weights and offset by the frame."""
    design = model.design
    V = np.diag(1 / frame[design.weights_column]) if design.weights_column else np.eye(len(frame))
    for block, Lambda in zip(model.blocks, factors_at(model, theta), strict=True):
        same = block.level[:, None] == block.level
        V = V + same * (block.z @ Lambda @ Lambda.T @ block.z.T)
    y = frame["y"].to_numpy() - (frame[design.offset_column] if design.offset_column else 0.0)
    X, n, p = design.X, *design.X.shape
    XVX = X.T @ np.linalg.solve(V, X)
    beta = np.linalg.solve(XVX, X.T @ np.linalg.solve(V, y))
    rest = np.asarray(y - X @ beta)
    df = n - p if reml else n
    r2 = rest @ np.linalg.solve(V, rest)
    value = np.linalg.slogdet(V)[1] + df * (1 + np.log(2 * np.pi * r2 / df))
    return value + (np.linalg.slogdet(XVX)[1] if reml else 0.0), beta, np.sqrt(r2 / df)


@pytest.mark.parametrize("engine", ["reml", "ml"])
@pytest.mark.parametrize("given", [("w", "o"), ("w", None), (None, "o")], ids=str)
@pytest.mark.parametrize("formula", FORMULAS.values(), ids=FORMULAS)
def test_the_criterion_is_that_of_the_dense_model_at_any_theta(formula, given, engine):
    weights, offset = given
    size = len(fit(spec(formula), "ml").theta)
    rng = np.random.default_rng(size)
    for _ in range(3):
        theta = rng.normal(size=size).tolist()
        model = spec(formula, weights=weights, offset=offset, reml={"theta": theta})
        found = fit(model, engine)
        value, beta, sigma = dense(model, theta, reml=engine == "reml")
        assert found.criterion == pytest.approx(value, rel=1e-10)
        np.testing.assert_allclose(found.beta, beta, rtol=1e-9, atol=1e-9)
        assert found.sigma == pytest.approx(sigma, rel=1e-10)


@pytest.mark.parametrize("engine", ["reml", "ml"])
def test_one_weight_for_all_rows_changes_sigma_and_theta_alone(engine):
    # sigma^2 / c takes the place of sigma^2: the fitted law, and so the criterion, is the same.
    for c in (1e-6, 0.25, 1.0, 3.0, 1e8):
        plain = fit(spec(FORMULAS["slopes"]), engine)
        found = fit(spec(FORMULAS["slopes"], FRAME.assign(w=c), weights="w"), engine)
        assert found.criterion == pytest.approx(plain.criterion, rel=1e-12)
        assert found.sigma == pytest.approx(plain.sigma * np.sqrt(c), rel=1e-6)
        np.testing.assert_allclose(found.theta * np.sqrt(c), plain.theta, rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(found.beta, plain.beta, rtol=1e-7)
        np.testing.assert_allclose(found.vcov_beta, plain.vcov_beta, rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(found.random[0].cov, plain.random[0].cov, rtol=1e-5, atol=1e-8)
        np.testing.assert_allclose(found.random[0].b, plain.random[0].b, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found.df, plain.df, rtol=1e-4)


@pytest.fixture(scope="module")
def bases():
    """Fits by formula, with weights and offset."""
    return {
        case: fit(spec(FORMULAS[case], weights="w", offset="o"), "reml")
        for case in ("slopes", "crossed")
    }


@pytest.mark.parametrize("c", [1e-9, 0.03, 7.0, 1e6])
def test_weights_of_another_size_are_the_same_model(bases, c):
    base = bases["crossed"]
    model = spec(FORMULAS["crossed"], FRAME.assign(w=c * FRAME["w"]), weights="w", offset="o")
    found = fit(model, "reml")
    assert found.criterion == pytest.approx(base.criterion, rel=1e-11)
    assert found.sigma == pytest.approx(base.sigma * np.sqrt(c), rel=1e-5)
    np.testing.assert_allclose(found.beta, base.beta, rtol=1e-6)
    assert found.converged


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("case", ["slopes", "crossed"])
def test_the_order_of_the_rows_does_not_matter(bases, case, seed):
    order, base = np.random.default_rng(seed).permutation(len(FRAME)), bases[case]
    found = fit(spec(FORMULAS[case], FRAME.iloc[order], weights="w", offset="o"), "reml")
    assert found.criterion == pytest.approx(base.criterion, rel=1e-12)
    np.testing.assert_allclose(found.beta, base.beta, rtol=1e-6)
    np.testing.assert_allclose(found.vcov_beta, base.vcov_beta, rtol=1e-5, atol=1e-10)


def test_an_offset_is_the_response_less_it():
    less = FRAME.assign(y=FRAME["y"] - FRAME["o"])
    found = fit(spec(FORMULAS["crossed"], offset="o"), "reml")
    expected = fit(spec(FORMULAS["crossed"], less), "reml")
    assert found.criterion == pytest.approx(expected.criterion, rel=1e-13)
    np.testing.assert_allclose(found.beta, expected.beta, rtol=1e-9)
    np.testing.assert_array_equal(found.spec.design.y, FRAME["y"])


def test_an_offset_in_the_formula_is_the_key():
    for formula in ("y ~ x + offset(o) + (x | g)", "y ~ offset( `o` ) + x + (x | g)"):
        written = spec(formula)
        assert written.design.coef == ("Intercept", "x")
        assert written.design.offset_column == "o"
        by_key = fit(spec("y ~ x + (x | g)", offset="o"), "ml")
        assert fit(written, "ml").criterion == by_key.criterion


def test_a_weight_twice_as_large_is_not_a_row_given_twice():
    # Precision weights, not counts: n and the degrees of freedom stay those of the rows.
    doubled = pd.concat([FRAME, FRAME])
    once = fit(spec(FORMULAS["slopes"], FRAME.assign(w=2.0), weights="w"), "ml")
    twice = fit(spec(FORMULAS["slopes"], doubled), "ml")
    assert abs(once.criterion - twice.criterion) > 50


def test_data_that_are_fitted_exactly_are_refused_whatever_the_size_of_the_weights():
    line = FRAME.assign(y=2 + 3 * FRAME["x"] + FRAME["o"])
    for c in (1e-30, 1.0, 1e30):
        model = spec("y ~ x + (1 | g)", line.assign(w=c * FRAME["w"]), weights="w", offset="o")
        with pytest.raises(FitError, match="exactly"):
            fit(model, "reml")
        noisy = FRAME.assign(w=c * FRAME["w"])
        assert fit(spec("y ~ x + (1 | g)", noisy, weights="w", offset="o"), "reml").converged


# --- lme4 ---


def golden_model(case, **more):
    frame = read_frame(DataSettings(source=case["data"]), folder=Path(), data_dir=None)
    i = np.arange(len(frame))
    frame = frame.assign(w=1.0 + i % 4, o=5.0 * (i % 3))
    keys = {key: case[key] for key in ("weights", "offset", "contrasts") if case.get(key)}
    return spec(case["formula"], frame, **keys, **more)


CASES = pytest.mark.parametrize(
    "case", GOLDEN["cases"], ids=lambda case: f"{case['data']}-{case['formula']}"
)


@pytest.mark.golden
@pytest.mark.parametrize("engine", ["reml", "ml"])
@CASES
def test_lme4s_criterion_away_from_the_optimum(case, engine):
    away = case[engine]["away"]
    theta = np.atleast_1d(away["theta"]).tolist()
    found = fit(golden_model(case, reml={"theta": theta}), engine)
    assert found.criterion == pytest.approx(away["criterion"], rel=1e-11)


@pytest.mark.golden
@pytest.mark.parametrize("engine", ["reml", "ml"])
@CASES
def test_lme4s_optimum(case, engine):
    expected, found = case[engine], fit(golden_model(case), engine)
    assert found.converged
    # A derivative-free search stops where the criterion is flat to some 1e-10 of itself, and what
    # follows from theta is a square root of that away.
    assert found.criterion == pytest.approx(expected["criterion"], rel=1e-9)
    assert found.criterion <= expected["criterion"] * (1 + 1e-12)
    np.testing.assert_allclose(found.beta, np.atleast_1d(expected["beta"]), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.vcov_beta, expected["vcov"], rtol=2e-4, atol=1e-5)
    np.testing.assert_allclose(found.theta, np.atleast_1d(expected["theta"]), rtol=1e-3, atol=1e-4)
    assert found.sigma == pytest.approx(expected["sigma"], rel=1e-4)
    for block, random in zip(found.spec.blocks, found.random, strict=True):
        theirs = expected["b"][block.group]
        order = [block.labels.index(level) for level in theirs["level"]]
        size = np.abs(theirs["b"]).max()
        np.testing.assert_allclose(random.b[order], theirs["b"], atol=1e-3 * size)
