"""What figures show, read from their artists."""

import io

import numpy as np
import pytest
from canned import canned_posterior
from matplotlib.figure import Figure

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.report.figures import INK, POSTERIOR, REFERENCE


@pytest.fixture(scope="module")
def radon():
    return hlm.fit("radon-slopes", engine="reml")


@pytest.fixture(scope="module")
def sleep():
    return hlm.fit("sleepstudy-slopes", engine="reml")


def drawn(figure):
    """The figure, once it can be saved without a warning."""
    assert isinstance(figure, Figure)
    figure.savefig(io.BytesIO(), format="png")
    return figure


def marks(ax, colour):
    [line] = [
        one for one in ax.lines if one.get_marker() == "o" and one.get_markeredgecolor() == colour
    ]
    return line.get_xydata()


def test_pooling_shows_the_smallest_and_largest_levels_in_order(radon):
    found = hlm.pooling(radon)
    figure = drawn(hlm.plot_pooling(found))
    assert "20 smallest and the 20 largest of 85 levels" in figure.get_suptitle()
    ax = figure.axes[0]
    labels = [text.get_text() for text in ax.get_yticklabels()]
    sizes = [int(text.rpartition("(")[2].removesuffix(")")) for text in labels]
    assert sizes == sorted(sizes)
    assert len(sizes) == 40
    j = found.labels.index("STLOUIS")
    np.testing.assert_allclose(marks(ax, POSTERIOR)[-1], [found.partial.estimate[j, 0], 39])
    np.testing.assert_allclose(marks(ax, REFERENCE)[-1], [found.none.estimate[j, 0], 39])


def test_shrinkage_has_a_line_for_each_level(sleep):
    found = hlm.pooling(sleep)
    left, right = drawn(hlm.plot_shrinkage(found)).axes
    assert len(left.lines) == len(right.lines) == 19
    x, y = right.lines[0].get_data()
    c = found.partial.estimate[0]
    np.testing.assert_allclose(y, c[0] + c[1] * np.array(x))
    with pytest.raises(InputErrors, match="no predictor varies"):
        hlm.plot_shrinkage(hlm.pooling(hlm.fit("rail", engine="reml")))


def test_effects_have_a_band_for_each_value_of_by():
    fit = hlm.fit("hsb-slopes-as-outcomes", engine="reml")
    found = hlm.effects(fit, "cses", by="catholic", groups="typical")
    [ax] = drawn(hlm.plot_effects(found)).axes
    groups = list(dict.fromkeys(cell[1] for cell in found.cells))
    assert len(ax.collections) == len(ax.lines) == len(groups)
    assert "typical level" in ax.get_title(loc="left")
    other = drawn(hlm.plot_effects(hlm.effects(fit, "cses", kind="marginal")))
    assert "averaged over the rows" in other.axes[0].get_title(loc="left")


def test_macro_effects_are_boxes_for_few_values_and_points_for_many():
    fit = hlm.fit("hsb-slopes-as-outcomes", engine="reml")
    points = drawn(hlm.plot_macro_effects(hlm.macro_effects(fit, "meanses")))
    assert sum(len(line.get_xdata()) == 160 for line in points.axes[0].lines) >= 2
    boxes = drawn(hlm.plot_macro_effects(hlm.macro_effects(fit, "catholic"), ["cses"]))
    assert len(boxes.axes) == 1
    assert [text.get_text() for text in boxes.axes[0].get_xticklabels()] == [
        "0\n(90)",
        "1\n(70)",
    ]


def test_checks_by_group_mark_what_is_outside(sleep):
    fit = canned_posterior(sleep.spec, sleep, np.random.default_rng(2), chains=2, draws=50)
    found = hlm.group_ppc(fit, "max", new=True)
    [ax] = drawn(hlm.plot_group_ppc(found)).axes
    assert len(marks(ax, REFERENCE)) == found.outside
    assert len(marks(ax, INK)) == 18 - found.outside
    assert f"{found.outside} of 18 outside 95%" in ax.get_title(loc="left")


def test_what_is_no_value_of_its_own_is_refused(sleep):
    with pytest.raises(InputErrors, match=r"plot_pooling takes hlm\.pooling\(fit\)"):
        hlm.plot_pooling(sleep)
    with pytest.raises(InputErrors, match="'dayz' is not a coefficient"):
        hlm.plot_pooling(hlm.pooling(sleep), ["dayz"])
