"""The page of a board."""

import re
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from canned import canned_posterior
from reading import Page

import hlm_models as hlm
from hlm_models.comparison.board import Entry, make_board
from hlm_models.comparison.evidence import strength
from hlm_models.plot.board import SHOWN, difference, pareto
from hlm_models.plot.style import REFERENCE
from hlm_models.report.comparison import REFERENCES, render
from hlm_models.report.markup import markup
from hlm_models.results.checks import Check

TESTS = Path(__file__).parents[1]
canned_board = runpy.run_path(str(TESTS / "comparison" / "canned_board.py"))
MODELS = ("sleepstudy-intercept", "sleepstudy-slopes", "sleepstudy-uncorrelated")
PROVENANCE = {
    "command": "hlm compare a b",
    "created": "2026-01-02T03:04:05+00:00",
    "python": "3.13",
    "versions": {"numpy": "2.2"},
}


@pytest.fixture(scope="module")
def entries():
    found = {}
    for name in MODELS:
        spec = hlm.build(name)
        reml = hlm.fit(spec, "reml")
        found[name] = Entry(canned_posterior(spec, reml, np.random.default_rng(1)), reml)
    return found


@pytest.fixture(scope="module")
def make(entries):
    """A function that makes a board of canned estimates."""

    def made(*args, given=entries, **options):
        with pytest.MonkeyPatch.context() as patch:
            canned_board["install"](patch)
            return make_board(given, *args, provenance=PROVENANCE, **options)

    return made


@pytest.fixture(scope="module", params=["observation", "group"])
def board(request, make):
    return make(request.param)


@pytest.fixture(scope="module")
def text(board):
    return render(board)


@pytest.fixture(scope="module")
def page(text):
    return Page(text)


def rows(text, caption):
    """Cells of the table whose caption has these words."""
    [body] = [
        one for one in re.findall(r"<table>.*?</table>", text, re.DOTALL)
        if caption in one[: one.index("</caption>")]
    ]  # fmt: skip
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
             for row in re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)]  # fmt: skip
    return [[re.sub(r"<[^>]*>", "", cell).strip() for cell in row] for row in cells[1:]]


def test_the_page_is_whole_and_needs_no_network(page, text):
    assert page.unbalanced == []
    assert page.open == []
    assert all(one.startswith(("#", "data:image/png;base64,")) for one in page.addresses)
    assert not {"link", "iframe", "object"} & set(page.tags)
    assert page.scripts == [""]
    found = re.findall(r'\bid="([^"]+)"', text)
    assert len(found) == len(set(found))


def test_every_figure_says_what_would_look_wrong(text):
    figures = re.findall(r"<figure.*?</figure>", text, flags=re.DOTALL)
    assert len(figures) == 3
    assert all("Wrong would be" in re.sub(r"\s+", " ", one) for one in figures)


def test_the_board_stands_on_the_page(board, text):
    found = rows(text, "expected log predictive density")
    assert [row[0] for row in found] == [row.name for row in board.rows]
    for cells, row in zip(found, board.rows, strict=True):
        assert cells[3] == f"{row.elpd:,.1f}".replace("-", "−")
        assert cells[6] == f"{row.weight:.2f}"
    for cells in rows(text, "terms come from"):
        assert cells[1:] == [f"{len(board.names) - 1}", "0", "1", "0"]
    assert [row[0] for row in rows(text, "criteria of our own fitter")] == [
        row.name for row in board.rows
    ]
    assert len(rows(text, "likelihood-ratio tests")) == len(board.tests) == 6
    assert len(rows(text, "differences of every pair")) == 3


def test_what_the_winner_says_and_how_all_agree_with_reml(board, text):
    best = board.models[board.rows[0].name]
    assert [row[0] for row in rows(text, "the coefficients")] == list(best.spec.design.coef)
    for cells, model in zip(
        rows(text, "parameters by verdict"), board.models.values(), strict=True
    ):
        assert sum(map(int, cells[1:5])) == len(model.agreement.rows)


