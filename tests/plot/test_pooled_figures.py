"""What figures of pooling show, read from their artists."""

import io
from dataclasses import replace

import numpy as np
import pytest
from canned import canned_posterior
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

import hlm_models as hlm
from hlm_models.errors import InputErrors
from hlm_models.plot.style import INK, POSTERIOR, RAISED, REFERENCE


@pytest.fixture(scope="module")
def radon():
    return hlm.pooling(hlm.fit("radon-slopes", engine="reml"))


@pytest.fixture(scope="module")
def sleep():
    return hlm.pooling(hlm.fit("sleepstudy-slopes", engine="reml"))


def drawn(figure):
    """The figure, once it can be saved without a warning."""
    assert isinstance(figure, Figure)
    figure.savefig(io.BytesIO(), format="png")
    return figure


def marks(figure, ax, colour, markers="o"):
    """Points and levels of markers with edges, or faces, of a colour."""
    lines = [
        one for one in ax.lines
        if one.get_marker() in markers and one.get_gid() in figure.series
        and colour in {one.get_markeredgecolor(), one.get_color()}
    ]  # fmt: skip
    points = np.concatenate([one.get_xydata() for one in lines])
    return points, np.concatenate([figure.series[one.get_gid()] for one in lines])


def test_pooling_shows_the_smallest_and_largest_levels_in_order(radon):
    figure = drawn(hlm.plot.pooling(radon))
    assert "20 smallest and the 20 largest of 85 levels" in figure.get_suptitle()
    ax = figure.axes[0]
    labels = [text.get_text() for text in ax.get_yticklabels()]
    sizes = [int(text.rpartition("(")[2].removesuffix(")")) for text in labels]
    assert sizes == sorted(sizes)
    assert len(sizes) == 40
    points, levels = marks(figure, ax, POSTERIOR)
    np.testing.assert_allclose(points[:, 0], radon.partial.estimate[levels, 0])
    np.testing.assert_array_equal(points[:, 1], np.arange(40))
    assert radon.labels[levels[-1]] == "STLOUIS"
    points, levels = marks(figure, ax, REFERENCE)
    np.testing.assert_allclose(points[:, 0], radon.none.estimate[levels, 0])


@pytest.mark.parametrize("which", ["sleep", "radon"])
def test_arrows_lead_from_least_squares_to_the_fit_sorted(which, request):
    found = request.getfixturevalue(which)
    figure = drawn(hlm.plot.shrinkage(found))
    across = which == "radon"
    for k, ax in enumerate(figure.axes):
        order = np.argsort(found.partial.estimate[:, k], kind="stable")
        points, levels = marks(figure, ax, POSTERIOR, "<>^vo")
        at, value = (0, 1) if across else (1, 0)
        np.testing.assert_allclose(points[:, value], found.partial.estimate[levels, k])
        np.testing.assert_array_equal(order[points[:, at].astype(int)], levels)
        own = found.none.estimate[:, k]
        [arrows] = [one for one in ax.collections if isinstance(one, LineCollection)]
        levels = list(figure.series[arrows.get_gid()])
        assert sorted(levels) == np.flatnonzero(np.isfinite(own)).tolist()
        ends = np.array([path.vertices[:, value] for path in arrows.get_paths()])
        np.testing.assert_allclose(ends[:, 0], own[levels])
        np.testing.assert_allclose(ends[:, 1], found.partial.estimate[levels, k])
        for line in ax.lines:
            if line.get_marker() in {"<", "v", ">", "^"}:
                rises = line.get_marker() in {">", "^"}
                j = list(figure.series[line.get_gid()])
                assert np.all((found.partial.estimate[j, k] >= own[j]) == rises)


def test_labels_of_arrows_are_those_that_are_given(sleep):
    figure = hlm.plot.shrinkage(sleep, "days", labels=["ms per day"])
    assert figure.axes[0].get_xlabel() == "ms per day"
    with pytest.raises(InputErrors, match="a label for each coefficient"):
        hlm.plot.shrinkage(sleep, labels=["ms"])


def test_the_plane_has_the_ellipse_of_psi_around_the_fixed_part(sleep):
    figure = drawn(hlm.plot.shrinkage_plane(sleep))
    [ax] = figure.axes
    points, levels = marks(figure, ax, POSTERIOR)
    np.testing.assert_allclose(points, sleep.partial.estimate[levels])
    fit = hlm.fit("sleepstudy-slopes", engine="reml")
    np.testing.assert_allclose(sleep.cov, fit.random[0].cov)
    inner, outer = sorted(
        (one for one in ax.patches if isinstance(one, Ellipse)), key=lambda one: one.width
    )
    rng = np.random.default_rng(1)
    sample = rng.multivariate_normal(fit.beta, fit.random[0].cov, 20_000)
    for ellipse, share in ((inner, 0.5), (outer, 0.95)):
        np.testing.assert_allclose(ellipse.center, fit.beta)
        outline = ellipse.get_patch_transform().transform_path(ellipse.get_path())
        # 4 standard errors of a share of 20,000.
        error = 4 * np.sqrt(share * (1 - share) / 20_000)
        assert np.mean(outline.contains_points(sample)) == pytest.approx(share, abs=error)
    written = [one.get_text() for one in ax.texts]
    moved = np.linalg.norm(
        (sleep.none.estimate - sleep.partial.estimate)
        / [np.ptp(ax.get_xlim()), np.ptp(ax.get_ylim())], axis=1,
    )  # fmt: skip
    assert set(written) <= {sleep.labels[j] for j in np.argsort(-moved)[:6]}
    assert len(written) >= 3


