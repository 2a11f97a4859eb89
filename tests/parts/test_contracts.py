"""Every part of every shelf, found by itself, does what its contract says."""

import itertools
import json
import math
from typing import get_args

import numpy as np
import pytest
import yaml
from pydantic import ValidationError
from scipy import integrate, special, stats

from hlm_models.config.load import config_from_mapping
from hlm_models.config.settings import ModelConfig
from hlm_models.errors import InputErrors
from hlm_models.parts.covariances import COVARIANCES
from hlm_models.parts.families import FAMILIES
from hlm_models.parts.priors import PRIORS
from hlm_models.parts.residuals import RESIDUALS
from hlm_models.parts.shrinkage import SHRINKAGES

SHELVES = {
    "priors": PRIORS,
    "covariances": COVARIANCES,
    "families": FAMILIES,
    "residuals": RESIDUALS,
    "shrinkage": SHRINKAGES,
}

SETTINGS = {
    "uniform": [{"lower": 0.4, "upper": 2.9}],
    "student_t": [{}, {"df": 1}, {"df": 30, "loc": -2, "scale": 5}],
    "half_student_t": [{}, {"df": 1}, {"df": 30, "scale": 0.01}],
    "normal": [{}, {"loc": -2, "scale": 5}],
    "inverse_gamma": [{"shape": 2.5, "scale": 1.7}, {"shape": 0.6, "scale": 0.01}],
    "inverse_wishart": [{"scale": ((2.0,),)}],
    "wishart": [{"scale": ((2.0,),)}],
    "known": [{"sd": "se"}],
    "horseshoe": [{}, {"expected": 2}, {"scale_global": 0.1}],
    "r2d2": [{}, {"mean_r2": 0.2, "prec_r2": 10, "cons_d2": 1}],
}
"""Settings to try, for parts that need some or that have a shape; the others stand by default."""

PARTS = [
    pytest.param(kind(**words), id=f"{shelf}-{name}-{i}")
    for shelf, kinds in SHELVES.items()
    for name, kind in kinds.items()
    for i, words in enumerate(SETTINGS.get(name, [{}]))
]
PLACED = [
    pytest.param(kind(**words).resolve(loc=1.3, scale=0.7), place, id=f"{name}-{i}-{place}")
    for name, kind in PRIORS.items()
    if not kind.recipe
    for place in sorted(kind.places)
    for i, words in enumerate(SETTINGS.get(name, [{}]))
]
GRAPHS: frozenset[str] = frozenset()
"""Kinds without elementary terms: models with them are sampled as a PyMC graph."""
ELEMENTARY = [case for case in PLACED if case.values[0].kind not in GRAPHS]
PROPER = [case for case in PLACED if case.values[0].proper]
LOW = {"location": -math.inf, "scale": 0.0}


def test_no_shelf_is_empty():
    assert all(SHELVES.values())


@pytest.mark.parametrize("part", PARTS)
def test_settings_survive_being_written_down(part):
    assert type(part).model_validate(part.model_dump()) == part
    assert type(part).model_validate(json.loads(part.model_dump_json())) == part


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_frozen_and_closed(part):
    with pytest.raises(ValidationError, match="frozen"):
        part.kind = "other"
    with pytest.raises(ValidationError, match="colour"):
        type(part)(**part.model_dump(), colour="red")


@pytest.mark.parametrize("part", PARTS)
def test_a_part_says_what_it_is(part):
    assert type(part).__doc__
    assert part.kind == type(part).model_fields["kind"].default


def model(**more):
    head = {"schema": 1, "name": "m", "data": {"source": "radon"}, "formula": "y ~ 1 + (1 | g)"}
    return config_from_mapping({**head, **more}, [])


@pytest.mark.parametrize(
    ("kinds", "place"),
    [
        (
            {k for k, v in PRIORS.items() if "location" in v.places} | set(SHRINKAGES),
            lambda prior: {"priors": {"beta": prior}},
        ),
        (
            {k for k, v in PRIORS.items() if "scale" in v.places},
            lambda prior: {"priors": {"sigma": prior}},
        ),
        (set(COVARIANCES), lambda prior: {"priors": {"groups": {"g": prior}}}),
    ],
    ids=["location", "scale", "covariance"],
)
def test_a_misspelt_kind_lists_every_kind_that_may_stand_there(kinds, place):
    with pytest.raises(InputErrors) as caught:
        model(**place({"kind": "gibberish"}))
    text = str(caught.value)
    assert all(kind in text for kind in kinds)
    for kind in kinds:
        model(**place({"kind": kind, **SETTINGS.get(kind, [{}])[0]}))


def test_a_model_file_can_name_every_family():
    assert set(get_args(ModelConfig.model_fields["family"].annotation)) == set(FAMILIES)


@pytest.mark.parametrize("kind", RESIDUALS)
def test_a_model_file_can_name_every_residual_as_the_part_says(kind):
    for given in (yaml.safe_load(RESIDUALS[kind].written), {"kind": kind} | settings_of(kind)):
        found = model(residual=given).residual
        assert getattr(found, "kind", found) == kind


