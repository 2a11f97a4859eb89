"""Bridge sampling against constants that are known, and its proposal against what a density is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logsumexp

from hlm_models.comparison import bridge as room
from hlm_models.comparison.bridge import Proposal, bridge, fit_proposal
from hlm_models.errors import FitError


def by_iteration(drawn, proposed, effective):
    """The scheme as Meng and Wong wrote it, from r = 1 on."""
    s_1 = effective / (effective + len(proposed))
    shift = np.median(drawn)
    l_1, l_2, r = np.exp(drawn.ravel() - shift), np.exp(proposed - shift), 1.0
    for _ in range(2000):
        top = np.mean(l_2 / (s_1 * l_2 + (1 - s_1) * r))
        r = top / np.mean(1 / (s_1 * l_1 + (1 - s_1) * r))
    return np.log(r) + shift


def of_gamma(rng, shape=3.0, count=500, constant=7.0):
    """Log ratios at draws from a gamma density times exp(constant), and at log-normal ones."""
    law, g = stats.gamma(shape), stats.lognorm(0.6, scale=shape)

    def ratio(x):
        return law.logpdf(x) + constant - g.logpdf(x)

    return ratio(law.rvs((4, count), random_state=rng)), ratio(g.rvs(4 * count, random_state=rng))


def test_the_root_is_where_the_iteration_of_meng_and_wong_ends():
    drawn, proposed = of_gamma(np.random.default_rng(1))
    for effective in (200.0, 2000.0):
        found = bridge(drawn, proposed, effective=effective)
        assert found.log_constant == pytest.approx(by_iteration(drawn, proposed, effective))


@given(st.floats(-1e4, 1e4), st.integers(0, 50))
def test_a_factor_of_the_density_is_one_of_the_constant(shift, seed):
    drawn, proposed = of_gamma(np.random.default_rng(seed), count=50)
    one = bridge(drawn, proposed, effective=200)
    other = bridge(drawn + shift, proposed + shift, effective=200)
    assert other.log_constant - one.log_constant == pytest.approx(shift, abs=1e-6)
    assert other.se == pytest.approx(one.se, rel=1e-5)


def test_the_constant_is_exact_where_the_proposal_is_the_density():
    found = bridge(np.full((4, 100), 3.5), np.full(400, 3.5), effective=400)
    assert found.log_constant == pytest.approx(3.5, abs=1e-8)
    assert found.se < 1e-8


def test_the_standard_error_is_that_of_repetitions():
    found = [of_gamma(np.random.default_rng(seed)) for seed in range(150)]
    bridges = [bridge(*one, effective=2000) for one in found]
    values = np.array([one.log_constant for one in bridges])
    errors = np.array([one.se for one in bridges])
    # 150 repetitions: the ratio has a standard error of 6%, the mean one of a twelfth.
    assert np.std(values) / np.sqrt(np.mean(errors**2)) == pytest.approx(1, abs=0.2)
    assert abs(np.mean(values) - 7) < 4 * np.mean(errors) / np.sqrt(150)


def test_the_standard_error_is_so_too_of_draws_that_depend_on_one_another():
    law, g, errors, values = stats.gamma(3.0), stats.lognorm(0.6, scale=3.0), [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        e = rng.standard_normal((4, 500))
        z = e.copy()
        for t in range(1, 500):
            z[:, t] = 0.8 * z[:, t - 1] + 0.6 * e[:, t]
        x, proposed = law.ppf(stats.norm.cdf(z)), g.rvs(2000, random_state=rng)
        ratios = (law.logpdf(one) - g.logpdf(one) for one in (x, proposed))
        found = bridge(*ratios, effective=2000 / 9)
        values.append(found.log_constant)
        errors.append(found.se)
    # A standard error that took the draws for independent would be less than half of that.
    assert np.std(values) / np.sqrt(np.mean(np.square(errors))) == pytest.approx(1, abs=0.25)
    assert abs(np.mean(values)) < 4 * np.mean(errors) / 10


def test_proposals_outside_the_support_count_as_zero():
    rng = np.random.default_rng(3)
    law, g = stats.halfnorm(), stats.norm(0, 1.5)
    x, proposed = law.rvs((4, 2000), random_state=rng), g.rvs(8000, random_state=rng)
    found = bridge(
        law.logpdf(x) + 2 - g.logpdf(x),
        law.logpdf(proposed) + 2 - g.logpdf(proposed),
        effective=8000,
    )
    assert abs(found.log_constant - 2) < 4 * found.se < 0.1


@pytest.mark.parametrize(
    ("drawn", "proposed"),
    [([0.0, -np.inf], [0.0, 0.0]), ([0.0, np.nan], [0.0, 0.0]), ([0.0, 0.0], [-np.inf, -np.inf])],
)
def test_a_density_that_is_not_finite_has_no_constant(drawn, proposed):
    with pytest.raises(FitError, match="not finite"):
        bridge(np.tile(drawn, (4, 5)), np.array(proposed), effective=8)


def proposal(fold):
    root = np.linalg.cholesky([[0.5, 0.2], [0.2, 0.4]])
    return Proposal(np.array([0.8, -0.3]), root, np.array(fold))


@pytest.mark.parametrize("fold", [(0.0, 0.0), (2.0, 0.0), (2.0, 0.3)])
def test_the_density_of_the_proposal_integrates_to_one(fold):
    grid = np.linspace(-24, 8, 641)
    x = np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1)
    mass = np.exp(proposal(fold).log_density(x))
    assert np.trapezoid(np.trapezoid(mass, grid), grid) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("fold", [(0.0, 0.0), (2.0, 0.0), (2.0, 0.3)])
def test_the_density_of_the_proposal_is_that_of_its_draws(fold):
    one = proposal(fold)
    draws = one.draw(np.random.default_rng(4), 20_000)
    # At draws from g, h / g has the mean 1 for any density h, and the variance of 1 / g none.
    h = stats.multivariate_normal(np.median(draws, axis=0), 0.3 * np.cov(draws.T))
    weights = np.exp(h.logpdf(draws) - one.log_density(draws))
    assert abs(np.mean(weights) - 1) < 4 * np.std(weights) / np.sqrt(20_000)
    assert np.std(weights) < 5


def test_a_standard_deviation_near_zero_is_folded():
    rng = np.random.default_rng(5)
    near, far = np.abs(rng.standard_normal(2000)), np.exp(3 + 0.2 * rng.standard_normal(2000))
    found = fit_proposal(np.log(np.column_stack([near, far, far])), [0, 1])
    assert found.fold[0] > 0
    # Far from zero the other sign has no mass; a place that is no logarithm is left alone.
    assert found.centre[1] > 4 * np.linalg.norm(found.root[1])
    assert found.fold[2] == 0


def test_the_fold_bridges_better_than_the_logarithm():
    rng = np.random.default_rng(6)

    def log_density(x):
        return stats.halfnorm.logpdf(np.exp(x[..., 0])) + x[..., 0]

    fitting, x = (np.log(np.abs(rng.standard_normal((4, 1000, 1)))) for _ in range(2))
    errors = []
    for logarithms in ([0], []):
        g = fit_proposal(fitting.reshape(-1, 1), logarithms)
        proposed = g.draw(rng, 4000)
        found = bridge(
            log_density(x) - g.log_density(x),
            log_density(proposed) - g.log_density(proposed),
            effective=4000,
        )
        assert abs(found.log_constant) < 4 * found.se
        errors.append(found.se)
    assert errors[0] < 0.6 * errors[1]


def test_only_so_many_are_folded_and_those_that_gain_most(monkeypatch):
    rng = np.random.default_rng(7)
    x = np.log(np.abs(rng.standard_normal((500, 4)) + np.array([0.0, 3.0, 0.5, 20.0])))
    every = fit_proposal(x, range(4)).fold
    assert (every[:3] > 0).all()
    for most, kept in ((2, [1, 1, 0, 0]), (1, [1, 0, 0, 0]), (0, [0, 0, 0, 0])):
        monkeypatch.setattr(room, "MOST", most)
        np.testing.assert_array_equal(fit_proposal(x, range(4)).fold, every * kept)


def test_draws_that_stand_still_have_no_proposal():
    x = np.random.default_rng(8).standard_normal((100, 1))
    with pytest.raises(FitError, match="fewer dimensions"):
        fit_proposal(np.column_stack([x, np.ones(100)]), [])


def test_a_mixture_far_from_its_proposal_is_still_estimated():
    """Two modes: the proposal has one between, and the standard error says what that costs."""
    rng = np.random.default_rng(9)
    centres = np.where(rng.random((4, 2000, 1)) < 0.3, -3.0, 3.0)
    x = centres + rng.standard_normal((4, 2000, 1))

    def log_density(z):
        parts = [np.log(w) + stats.norm(m).logpdf(z[..., 0]) for w, m in ((0.3, -3), (0.7, 3))]
        return logsumexp(parts, axis=0)

    g = fit_proposal(x[:, :1000].reshape(-1, 1), [])
    proposed = g.draw(rng, 4000)
    found = bridge(
        log_density(x[:, 1000:]) - g.log_density(x[:, 1000:]),
        log_density(proposed) - g.log_density(proposed),
        effective=4000,
    )
    assert abs(found.log_constant) < 4 * found.se < 0.2