@pytest.mark.parametrize("across", [False, True])
def test_a_fixed_part_that_differs_by_level_has_marks_and_no_line(sleep, radon, across):
    found = radon if across else sleep
    [line] = [one for one in hlm.plot.shrinkage(found, "Intercept").axes[0].lines
              if one.get_color() == INK]  # fmt: skip
    assert line.get_linestyle() == "-"
    expected = found.expected + np.linspace(-1, 1, len(found.labels))[:, None]
    moved = replace(found, expected=expected)
    [line] = [one for one in hlm.plot.shrinkage(moved, "Intercept").axes[0].lines
              if one.get_color() == INK]  # fmt: skip
    assert (line.get_linestyle(), line.get_marker()) == ("None", "_" if across else "|")
    order = np.argsort(found.partial.estimate[:, 0], kind="stable")
    np.testing.assert_allclose(line.get_data()[int(across)], expected[order, 0])


def test_the_key_of_many_arrows_has_the_marks_of_the_picture(radon):
    [legend] = hlm.plot.shrinkage(radon).legends
    assert legend.legend_handles[0].get_markerfacecolor() == REFERENCE


def test_the_axes_of_a_plane_have_the_labels_that_are_given(sleep):
    ax = hlm.plot.shrinkage_plane(sleep, labels=("ms", "ms per day")).axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Intercept: ms", "days: ms per day")


def test_rows_have_the_same_dots_in_every_panel():
    pooled = hlm.pooling(hlm.fit("hsb-random-coefficients", engine="reml"))
    assert pooled.sizes.min() < 60 < pooled.sizes.max()
    figure = hlm.plot.group_panels(pooled)
    sizes = {one.get_markersize() for ax in figure.axes for one in ax.lines
             if one.get_gid() in figure.series}  # fmt: skip
    assert len(sizes) == 1


def test_what_is_far_out_is_cut_and_counted_to_no_element(sleep):
    none = sleep.none.estimate.copy()
    none[3, 1], none[5] = 1e6, np.nan
    found = replace(sleep, none=replace(sleep.none, estimate=none))
    for figure in (
        hlm.plot.shrinkage(found, "days"), hlm.plot.shrinkage_plane(found),
        hlm.plot.pooling(found, ["days"]),
    ):  # fmt: skip
        drawn(figure)
        [ax] = figure.axes
        assert max(*ax.get_xlim(), *ax.get_ylim()) < 1000
        _, levels = marks(figure, ax, REFERENCE)
        assert not {3, 5} & set(levels)
        assert len(levels) == 16


def test_few_levels_are_all_inside():
    found = hlm.pooling(hlm.fit("eight-schools", engine="reml"))
    figure = drawn(hlm.plot.shrinkage(found))
    [ax] = figure.axes
    assert ax.get_xlim()[0] < found.none.estimate.min()
    assert ax.get_xlim()[1] > found.none.estimate.max()
    with pytest.raises(InputErrors, match=r"one coefficient alone.*hlm\.plot\.shrinkage"):
        hlm.plot.shrinkage_plane(found)


def test_a_variance_of_zero_is_drawn():
    found = hlm.pooling(hlm.fit("dyestuff2", engine="reml"))
    assert found.cov[0, 0] == 0
    for figure in (hlm.plot.shrinkage(found), hlm.plot.pooling(found)):
        drawn(figure)


def test_lines_of_all_levels_over_the_rows(sleep):
    figure = drawn(hlm.plot.group_lines(sleep))
    for ax, estimate in zip(
        figure.axes, (sleep.none.estimate, sleep.partial.estimate), strict=True
    ):
        [lines] = [one for one in ax.collections if isinstance(one, LineCollection)]
        levels = list(figure.series[lines.get_gid()])
        assert levels == list(range(18))
        for path, c in zip(lines.get_paths(), estimate, strict=True):
            x, y = path.vertices.T
            np.testing.assert_allclose(x, [0, 9])
            np.testing.assert_allclose(y, c[0] + c[1] * x)
        rows, whole = ax.lines
        np.testing.assert_array_equal(rows.get_xydata()[:, 1], sleep.rows.y)
        np.testing.assert_allclose(whole.get_ydata(), sleep.complete.estimate[0] @ [[1, 1], [0, 9]])