def settings_of(name):
    return SETTINGS.get(name, [{}])[0]


# --- priors of one number ---


def density(prior, place):
    return lambda x: float(np.exp(prior.log_density(np.asarray(x), place=place)))


def mass(function, low, breaks):
    """Integral from `low` to infinity, split where the settings say that something happens."""
    edges = [low, *sorted(x for x in set(breaks) if x > low), math.inf]
    return sum(
        integrate.quad(function, a, b, epsabs=1e-11, epsrel=1e-11, limit=200)[0]
        for a, b in itertools.pairwise(edges)
    )


@pytest.mark.parametrize(("prior", "place"), PROPER)
def test_a_density_integrates_to_one(prior, place):
    total = mass(density(prior, place), LOW[place], prior.numbers().values())
    assert total == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize(("prior", "place"), [case for case in PLACED if not case.values[0].proper])
def test_an_improper_prior_has_no_total_and_cannot_be_drawn_from(prior, place):
    # Its mass grows with the interval as the interval does: density one, wherever one looks.
    x = np.geomspace(1e-6, 1e6, 25)
    np.testing.assert_array_equal(prior.log_density(x, place=place), 0.0)
    with pytest.raises(InputErrors, match="improper"):
        prior.draw(np.random.default_rng(1), 1, place=place)


@pytest.mark.parametrize(
    "prior", [case.values[0] for case in PLACED if case.values[1] == "scale"], ids=str
)
def test_a_prior_of_a_scale_has_no_density_below_zero(prior):
    below = prior.log_density(np.array([-1e-300, -1.0, -1e9]), place="scale")
    np.testing.assert_array_equal(below, -np.inf)


def cumulative(function, draws, low):
    """Integral of a density from `low` to each of the sorted draws, by 20 Gauss points a gap."""
    nodes, weights = np.polynomial.legendre.leggauss(20)
    a, b = draws[:-1, None], draws[1:, None]
    gaps = (function((a + b) / 2 + (b - a) / 2 * nodes) * weights).sum(axis=1) * (b - a)[:, 0] / 2
    first = integrate.quad(function, low, draws[0])[0]
    return first + np.append(0.0, np.cumsum(gaps))


@pytest.mark.parametrize(("prior", "place"), PROPER)
def test_draws_have_the_density(prior, place):
    draws = np.sort(prior.draw(np.random.default_rng(20), 4000, place=place))
    assert draws.shape == (4000,)
    low = max(LOW[place], prior.numbers().get("lower", LOW[place]))
    uniform = cumulative(
        lambda x: np.exp(prior.log_density(np.asarray(x), place=place)), draws, low
    )
    # The seed is fixed, so this either holds for good or fails for good; 1e-4 is far below what
    # a right sampler gives and far above what a wrong scale or shape gives at 4000 draws.
    assert stats.kstest(np.clip(uniform, 0, 1), "uniform").pvalue > 1e-4


def compiled(inputs, outputs):
    import pytensor
    from pytensor.compile.mode import Mode

    # Interpreted: compiling for speed would take far longer than evaluating a few points.
    return pytensor.function(
        inputs,
        outputs,
        mode=Mode(linker="py", optimizer="fast_compile"),
        on_unused_input="ignore",
    )


@pytest.mark.parametrize(("prior", "place"), PLACED)
def test_the_pymc_form_has_the_density(prior, place):
    import pymc as pm

    x = np.array([-2.0, -0.1, 0.05, 0.5, 1.0, 2.5, 3.0, 40.0])
    with pm.Model():
        variable = type(prior).pymc("x", prior.numbers(), place=place, shape=len(x))
        value = compiled([], pm.logp(variable, x))()
    mine = prior.log_density(x, place=place)
    # PyMC's half Student t takes log(2) in single precision: its constant is off by 1.9e-9.
    constant = 2.5e-9 if prior.kind == "half_student_t" else 1e-10
    np.testing.assert_allclose(value, mine, rtol=1e-10, atol=constant)


@pytest.mark.parametrize(("prior", "place"), PLACED)
def test_the_pymc_form_of_several_takes_settings_by_element_and_dims(prior, place):
    import pymc as pm

    settings = {key: np.full(3, value) for key, value in prior.numbers().items()}
    with pm.Model(coords={"coef": ["a", "b", "c"]}) as found:
        type(prior).pymc("x", settings, place=place, dims="coef")
    assert found.named_vars_to_dims["x"] == ("coef",)
    assert found["x"].name == "x"


@pytest.mark.parametrize(("prior", "place"), PLACED)
def test_a_resolved_prior_has_numbers_only_and_prints_them(prior, place):
    assert all(isinstance(value, int | float) for value in prior.numbers().values())
    assert str(prior).startswith(f"{prior.kind}(")
    assert prior.resolve(loc=99.0, scale=99.0) == prior


@pytest.mark.parametrize(("prior", "place"), PLACED)
def test_the_compiled_sampler_knows_every_prior_but_those_that_are_named(prior, place):
    assert (prior.elementary(place=place) is None) == (prior.kind in GRAPHS)


