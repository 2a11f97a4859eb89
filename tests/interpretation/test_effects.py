import numpy as np
import pytest
from interpretation_cases import model, uneven_frame

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.interpretation.effects import effects


@pytest.mark.golden
def test_slopes_are_those_of_emtrends(fit_of, golden):
    found = effects(fit_of("growth"), "age", by="sex").change_frame().set_index("sex")
    theirs = golden["slopes"]
    at = found.loc[theirs["sex"]]
    for name, there in (
        ("estimate", "estimate"),
        ("se", "se"),
        ("lower", "lower"),
        ("upper", "upper"),
    ):
        np.testing.assert_allclose(at[name], theirs[there], rtol=2e-5)


@pytest.mark.golden
def test_curves_are_those_of_emmeans(fit_of, golden):
    theirs = golden["curve"]
    found = effects(fit_of("curve"), "age", by="sex", grid=[8, 9.5, 14]).frame()
    at = found.set_index(["age", "sex"]).loc[list(zip(theirs["age"], theirs["sex"], strict=True))]
    np.testing.assert_allclose(at["mean"], theirs["mean"], rtol=1e-7)
    np.testing.assert_allclose(at["se"], theirs["se"], rtol=2e-5)


@pytest.mark.golden
def test_differences_of_a_factor_are_those_of_emmeans(fit_of, golden):
    fit, theirs = fit_of("growth"), golden["difference"]
    [row] = effects(fit, "sex", at={"age": 14}).change_frame().to_dict("records")
    assert row["change"] == "Male - Female"
    assert row["estimate"] == pytest.approx(theirs["estimate"], rel=1e-7)
    assert row["se"] == pytest.approx(theirs["se"], rel=2e-5)


@pytest.mark.golden
def test_marginal_effects_average_over_the_rows(fit_of, golden):
    theirs = golden["averaged"]
    found = effects(fit_of("growth"), "sex", kind="marginal").frame().set_index("sex")
    np.testing.assert_allclose(found.loc[theirs["sex"], "mean"], theirs["mean"], rtol=1e-9)
    np.testing.assert_allclose(found.loc[theirs["sex"], "se"], theirs["se"], rtol=2e-5)


@pytest.mark.parametrize("groups", ["population", "typical"])
def test_conditional_effects_are_predictions_of_such_rows(fit_of, groups):
    fit = fit_of("uneven")
    found = effects(fit, "x", by="u", at={"o": 2, "u": [0, 3]}, grid=[-1, 0.5], groups=groups)
    new = found.frame()[["x", "u"]].assign(o=2.0, w=1.0)
    theirs = hlm.predict(fit, new, groups=groups).frame()
    for name in ("mean", "se", "lower", "upper"):
        np.testing.assert_allclose(found.frame()[name], theirs[name], rtol=1e-6)


def test_existing_levels_have_the_variance_of_the_mixed_model_equations(fit_of):
    for fit in (fit_of("uneven"), _pastes()):
        design, sigma = fit.spec.design, fit.sigma
        [name] = [one for one in ("x", "k") if one in design.table.columns]
        found = effects(fit, name, kind="marginal", groups="existing", grid=[0.0, 1.0])
        root = np.ones(design.n) if design.weights is None else np.sqrt(design.weights)
        Z, priors = [], []
        for block, estimate in zip(design.blocks, fit.random, strict=True):
            wide = np.zeros((design.n, block.J, block.q))
            wide[np.arange(design.n), block.level] = block.z
            Z.append(wide.reshape(design.n, -1))
            priors.append(np.kron(np.eye(block.J), np.linalg.inv(estimate.cov)))
        C = np.column_stack([design.X, *Z]) * root[:, None]
        inner = C.T @ C / sigma**2
        start = design.p
        for prior in priors:
            here = slice(start, start + len(prior))
            inner[here, here] += prior
            start += len(prior)
        table = design.table.frame()
        rows = []
        for value in (0.0, 1.0):
            X = design.X.copy()
            z = [block.z.copy() for block in design.blocks]
            for j, term in enumerate(design.coef):
                if name in term.split(":"):
                    others = [part for part in term.split(":") if part != name]
                    X[:, j] = value * np.prod([table[part] for part in others], axis=0)
            for part, block in zip(z, design.blocks, strict=True):
                if name in block.effects:
                    part[:, block.effects.index(name)] = value
            wide = []
            for part, block in zip(z, design.blocks, strict=True):
                one = np.zeros((design.n, block.J, block.q))
                one[np.arange(design.n), block.level] = part
                wide.append(one.reshape(design.n, -1))
            rows.append(np.column_stack([X, *wide]).mean(axis=0))
        weights = np.array(rows)
        unknown = np.concatenate([fit.beta, *(one.b.ravel() for one in fit.random)])
        offset = 0.0 if design.offset is None else design.offset.mean()
        np.testing.assert_allclose(found.means.estimate, weights @ unknown + offset, rtol=1e-9)
        variance = np.einsum("ma,ab,mb->m", weights, np.linalg.inv(inner), weights)
        np.testing.assert_allclose(found.means.se, np.sqrt(variance), rtol=1e-8)
        change = weights[1] - weights[0]
        assert found.changes.estimate[0] == pytest.approx(change @ unknown, rel=1e-8)
        assert found.changes.se[0] ** 2 == pytest.approx(change @ np.linalg.inv(inner) @ change)