def test_the_words_for_a_bayes_factor_are_those_of_the_board(board, text):
    found = rows(text, "log marginal likelihoods")
    said = {cells[0]: cells[5] for cells in found}
    assert said == {
        row.name: strength(row.log_bayes_factor) if row.log_bayes_factor < 0 else "–"
        for row in board.rows
    }
    assert "very strong" in said.values()


def test_question_winner_data_and_origin_are_said(board, page):
    said = " ".join(page.text.split())
    for one in (
        board.question, board.winner, board.data.digest, "hlm compare a b", "numpy 2.2",
        *(f"{note}." for note in (*board.notes, *board.evidence_notes)),
        *(one.spec.digest for one in board.models.values()),
    ):  # fmt: skip
        assert one in said


def test_what_is_cited_is_what_was_used(board, make, page):
    used = set(REFERENCES) - ({"group"} if board.focus == "observation" else set())
    for key, reference in REFERENCES.items():
        assert (reference in page.text) == (key in used)
    folded = Page(render(make(kfold=5, evidence=False))).text
    assert REFERENCES["psis"] not in folded
    assert REFERENCES["bridge"] not in folded
    assert "log marginal likelihood" not in folded.replace("marginal likelihoods", "")
    assert "Whether the estimates can be trusted" not in folded


def test_a_failed_check_is_at_the_top_with_its_model(make, entries):
    check = Check("r_hat", "fail", 1.2, 1.05, "largest R-hat")
    given = dict(entries)
    given[MODELS[0]] = replace(
        entries[MODELS[0]], posterior=replace(entries[MODELS[0]].posterior, checks=(check,))
    )
    said = " ".join(Page(render(make(given=given))).text.split())
    top = said[: said.index("The board")]
    assert f"r_hat ({MODELS[0]}): largest R-hat" in top


def test_rows_are_shown_by_row_and_by_group(make):
    text = render(make())
    assert text.count("180 rows, sorted") == 2
    assert text.count("18 levels of subject, sorted") == 2
    assert "rows count from 1" in text
    named = {int(one) for one in re.findall(r">row (\d+)<", text)}
    assert named <= set(range(1, 181))
    group = render(make("group"))
    assert group.count("18 levels of subject, sorted") == 2
    assert "rows, sorted" not in group


def test_names_from_outside_are_text_and_no_markup(make, entries):
    name = "<b>&x"
    text = render(make(given={name: entries[MODELS[0]], "other": entries[MODELS[1]]}))
    assert "<b>&x" not in text
    assert "&lt;b&gt;&amp;x" in text


@pytest.mark.parametrize("size", [2, 30, 40_000])
def test_figures_of_any_size_stay_small(size):
    values = np.random.default_rng(1).normal(size=size)
    names = [f"row {at}" for at in range(size)]
    picture = markup(difference(names, values, what="rows", title="a less b", better="b"), "alt")
    assert len(picture) < 200_000
    largest = names[int(np.argmax(np.abs(values)))]
    assert largest in picture or "data:image" in picture
    k = np.random.default_rng(1).normal(0.2, 0.1, size)
    k[0] = np.nan
    assert SHOWN < 2000
    assert len(markup(pareto("a", k, np.zeros(size, dtype=bool), 0.7), "alt")) < 300_000


def test_an_infinite_k_is_drawn_as_bad_and_a_missing_one_is_not():
    infinite, missing = (
        markup(pareto("a", np.array([0.1, 0.2, last]), np.zeros(3, dtype=bool), 0.7), "alt")
        for last in (np.inf, np.nan)
    )
    assert REFERENCE in infinite
    assert REFERENCE not in missing


def test_two_pages_of_a_board_are_equal(board, text, tmp_path):
    path = hlm.write_comparison(board, tmp_path / "page.html")
    assert path.read_text("utf-8") == text


def test_the_time_is_written_as_one_reads_it(page):
    assert "2026-01-02 03:04:05 UTC" in page.text
