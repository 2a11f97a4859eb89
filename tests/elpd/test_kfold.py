"""K-fold cross-validation: who is left out with whom, and what the estimate says of itself."""

import numpy as np
import pytest
from scipy.special import logsumexp

import hlm_models as hlm
from hlm_models.elpd import kfold as module
from hlm_models.elpd.grouping import Grouping
from hlm_models.elpd.refits import Refits, exact
from hlm_models.errors import InputErrors, RefusalError


@pytest.fixture(scope="module")
def dyestuff():
    return hlm.fit("dyestuff", engine="nuts", seed=5, draws=100, chains=2)


@pytest.fixture
def folds_of(monkeypatch):
    """The folds that are asked for, with no fit: what is foreseen of a column is its number."""

    def folds(*args, **keys):
        asked = []

        def by_fold(scored, fit, folds, progress):
            asked.extend(folds)
            return Refits(np.concatenate(folds).astype(float), ())

        monkeypatch.setattr(module, "by_fold", by_fold)
        found = hlm.kfold(*args, **keys)
        np.testing.assert_array_equal(found.pointwise, np.arange(found.size))
        return [fold.tolist() for fold in asked]

    return folds


@pytest.mark.parametrize(("k", "by", "size"), [(2, "batch", 6), (4, "batch", 6), (7, None, 30)])
def test_every_column_is_in_one_fold_and_folds_are_of_one_size(dyestuff, folds_of, k, by, size):
    folds = folds_of(dyestuff, k, by)
    assert len(folds) == k
    assert sorted(column for fold in folds for column in fold) == list(range(size))
    assert {len(fold) for fold in folds} <= {size // k, -(-size // k)}


def test_the_seed_is_that_of_the_folds(dyestuff, folds_of):
    assert folds_of(dyestuff, 3) == folds_of(dyestuff, 3, seed=dyestuff.seed)
    assert folds_of(dyestuff, 3) != folds_of(dyestuff, 3, seed=8)
    assert folds_of(dyestuff, 3, seed=8) == folds_of(dyestuff, 3, seed=8)


def test_as_many_folds_as_groups_are_exact_refits(dyestuff):
    found = hlm.kfold(dyestuff, 6, "batch")
    scored = hlm.log_likelihood(dyestuff, "group")
    np.testing.assert_array_equal(found.pointwise, exact(scored, dyestuff, range(6)).log_density)
    lpd = logsumexp(scored.block(0, 6), axis=(0, 1)) - np.log(200)
    np.testing.assert_allclose(found.lpd, lpd, rtol=1e-12)


def test_the_estimate_says_what_it_is(dyestuff):
    groups = hlm.kfold(dyestuff, 2, "batch")
    assert (groups.method, groups.focus, groups.by, groups.folds) == ("kfold", "group", "batch", 2)
    assert groups.names == ("A", "B", "C", "D", "E", "F")
    assert groups.refits == groups.size == 6
    assert groups.bad == 0
    assert np.isnan(groups.pareto_k).all()
    assert groups.draws == 200
    assert "without batch" in groups.checks[0].message
    rows = hlm.kfold(dyestuff, 2)
    assert (rows.focus, rows.by, rows.size) == ("observation", None, 30)
    # Whatever the folds, other rows tell less of a row than it does itself.
    assert rows.p > 0


def test_other_levels_than_the_models_may_be_left_out(dyestuff):
    halves = Grouping("half", ("first", "second"), np.repeat([0, 1], 15))
    found = hlm.kfold(dyestuff, 2, halves)
    assert (found.focus, found.by) == ("group", "half")
    assert found.names == ("first", "second")
    assert np.isfinite(found.pointwise).all()


@pytest.mark.parametrize(("k", "by", "most"), [(7, "batch", 6), (31, None, 30)])
def test_more_folds_than_columns_are_refused(dyestuff, k, by, most):
    with pytest.raises(InputErrors, match=f"k: {k} folds of {most} .*give k from 2 to {most}"):
        hlm.kfold(dyestuff, k, by)


@pytest.mark.parametrize("k", [1, 0, 2.5, True])
def test_what_is_no_number_of_folds_is_refused(dyestuff, k):
    with pytest.raises(InputErrors, match="k: a whole number of at least 2"):
        hlm.kfold(dyestuff, k)


def test_what_it_is_not_for_is_refused(dyestuff):
    with pytest.raises(InputErrors, match="'school' is not a group of this model"):
        hlm.kfold(dyestuff, 2, "school")
    with pytest.raises(InputErrors, match="seed: a whole number from 0 on"):
        hlm.kfold(dyestuff, 2, seed=-1)
    with pytest.raises(RefusalError, match="kfold takes draws"):
        hlm.kfold(hlm.fit("dyestuff", engine="reml"), 2)
