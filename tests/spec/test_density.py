import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hlm_models import build
from hlm_models.spec.density import Point, joint_log_density, linear_predictor, log_likelihood

N = 30


def made_up():
    rng = np.random.default_rng(4)
    return pd.DataFrame(
        {
            "y": rng.normal(2.0, 3.0, N),
            "x": rng.normal(size=N),
            "w": rng.normal(size=N),
            "school": [f"s{i % 5}" for i in range(N)],
            "room": [f"r{i % 3}" for i in range(N)],
        }
    )


FRAME = made_up()


def spec(formula, **priors):
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    return build({**head, "priors": priors}, data=FRAME)


def correlation(rng, q):
    A = rng.normal(size=(q, q + 2))
    found = np.corrcoef(A) if q > 1 else np.ones((1, 1))
    return (found + found.T) / 2


def point(model, seed):
    """Any values of the unknowns, with correlations only where the terms have them."""
    rng = np.random.default_rng(seed)
    sd, corr, b = [], [], []
    for block in model.blocks:
        sd.append(rng.uniform(0.3, 2.0, block.q))
        R = np.eye(block.q)
        for term in block.terms:
            if term.correlated:
                R[term.columns, term.columns] = correlation(rng, term.q)
        corr.append(R)
        b.append(rng.normal(size=(block.J, block.q)))
    beta = rng.normal(size=model.design.p)
    return Point(beta, float(rng.uniform(0.5, 2.0)), tuple(sd), tuple(corr), tuple(b))


def lkj_2(corr, eta):
    """LKJ of one correlation: (r + 1) / 2 ~ Beta(eta, eta)."""
    return stats.beta(eta, eta, loc=-1, scale=2).logpdf(corr[1, 0])


def scale_priors(model, at):
    """The default priors of all standard deviations, and of sigma."""
    total = stats.t(3, scale=model.priors.sigma.scale).logpdf(at.sigma) + math.log(2)
    for prior, sd in zip(model.priors.blocks, at.sd, strict=True):
        each = [one for term in prior.terms for one in term.sd_priors()]
        for one, value in zip(each, sd, strict=True):
            total += stats.t(3, scale=one.scale).logpdf(value) + math.log(2)
    return total


def rows_and_effects(model, at):
    """log p(y | ...) + log p(b | ...), by columns of the frame rather than by the design's."""
    eta = np.zeros(N)
    for name, value in zip(model.design.coef, at.beta, strict=True):
        eta += value * (1.0 if name == "Intercept" else FRAME[name].to_numpy())
    total = 0.0
    for block, sd, corr, b in zip(model.blocks, at.sd, at.corr, at.b, strict=True):
        Psi = np.diag(sd) @ corr @ np.diag(sd)
        total += stats.multivariate_normal(np.zeros(block.q), Psi).logpdf(b).sum()
        for i, label in enumerate(FRAME[block.group]):
            effects = b[block.labels.index(label)]
            for name, value in zip(block.effects, effects, strict=True):
                eta[i] += value * (1.0 if name == "Intercept" else FRAME[name].iloc[i])
    return total + stats.norm(eta, at.sigma).logpdf(FRAME["y"]).sum()


def normal_beta(model, at):
    priors = zip(model.priors.beta, at.beta, strict=True)
    return sum(stats.norm(one.loc, one.scale).logpdf(value) for one, value in priors)


# Two sums of the same sixty-odd terms of order one, in another order.
SAME = {"rel": 1e-12}


@pytest.mark.parametrize("seed", range(5))
def test_a_correlated_slope_is_assembled_from_scipy(seed):
    model = spec("y ~ x + w + (x | school)")
    at = point(model, seed)
    expected = (
        normal_beta(model, at)
        + scale_priors(model, at)
        + lkj_2(at.corr[0], 2.0)
        + rows_and_effects(model, at)
    )
    assert joint_log_density(model, at) == pytest.approx(expected, **SAME)


@pytest.mark.parametrize("seed", range(5))
def test_crossed_groups_and_stacked_terms_are_assembled_from_scipy(seed):
    model = spec("y ~ x + w + (1 | room) + (x | school) + (0 + w | school)")
    at = point(model, seed)
    assert [block.group for block in model.blocks] == ["school", "room"]
    expected = (
        normal_beta(model, at)
        + scale_priors(model, at)
        + lkj_2(at.corr[0][:2, :2], 2.0)
        + rows_and_effects(model, at)
    )
    assert joint_log_density(model, at) == pytest.approx(expected, **SAME)


