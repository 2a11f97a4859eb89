import numpy as np
import pandas as pd
import pytest
from scipy import stats

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.prediction.predict import predict
from hlm_models.results.estimates import phi
from hlm_models.results.extract import estimated, fitted

# (formula, theta): nested, crossed, vector terms, independent ones, one on the boundary.
CASES = {
    "vector": ("y ~ x + (x | g)", [0.8, -0.3, 0.5]),
    "nested": ("y ~ x + (1 | g) + (x | g:h)", [0.6, 0.2, 0.4, 0.9]),
    "crossed": ("y ~ x + f + (1 | g) + (x | h)", [0.7, 1.1, 0.3, 0.6]),
    "independent": ("y ~ 1 + (x || g) + (1 | h)", [0.7, 0.5, 1.2]),
    "singular": ("y ~ x + (x | g) + (1 | h)", [0.8, -0.3, 0.0, 0.0]),
}


def made_up(n=90):
    rng = np.random.default_rng(8)
    return pd.DataFrame(
        {
            "y": rng.normal(10, 3, n),
            "x": rng.normal(4, 2, n),
            "g": rng.choice(list("pqrst"), n),
            "h": rng.choice(list("abc"), n),
            "f": rng.choice(["low", "mid", "top"], n),
            "w": rng.uniform(0.5, 2, n),
            "o": rng.normal(size=n),
        }
    )


def made_up_fit(case, **keys):
    formula, theta = CASES[case]
    model = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula,
             "reml": {"theta": theta}, **keys}  # fmt: skip
    return hlm.fit(hlm.build(model, data=made_up()), engine="reml")


class Dense:
    """Beta and b from the mixed model equations, their joint covariance formed in full."""

    def __init__(self, fit, factors=None, sigma=None):
        design, self.fit = fit.spec.design, fit
        self.Lambda = factors or [estimate.Lambda for estimate in fit.random]
        self.sigma = sigma or fit.sigma
        weights = np.ones(design.n) if design.weights is None else design.weights
        wide = [
            self.wide(k, b.z, b.level, b.J) @ np.kron(np.eye(b.J), L)
            for k, (b, L) in enumerate(zip(design.blocks, self.Lambda, strict=True))
        ]
        C = np.column_stack([design.X, *wide])
        ridge = np.diag(np.repeat([0.0, 1.0], [design.p, C.shape[1] - design.p]))
        # In spherical effects, b = Lambda u, a singular Lambda is as good as any.
        self.inverse = np.linalg.inv((C.T * weights) @ C + ridge) * self.sigma**2
        self.given = np.linalg.inv(((C.T * weights) @ C + ridge)[design.p :, design.p :])
        self.given *= self.sigma**2

    @staticmethod
    def wide(k, z, level, J):
        out = np.zeros((len(z), J, z.shape[1]))
        out[level >= 0, level[level >= 0]] = z[level >= 0]
        return out.reshape(len(z), -1)

    def variances(self, x, z, level):
        """Total, and what is left of b where beta is known."""
        blocks = self.fit.spec.blocks
        wide = [
            self.wide(k, part, at, b.J) @ np.kron(np.eye(b.J), L)
            for k, (b, part, at, L) in enumerate(zip(blocks, z, level, self.Lambda, strict=True))
        ]
        c = np.column_stack([x, *wide])
        u = c[:, x.shape[1] :]
        return np.sum(c @ self.inverse * c, axis=1), np.sum(u @ self.given * u, axis=1)


@pytest.mark.parametrize("keys", [{}, {"weights": "w", "offset": "o"}], ids=["plain", "weighted"])
@pytest.mark.parametrize("case", CASES)
def test_variances_are_those_of_the_joint_covariance_of_beta_and_b(case, keys):
    fit = made_up_fit(case, **keys)
    design = fit.spec.design
    found = predict(fit)
    total, left = Dense(fit).variances(
        design.X, [b.z for b in design.blocks], [b.level for b in design.blocks]
    )
    np.testing.assert_allclose(found.se**2, total, rtol=1e-9)
    np.testing.assert_allclose(found.var_group, left, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found.mean, fitted(fit), rtol=1e-12)
    weights = 1.0 if design.weights is None else design.weights
    np.testing.assert_allclose(found.var_residual, fit.sigma**2 / weights)