def points_of(prior):
    """Many points on both sides of all that a prior has a setting for, its edges left out."""
    far = np.geomspace(1e-6, 1e6, 49)
    numbers = [0.0, *prior.numbers().values()]
    found = np.unique([centre + sign * far for centre in numbers for sign in (-1, 1)])
    return found[~np.isin(found, numbers)]


def summed(form, x):
    """What `Elementary` says that its numbers mean, and the derivative by x."""
    gap = x - form.loc
    value = form.constant + form.linear * x - form.quadratic * gap**2
    value = value - form.weight * np.log1p(gap**2 / form.spread)
    slope = form.linear - 2 * form.quadratic * gap
    slope = slope - 2 * form.weight * gap / (form.spread + gap**2)
    # A logarithm is of a positive number only, and so is a reciprocal that is not even.
    positive = np.where(x > 0, x, 1.0)
    value = value + form.log_power * np.log(positive) - form.inverse_square / positive**2
    slope = slope + form.log_power / positive + 2 * form.inverse_square / positive**3
    return np.where((x > form.lower) & (x < form.upper), value, -np.inf), slope


@pytest.mark.parametrize(("prior", "place"), ELEMENTARY)
def test_elementary_terms_are_the_log_density_and_its_support(prior, place):
    form, x = prior.elementary(place=place), points_of(prior)
    value, _ = summed(form, x)
    expected = prior.log_density(x, place=place)
    np.testing.assert_array_equal(np.isfinite(value), np.isfinite(expected))
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-12)
    # Logarithms are taken of a positive number only.
    assert form.lower >= 0 or form.log_power == form.inverse_square == 0


@pytest.mark.parametrize(("prior", "place"), ELEMENTARY)
def test_the_slope_of_the_elementary_terms_is_that_of_the_density(prior, place):
    form, x = prior.elementary(place=place), points_of(prior)
    x = x[(x > form.lower) & (x < form.upper) & (np.abs(x) < 100)]
    room = np.minimum(x - form.lower, form.upper - x)
    h = 1e-4 * np.minimum(room, math.sqrt(form.spread) if form.weight else 1.0)

    def central(h):
        up, down = (prior.log_density(x + step, place=place) for step in (h, -h))
        return (up - down) / (2 * h)

    slope = summed(form, x)[1]
    noise = 1e-15 * (1 + np.abs(prior.log_density(x, place=place))) / h
    error = np.abs((4 * central(h / 2) - central(h)) / 3 - slope)
    assert len(x) > 30
    assert (error <= 1e-7 * np.abs(slope) + 10 * noise).all()


@pytest.mark.parametrize(
    "prior", [case.values[0] for case in PLACED if case.values[1] == "location"], ids=str
)
def test_only_a_prior_that_is_normal_or_flat_has_a_normal_form(prior):
    form, x = prior.normal_form(), points_of(prior)
    assert (form is not None) == (prior.kind in {"normal", "flat"})
    if form is not None:
        mean, precision = form
        constant = 0.5 * math.log(precision / (2 * math.pi)) if precision else 0.0
        np.testing.assert_allclose(
            prior.log_density(x, place="location"),
            constant - precision / 2 * (x - mean) ** 2,
            rtol=1e-12,
            atol=1e-12,
        )


# --- covariances ---

EFFECTS = ("Intercept", "days", "ses", "age")


def positive(q):
    """Rows of a covariance matrix with correlations of either sign."""
    A = np.random.default_rng(q).normal(size=(q, q + 1))
    return tuple(tuple(row) for row in (0.8 * A @ A.T + 0.2 * np.eye(q)).tolist())


def covariance_settings(name, q):
    """Settings to try; the others stand by default."""
    return {
        "lkj": [{"eta": 1}, {"eta": 2.5}],
        "inverse_wishart": [
            {"scale": positive(q)},
            {"nu": q - 0.2, "scale": positive(q)},
            {"nu": q + 7.5, "scale": positive(q)},
        ],
        "wishart": [{"nu": q + 0.5, "scale": positive(q)}],
        "hierarchical": [{}, {"df": 3.4, "scale": {"Intercept": 0.2}}],
    }.get(name, [{}])


def covariance(name, q, words):
    return COVARIANCES[name](**words).resolve(EFFECTS[:q], [1.5, 0.3, 2.0, 1.0][:q])


def sizes(kind):
    """Numbers of effects to try."""
    return range(1 if kind.single else 2, 5 if kind.correlated else 4)


TERMS = [
    pytest.param(covariance(name, q, words), q, id=f"{name}-{i}-q{q}")
    for name, kind in COVARIANCES.items()
    if not kind.recipe
    for q in sizes(kind)
    for i, words in enumerate(covariance_settings(name, q))
]
CORRELATED = [case for case in TERMS if case.values[0].correlated and case.values[1] > 1]
WHOLE = [case for case in TERMS if case.values[0].matrix_form() is not None]
"""Priors of Psi as a whole; in the others the standard deviations are apart."""
APART = [case for case in TERMS if case.values[0].matrix_form() is None]
TRIANGLES = [case for case in APART if case.values[0].correlated]
WISHARTS = [case for case in WHOLE if case.values[0].kind.endswith("wishart")]