def _pastes():
    frame = hlm.build("pastes").design.table.frame()
    frame["k"] = np.arange(len(frame)) % 4.0
    return hlm.fit(hlm.build(formula="strength ~ k + (1 | batch/cask)", data=frame), engine="reml")


def test_a_typical_level_has_the_same_mean_and_a_wider_interval(fit_of):
    fit = fit_of("sleepstudy-slopes")
    plain, typical = (effects(fit, "days", groups=one) for one in ("population", "typical"))
    np.testing.assert_allclose(plain.means.estimate, typical.means.estimate)
    assert (typical.means.se > 2 * plain.means.se).all()
    Psi = fit.random[0].cov
    variance = typical.changes.se**2 - plain.changes.se**2
    assert variance[0] == pytest.approx(Psi[1, 1], rel=1e-7)


def test_a_posteriors_effects_are_those_of_its_draws(posterior_of):
    fit = posterior_of("uneven")
    data = fit.data["posterior"].to_dataset()
    beta, b = data["beta"].values, data["b_g"].values
    found = effects(fit, "x", at={"o": 0, "u": 2}, grid=[3.0], level=0.9)
    draws = beta @ np.array([1.0, 3.0, 2.0, 6.0])
    assert found.means.estimate[0] == pytest.approx(draws.mean())
    assert found.means.upper[0] == pytest.approx(np.quantile(draws, 0.95))
    averaged = effects(fit, "x", kind="marginal", groups="existing", grid=[3.0])
    frame, level = uneven_frame(), fit.spec.blocks[0].level
    each = (
        beta[..., [0]]
        + 3 * beta[..., [1]]
        + beta[..., [2]] * frame["u"].to_numpy()
        + 3 * beta[..., [3]] * frame["u"].to_numpy()
        + frame["o"].to_numpy()
        + b[..., level, 0]
        + 3 * b[..., level, 1]
    ).mean(axis=-1)
    assert averaged.means.estimate[0] == pytest.approx(each.mean())
    assert averaged.means.se[0] == pytest.approx(each.std(ddof=1))
    typical = effects(fit, "x", at={"o": 0, "u": 2}, grid=[3.0], groups="typical")
    assert typical.means.se[0] > found.means.se[0]


def test_derived_columns_move_and_group_means_stay():
    config = model("mathach ~ ses + squared + (1 | school)", "hsb")
    config["data"] |= {"derive": {"squared": "ses * ses"}}
    fit = hlm.fit(config, engine="reml")
    found = effects(fit, "ses", grid=[0, 1, 2])
    a, b, c = fit.beta
    np.testing.assert_allclose(found.means.estimate, [a, a + b + c, a + 2 * b + 4 * c], rtol=1e-9)
    assert dict(found.held) == {}
    ses = fit.spec.design.table.number("ses")
    # Central differences of a square are exact inside; the ends are one-sided.
    assert found.changes.estimate[0] == pytest.approx(b + 2 * c * ses.mean(), rel=1e-4)
    context = hlm.fit(
        hlm.mundlak(model("mathach ~ ses + (1 | school)", "hsb"), "ses", form="mundlak"),
        engine="reml",
    )
    moved = effects(context, "ses", grid=[0, 1], kind="marginal")
    assert np.diff(moved.means.estimate)[0] == pytest.approx(context.beta[1], rel=1e-9)


