"""Where the chains start: the posterior's mode, in coordinates that see it round."""

import numpy as np
import pandas as pd
import pytest

from hlm_models import build
from hlm_models.algebra.search import hessian
from hlm_models.errors import FitError
from hlm_models.target.density import target
from hlm_models.target.start import reml_point, warm

N = 60
GROUP = np.arange(N) % 6
RNG = np.random.default_rng(1)
X, EFFECT, NOISE = RNG.normal(size=N), RNG.normal(size=6), RNG.normal(size=N)
Y = 1 + EFFECT[GROUP] * (1 + 2 * X) + 0.3 * NOISE
FLAT_SD = {"kind": "diagonal", "sd": {"kind": "flat"}}


def made(formula="y ~ x + (1 | g)", *, y=Y, rows=N, more=None, **priors):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    head |= more or {}
    frame = pd.DataFrame(
        {
            "y": y,
            "x": X,
            "g": [f"g{i}" for i in GROUP],
            "two": [f"t{i % 2}" for i in range(N)],
            "row": [f"r{i}" for i in range(N)],
            "tiny": 1e-12 * NOISE[::-1],
            "macro": EFFECT[GROUP],
            "se": 0.5 + np.abs(NOISE),
        }
    )
    return build(head | {"priors": priors}, data=frame.iloc[:rows])


def around(found):
    """Value, gradient and curvature at the centre."""
    centre = np.zeros(found.size)
    value, gradient = found(centre)
    return value, gradient, hessian(lambda z: -found(z)[1], centre)


def assert_at_a_round_mode(found):
    value, gradient, H = around(found)
    assert np.isfinite(value)
    # The search stops where a step promises less than 1e-3 of a log density.
    assert 0.5 * gradient @ gradient < 5e-3
    np.testing.assert_allclose(H, np.eye(found.size), atol=1e-4)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "name",
    [
        *("dyestuff", "sleepstudy-slopes", "sleepstudy-uncorrelated", "orthodont-growth"),
        *("radon-uranium", "hsb-slopes-as-outcomes", "grunfeld-slopes", "oxide", "penicillin"),
        *(pytest.param(one, marks=SLOW) for one in ("pastes", "oats", "pixel", "insteval-dept")),
    ],
)
def test_the_centre_is_a_mode_and_the_curvature_there_is_one(name):
    found = target(build(name))
    start = reml_point(found)
    warmed = warm(found)
    assert_at_a_round_mode(warmed)
    # In x the mode of the folded density is no mode; it is near all the same.
    x = warmed.points(np.zeros(warmed.size))
    assert found(x)[0] > found(start)[0] - 0.5


