"""What figures of effects of levels, and of levels beside predictors and replicates, show."""

import io

import numpy as np
import pytest
from canned import canned_posterior
from matplotlib.collections import LineCollection

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.interpretation.level_effects import LevelEffects, level_effects
from hlm_models.plot.levels import LABELLED, ONE_BY_ONE, drawn_levels
from hlm_models.plot.style import INK, POSTERIOR, REFERENCE


def drawn(figure):
    """The figure, once it can be saved without a warning."""
    figure.savefig(io.BytesIO(), format="png")
    return figure


def marks(figure, ax, colour):
    """Points and levels of the markers of a colour."""
    [line] = [
        one for one in ax.lines
        if one.get_gid() in figure.series and one.get_markeredgecolor() == colour
    ]  # fmt: skip
    return line.get_xydata(), np.array(figure.series[line.get_gid()], dtype=int)


@pytest.fixture(scope="module")
def reml():
    return hlm.fit("sleepstudy-slopes", engine="reml")


@pytest.fixture(scope="module")
def post(reml):
    return canned_posterior(reml.spec, reml, np.random.default_rng(2), chains=2, draws=50)


def made_up(J):
    rng = np.random.default_rng(J)
    estimate = rng.normal(size=(J, 1))
    half = rng.uniform(0.5, 1, size=(J, 1))
    labels = tuple(f"level{j}" for j in range(J))
    return LevelEffects(
        "g", labels, ("Intercept",), "nuts", estimate, estimate - half, estimate + half, 0.95
    )


def test_effects_of_levels_are_those_of_the_draws_and_of_the_blups(reml, post):
    found = level_effects(post)
    b = post.data["posterior"]["b_subject"].values.reshape(-1, 18, 2)
    np.testing.assert_allclose(found.estimate, b.mean(axis=0))
    np.testing.assert_allclose(found.lower, np.quantile(b, 0.025, axis=0))
    point = level_effects(reml, level=0.9)
    frame = hlm.ranef(reml).set_index(["level", "effect"])
    for k, effect in enumerate(point.effects):
        for j, label in enumerate(point.labels):
            row = frame.loc[(label, effect)]
            assert point.estimate[j, k] == pytest.approx(row["b"])
            half = 1.6448536269514722 * row["sd"]
            assert point.upper[j, k] == pytest.approx(row["b"] + half)


def test_levels_are_sorted_with_the_intervals_of_both_fits(reml, post):
    figure = drawn(hlm.plot.caterpillar(post, reference=reml))
    found, point = level_effects(post), level_effects(reml)
    for k, ax in enumerate(figure.axes):
        points, levels = marks(figure, ax, POSTERIOR)
        order = np.argsort(found.estimate[:, k])
        np.testing.assert_array_equal(levels, order)
        np.testing.assert_allclose(points, np.column_stack([found.estimate[order, k], range(18)]))
        points, levels = marks(figure, ax, REFERENCE)
        np.testing.assert_allclose(points[:, 0], point.estimate[levels, k])
        [intervals] = [one for one in ax.collections if isinstance(one, LineCollection)]
        ends = np.array([path.vertices[:, 0] for path in intervals.get_paths()])
        np.testing.assert_allclose(ends[:, 0], found.lower[order, k])
        np.testing.assert_allclose(ends[:, 1], found.upper[order, k])
        assert [text.get_text() for text in ax.get_yticklabels()] == [
            found.labels[j] for j in order
        ]
    assert hlm.plot.caterpillar(post, effect="days").axes[0].get_title(loc="left") == (
        "subject: days"
    )


@pytest.mark.parametrize("J", [1, LABELLED, LABELLED + 1, ONE_BY_ONE, ONE_BY_ONE + 1])
def test_levels_have_names_then_lines_then_a_band(J):
    found = made_up(J)
    figure = drawn(drawn_levels(found, "Intercept", found, label="points"))
    [ax] = figure.axes
    named = [text.get_text() for text in ax.get_yticklabels() if "level" in text.get_text()]
    assert len(named) == (J if J <= LABELLED else 0)
    assert all(len(levels) == J for levels in figure.series.values())
    assert len(figure.series) == (3 if J <= ONE_BY_ONE else 0)
    assert (ax.get_xlabel() if J <= LABELLED else ax.get_ylabel()) == "points"


def test_wrong_arguments_of_a_caterpillar_are_refused(reml, post):
    with pytest.raises(InputErrors, match=r"hlm\.plot\.caterpillar takes a fit, not str"):
        hlm.plot.caterpillar("fit")
    with pytest.raises(InputErrors, match="'dayz' is no effect of subject"):
        hlm.plot.caterpillar(reml, effect="dayz")
    with pytest.raises(InputErrors, match="takes a REML or ML fit as reference, not PosteriorFit"):
        hlm.plot.caterpillar(reml, reference=post)
    with pytest.raises(InputErrors, match="other levels or effects"):
        hlm.plot.caterpillar(post, reference=hlm.fit("sleepstudy-intercept", engine="reml"))
    with pytest.raises(InputErrors, match="subjekt"):
        hlm.plot.caterpillar(reml, "subjekt")


def test_effects_have_a_band_for_each_value_of_by():
    fit = hlm.fit("hsb-slopes-as-outcomes", engine="reml")
    found = hlm.effects(fit, "cses", by="catholic", groups="typical")
    [ax] = drawn(hlm.plot.effects(found)).axes
    groups = list(dict.fromkeys(cell[1] for cell in found.cells))
    assert len(ax.collections) == len(ax.lines) == len(groups)
    assert "typical level" in ax.get_title(loc="left")
    other = drawn(hlm.plot.effects(hlm.effects(fit, "cses", kind="marginal")))
    assert "averaged over the rows" in other.axes[0].get_title(loc="left")


def test_macro_effects_are_boxes_for_few_values_and_points_for_many():
    fit = hlm.fit("hsb-slopes-as-outcomes", engine="reml")
    found = hlm.macro_effects(fit, "meanses")
    figure = drawn(hlm.plot.macro_effects(found))
    points, levels = marks(figure, figure.axes[0], POSTERIOR)
    assert len(levels) == 160
    np.testing.assert_allclose(points[:, 1], found.pooling.partial.estimate[levels, 0])
    np.testing.assert_allclose(points[:, 0], found.values[levels])
    boxes = drawn(hlm.plot.macro_effects(hlm.macro_effects(fit, "catholic"), ["cses"]))
    assert len(boxes.axes) == 1
    assert [text.get_text() for text in boxes.axes[0].get_xticklabels()] == [
        "0\n(90)",
        "1\n(70)",
    ]


def test_checks_by_group_mark_what_is_outside(post):
    found = hlm.group_ppc(post, "max", new=True)
    figure = drawn(hlm.plot.ppc_by_group(found, label="ms"))
    [ax] = figure.axes
    _, outside = marks(figure, ax, REFERENCE)
    points, inside = marks(figure, ax, INK)
    assert len(outside) == found.outside
    assert sorted([*inside, *outside]) == list(range(18))
    np.testing.assert_allclose(points[:, 1], found.observed[inside])
    assert f"{found.outside} of 18 outside 95% (0.9 expected)" in ax.get_title(loc="left")
    assert ax.get_ylabel() == "ms"


@pytest.mark.parametrize("name", ["effects", "macro_effects", "ppc_by_group"])
def test_what_is_no_value_of_its_own_is_refused(name):
    with pytest.raises(InputErrors, match=rf"hlm\.plot\.{name} takes hlm\."):
        getattr(hlm.plot, name)("fit")
