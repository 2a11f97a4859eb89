"""What figures of leave-one-out probabilities show, read from their artists."""

import io

import numpy as np
import pytest

import hlm_models as hlm
from hlm_models.elpd.loo_pit import LooPit
from hlm_models.errors import InputErrors
from hlm_models.plot.style import POSTERIOR, REFERENCE


def drawn(figure):
    """The figure, once it can be saved without a warning."""
    figure.savefig(io.BytesIO(), format="png")
    return figure


def pit(values, bad=0):
    k = np.where(np.arange(len(values)) < bad, 0.9, 0.2)
    return LooPit("made-up", np.asarray(values), k, 0.7)


@pytest.mark.parametrize("power", [1.0, 0.8])
def test_the_ecdf_is_in_its_band_where_the_check_passes(power):
    found = pit(np.random.default_rng(4).uniform(size=400) ** power)
    passes = found.check().status == "pass"
    assert passes == (power == 1)
    figure = drawn(hlm.plot.loo_pit(found))
    assert ("consistent with uniform" in figure.get_suptitle()) == passes
    assert ("not uniform" in figure.get_suptitle()) != passes
    left, right = figure.axes
    [line] = [one for one in left.lines if len(one.get_xdata()) == 101]
    assert line.get_color() == (POSTERIOR if passes else REFERENCE)
    x, y = line.get_data()
    np.testing.assert_allclose(y[1:-1], [np.mean(found.values < at) - at for at in x[1:-1]])
    corners = left.collections[0].get_paths()[0].vertices
    low, high = (np.array([end(corners[corners[:, 0] == at, 1]) for at in x]) for end in (min, max))
    assert np.all((low - 1e-12 <= y) & (y <= high + 1e-12)) == passes
    heights, edges, _ = right.patches[0].get_data()
    assert np.sum(heights * np.diff(edges)) == pytest.approx(1)
    assert heights[0] == pytest.approx(np.mean(found.values < edges[1]) / edges[1])


def test_values_that_are_missing_or_rest_on_bad_weights_are_counted():
    values = np.random.default_rng(5).uniform(size=50)
    values[7] = np.nan
    title = drawn(hlm.plot.loo_pit(pit(values, bad=3))).get_suptitle()
    assert "49 of 50 rows" in title
    assert "3 of them by weights that are not good enough" in title


def test_what_is_no_value_of_its_own_is_refused():
    with pytest.raises(InputErrors, match=r"plot\.loo_pit takes hlm\.loo_pit\(fit\), not str"):
        hlm.plot.loo_pit("fit")