@pytest.mark.parametrize(("prior", "q"), TERMS)
def test_a_resolved_covariance_is_settled_and_has_rows_of_words(prior, q):
    assert prior.resolve(EFFECTS[:q], [99.0] * q) == prior
    names = [f"sd_g[{effect}]" for effect in EFFECTS[: len(prior.sd_priors())]]
    rows = prior.rows("g", "t", names)
    assert all(words for _, words in rows)
    if prior.matrix_form() is None:
        assert [name for name, _ in rows][: len(names)] == names
    elif q == 1:
        assert rows == [("sd_g[Intercept]", f"its square: {prior}")]
    else:
        assert rows == [("Psi_g (t)", str(prior))]
    assert prior.kind in str(rows) or not prior.correlated


@pytest.mark.parametrize(("prior", "q"), TERMS)
def test_a_drawn_covariance_is_one(prior, q):
    rng = np.random.default_rng(5)
    for _ in range(50):
        sd, corr = prior.draw(rng)
        assert sd.shape == (q,)
        assert (sd > 0).all()
        np.testing.assert_array_equal(np.diag(corr), 1.0)
        np.testing.assert_array_equal(corr, corr.T)
        np.linalg.cholesky(corr)
        assert np.isfinite(prior.log_density(sd, corr))
        if not prior.correlated:
            np.testing.assert_array_equal(corr, np.eye(q))


@pytest.mark.parametrize(("prior", "q"), TERMS)
def test_densities_of_many_covariances_are_those_of_each(prior, q):
    rng = np.random.default_rng(6)
    drawn = [prior.draw(rng) for _ in range(6)]
    sd, corr = (np.array(part) for part in zip(*drawn, strict=True))
    sd[1] *= -1
    corr[2] = 1.2 - 0.2 * np.eye(q)
    found = prior.log_density(sd.reshape(2, 3, q), corr.reshape(2, 3, q, q))
    each = [float(prior.log_density(*one)) for one in zip(sd, corr, strict=True)]
    np.testing.assert_allclose(found, np.reshape(each, (2, 3)), rtol=1e-13)
    assert each[1] == -np.inf
    assert q == 1 or each[2] == -np.inf


@pytest.mark.parametrize(("prior", "q"), TERMS)
def test_what_is_no_correlation_matrix_has_no_density(prior, q):
    if q > 1:
        corr = np.eye(q)
        corr[0, 1] = corr[1, 0] = 1.2
        assert prior.log_density(np.ones(q), corr) == -np.inf
    assert prior.log_density(-np.ones(q), np.eye(q)) == -np.inf


def scales(prior, sd):
    """Log density of the standard deviations alone."""
    priors = zip(prior.sd_priors(), sd, strict=True)
    return sum(float(one.log_density(np.asarray(x), place="scale")) for one, x in priors)


