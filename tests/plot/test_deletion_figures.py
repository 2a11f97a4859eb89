"""What figures of influence show, read from their artists."""

import io
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from matplotlib.text import Annotation

import hlm_models as hlm
from hlm_models.elpd.influence import Influence
from hlm_models.errors import InputErrors


def drawn(figure):
    """The figure, once it can be saved without a warning."""
    figure.savefig(io.BytesIO(), format="png")
    return figure


def moved(change, how="psis"):
    J, m = change.shape
    return Influence(
        model="made-up",
        group="school",
        levels=tuple(f"school {j}" for j in range(J)),
        parameters=("beta[x]", "log sigma", "log sd_school[x]")[:m],
        change=change,
        pareto_k=np.zeros(J),
        good_k=0.7,
        how=(how,) + ("psis",) * (J - 1),
        checks=(),
    )


def names(figure):
    """What is written beside dots: text and extents, from top to bottom."""
    [ax] = figure.axes
    found = [one for one in ax.texts if isinstance(one, Annotation)]
    return [(one.get_text(), one.get_window_extent()) for one in found]


@pytest.fixture(scope="module")
def deleted():
    return hlm.case_deletion(hlm.fit("sleepstudy-slopes", engine="reml"))


@pytest.mark.parametrize("J", [3, 18, 684])
def test_the_levels_that_move_a_parameter_most_are_named_and_no_two_names_overlap(J):
    change = np.random.default_rng(6).normal(size=(J, 3))
    change[1], change[2] = [5, -6, 7], [6.5, 6, 7.4]
    found = moved(change)
    figure = drawn(hlm.plot.influence(found))
    [ax] = figure.axes
    written = names(figure)
    assert [text for text, _ in written].count("school 1") == 3
    assert [text for text, _ in written].count("school 2") == 3
    assert not any(one.overlaps(other) for (_, one), (_, other) in combinations(written, 2))
    inside = ax.get_window_extent()
    assert all(inside.x0 <= box.x0 and box.x1 <= inside.x1 for _, box in written)
    dots = [one.get_xydata() for one in ax.lines if one.get_marker() == "o"]
    pixels = ax.transData.transform(np.concatenate(dots))
    assert not any(box.count_contains(pixels) for _, box in written)
    x, y = np.concatenate(dots).T
    for row in range(3):
        np.testing.assert_allclose(np.sort(x[np.abs(y - row) < 0.3]), np.sort(change[:, row]))
    assert [text.get_text() for text in ax.get_yticklabels()] == list(found.parameters)
    assert ax.get_xlabel().endswith("in posterior sds")
    assert f"{J} levels of school" in figure.get_suptitle()


def test_levels_that_were_left_out_by_refits_are_counted():
    change = np.ones((4, 2))
    assert "refit" not in hlm.plot.influence(moved(change)).get_suptitle()
    title = drawn(hlm.plot.influence(moved(change, how="refit"))).get_suptitle()
    assert title.endswith("by importance weights 3, by refits 1")


def test_case_deletion_is_in_standard_errors(deleted):
    figure = drawn(hlm.plot.influence(deleted))
    [ax] = figure.axes
    assert ax.get_xlabel().endswith("in standard errors")
    frame = deleted.frame()
    expected = {"beta[Intercept]": "change[Intercept]", "beta[days]": "change[days]"}
    for row, label in enumerate(text.get_text() for text in ax.get_yticklabels()):
        column = frame[expected.get(label, f"change[{label}]")]
        x = np.concatenate(
            [p[p[:, 1] == row, 0] for p in (one.get_xydata() for one in ax.lines) if len(p)]
        )
        np.testing.assert_allclose(np.sort(x[x != 0]), np.sort(column))
    assert len(ax.get_yticklabels()) == 5
    assert "332" in [text for text, _ in names(figure)]


def test_an_sd_that_goes_to_zero_is_an_arrow_and_what_has_no_error_is_left_out(deleted):
    change = deleted.change_log_sd[0].copy()
    change[3, 0], change[:, 1] = -np.inf, np.nan
    sigma = deleted.sigma.copy()
    sigma[0] = np.nan
    figure = drawn(hlm.plot.influence(replace(deleted, change_log_sd=(change,), sigma=sigma)))
    [ax] = figure.axes
    assert len(ax.get_yticklabels()) == 4
    arrows = [one.get_xydata() for one in ax.lines if one.get_marker() == "<"]
    [[x, y]] = np.concatenate(arrows)
    assert ax.get_xlim()[0] < x < deleted.change_log_sigma.min()
    assert y == 2
    assert deleted.levels[3] in [text for text, _ in names(figure)]
    assert figure.get_suptitle().endswith("there is no fit without 1 of them")


def test_what_is_no_value_of_its_own_is_refused(deleted):
    with pytest.raises(InputErrors, match=r"plot.influence takes hlm\.influence\(fit\) or"):
        hlm.plot.influence("fit")
    with pytest.raises(InputErrors, match="no level of school can be left out"):
        hlm.plot.influence(moved(np.full((3, 2), np.nan)))