def test_lines_without_a_slope_are_refused():
    found = hlm.pooling(hlm.fit("rail", engine="reml"))
    for draw in (hlm.plot.group_lines, hlm.plot.group_panels):
        with pytest.raises(InputErrors, match="no predictor varies"):
            draw(found)


def test_panels_have_each_level_with_its_rows_and_three_lines(sleep):
    figure = drawn(hlm.plot.group_panels(sleep, levels=["335", "309"], labels=("day", "ms")))
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["335 (10)", "309 (10)"]
    for ax, label in zip(figure.axes, ("335", "309"), strict=True):
        j = sleep.labels.index(label)
        rows, complete, none, partial = ax.lines
        here = sleep.rows.level == j
        np.testing.assert_array_equal(rows.get_xydata()[:, 1], sleep.rows.y[here])
        assert figure.series[rows.get_gid()] == (j,) * 10
        for line, way in ((complete, "complete"), (none, "none"), (partial, "partial")):
            c = getattr(sleep, way).estimate[j]
            x, y = line.get_data()
            np.testing.assert_allclose(y, c[0] + c[1] * np.array(x))
        assert [one.get_color() for one in (complete, none, partial)] == [
            INK, REFERENCE, POSTERIOR,
        ]  # fmt: skip
        assert ax.get_xlabel() == "day"


def test_panels_are_from_the_fewest_rows_to_the_most(radon):
    figure = drawn(hlm.plot.group_panels(radon))
    sizes = [int(ax.get_title(loc="left").rpartition("(")[2][:-1]) for ax in figure.axes]
    assert len(sizes) == 12
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (radon.sizes.min(), radon.sizes.max())
    # The first has one row, and so no line of its own.
    assert [one.get_color() for one in figure.axes[0].lines[1:]] == [INK, POSTERIOR]


def test_other_predictors_stand_at_the_means_of_the_level():
    fit = hlm.fit("hsb-slopes-as-outcomes", engine="reml")
    rng = np.random.default_rng(1)
    more = rng.normal(size=fit.spec.design.n)
    pool = hlm.pooling(fit)
    rows = replace(pool.rows, X=np.column_stack([pool.rows.X, more]))
    wider = {
        way: replace(
            getattr(pool, way),
            estimate=np.column_stack([getattr(pool, way).estimate, np.full(len(pool.labels), 2.0)]),
        )
        for way in ("none", "partial", "complete")
    }
    pool = replace(
        pool, rows=rows, centre=np.append(pool.centre, more.mean()),
        coefficients=(*pool.coefficients, "more"), **wider,
    )  # fmt: skip
    figure = drawn(hlm.plot.group_panels(pool, "cses", levels=[pool.labels[7]]))
    assert "other predictors at the level's means" in figure.get_suptitle()
    line = figure.axes[0].lines[-1]
    c, mean = pool.partial.estimate[7], more[pool.rows.level == 7].mean()
    x, y = line.get_data()
    np.testing.assert_allclose(y, c[0] + c[1] * np.array(x) + 2 * mean)


def test_a_posterior_is_named_by_its_engine(sleep):
    fit = hlm.fit("sleepstudy-slopes", engine="reml")
    post = canned_posterior(fit.spec, fit, np.random.default_rng(2), chains=2, draws=50)
    found = hlm.pooling(post)
    Psi = post.data["posterior"]["sd_subject"].values
    corr = post.data["posterior"]["corr_subject"].values
    np.testing.assert_allclose(
        found.cov, (Psi[..., :, None] * corr * Psi[..., None, :]).mean(axis=(0, 1))
    )
    [legend] = hlm.plot.shrinkage(found).legends
    assert "partial pooling (nuts)" in [one.get_text() for one in legend.get_texts()]


@pytest.mark.parametrize("name", ["pooling", "shrinkage", "shrinkage_plane", "group_lines"])
def test_what_is_no_value_of_its_own_is_refused(name, sleep):
    draw = getattr(hlm.plot, name)
    with pytest.raises(InputErrors, match=rf"hlm\.plot\.{name} takes hlm\.pooling\(fit\), not str"):
        draw("fit")
    with pytest.raises(InputErrors, match="'dayz' is no coefficient that varies"):
        draw(sleep, "dayz" if name == "group_lines" else ("dayz",))


def test_a_level_or_a_pair_that_there_is_not_is_refused(sleep):
    with pytest.raises(InputErrors, match="'307' is no level of subject"):
        hlm.plot.group_panels(sleep, levels=["307"])
    with pytest.raises(InputErrors, match="name a level"):
        hlm.plot.group_panels(sleep, levels=[])
    with pytest.raises(InputErrors, match="two different coefficients"):
        hlm.plot.shrinkage_plane(sleep, ("days", "days"))


def test_hollow_markers_are_filled_with_the_ground(sleep):
    ax = hlm.plot.shrinkage_plane(sleep).axes[0]
    assert any(one.get_markerfacecolor() == RAISED for one in ax.lines)