KNOWN = {"residual": {"kind": "known", "sd": "se"}}
TWO = [[2.0, 0.3], [0.3, 0.5]]
BOUNDARY = {
    "variance of zero": lambda: build("dyestuff2"),
    "perfect correlation": lambda: made(
        "y ~ x + (x | g)", y=1 + EFFECT[GROUP] * (1 + 2 * X) + NOISE / 9
    ),
    "a flat sd on the boundary": lambda: build(
        "dyestuff2", overrides=["priors.groups.batch={kind: diagonal, sd: {kind: flat}}"]
    ),
    "an effect that no row knows": lambda: made("y ~ x + (0 + tiny || g) + (1 | g)"),
    "one variance on the boundary": lambda: made(
        "y ~ x + (x || g)", y=NOISE, groups={"g": {"kind": "shared"}}
    ),
    "a level a row": lambda: made("y ~ x + (1 | row)"),
    "two levels": lambda: made("y ~ x + (1 | two)"),
    "an improper posterior of two levels": lambda: made(
        "y ~ x + (1 | two)", groups={"two": FLAT_SD}
    ),
    "nothing but flat priors": lambda: made(
        beta={"kind": "flat"}, sigma={"kind": "flat"}, groups={"g": FLAT_SD}
    ),
    "a slope of what does not vary": lambda: made(
        "y ~ x + (1 + macro | g)", more={"allow_macro_in_z": True}
    ),
    "as many coefficients as rows": lambda: made("y ~ x + I(x**2) + I(x**3) + (1 | g)", rows=4),
    "a bounded sd": lambda: made(
        groups={"g": {"kind": "diagonal", "sd": {"kind": "uniform", "lower": 0, "upper": 30}}}
    ),
    "free coefficients": lambda: made(beta={"kind": "student_t"}),
    "an inverse Wishart": lambda: made(
        "y ~ x + (x | g)", y=NOISE, groups={"g": {"kind": "inverse_wishart", "scale": TWO}}
    ),
    "a Wishart that hardly has a density": lambda: made(
        "y ~ x + (x | g)",
        y=NOISE,
        groups={"g": {"kind": "wishart", "nu": 1.001, "scale": [[1e6, 0.0], [0.0, 1e6]]}},
    ),
    "hierarchical": lambda: made(
        "y ~ x + (x | g)", y=NOISE, groups={"g": {"kind": "hierarchical"}}
    ),
    "an inverse gamma of a variance of zero": lambda: build(
        "dyestuff2",
        overrides=[
            "priors.groups.batch={kind: diagonal, sd: {kind: inverse_gamma, shape: 0.01, "
            "scale: 0.01}}"
        ],
    ),
    "known residuals": lambda: made("y ~ x + (x | g)", more=KNOWN),
    "known residuals and a level a row": lambda: made("y ~ x + (1 | row)", more=KNOWN),
    "known residuals and a variance of zero": lambda: build("eight-schools"),
    "huge numbers": lambda: made("y ~ x + (x | g)", y=Y * 1e150),
    "tiny numbers": lambda: made("y ~ x + (x | g)", y=Y * 1e-150),
}


@pytest.mark.parametrize("case", BOUNDARY)
def test_a_mode_is_found_where_reml_is_on_the_boundary_or_nowhere(case):
    found = target(BOUNDARY[case]())
    start = reml_point(found)
    assert np.isfinite(start).all()
    assert np.isfinite(found(start)[0])
    assert_at_a_round_mode(warm(found))


FAR = {
    "an exact fit by groups": lambda: made(y=EFFECT[GROUP] + X),
    "an exact fit by slopes": lambda: made(
        "y ~ x + (x | g)", y=EFFECT[GROUP] + X * EFFECT[-GROUP - 1]
    ),
    "an exact fit, sigma flat": lambda: made(y=EFFECT[GROUP] + X, sigma={"kind": "flat"}),
    "an exact fit by coefficients": lambda: made(y=2 + 3 * X),
    "priors far from the data": lambda: made(
        beta={"kind": "uniform", "lower": 100, "upper": 101},
        sigma={"kind": "uniform", "lower": 1e-6, "upper": 1e-5},
    ),
}


@pytest.mark.parametrize("case", FAR)
def test_where_there_is_no_mode_the_start_is_finite_all_the_same(case):
    found = target(FAR[case]())
    warmed = warm(found)
    for array in (warmed.centre, warmed.whiten, warmed.fold):
        assert np.isfinite(array).all()
    value, gradient = warmed(np.zeros(warmed.size))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert np.linalg.matrix_rank(warmed.whiten / np.abs(warmed.whiten).max(axis=0)) == found.size


@pytest.mark.parametrize(
    "priors",
    [
        {"beta": {"kind": "normal", "loc": 1e200, "scale": 1e-5}},
        {"beta": {"kind": "student_t", "loc": 1e200, "scale": 1e-5}},
        {"sigma": {"kind": "uniform", "lower": 1e-300, "upper": 1e-299}},
    ],
    ids=lambda priors: str(*priors),
)
def test_a_density_that_is_not_finite_at_the_start_is_an_error_of_one_line(priors):
    found = target(made("y ~ x + (x | g)", **priors))
    with pytest.raises(FitError, match=r"^the log posterior is not finite at the REML .*$"):
        warm(found)