@pytest.mark.parametrize("case", CASES)
def test_a_new_group_has_the_variance_of_its_effects(case):
    fit = made_up_fit(case)
    design = fit.spec.design
    found = predict(fit, groups="typical")
    known = np.einsum("np,pq,nq->n", design.X, fit.vcov_beta, design.X)
    drawn = sum(
        np.einsum("na,ab,nb->n", b.z, e.cov, b.z)
        for b, e in zip(design.blocks, fit.random, strict=True)
    )
    np.testing.assert_allclose(found.var_parameter, known, rtol=1e-9)
    np.testing.assert_allclose(found.var_group, drawn, rtol=1e-9)
    np.testing.assert_allclose(found.mean, fitted(fit, "population"))
    without = predict(fit, groups="population")
    np.testing.assert_allclose(without.var_parameter, known, rtol=1e-9)
    assert not without.var_group.any()


def test_groups_may_differ_in_what_is_asked_of_them():
    fit = made_up_fit("crossed")
    design = fit.spec.design
    at = {block.group: k for k, block in enumerate(design.blocks)}
    found = predict(fit, groups={"g": "typical", "h": "existing"})
    level = [b.level if b.group == "h" else np.full(design.n, -1) for b in design.blocks]
    total, _ = Dense(fit).variances(design.X, [b.z for b in design.blocks], level)
    new = fit.random[at["g"]].cov[0, 0]
    np.testing.assert_allclose(found.se**2, total + new, rtol=1e-9)
    h = design.blocks[at["h"]]
    b = estimated(fit).b[at["h"]][h.level]
    np.testing.assert_allclose(found.mean, design.X @ fit.beta + np.sum(h.z * b, axis=1))


def test_a_borrowed_level_gives_what_the_level_itself_has():
    fit = made_up_fit("vector")
    new = pd.DataFrame({"x": [1.0, 7.0], "g": ["r", "r"]})
    own = predict(fit, new).frame()
    lent = predict(fit, new[["x"]], groups="borrowed", borrow="r").frame()
    pd.testing.assert_frame_equal(own, lent)


@pytest.mark.parametrize("case", ["vector", "nested"])
def test_degrees_of_freedom_are_satterthwaites(case):
    fit = made_up_fit(case)
    design, marginal, here = fit.spec.design, fit.spec.marginal, phi(fit)
    z, level = [b.z for b in design.blocks], [b.level for b in design.blocks]

    def variance(at):
        factors = [marginal.raw_factor(k, at[:-1]) for k in range(len(z))]
        return Dense(fit, factors, np.exp(at[-1])).variances(design.X, z, level)[0]

    h = 1e-4
    slopes = np.array(
        [(variance(here + h * e) - variance(here - h * e)) / (2 * h) for e in np.eye(len(here))]
    )
    spread = np.einsum("im,ij,jm->m", slopes, fit.vcov_phi, slopes)
    found = predict(fit)
    np.testing.assert_allclose(found.df, 2 * variance(here) ** 2 / spread, rtol=1e-5)
    slopes[-1] += 2 * fit.sigma**2
    spread = np.einsum("im,ij,jm->m", slopes, fit.vcov_phi, slopes)
    whole = variance(here) + fit.sigma**2
    np.testing.assert_allclose(found.pred_df, 2 * whole**2 / spread, rtol=1e-5)


def test_the_frame_has_the_intervals(fit_of):
    found = predict(fit_of("sleepstudy"), level=0.8)
    frame = found.frame()
    assert list(frame.columns) == [
        "mean", "se", "lower", "upper", "pred_lower", "pred_upper",
        "var_parameter", "var_group", "var_residual",
    ]  # fmt: skip
    t = stats.t.ppf(0.9, found.df)
    np.testing.assert_allclose(frame["upper"] - frame["mean"], t * frame["se"])
    np.testing.assert_allclose(frame["mean"] - frame["lower"], t * frame["se"])
    parts = frame[["var_parameter", "var_group", "var_residual"]].sum(axis=1)
    t = stats.t.ppf(0.9, found.pred_df)
    np.testing.assert_allclose(frame["pred_upper"] - frame["mean"], t * np.sqrt(parts))
    np.testing.assert_allclose(frame["mean"] - frame["pred_lower"], t * np.sqrt(parts))
    np.testing.assert_allclose(
        frame["se"] ** 2, frame["var_parameter"] + frame["var_group"], rtol=1e-12
    )


