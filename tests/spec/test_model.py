import math

import numpy as np
import pandas as pd
import pytest

from hlm_models import build
from hlm_models.errors import InputErrors
from hlm_models.spec.information import latent_parameterization

FRAME = pd.DataFrame(
    {
        "y": [1.0, 3.0, 2.0, 6.0, 5.0, 7.0, 4.0, 8.0],
        "x": [0.0, 1.0, 0.0, 1.0, 2.0, 3.0, 2.0, 3.0],
        "f": [*"abababab"],
        "school": ["p", "p", "q", "q", "p", "p", "q", "q"],
        "room": ["1", "2", "3", "1", "2", "3", "1", "2"],
    }
)


def model(formula="y ~ x + (x | school)", priors=None, **more):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return {**head, **({"priors": priors} if priors else {}), **more}


def spec(formula="y ~ x + (x | school)", priors=None, frame=FRAME, **more):
    return build(model(formula, priors, **more), data=frame)


def problems(formula="y ~ x + (x | school)", priors=None, **more):
    with pytest.raises(InputErrors) as caught:
        spec(formula, priors, **more)
    return {problem.key: problem.message for problem in caught.value.problems}


# By hand: y has mean 4.5 and squares about it 42, so variance 6 with n - 1 = 7; x has mean 1.5 and
# squares about it 10.
S_Y, S_X = math.sqrt(6), math.sqrt(10 / 7)


def test_default_priors_are_those_of_the_design_page():
    priors = spec().priors
    intercept, slope = priors.beta
    assert (slope.kind, slope.loc) == ("normal", 0.0)
    assert slope.scale == pytest.approx(2.5 * S_Y / S_X, rel=1e-14)
    assert (intercept.kind, intercept.loc) == ("normal", 4.5)
    spread = math.sqrt((2.5 * S_Y) ** 2 + (1.5 * slope.scale) ** 2)
    assert intercept.scale == pytest.approx(spread, rel=1e-14)
    [term] = priors.blocks[0].terms
    assert (term.kind, term.eta) == ("lkj", 2.0)
    level, slopes = term.sd_priors()
    assert {level.kind, slopes.kind, priors.sigma.kind} == {"half_student_t"}
    assert {level.df, slopes.df, priors.sigma.df} == {3.0}
    assert level.scale == pytest.approx(S_Y, rel=1e-14)
    assert slopes.scale == pytest.approx(S_Y / S_X, rel=1e-14)
    assert priors.sigma.scale == pytest.approx(S_Y, rel=1e-14)


def test_default_priors_without_an_intercept():
    prior, *rest = spec("y ~ 0 + x + (0 + x | school)").priors.beta
    assert rest == []
    assert (prior.loc, prior.scale) == (0.0, pytest.approx(2.5 * S_Y / S_X, rel=1e-14))


def test_the_intercept_counts_every_predictor():
    # The dummy of b has mean 1/2 and squares about it 2; the interaction is a column like others.
    found = spec("y ~ x*f + (1 | school)")
    values = {
        "x": FRAME["x"],
        "f[b]": (FRAME["f"] == "b") * 1.0,
        "x:f[b]": FRAME["x"] * (FRAME["f"] == "b"),
    }
    scales = {name: 2.5 * S_Y / np.std(column, ddof=1) for name, column in values.items()}
    total = (2.5 * S_Y) ** 2 + sum(
        (column.mean() * scales[name]) ** 2 for name, column in values.items()
    )
    got = dict(zip(found.design.coef, found.priors.beta, strict=True))
    assert got["Intercept"].scale == pytest.approx(math.sqrt(total), rel=1e-13)
    for name, scale in scales.items():
        assert got[name].scale == pytest.approx(scale, rel=1e-13)


def test_a_term_of_one_effect_is_diagonal_by_default():
    for formula in ("y ~ x + (1 | school)", "y ~ x + (x || school)"):
        [term] = spec(formula).priors.blocks[0].terms
        assert term.kind == "diagonal"


def test_a_prior_of_one_coefficient_leaves_the_others_alone():
    given = {"beta": {"x": {"kind": "student_t", "df": 4, "scale": 0.5}}}
    intercept, slope = spec(priors=given).priors.beta
    assert (slope.kind, slope.df, slope.loc, slope.scale) == ("student_t", 4.0, 0.0, 0.5)
    assert intercept == spec().priors.beta[0]