def test_a_known_sigma_of_one_is_where_the_chains_start():
    for formula in ("y ~ x + (x | g)", "y ~ x + (1 | row)"):
        found = target(made(formula, more=KNOWN))
        assert found.coordinates.values(reml_point(found)).sigma == 1.0


def test_the_standard_deviations_of_a_prior_of_psi_as_a_whole_are_folded():
    spec = made("y ~ x + (x | g)", groups={"g": {"kind": "inverse_wishart", "scale": TWO}})
    assert (warm(target(spec)).fold > 0).tolist() == [True, True, False, False]


def test_only_a_standard_deviation_on_a_half_line_is_folded():
    uniform = {"kind": "uniform", "lower": 0, "upper": 30}
    spec = made(
        "y ~ x + (x | g) + (1 | two)",
        beta={"x": {"kind": "student_t"}},
        groups={"two": {"kind": "diagonal", "sd": uniform}},
    )
    warmed = warm(target(spec))
    folded = [
        name for name, fold in zip(warmed.coordinates.names, warmed.fold, strict=True) if fold
    ]
    assert folded == ["sd_g[Intercept]", "sd_g[x]"]


def test_a_fold_makes_the_density_more_symmetric_than_the_logarithm():
    plain = target(build("dyestuff2"))
    warmed = warm(plain)
    t = np.linspace(-4, 4, 401)

    def skewness(values):
        density = np.exp(values - values.max())
        mass = density / density.sum()
        middle = mass @ t
        return abs(mass @ (t - middle) ** 3) / (mass @ (t - middle) ** 2) ** 1.5

    k = int(np.flatnonzero(warmed.fold)[0])
    x = warmed.points(np.zeros(warmed.size))
    u = warmed.centre
    by_log, by_fold = [], []
    for step in t:
        here = x.copy()
        here[k] += step
        by_log.append(plain(here)[0])
        there = u.copy()
        there[k] += step
        by_fold.append(warmed(np.linalg.solve(warmed.whiten, there - u))[0])
    assert skewness(np.array(by_fold)) < skewness(np.array(by_log)) / 2


def test_the_unit_of_the_response_changes_nothing():
    one, other = (warm(target(made("y ~ x + (x | g)", y=unit * Y))) for unit in (1.0, 1000.0))
    at, there = (found.points(np.zeros(found.size)) for found in (one, other))
    shift = np.array([1.0, 1.0, 1.0, 0.0]) * np.log(1000.0)
    np.testing.assert_allclose(there, at + shift, atol=0.05)
    np.testing.assert_allclose(other.fold, one.fold * 1000.0, rtol=0.1)


def test_the_same_model_starts_at_the_same_bits():
    one, other = (warm(target(build("sleepstudy-slopes"))) for _ in range(2))
    for array in ("centre", "whiten", "fold"):
        np.testing.assert_array_equal(getattr(one, array), getattr(other, array))


@pytest.mark.parametrize("unit", [1e8, 1e-8])
def test_the_unit_of_a_column_with_a_free_coefficient_changes_nothing(unit):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}}
    head |= {"formula": "y ~ x + (x | g)", "priors": {"beta": {"kind": "student_t"}}}
    frames = (pd.DataFrame({"y": Y, "x": by * (X + 3), "g": GROUP}) for by in (1.0, unit))
    one, other = (warm(target(build(head, data=frame))) for frame in frames)
    assert_at_a_round_mode(other)
    [slope] = [k for k, name in enumerate(one.coordinates.names) if name == "beta[x]"]
    ends = (found.points(np.zeros(found.size))[slope] for found in (one, other))
    before, after = ends
    # As far as the search goes: a twentieth of the coefficient's posterior sd.
    assert abs(after * unit - before) < 0.05 * np.linalg.norm(one.whiten[slope])


def test_a_mode_far_from_reml_is_found_where_the_prior_of_a_coefficient_pulls():
    priors = {"Intercept": {"kind": "student_t", "df": 4, "loc": 0, "scale": 1}}
    found = warm(target(made("y ~ x + (x | g)", y=1e4 + 1e3 * Y, beta=priors)))
    assert_at_a_round_mode(found)