@pytest.mark.parametrize("how", ['"own status" * "own status"', 'power("Own Status", 2)'])
def test_derived_columns_of_quoted_names_move_in_any_case(how):
    frame = uneven_frame().rename(columns={"x": "own status"})
    config = model("y ~ `own status` + squared + (1 | g)", "frame")
    config["data"] |= {"derive": {"squared": how}}
    fit = hlm.fit(hlm.build(config, data=frame), engine="reml")
    found = effects(fit, "own status", grid=[0, 1, 2])
    a, b, c = fit.beta
    np.testing.assert_allclose(found.means.estimate, [a, a + b + c, a + 2 * b + 4 * c], rtol=1e-9)


def test_values_of_a_skewed_second_predictor_stay_within_its_range():
    frame = uneven_frame().assign(wage=lambda d: np.exp(3 * d["x"]))
    assert frame["wage"].std() > frame["wage"].mean()
    spec = hlm.build(model("y ~ u + log(wage) + (1 | g)", "frame"), data=frame)
    found = effects(hlm.fit(spec, engine="reml"), "u", by="wage", grid=[0])
    wages = [cell[1] for cell in found.cells]
    assert wages[:2] == [frame["wage"].min(), pytest.approx(frame["wage"].mean())]


def test_splines_are_not_asked_beyond_their_ends():
    fit = hlm.fit(model("reaction ~ bs(days, df=4) + (1 | subject)", "sleepstudy"), engine="reml")
    found = effects(fit, "days", kind="marginal")
    assert np.isfinite(found.changes.estimate).all()
    ends = effects(fit, "days", grid=[0, 9]).means.estimate
    assert np.sign(found.changes.estimate[0]) == np.sign(ends[1] - ends[0])
    with pytest.raises(InputErrors, match="between 0 and 9"):
        effects(fit, "days", grid=[20])


def test_factors_are_held_at_their_reference_and_numbers_at_their_mean():
    frame = uneven_frame()
    spec = hlm.build(
        model(
            "y ~ x * f + (1 | g)", "frame", contrasts={"f": {"kind": "treatment", "reference": "b"}}
        ),
        data=frame,
    )
    found = effects(hlm.fit(spec, engine="reml"), "x", grid=[0, 1])
    assert dict(found.held) == {"f": "b"}
    other = effects(hlm.fit(spec, engine="reml"), "f")
    assert other.held["x"] == pytest.approx(frame["x"].mean())
    assert other.change_frame()["change"].tolist() == ["a - b"]


def test_a_number_taken_as_a_factor_has_differences():
    fit = hlm.fit(model("reaction ~ C(days) + (1 | subject)", "sleepstudy"), engine="reml")
    found = effects(fit, "days").change_frame()
    assert len(found) == 9
    assert found["change"].iloc[0] == "1 - 0"
    assert found["estimate"].iloc[0] == pytest.approx(fit.beta[1])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"predictor": "dayz"}, "predictor: 'dayz' is none of days; did you mean 'days'"),
        ({"predictor": "days", "by": "days"}, "is the predictor itself"),
        ({"predictor": "days", "kind": "mean"}, "kind: 'mean' is none of conditional, marginal"),
        ({"predictor": "days", "groups": "existing"}, "say kind='marginal'"),
        ({"predictor": "days", "at": {"days": 3}}, "values of days are given by grid"),
        ({"predictor": "days", "grid": ["a"]}, "not all finite numbers"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(fit_of, arguments, text):
    with pytest.raises(InputErrors, match=text):
        effects(fit_of("sleepstudy-slopes"), **arguments)


def test_several_values_of_what_is_held_are_refused(fit_of):
    with pytest.raises(InputErrors, match="say by='sex'"):
        effects(fit_of("growth"), "age", at={"sex": ["Male", "Female"]})