def test_one_prior_of_all_coefficients_is_everyones():
    given = {"beta": {"kind": "normal", "loc": 1, "scale": 10}}
    assert {(p.loc, p.scale) for p in spec(priors=given).priors.beta} == {(1.0, 10.0)}


def test_a_wide_prior_of_a_slope_does_not_widen_the_intercepts():
    # The default of the intercept is worked out from the default slopes, whatever is given.
    given = {"beta": {"x": {"kind": "normal", "scale": 1e6}}}
    assert spec(priors=given).priors.beta[0] == spec().priors.beta[0]


def test_priors_of_a_group_and_of_one_effect_are_taken():
    sd = {"x": {"kind": "exponential", "scale": 0.3}}
    given = {"groups": {"school": {"kind": "lkj", "eta": 5, "sd": sd}}}
    [term] = spec(priors=given).priors.blocks[0].terms
    assert term.eta == 5.0
    level, slope = term.sd_priors()
    assert (slope.kind, slope.scale) == ("exponential", 0.3)
    assert (level.kind, level.scale) == ("half_student_t", pytest.approx(S_Y, rel=1e-14))


def test_each_term_of_a_group_has_its_prior_by_its_text():
    formula = "y ~ x + (1 | school) + (0 + x | school)"
    given = {"groups": {"school": {"0 + x | school": {"kind": "diagonal", "sd": {"kind": "flat"}}}}}
    first, second = spec(formula, given).priors.blocks[0].terms
    assert [p.kind for p in first.sd_priors()] == ["half_student_t"]
    assert [p.kind for p in second.sd_priors()] == ["flat"]


def test_an_unknown_coefficient_is_a_located_problem():
    found = problems(priors={"beta": {"xx": {"kind": "flat"}}})
    assert list(found) == ["priors.beta.xx"]
    assert "did you mean 'x'" in found["priors.beta.xx"]
    assert "Intercept, x" in found["priors.beta.xx"]


def test_an_unknown_group_is_a_located_problem():
    found = problems(priors={"groups": {"scool": {"kind": "lkj"}}})
    assert list(found) == ["priors.groups.scool"]
    assert "did you mean 'school'" in found["priors.groups.scool"]


def test_an_unknown_term_is_a_located_problem():
    found = problems(priors={"groups": {"school": {"1 + x | school": {"kind": "lkj"}}}})
    assert list(found) == ["priors.groups.school.1 + x | school"]
    assert "terms: x | school" in next(iter(found.values()))


def test_an_unknown_effect_is_a_located_problem():
    sd = {"z": {"kind": "half_normal"}}
    found = problems(priors={"groups": {"school": {"kind": "lkj", "sd": sd}}})
    assert list(found) == ["priors.groups.school.sd"]
    assert "'z'" in found["priors.groups.school.sd"]
    assert "Intercept, x" in found["priors.groups.school.sd"]


def test_a_group_of_several_terms_wants_a_prior_by_term():
    found = problems(
        "y ~ x + (1 | school) + (0 + x | school)",
        {"groups": {"school": {"kind": "diagonal"}}},
    )
    assert list(found) == ["priors.groups.school"]
    assert "'1 | school'" in found["priors.groups.school"]
    assert "'0 + x | school'" in found["priors.groups.school"]


@pytest.mark.parametrize("formula", ["y ~ x + (1 | school)", "y ~ x + (0 + x | school)"])
def test_lkj_of_one_effect_is_refused(formula):
    found = problems(formula, {"groups": {"school": {"kind": "lkj"}}})
    assert "one effect" in found["priors.groups.school.kind"]
    assert "diagonal" in found["priors.groups.school.kind"]


def test_lkj_of_independent_effects_is_refused():
    found = problems("y ~ x + (x || school)", {"groups": {"school": {"kind": "lkj"}}})
    assert "independent effects" in found["priors.groups.school.kind"]


@pytest.mark.parametrize("kind", ["inverse_wishart", "wishart", "hierarchical"])
def test_a_prior_of_psi_as_a_whole_of_independent_effects_is_refused_with_the_one_bar(kind):
    scale = {} if kind == "hierarchical" else {"scale": [[1, 0], [0, 1]]}
    found = problems("y ~ x + (x || school)", {"groups": {"school": {"kind": kind} | scale}})
    assert found == {
        "priors.groups.school.kind": (
            f"(x || school) has independent effects, but {kind} lets them correlate: write "
            "(x | school) in the formula, or use diagonal, or shared for one variance"
        )
    }