def angles(points):
    """Nodes x = sin t of (-1, 1) and weights, which take the square roots out of the ends."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    t = nodes * math.pi / 2
    return np.sin(t), weights * math.pi / 2 * np.cos(t)


@pytest.mark.parametrize(("prior", "q"), [case for case in TRIANGLES if case.values[1] == 2])
def test_a_density_integrates_to_one_over_the_correlation(prior, q):
    sd = np.array([0.8, 0.4])
    x, weights = angles(60)
    values = [
        math.exp(prior.log_density(sd, np.array([[1, r], [r, 1]])) - scales(prior, sd)) for r in x
    ]
    assert q == 2
    assert weights @ values == pytest.approx(1.0, rel=1e-10)


@pytest.mark.parametrize(("prior", "q"), [case for case in TRIANGLES if case.values[1] == 3])
def test_a_density_integrates_to_one_over_three_correlations(prior, q):
    # r23 runs over the interval that keeps the matrix positive: r12 r13 + width t, t in (-1, 1).
    sd = np.ones(q)
    total = 0.0
    x, weights = angles(16)
    for a, wa in zip(x, weights, strict=True):
        for b, wb in zip(x, weights, strict=True):
            width = math.sqrt((1 - a * a) * (1 - b * b))
            for t, wt in zip(x, weights, strict=True):
                c = a * b + width * t
                corr = np.array([[1, a, b], [a, 1, c], [b, c, 1]])
                value = prior.log_density(sd, corr) - scales(prior, sd)
                total += wa * wb * wt * width * math.exp(value)
    assert total == pytest.approx(1.0, rel=1e-8)


@pytest.mark.parametrize("eta", [1.0, 2.0, 4.5])
@pytest.mark.parametrize("q", [2, 3, 4])
def test_each_correlation_of_lkj_is_beta(q, eta):
    """Lewandowski et al. (2009), section 2.1: Beta(eta + (q - 2) / 2) on (-1, 1), every one."""
    prior, r = covariance("lkj", q, {"eta": eta}), np.linspace(-0.99, 0.99, 9)
    shape = eta + (q - 2) / 2
    expected = stats.beta(shape, shape, loc=-1, scale=2).logpdf(r)
    for row, column in pairs(q):
        np.testing.assert_allclose(prior.log_density_corr(r, row, column), expected, rtol=1e-12)


def pairs(q):
    return zip(*(at.tolist() for at in np.tril_indices(q, -1)), strict=True)


@pytest.mark.parametrize(("prior", "q"), CORRELATED)
def test_the_density_of_one_correlation_integrates_to_one_and_is_that_of_draws(prior, q):
    rng = np.random.default_rng(19)
    corr = np.array([prior.draw(rng)[1] for _ in range(2000)])
    x, weights = angles(400)
    for row, column in pairs(q):
        total = weights @ np.exp(prior.log_density_corr(x, row, column))
        # What is left is due to densities that are infinite at the ends.
        assert total == pytest.approx(1.0, abs=1e-4)

        def by_angle(t, row=row, column=column):
            return np.exp(prior.log_density_corr(np.sin(t), row, column)) * np.cos(t)

        low = 1e-7 - math.pi / 2
        uniform = cumulative(by_angle, np.sort(np.arcsin(corr[:, row, column])), low)
        assert stats.kstest(np.clip(uniform, 0, 1), "uniform").pvalue > 1e-4


@pytest.mark.parametrize(("prior", "q"), TERMS)
def test_drawn_standard_deviations_have_their_priors(prior, q):
    rng = np.random.default_rng(11)
    sd = np.array([prior.draw(rng)[0] for _ in range(2000)])
    for k, one in enumerate(prior.sd_priors()):
        drawn = np.sort(sd[:, k])
        uniform = cumulative(
            lambda x, one=one: np.exp(one.log_density(np.asarray(x), place="scale")), drawn, 0.0
        )
        assert stats.kstest(np.clip(uniform, 0, 1), "uniform").pvalue > 1e-4
    if prior.structure == "shared":
        np.testing.assert_array_equal(sd, np.repeat(sd[:, :1], q, axis=1))
    elif q > 1 and prior.matrix_form() is None:
        assert abs(stats.spearmanr(sd[:, 0], sd[:, 1]).statistic) < 4 / math.sqrt(2000)


def jacobian(function, x):
    """Central differences of two widths, extrapolated: error about 1e-11."""

    def central(h):
        steps = h * np.eye(len(x))
        return np.column_stack([(function(x + s) - function(x - s)) / (2 * h) for s in steps])

    return (4 * central(5e-4) - central(1e-3)) / 3


@pytest.mark.parametrize(("prior", "q"), TERMS)
def test_the_pymc_form_of_a_covariance_has_the_density(prior, q):
    import pymc as pm
    import pytensor.tensor as pt

    with pm.Model(coords={"effect_g": EFFECTS[:q]}) as found:
        sd, factor = prior.pymc("g", "effect_g")
        corr = pt.dot(factor, factor.T)
    assert sd.name == "sd_g"
    assert found.named_vars_to_dims["sd_g"] == ("effect_g",)
    values = found.value_vars
    logp = compiled(values, found.logp())
    place = compiled(values, found.replace_rvs_by_values([sd, corr]))
    rng = np.random.default_rng(13)
    start = [np.asarray(value) for value in found.initial_point().values()]
    cuts = np.cumsum([value.size for value in start])[:-1]
    rows, columns = np.tril_indices(q, -1)
    if not prior.correlated:
        rows = columns = np.zeros(0, dtype=int)

    def unpacked(x):
        return [
            part.reshape(value.shape) for part, value in zip(np.split(x, cuts), start, strict=True)
        ]

    def flat(x):
        sd, corr = place(*unpacked(x))
        return np.append(sd[: len(prior.sd_priors())], corr[rows, columns])

    for _ in range(3):
        x = rng.normal(scale=0.8, size=sum(value.size for value in start))
        sd_value, corr_value = place(*unpacked(x))
        sign, logdet = np.linalg.slogdet(jacobian(flat, x))
        assert sign != 0
        mine = prior.log_density(sd_value, corr_value) + logdet
        # The Jacobian by differences is what limits this; tests/graph has it exactly.
        assert float(logp(*unpacked(x))) == pytest.approx(mine, rel=1e-8, abs=1e-8)


def vine(partial, q):
    """The correlations below the diagonal, row by row, of canonical partial ones (C-vine).

    Source: Lewandowski, Kurowicka and Joe (2009), doi:10.1016/j.jmva.2009.04.008, section 2.4.
    """
    rows, columns = np.tril_indices(q, -1)
    given = np.zeros((q, q), dtype=partial.dtype)
    given[rows, columns] = partial
    found = []
    for row, column in zip(rows, columns, strict=True):
        # From the correlation given all columns before, one of them after the other is let go.
        r = given[row, column]
        for k in range(column - 1, -1, -1):
            a, b = given[row, k], given[column, k]
            r = r * np.sqrt((1 - a**2) * (1 - b**2)) + a * b
        found.append(r)
    return np.array(found)


@pytest.mark.parametrize(("prior", "q"), TRIANGLES)
def test_partial_correlations_of_these_shapes_have_the_density_of_the_correlations(prior, q):
    shapes = prior.partial_shapes()
    assert shapes.shape == (q * (q - 1) // 2,)
    rng, size = np.random.default_rng(17), len(shapes)
    for _ in range(10):
        partial = rng.uniform(-0.95, 0.95, size)
        rows, columns = np.tril_indices(q, -1)
        corr = np.eye(q)
        corr[rows, columns] = corr[columns, rows] = vine(partial, q)
        moved = partial[:, None] + 1e-30j * np.eye(size)
        slopes = np.column_stack([vine(moved[:, i], q).imag / 1e-30 for i in range(size)])
        sign, logdet = np.linalg.slogdet(slopes)
        assert sign > 0
        sd = np.full(q, 0.7)
        of_corr = prior.log_density(sd, corr) - scales(prior, sd)
        independent = stats.beta.logpdf((1 + partial) / 2, shapes, shapes) - math.log(2)
        assert of_corr + logdet == pytest.approx(np.sum(independent), rel=1e-10, abs=1e-10)


@pytest.mark.parametrize(("prior", "q"), TERMS)
def test_partial_correlations_are_apart_from_the_sds_or_there_is_a_density_of_psi(prior, q):
    assert (prior.partial_shapes() is None) == (prior.matrix_form() is not None)
    assert prior.correlated or prior.partial_shapes().shape == (0,)


# --- priors of Psi as a whole ---


def of_psi(prior, Psi):
    """Log density by the lower triangle of Psi: d Psi is 2^q prod sd^q by sd and corr."""
    sd = np.sqrt(np.diag(Psi))
    jacobian = len(sd) * (math.log(2) + np.sum(np.log(sd)))
    return float(prior.log_density(sd, Psi / np.outer(sd, sd))) - jacobian


def covariances(q, seed, count=5):
    """Any covariance matrices, of a size of one or so."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(count, q, q + 2)) * rng.uniform(0.3, 2.0, (count, q, 1))
    return A @ np.swapaxes(A, 1, 2)


