"""Influence of groups on a posterior: by weights and by refits, which agree."""

import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.elpd import influence as module
from hlm_models.elpd.grouping import Grouping
from hlm_models.elpd.refits import refits
from hlm_models.errors import InputErrors, RefusalError


@pytest.fixture(scope="module")
def sleepstudy():
    return hlm.fit("sleepstudy-slopes", engine="nuts", draws=500, seed=4)


def test_it_is_the_move_of_the_posterior_means_of_a_fit_without_the_level(sleepstudy, monkeypatch):
    by_weights = hlm.influence(sleepstudy)
    monkeypatch.setattr(module, "good_k", lambda _: -np.inf)
    exact = hlm.influence(sleepstudy)
    assert set(exact.how) == {"refit"}
    steady = by_weights.pareto_k < 0.4
    assert steady.sum() > 9
    # Means of 2,000 draws, about half as good as independent ones: 0.04 sd or less each.
    moved = exact.change[steady]
    np.testing.assert_allclose(by_weights.change[steady], moved, atol=0.2)
    assert np.abs(moved).max() > 0.35


def test_where_weights_are_not_good_enough_it_is_the_move_of_a_refits_means(
    sleepstudy, monkeypatch
):
    monkeypatch.setattr(module, "good_k", lambda _: np.inf)
    by_weights = hlm.influence(sleepstudy)
    *_, second, _ = np.sort(by_weights.pareto_k)
    monkeypatch.setattr(module, "good_k", lambda _: second)
    found = hlm.influence(sleepstudy)
    worst = int(np.argmax(found.pareto_k))
    assert [at for at, how in enumerate(found.how) if how == "refit"] == [worst]
    assert f"without subject {found.levels[worst]}" in found.checks[0].message
    others = np.arange(len(found.levels)) != worst
    np.testing.assert_array_equal(found.change[others], by_weights.change[others])
    [one] = refits(hlm.log_likelihood(sleepstudy, "group"), sleepstudy, [[worst]])
    (before, after) = (fit.data["posterior"]["sigma"].values for fit in (sleepstudy, one.fit))
    moved = (np.log(after).mean() - np.log(before).mean()) / np.log(before).std(ddof=1)
    assert found.change[worst, found.parameters.index("log sigma")] == pytest.approx(moved)


def test_names_and_frame(sleepstudy, monkeypatch):
    monkeypatch.setattr(module, "good_k", lambda _: np.inf)
    found = hlm.influence(sleepstudy, "subject")
    assert found.parameters == (
        "beta[Intercept]",
        "beta[days]",
        "log sd_subject[Intercept]",
        "log sd_subject[days]",
        "log sigma",
    )
    assert found.checks == ()
    frame = found.frame()
    assert frame.index.name == "subject"
    assert list(frame.columns) == [*found.parameters, "pareto_k", "how"]
    assert frame.loc["308", "beta[days]"] == found.change[found.levels.index("308"), 1]


def test_a_sigma_that_is_known_does_not_move():
    fit = hlm.fit("eight-schools", engine="nuts", draws=200, chains=2)
    found = hlm.influence(fit)
    assert found.parameters == ("beta[Intercept]", "log sd_school[Intercept]")
    assert np.isfinite(found.change).all()


def test_other_levels_than_the_models_may_be_left_out(sleepstudy, monkeypatch):
    monkeypatch.setattr(module, "good_k", lambda _: np.inf)
    thirds = Grouping("third", ("a", "b", "c"), np.repeat([0, 1, 2], 60))
    found = hlm.influence(sleepstudy, thirds)
    assert (found.group, found.levels) == ("third", ("a", "b", "c"))


def test_what_it_is_not_for_is_refused(sleepstudy):
    with pytest.raises(InputErrors, match="'school' is not a group of this model"):
        hlm.influence(sleepstudy, "school")
    with pytest.raises(RefusalError, match="influence takes draws"):
        hlm.influence(hlm.fit("dyestuff", engine="reml"))