@pytest.mark.parametrize("formula", ["y ~ x + (1 | school)", "y ~ x + (1 || school)"])
@pytest.mark.parametrize("kind", ["inverse_wishart", "wishart", "hierarchical"])
def test_a_prior_of_psi_as_a_whole_may_be_that_of_one_effect(kind, formula):
    scale = {} if kind == "hierarchical" else {"scale": [[2.0]]}
    [term] = spec(formula, {"groups": {"school": {"kind": kind} | scale}}).priors.blocks[0].terms
    assert term.kind == kind
    [one] = term.sd_priors()
    if kind == "hierarchical":
        assert (one.kind, one.df, one.scale) == ("half_student_t", 2.0, pytest.approx(S_Y))
    else:
        # nu is q + 1 = 2: inverse gamma(nu / 2, scale / 2) of the variance.
        assert (one.kind, one.shape) == ("inverse_gamma", 1.0)
        assert one.scale == pytest.approx(1.0 if kind == "inverse_wishart" else 0.25)


NOT_FITTING = {
    "nu": ({"nu": 1.0}, "nu must be above 1 for 2 effects, and it is 1: leave it out for 3"),
    "too large": (
        {"scale": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]},
        "scale must be 2 by 2 for 2 effects in this order: Intercept, x; it has rows of 3, 3, 3",
    ),
    "ragged": (
        {"scale": [[1, 0], [0]]},
        "scale must be 2 by 2 for 2 effects in this order: Intercept, x; it has rows of 2, 1",
    ),
    "not symmetric": (
        {"scale": [[1, 0.5], [0.2, 1]]},
        "scale must be symmetric, and row 1 has 0.5 where row 2 has 0.2",
    ),
    "not definite": ({"scale": [[1, 2], [2, 1]]}, "scale must be positive definite: "),
    "singular": ({"scale": [[1, 2], [2, 4]]}, "scale must be positive definite: "),
    "a negative variance": ({"scale": [[1, 0], [0, -1]]}, "scale must be positive definite: "),
}


@pytest.mark.parametrize("kind", ["inverse_wishart", "wishart"])
@pytest.mark.parametrize("case", NOT_FITTING)
def test_nu_or_a_scale_that_does_not_fit_the_effects_is_a_located_problem(case, kind):
    given, message = NOT_FITTING[case]
    prior = {"kind": kind, "scale": [[1, 0], [0, 1]]} | given
    found = problems(priors={"groups": {"school": prior}})
    [key] = given
    assert list(found) == [f"priors.groups.school.{key}"]
    assert found[f"priors.groups.school.{key}"].startswith(message)


def test_a_scale_of_one_effect_that_has_two_rows_is_a_located_problem():
    given = {"kind": "wishart", "scale": [[1, 0], [0, 1]]}
    found = problems("y ~ x + (0 + x | school)", {"groups": {"school": given}})
    message = "scale must be 1 by 1 for 1 effect, x; it has rows of 2, 2"
    assert found == {"priors.groups.school.scale": message}


def test_a_hierarchical_scale_of_an_unknown_effect_is_a_located_problem():
    found = problems(priors={"groups": {"school": {"kind": "hierarchical", "scale": {"xx": 1.0}}}})
    [message] = found.values()
    assert list(found) == ["priors.groups.school.scale"]
    assert "'xx', which is not an effect of this term; did you mean 'x'?" in message


def test_a_problem_of_one_term_names_the_term():
    formula = "y ~ x + (1 | school) + (0 + x | school)"
    given = {"groups": {"school": {"0+x|school": {"kind": "wishart", "scale": [[0]]}}}}
    assert list(problems(formula, given)) == ["priors.groups.school.0+x|school.scale"]
    given["groups"]["school"]["0+x|school"] = {"kind": "lkj"}
    assert list(problems(formula, given)) == ["priors.groups.school.0+x|school.kind"]


def test_diagonal_of_a_correlated_term_is_refused_with_the_two_bars():
    found = problems(priors={"groups": {"school": {"kind": "diagonal"}}})
    assert "(x || school)" in found["priors.groups.school.kind"]
    assert "lkj" in found["priors.groups.school.kind"]


def test_shared_of_a_correlated_term_is_refused_with_the_two_bars():
    [found] = problems(priors={"groups": {"school": {"kind": "shared"}}}).values()
    assert found == (
        "shared means independent effects, but (x | school) lets them correlate: "
        "write (x || school) in the formula, or use lkj"
    )


