"""WAIC, against R's loo on the same log likelihoods."""

import numpy as np
import pytest
from made_up import conditional_draws
from test_psis import GOLDEN, made

import hlm_models as hlm
from hlm_models.elpd import waic as module
from hlm_models.errors import InputErrors, RefusalError


class Canned:
    """A log likelihood of given values."""

    focus, by = "observation", None

    def __init__(self, values):
        self.values, self.shape, self.names = values, values.shape, range(values.shape[2])

    def blocks(self, numbers):
        step = max(1, numbers // (self.shape[0] * self.shape[1]))
        for start in range(0, self.shape[2], step):
            here = np.arange(start, min(start + step, self.shape[2]))
            yield here, self.values[:, :, here]


@pytest.fixture(scope="module")
def pastes():
    return conditional_draws(hlm.build("pastes"), 2, 200)


@pytest.mark.parametrize("name", list(GOLDEN["cases"]))
def test_it_is_that_of_loo(name, pastes, monkeypatch):
    known = GOLDEN["cases"][name]
    monkeypatch.setattr(module, "log_likelihood", lambda *_: Canned(made(known)))
    monkeypatch.setattr(module, "NUMBERS", 2 * known["chains"] * known["draws"])
    found = hlm.waic(pastes)
    np.testing.assert_allclose(found.pointwise, known["waic"]["elpd"], rtol=1e-9)
    np.testing.assert_allclose(found.lpd - found.pointwise, known["waic"]["p"], rtol=1e-8)
    np.testing.assert_allclose([found.elpd, found.se], known["waic"]["total"], rtol=1e-9)
    wide = sum(p > 0.4 for p in known["waic"]["p"])
    check = found.check()
    assert (check.code, check.value) == ("p_waic", wide)
    assert check.status == ("warn" if wide else "pass")


@pytest.mark.parametrize(("focus", "by"), [("observation", None), ("group", "batch")])
def test_it_is_the_log_mean_density_less_the_variance_of_the_log(pastes, focus, by):
    likelihood = hlm.log_likelihood(pastes, focus, by)
    values = likelihood.block(0, likelihood.size)
    found = hlm.waic(pastes, focus, by)
    expected = np.log(np.mean(np.exp(values), axis=(0, 1))) - values.reshape(400, -1).var(0, ddof=1)
    np.testing.assert_allclose(found.pointwise, expected, rtol=1e-9)
    assert (found.method, found.focus, found.by) == ("waic", focus, by)
    assert set(found.how) == {"waic"}
    assert np.all(np.isnan(found.pareto_k))
    assert (found.bad, found.refits) == (0, 0)


def test_the_integrated_form_of_a_row_has_no_waic(pastes):
    with pytest.raises(InputErrors, match=r"by: WAIC of rows is of .* leave out by, or take focus"):
        hlm.waic(pastes, by="batch")
    with pytest.raises(RefusalError, match="waic takes draws"):
        hlm.waic(hlm.fit("pastes", engine="reml"))