@pytest.mark.parametrize(("prior", "q"), WHOLE)
def test_the_density_of_psi_is_what_its_form_says(prior, q):
    form = prior.matrix_form()
    assert form.scale.shape == (q, q)
    assert form.rate.shape == (q,)
    np.testing.assert_array_equal(form.scale, form.scale.T)
    for Psi in covariances(q, 21):
        inverse = np.linalg.inv(Psi)
        value = form.constant + form.log_det * math.log(np.linalg.det(Psi))
        value -= np.trace(form.scale @ inverse) / 2
        value -= form.power * np.log(1 + form.rate * np.diag(inverse)).sum()
        assert of_psi(prior, Psi) == pytest.approx(value, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize(("prior", "q"), WISHARTS)
def test_a_wishart_and_its_inverse_have_the_densities_of_scipy(prior, q):
    scale = np.array(prior.scale)
    of_psi_scale = scale if prior.kind == "inverse_wishart" else np.linalg.inv(scale)
    for Psi in covariances(q, 22):
        P = np.linalg.inv(Psi)
        law = stats.wishart(df=prior.nu, scale=np.linalg.inv(of_psi_scale))
        # |dP / dPsi| = |P|^(q + 1), by the lower triangles.
        expected = law.logpdf(P) + (q + 1) * np.linalg.slogdet(P)[1]
        assert of_psi(prior, Psi) == pytest.approx(expected, rel=1e-10)
        if prior.nu >= q:
            inverse = stats.invwishart(df=prior.nu, scale=of_psi_scale)
            assert of_psi(prior, Psi) == pytest.approx(inverse.logpdf(Psi), rel=1e-10)


@pytest.mark.parametrize("q", [1, 2, 3, 4])
def test_wishart_is_inverse_wishart_with_the_inverse_scale(q):
    scale = np.array(positive(q))
    one = covariance("wishart", q, {"nu": q + 0.5, "scale": positive(q)})
    rows = tuple(tuple(row) for row in np.linalg.inv(scale).tolist())
    other = covariance("inverse_wishart", q, {"nu": q + 0.5, "scale": rows})
    for Psi in covariances(q, 23):
        assert of_psi(one, Psi) == pytest.approx(of_psi(other, Psi), rel=1e-11)
    drawn, same = (prior.draw(np.random.default_rng(3)) for prior in (one, other))
    for a, b in zip(drawn, same, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11)


@pytest.mark.parametrize(("prior", "q"), WISHARTS)
def test_drawn_precisions_have_the_moments_and_the_trace_of_a_wishart(prior, q):
    """P ~ Wishart(nu, V): mean nu V, Var(P_ij) = nu (V_ij^2 + V_ii V_jj), tr(P V^-1) chi-square."""
    scale, count = np.array(prior.scale), 2000
    V = scale if prior.kind == "wishart" else np.linalg.inv(scale)
    rng = np.random.default_rng(24)
    P = np.empty((count, q, q))
    for i in range(count):
        sd, corr = prior.draw(rng)
        P[i] = np.linalg.inv(corr * np.outer(sd, sd))
    se = np.sqrt(prior.nu * (V**2 + np.outer(np.diag(V), np.diag(V))) / count)
    np.testing.assert_array_less(np.abs(P.mean(axis=0) - prior.nu * V), 4.5 * se)
    trace = np.einsum("nij,ji->n", P, np.linalg.inv(V))
    assert stats.kstest(trace, stats.chi2(prior.nu * q).cdf).pvalue > 1e-4


@pytest.mark.parametrize(("prior", "q"), [case for case in WHOLE if case.values[1] == 1])
def test_of_one_effect_the_density_is_that_of_its_sd(prior, q):
    [one] = prior.sd_priors()
    for sd in np.geomspace(0.01, 100, 9):
        expected = one.log_density(np.asarray(sd), place="scale")
        found = prior.log_density(np.full(q, sd), np.eye(q))
        assert found == pytest.approx(float(expected), rel=1e-11)


@pytest.mark.parametrize(("prior", "q"), [case for case in WHOLE if case.values[1] == 2])
def test_the_density_of_psi_with_both_sds_integrated_out_is_that_of_the_correlation(prior, q):
    # Trapezoids in log sd, which are exact to the last digits as the density tapers off.
    t = np.arange(-25.0, 45.0, 0.15)
    sd = np.exp(np.stack(np.meshgrid(t, t), axis=-1))
    for r in (-0.9, -0.2, 0.0, 0.6):
        corr = np.broadcast_to(np.array([[1.0, r], [r, 1.0]]), (*sd.shape, q))
        values = prior.log_density(sd, corr) + np.log(sd).sum(axis=-1)
        total = float(np.exp(values).sum()) * 0.15**2
        [expected] = np.exp(prior.log_density_corr(np.array([r]), 1, 0))
        assert total == pytest.approx(float(expected), rel=1e-6)


@pytest.mark.parametrize("name", ["inverse_wishart", "wishart"])
def test_draws_of_next_to_no_degrees_of_freedom_are_numbers(name):
    prior = covariance(name, 3, {"nu": 2.001, "scale": positive(3)})
    rng = np.random.default_rng(26)
    drawn = [prior.draw(rng) for _ in range(300)]
    assert max(sd.max() for sd, _ in drawn) > 1e100
    assert all(np.isfinite(sd).all() and (np.abs(corr) <= 1.0).all() for sd, corr in drawn)
    of_variance = PRIORS["inverse_gamma"](shape=0.0005, scale=1.0)
    values = of_variance.draw(rng, 300, place="scale")
    assert np.isfinite(values).all()
    assert values.max() > 1e100


# --- what Gibbs needs to know ---


def mixed(form, Psi):
    """The log density of a `VarianceForm` at Psi, its a integrated out by quadrature."""
    q = len(Psi)
    P = np.linalg.inv(Psi)
    log_det = np.linalg.slogdet(Psi)[1]
    if not form.df:
        law = stats.wishart(df=form.nu, scale=np.linalg.inv(form.scale))
        return law.logpdf(P) - (q + 1) * log_det
    # Given a, scale is diagonal, and the density a product over effects but for |Psi|.
    assert not form.scale.any()
    total = -(form.nu + q + 1) / 2 * log_det - special.multigammaln(form.nu / 2, q)
    for k in range(q):
        a = stats.invgamma(0.5, scale=form.spread[k] ** -2.0)

        def given(log_a, k=k, a=a):
            inside = form.nu / 2 * (math.log(form.df) - log_a) - form.df * P[k, k] * np.exp(-log_a)
            return np.exp(inside + a.logpdf(np.exp(log_a)) + log_a)

        peak = math.log((form.df * P[k, k] + form.spread[k] ** -2.0) / ((form.nu + 1) / 2))
        edges = [peak + gap for gap in (-30, -5, -1, 0, 1, 5, 60)]
        ends = itertools.pairwise(edges)
        total += math.log(sum(integrate.quad(given, *at, epsabs=0)[0] for at in ends))
    return total


@pytest.mark.parametrize(("prior", "q"), WHOLE)
def test_the_law_that_gibbs_draws_from_is_the_density(prior, q):
    [form] = prior.variance_forms()
    assert form.scale.shape == (q, q)
    assert form.spread.shape == (q,)
    for Psi in covariances(q, 25, count=3):
        assert of_psi(prior, Psi) == pytest.approx(mixed(form, Psi), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize(("prior", "q"), APART)
def test_where_sds_are_apart_gibbs_has_a_law_of_each(prior, q):
    forms = prior.variance_forms()
    assert len(forms) == len(prior.sd_priors()) <= q
    for form, one in zip(forms, prior.sd_priors(), strict=True):
        np.testing.assert_equal(form, one.variance_form())


@pytest.mark.parametrize(
    "prior", [case.values[0] for case in PLACED if case.values[1] == "scale"], ids=str
)
def test_the_law_of_a_variance_is_the_prior_of_the_sd(prior):
    form, x = prior.variance_form(), np.geomspace(0.05, 20.0, 7)
    assert (form is None) == (prior.kind not in {"inverse_gamma", "half_student_t", "flat"})
    if form is None:
        return
    values = prior.log_density(x, place="scale")
    if prior.proper:
        expected = [mixed(form, np.array([[one**2]])) + math.log(2 * one) for one in x]
        np.testing.assert_allclose(values, expected, rtol=1e-8, atol=1e-8)
    else:
        # Inverse gamma but for a constant: x^2 to the power -(nu / 2 + 1), and d x^2 = 2 x dx.
        assert not form.scale.any()
        power = -(form.nu / 2 + 1) * np.log(x**2) + np.log(x)
        np.testing.assert_allclose(values - power, values[0] - power[0], atol=1e-12)


# --- settings that do not fit the effects ---


def test_a_prior_of_an_effect_that_the_term_lacks_is_refused_with_the_effects():
    prior = COVARIANCES["diagonal"](sd={"dys": {"kind": "half_normal"}})
    with pytest.raises(InputErrors, match=r"'dys'.*did you mean 'days'.*Intercept, days"):
        prior.resolve(EFFECTS[:2], [1.0, 1.0])


def test_unequal_standard_deviations_are_none_of_a_shared_variance():
    prior = covariance("shared", 3, {})
    [one] = prior.sd_priors()
    same = prior.log_density(np.full(3, 0.7), np.eye(3))
    assert same == one.log_density(np.asarray(0.7), place="scale")
    assert prior.log_density(np.array([0.7, 0.7, 0.7 * (1 + 1e-14)]), np.eye(3)) == same
    assert prior.log_density(np.array([0.7, 0.7, 0.71]), np.eye(3)) == -np.inf


def test_standard_deviations_of_different_kinds_stand_in_their_order():
    import pymc as pm

    prior = COVARIANCES["diagonal"](
        sd={"days": {"kind": "exponential", "scale": 0.2}, "ses": {"kind": "half_normal"}}
    ).resolve(EFFECTS[:3], [1.0, 2.0, 3.0])
    assert [one.kind for one in prior.sd_priors()] == [
        "half_student_t",
        "exponential",
        "half_normal",
    ]
    with pm.Model(coords={"effect_g": EFFECTS[:3]}) as found:
        sd, _ = prior.pymc("g", "effect_g")
    free = {rv.name: rv for rv in found.free_RVs}
    pieces = [free[f"sd_g_{kind}"] for kind in ("half_student_t", "exponential", "half_normal")]
    value, *each = compiled(found.value_vars, found.replace_rvs_by_values([sd, *pieces]))(
        *(np.array([x]) for x in (0.1, 0.2, 0.3))
    )
    np.testing.assert_array_equal(value, np.concatenate(each))


# --- families and residual structures ---

NOISE = [pytest.param(kind(), id=name) for name, kind in FAMILIES.items()]


@pytest.mark.parametrize("family", NOISE)
def test_a_family_integrates_to_one_over_the_response(family):
    def value(y):
        return float(np.exp(family.log_density(np.asarray(y), np.asarray(0.3), 1.7)))

    assert mass(value, -math.inf, [0.3]) == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize("family", NOISE)
def test_responses_of_a_family_have_its_density(family):
    y = np.sort(family.draw(np.random.default_rng(3), np.full(4000, 0.3), 1.7))

    def value(x):
        return np.exp(family.log_density(np.asarray(x), np.asarray(0.3), 1.7))

    assert stats.kstest(cumulative(value, y, -math.inf), "uniform").pvalue > 1e-4


@pytest.mark.parametrize("family", NOISE)
def test_a_family_takes_a_scale_by_row(family):
    y, eta, scale = np.array([0.5, -1.0]), np.array([0.1, 0.2]), np.array([1.0, 3.0])
    both = family.log_density(y, eta, scale)
    each = [float(family.log_density(*row)) for row in zip(y, eta, scale, strict=True)]
    np.testing.assert_allclose(both, each, rtol=1e-14)
    assert family.draw(np.random.default_rng(1), eta, scale).shape == (2,)


@pytest.mark.parametrize("family", NOISE)
def test_the_pymc_form_of_a_family_has_the_density(family):
    import pymc as pm

    y, eta = np.array([0.5, -1.0, 7.0]), np.array([0.1, 0.2, 0.3])
    with pm.Model(coords={"obs": range(3)}) as found:
        family.pymc("y_obs", eta, 1.7, observed=y, dims="obs")
    assert float(compiled([], found.logp())()) == pytest.approx(
        family.log_density(y, eta, 1.7).sum(), rel=1e-12
    )


@pytest.mark.parametrize("name", RESIDUALS)
def test_a_residual_structure_scales_with_sigma(name):
    residual = RESIDUALS[name](**settings_of(name))
    np.testing.assert_allclose(2 * np.asarray(residual.scale(1.5)), residual.scale(3.0))