def test_a_shared_sd_by_default_lets_the_effects_move_a_row_as_one_with_its_own_would():
    formula = "y ~ x + (0 + x + I(3 * x) || school)"
    shared, apart = (
        spec(formula, priors).priors.blocks[0].terms[0]
        for priors in ({"groups": {"school": {"kind": "shared"}}}, {})
    )
    first, second = apart.sd_priors()
    assert first.scale == pytest.approx(3 * second.scale)
    [one] = shared.sd_priors()
    assert one.scale == pytest.approx(S_Y / math.hypot(S_X, 3 * S_X))


def test_all_problems_of_the_priors_come_at_once():
    given = {
        "beta": {"xx": {"kind": "flat"}},
        "groups": {"school": {"kind": "diagonal"}, "house": {"kind": "lkj"}},
    }
    assert set(problems(priors=given)) == {
        "priors.beta.xx",
        "priors.groups.school.kind",
        "priors.groups.house",
    }


def test_a_problem_of_a_file_names_the_file_and_the_line(tmp_path):
    path = tmp_path / "mine.yaml"
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    path.write_text(
        "schema: 1\nname: mine\ndata: {source: {file: rows.csv}}\n"
        "formula: y ~ x + (x | school)\npriors:\n  beta:\n    xx: {kind: flat}\n"
    )
    with pytest.raises(InputErrors) as caught:
        build(path)
    [problem] = caught.value.problems
    assert problem.file.endswith("mine.yaml")
    assert problem.line == 7


@pytest.mark.parametrize("name", ["chain", "draw", "coef", "obs"])
def test_a_group_may_not_take_the_name_of_a_dimension(name):
    found = problems(f"y ~ x + (1 | {name})", frame=FRAME.rename(columns={"school": name}))
    assert f"'{name}'" in found["formula"]


def test_a_model_is_the_same_whatever_the_order_of_its_keys():
    turned = dict(reversed(model().items()))
    assert build(turned, data=FRAME).digest == spec().digest


def test_the_digest_tells_models_and_data_apart():
    changed = FRAME.assign(x=FRAME["x"] + 1e-9)
    digests = {
        spec().digest,
        spec("y ~ x + (1 | school)").digest,
        spec(frame=changed).digest,
        spec(priors={"sigma": {"kind": "half_normal"}}).digest,
    }
    assert len(digests) == 4
    assert spec(about="Other words?", fit={"seed": 9}).digest == spec().digest


def test_the_notes_say_what_was_allowed():
    frame = FRAME.assign(size=[1.0, 1.0, 2.0, 2.0] * 2)
    found = spec("y ~ size + (size | school)", frame=frame, allow_macro_in_z=True)
    assert any("size is constant within school" in note for note in found.notes)


def test_the_parameterization_is_the_one_asked_for():
    for kind in ("centered", "noncentered", "marginal"):
        assert spec(fit={"parameterization": kind}).parameterization == kind
    found = spec("y ~ x + (1 | school)", fit={"parameterization": "auto"})
    assert found.parameterization == "marginal"
    assert found.parameterization_why.startswith("2 numbers are sampled")
    assert "reliability" in latent_parameterization(found.design)[1]


@pytest.mark.parametrize("spread", [0.0, 100.0])
def test_groups_that_the_rows_pin_down_are_centred(spread):
    rng = np.random.default_rng(2)
    frame = pd.DataFrame({"g": np.repeat([*"abcdefgh"], 20), "y": rng.normal(size=160)})
    frame["y"] += np.repeat(spread * rng.normal(size=8), 20)
    found, _ = latent_parameterization(spec("y ~ 1 + (1 | g)", frame=frame).design)
    assert found == ("centered" if spread else "noncentered")


def test_flat_standard_deviations_of_two_levels_have_no_posterior():
    """Gelman (2006), section 2.2: the posterior is proper from three levels on."""
    from hlm_models.engines.find import find

    def built(levels):
        rng = np.random.default_rng(1)
        data = pd.DataFrame({"y": rng.normal(size=30), "g": [f"g{i % levels}" for i in range(30)]})
        config = {
            "schema": 1,
            "name": "m",
            "data": {"source": "frame"},
            "formula": "y ~ 1 + (1 | g)",
        }
        return build({**config, "priors": {"preset": "flat"}}, data=data)

    for engine in ("nuts", "gibbs"):
        [reason] = find(engine).refusals(built(2))
        assert reason.startswith("sd_g[Intercept] has a flat prior and g 2 levels")
        assert find(engine).refusals(built(3)) == ()
    assert find("reml").refusals(built(2)) == ()