@pytest.mark.golden
def test_predictions_of_new_rows_are_those_of_lme4_and_of_its_mixed_model_equations(lme4):
    fit, golden = lme4
    golden = golden["prediction"]
    new = pd.DataFrame(golden["data"])
    own, none, typical = (
        predict(fit, new, groups=kind) for kind in ("existing", "population", "typical")
    )
    np.testing.assert_allclose(own.mean, golden["existing"], rtol=1e-9)
    np.testing.assert_allclose(own.se, golden["se"], rtol=1e-7)
    np.testing.assert_allclose(own.var_group, golden["var_group"], rtol=1e-7)
    np.testing.assert_allclose(none.mean, golden["population"], rtol=1e-9)
    np.testing.assert_allclose(none.se, golden["population_se"], rtol=1e-7)
    np.testing.assert_allclose(typical.se, golden["typical_se"], rtol=1e-7)
    # lmerTest takes its derivatives by Richardson's extrapolation.
    np.testing.assert_allclose(none.df, golden["population_df"], rtol=1e-4)


GM = pd.DataFrame({"firm": ["General Motors"], "market_value": [2000.0], "capital": [1000.0]})


def test_grunfeld_at_its_optimum_and_where_the_lecture_stopped():
    best = hlm.fit("grunfeld-slopes", engine="reml")
    assert predict(best, GM).mean[0] == pytest.approx(528.966, abs=5e-3)
    assert predict(best, GM, groups="population").mean[0] == pytest.approx(336.272, abs=5e-3)
    theta = [0.3716878544, -0.0012839328, -0.0025512118, 0, 0.0015058961, 0.0005558445]
    there = hlm.fit(hlm.build("grunfeld-slopes", overrides=[f"reml.theta={theta}"]), engine="reml")
    assert predict(there, GM).mean[0] == pytest.approx(537.395, abs=5e-3)
    new_firm = GM.drop(columns="firm")
    assert predict(there, new_firm, groups="typical").mean[0] == pytest.approx(341.510, abs=5e-3)


def test_the_index_of_the_new_rows_is_kept():
    fit = made_up_fit("vector")
    new = pd.DataFrame({"x": [1.0, 7.0], "g": ["r", "s"]}, index=["first", "second"])
    assert list(predict(fit, new).frame().index) == ["first", "second"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"groups": "new"}, "'new' is none of existing, population, typical, borrowed"),
        ({"groups": {"g": "existing"}}, "say what is meant for h too"),
        ({"groups": {"g": "existing", "hh": "typical"}}, "'hh' is not a group of this model; did"),
        ({"groups": "borrowed"}, "say which level of g lends its effects, as borrow="),
        ({"groups": "borrowed", "borrow": "p"}, "name the level by group, as {'g': 'p'"),
        ({"groups": "borrowed", "borrow": {"g": "p", "h": "z"}}, "'z' is not a level of h"),
        ({"borrow": "p"}, "borrow has an effect with groups='borrowed' only"),
        ({"groups": "typical", "borrow": {"g": "p"}}, "borrow has an effect with"),
        ({"groups": "borrowed", "borrow": {"g": "p", "hh": "a"}}, "'hh' is not a group of this m"),
        ({"level": 95}, "level: a number between 0 and 1 is needed, not 95"),
    ],
)
def test_contradictory_options_are_refused(options, message):
    with pytest.raises(InputErrors, match=message):
        predict(made_up_fit("crossed"), **options)


@pytest.mark.parametrize("name", ["sleepstudy-slopes", "grunfeld-slopes", "penicillin"])
def test_the_phi_that_derivatives_are_taken_in_can_be_had_again_from_the_fit(name):
    fit = hlm.fit(name, engine="reml")
    at = phi(fit)
    p, blocks = fit.spec.design.p, fit.spec.blocks
    z, level = [np.zeros((p, b.q)) for b in blocks], [np.full(p, -1) for _ in blocks]

    def variances(at):
        return fit.spec.marginal.prediction_variance(at[:-1], np.exp(at[-1]), np.eye(p), z, level)[
            0
        ]

    h = 1e-4
    steps = h * np.eye(len(at))
    slopes = np.array([(variances(at + e) - variances(at - e)) / (2 * h) for e in steps])
    wanted = np.diagonal(fit.vcov_slopes, axis1=1, axis2=2)
    np.testing.assert_allclose(slopes, wanted, rtol=1e-4, atol=1e-6 * np.abs(wanted).max())