def test_priors_of_other_kinds_are_assembled_from_scipy():
    model = spec(
        "y ~ x + (x | school)",
        beta={"Intercept": {"kind": "flat"}, "x": {"kind": "student_t", "df": 4, "scale": 2}},
        sigma={"kind": "exponential", "scale": 3},
        groups={"school": {"kind": "lkj", "eta": 1.5, "sd": {"kind": "half_normal", "scale": 2}}},
    )
    at = point(model, 1)
    expected = (
        stats.t(4, loc=0, scale=2).logpdf(at.beta[1])
        + stats.expon(scale=3).logpdf(at.sigma)
        + stats.halfnorm(scale=2).logpdf(at.sd[0]).sum()
        + lkj_2(at.corr[0], 1.5)
        + rows_and_effects(model, at)
    )
    assert joint_log_density(model, at) == pytest.approx(expected, **SAME)


def test_priors_of_covariances_as_a_whole_are_assembled_from_scipy():
    scale = [[2.0, -0.3], [-0.3, 0.5]]
    model = spec(
        "y ~ x + (x | school) + (1 | room)",
        sigma={"kind": "inverse_gamma", "shape": 2, "scale": 3},
        groups={
            "school": {"kind": "inverse_wishart", "nu": 4.5, "scale": scale},
            "room": {"kind": "wishart", "nu": 3, "scale": [[0.5]]},
        },
    )
    at = point(model, 1)
    [both, [one]] = at.sd
    Psi = np.diag(both) @ at.corr[0] @ np.diag(both)
    # By sd and corr: d Psi = 2^q prod sd^q; by sigma: d sigma^2 = 2 sigma.
    expected = (
        normal_beta(model, at)
        + stats.invwishart(4.5, np.array(scale)).logpdf(Psi)
        + 2 * np.log(2 * both).sum()
        - 2 * math.log(2)
        + stats.gamma(1.5, scale=2 * 0.5).logpdf(one**-2)
        + math.log(2 * one**-3)
        + stats.invgamma(2, scale=3).logpdf(at.sigma**2)
        + math.log(2 * at.sigma)
        + rows_and_effects(model, at)
    )
    assert joint_log_density(model, at) == pytest.approx(expected, **SAME)


def test_the_likelihood_is_by_row():
    model = spec("y ~ x + (x | school)")
    at = point(model, 3)
    by_row = log_likelihood(model, at)
    expected = stats.norm(linear_predictor(model, at), at.sigma).logpdf(FRAME["y"])
    np.testing.assert_allclose(by_row, expected, rtol=1e-13)


def replaced(at, **values):
    parts = {name: getattr(at, name) for name in ("beta", "sigma", "sd", "corr", "b")}
    return Point(**{**parts, **values})


def test_outside_the_support_there_is_no_density():
    model = spec("y ~ x + (x | school)")
    at = point(model, 2)
    for r in (1.0, -1.0, 1.3):
        corr = np.array([[1.0, r], [r, 1.0]])
        assert joint_log_density(model, replaced(at, corr=(corr,))) == -np.inf
    assert joint_log_density(model, replaced(at, sd=(np.array([0.0, 1.0]),))) == -np.inf


def test_a_correlation_of_independent_effects_has_no_density():
    model = spec("y ~ x + (x || school)")
    at = point(model, 2)
    corr = np.array([[1.0, 0.1], [0.1, 1.0]])
    assert joint_log_density(model, replaced(at, corr=(corr,))) == -np.inf


@given(st.integers(0, 2**32 - 1), st.permutations(range(5)))
def test_exchanged_levels_exchange_their_effects(seed, order):
    # The same effects under other labels: the density cannot know which school is which.
    formula = "y ~ x + (x | school)"
    model = spec(formula)
    names = {f"s{old}": f"s{new}" for old, new in enumerate(order)}
    head = {"schema": 1, "name": "m", "data": {"source": "frame"}, "formula": formula}
    other = build(head, data=FRAME.assign(school=FRAME["school"].map(names)))
    at = point(model, seed)
    rows = [
        model.blocks[0].labels.index(f"s{order.index(int(lb[1]))}") for lb in other.blocks[0].labels
    ]
    moved = replaced(at, b=(at.b[0][rows],))
    assert joint_log_density(other, moved) == pytest.approx(joint_log_density(model, at), rel=1e-12)
