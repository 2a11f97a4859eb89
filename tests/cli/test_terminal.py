"""On a terminal: colours, bars and folded columns; elsewhere plain text and silence."""

import json
import os
import re
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from pseudo_terminal import COMMAND, lines_of, on_terminal
from rich.console import Console

from hlm_models.cli import progress, terminal
from hlm_models.cli.blocks import Heading, Section, Table, plain
from hlm_models.cli.terminal import cleaned
from hlm_models.results.progress import ChainStep, Step


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "words",
    [["list"], ["data", "list"], ["show", "radon-slopes"]],
    ids=" ".join,
)
def test_nothing_is_wider_than_the_terminal(words, columns, tmp_path):
    text, code = on_terminal(words, tmp_path, columns=columns)
    assert code == 0
    assert "\x1b[1m" in text
    assert max(map(len, lines_of(text))) <= columns


def test_a_status_is_coloured_and_a_number_is_whole(tmp_path):
    text, code = on_terminal(["fit", "sleepstudy-slopes", "--engine", "reml"], tmp_path, columns=60)
    assert code == 0
    assert "\x1b[32mpass" in text
    # Too narrow for all columns: they go on below, with the names again.
    assert sum("sd_subject[Intercept]" in line for line in lines_of(text)) > 1
    assert "…" not in "\n".join(lines_of(text)[-40:])


def test_no_colour_where_none_is_wanted(tmp_path):
    text, _ = on_terminal(["fit", "rail", "--engine", "reml"], tmp_path, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", text)
    assert "pass" in text


def test_a_pipe_gets_plain_text_and_silence(tmp_path):
    run = subprocess.run(
        [*COMMAND, "fit", "rail", "--engine", "reml"],
        capture_output=True, text=True, check=True, cwd=tmp_path,
        env={**os.environ, "FORCE_COLOR": "1"},
    )  # fmt: skip
    assert "\x1b" not in run.stdout
    assert run.stderr == ""
    assert run.stdout.startswith("rail by reml: 18 rows, 6 rail\ntravel ~ 1 + (1 | rail)\n\n")


@pytest.mark.slow
def test_each_chain_has_a_bar_with_draws_and_warm_up(tmp_path):
    words = ["fit", "sleepstudy-slopes", "--set", "fit.draws=3000", "--set", "fit.chains=3"]
    text, code = on_terminal([*words, "--json"], tmp_path, columns=100, stdout=subprocess.DEVNULL)
    assert code in (0, 1)
    shown = "\n".join(lines_of(text.replace("\r", "\n")))
    for chain in (1, 2, 3):
        assert f"  chain {chain}" in shown
    assert "chain 4" not in shown
    assert re.search(r"chain 1 .* [\d,]+ of 3,\d00", shown)
    assert "divergent" in shown
    # The cursor is there again, and the bars are gone.
    assert text.count("\x1b[?25h") == text.count("\x1b[?25l") == 1


@pytest.mark.slow
def test_an_interrupt_leaves_the_terminal_as_it_was(tmp_path):
    words = ["fit", "radon-slopes", "--set", "fit.draws=400000"]
    text, code = on_terminal(words, tmp_path, interrupt="chain 2")
    assert code == 130
    assert text.count("\x1b[?25h") == text.count("\x1b[?25l") == 1
    assert lines_of(text)[-2].strip() == "interrupted: nothing half-written was left behind"


def test_json_on_a_terminal_is_one_document_on_stdout(tmp_path):
    path = tmp_path / "out.json"
    with path.open("w") as file:
        told, code = on_terminal(
            ["fit", "rail", "--engine", "reml", "--json"], tmp_path, stdout=file
        )
    assert code == 0
    assert json.loads(path.read_text())["engine"] == "reml"
    assert "rail: " in told


def test_names_are_neither_markup_nor_commands_of_a_terminal(tmp_path):
    (tmp_path / "m.yaml").write_text(
        "schema: 1\nname: m\nabout: '[red]not red[/red] :smile:'\ndata: {source: {file: d.csv}}\n"
        'formula: "y ~ 1 + (1 | `[bold]g`)"\n'
    )
    rows = [f"{k % 7}.5,[blink]\x1b[31m{k % 5}" for k in range(40)]
    (tmp_path / "d.csv").write_text("\n".join(["y,[bold]g", *rows]) + "\n")
    text, code = on_terminal(["show", "m.yaml"], tmp_path)
    assert code == 0
    assert "[red]not red[/red] :smile:" in "\n".join(lines_of(text))
    assert "5 [bold]g" in "\n".join(lines_of(text))
    told, code = on_terminal(["show", "m.yaml", "--set", "about=[red]\x1b[31m"], tmp_path)
    assert "\x1b[31m" not in told


def test_what_would_command_a_terminal_is_spelled_out():
    assert cleaned("a\x1b[2Jb\x9b31m\u202ec\x07\u061c") == r"a\x1b[2Jb\x9b31m\u202ec\x07\u061c"
    assert cleaned("naïve 漢字 😀\n\tשלום") == "naïve 漢字 😀\n\tשלום"


def test_plain_blocks_are_aligned_with_an_empty_line_between():
    table = Table(["name", "value"], [["a", "1.5"], ["long", "22"]], right=(1,), before="Numbers")
    assert plain([Heading("m", "why"), table, Section("Said", ("so",))]) == (
        "m: why\n\nNumbers\nname  value\n----  -----\na       1.5\nlong     22\n\nSaid\n    so"
    )


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_bars_and_the_time_left_are_seen_at_every_width(columns, monkeypatch):
    screen, paper = (
        Console(file=StringIO(), force_terminal=True, width=columns, color_system=None)
        for _ in range(2)
    )
    monkeypatch.setattr(progress, "console", lambda *, stderr: screen)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with progress.shown("a-model-with-quite-a-long-name") as tell:
        for done in (0, 500):
            chains = tuple(ChainStep(done + k, 1000, True, 3, 0.21, 31) for k in range(2))
            tell(Step("sampling", 2 * done, 2000, 3, "draws", chains))
        paper.print(tell.bars.get_renderable())
    lines = lines_of(paper.file.getvalue())
    found = [line for line in lines if re.match(r"  chain \d .*━", line)]
    assert len(found) == 2
    assert all(re.search(r"(\d\d|--):(\d\d|--)$", line.rstrip()) for line in found)
    assert max(map(len, lines)) <= columns


@pytest.mark.parametrize("columns", range(40, 80, 3))
def test_no_name_of_a_column_is_cut(columns, monkeypatch):
    screen = Console(file=StringIO(), force_terminal=True, width=columns, color_system=None)
    monkeypatch.setattr(terminal, "console", lambda: screen)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    head = ["parameter", "mean", "ess_bulk", "ess_tail", "r_hat", "mcse_mean"]
    terminal.show(
        Table(head, [["sigma", "1.5", "883", "844", "1.000", "0.001"]], right=range(1, 6))
    )
    assert set(head) <= set(screen.file.getvalue().split())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_full_disk_is_told_in_a_line():
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [*COMMAND, "list"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert run.returncode == 1
    assert run.stderr.startswith("output: cannot be written or read: ")
    assert len(run.stderr.splitlines()) == 1
