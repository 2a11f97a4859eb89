import numpy as np
import pytest

from hlm_models.errors import InputErrors
from hlm_models.interpretation.group_ppc import group_ppc


@pytest.mark.parametrize("statistic", ["mean", "sd", "min", "max", np.median])
def test_observed_statistics_are_those_of_each_level(fit_of, statistic):
    fit = fit_of("uneven")
    found, block = group_ppc(fit, statistic, replicates=20), fit.spec.blocks[0]
    functions = {"sd": lambda y: np.std(y, ddof=1) if len(y) > 1 else np.nan}
    function = (
        statistic if callable(statistic) else functions.get(statistic) or getattr(np, statistic)
    )
    wanted = [function(fit.spec.design.y[block.level == j]) for j in range(block.J)]
    np.testing.assert_allclose(found.observed, wanted)
    assert found.checked == (7 if statistic == "sd" else 8)


def test_replicates_of_a_named_statistic_are_those_of_the_function(posterior_of):
    fit = posterior_of("uneven")
    named = group_ppc(fit, "mean", seed=5, new=True)
    written = group_ppc(fit, lambda y: float(np.mean(y)), seed=5, new=True)
    np.testing.assert_allclose(named.lower, written.lower)
    np.testing.assert_array_equal(named.tail, written.tail)


def test_replicated_means_have_the_closed_form_distribution(fit_of):
    fit = fit_of("penicillin")
    design, plate = fit.spec.design, next(b for b in fit.spec.blocks if b.group == "plate")
    found = group_ppc(fit, "mean", "plate", replicates=4000, seed=2)
    b = [one.b[block.level, 0] for one, block in zip(fit.random, fit.spec.blocks, strict=True)]
    middle = np.bincount(plate.level, design.X @ fit.beta + sum(b)) / plate.sizes
    half = 1.96 * fit.sigma / np.sqrt(plate.sizes)
    # Quantiles of 4,000 draws: four standard errors are 0.17 sds of the mean.
    slack = 0.17 * half / 1.96
    assert (np.abs(found.median - middle) < slack).all()
    assert (np.abs(found.upper - middle - half) < slack).all()
    new = group_ppc(fit, "mean", "plate", new=True, replicates=4000, seed=2)
    psi = {one.group: one.cov[0, 0] for one in fit.random}
    # All plates have the same six samples, one row each.
    sd = np.sqrt(psi["plate"] + psi["sample"] / 6 + fit.sigma**2 / 6)
    assert (np.abs(new.upper - new.median - 1.96 * sd) < 0.17 * sd).all()


def test_a_model_of_the_right_sort_has_few_levels_outside(posterior_of):
    fit = posterior_of("hsb-oneway")
    found = group_ppc(fit, "mean", new=True, seed=1)
    assert found.replicates == 80
    assert found.outside == int(found.frame()["outside"].sum())
    # 160 levels, 8 expected: beyond 25 the intervals are wrong.
    assert found.outside < 25
    assert (found.tail >= 0).all()
    assert (found.tail <= 1).all()


def test_the_seed_gives_the_same_replicates(posterior_of):
    fit = posterior_of("uneven")
    one, same, other = (group_ppc(fit, seed=s).median for s in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_weights_and_offset_count(fit_of):
    fit = fit_of("uneven")
    found = group_ppc(fit, "mean", replicates=4000, seed=3)
    design, block = fit.spec.design, fit.spec.blocks[0]
    eta = design.X @ fit.beta + design.offset
    eta += np.einsum("nq,nq->n", block.z, fit.random[0].b[block.level])
    middle = np.bincount(block.level, eta) / block.sizes
    sd = np.sqrt(np.bincount(block.level, fit.sigma**2 / design.weights)) / block.sizes
    assert (np.abs(found.lower - middle + 1.96 * sd) < 0.17 * sd).all()


def test_what_is_no_statistic_is_refused(fit_of):
    with pytest.raises(InputErrors, match="'mena' is none of mean, sd, min, max"):
        group_ppc(fit_of("uneven"), "mena")
    with pytest.raises(InputErrors, match="at least 20"):
        group_ppc(fit_of("uneven"), replicates=3)
    with pytest.raises(InputErrors, match=r"statistic: .* must give one number"):
        group_ppc(fit_of("uneven"), np.sort)
