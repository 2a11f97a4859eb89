"""Blocks on stdout: in colour on a terminal, else plain text that stays the same for programs."""

import re
import sys
from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from hlm_models.cli.blocks import Block, Heading, Section, Table, plain

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

__all__ = ["cleaned", "console", "show"]

STATUS = {
    **dict.fromkeys(("pass", "agree", "ok"), "green"),
    **dict.fromkeys(("warn", "shifted", "spread", "boundary", "none"), "yellow"),
    "fail": "bold red",
}
"""The colour of a word in a column that judges."""

JUDGED = ("check", "status", "verdict")

INDENT = 2

GAP = 3
"""Blanks between two columns."""

_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def cleaned(text: str) -> str:
    """The text with characters that command a terminal, or turn its lines around, spelled out."""
    return _UNSEEN.sub(lambda found: ascii(found.group())[1:-1], text)


def show(*blocks: Block) -> None:
    """Print the blocks, with an empty line between two of them."""
    if not sys.stdout.isatty():
        print(cleaned(plain(blocks)))
        return
    screen = console()
    for k, block in enumerate(blocks):
        if k:
            screen.print()
        for piece in _pieces(block, screen.width, title=k == 0):
            screen.print(piece)


def console(*, stderr: bool = False) -> "Console":
    """A terminal that takes text as it is."""
    from rich.console import Console

    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def _pieces(block: Block, room: int, *, title: bool = False) -> "list[RenderableType]":
    """What a terminal shows of a block; the first line of all is a title."""
    from rich.padding import Padding
    from rich.panel import Panel
    from rich.text import Text

    match block:
        case Table():
            return _columns(block, room)
        case Section():
            body = block.body
            inside: Sequence[RenderableType] = (
                _columns(body, room - INDENT)
                if isinstance(body, Table)
                else [_text("\n".join(body))]
            )
            padded = [Padding(one, (0, 0, 0, INDENT)) for one in inside]
            return [_text(block.title, "bold cyan"), *padded]
        case Heading(words=""):
            return [_text(block.name, "bold")]
        case Heading():
            return [Panel(_text(block.words), title=_text(block.name, "bold"), title_align="left")]
        case _:
            first, newline, rest = block.partition("\n")
            return [Text.assemble(_text(first, "bold" * title), _text(newline + rest))]


def _text(words: str, style: str = "") -> "Text":
    from rich.text import Text

    return Text(cleaned(words), style=style)


def _columns(table: Table, room: int) -> "list[RenderableType]":
    """A table, cut between columns where it is too wide, its first column in every piece."""
    from rich import box
    from rich.cells import cell_len
    from rich.table import Table as Columns
    from rich.text import Text

    rows = [[cleaned(one) for one in row] for row in table.rows]
    sizes = [max(map(cell_len, column)) + GAP for column in zip(table.head, *rows, strict=True)]
    found: list[RenderableType] = [_text(table.before)] if table.before else []
    for columns in _cut(sizes, room + GAP, table.right):
        piece = Columns(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False)
        for i in columns:
            right = i in table.right
            piece.add_column(
                _text(table.head[i]),
                justify="right" if right else "left",
                no_wrap=right or (i == 0 and sizes[0] <= room // 2),
                overflow="fold",
            )
        for row in rows:
            piece.add_row(
                *(Text(row[i], STATUS.get(row[i], "") * (table.head[i] in JUDGED)) for i in columns)
            )
        found += [Text(), piece] if found else [piece]
    return [*found, _text(table.behind)] if table.behind else found


def _cut(sizes: Sequence[int], room: int, right: Container[int]) -> list[list[int]]:
    """Which columns stand side by side; words can be folded, numbers cannot."""
    needed = [size if i in right else min(size, room // 4) for i, size in enumerate(sizes)]
    needed[0] = min(sizes[0], room // 2)
    found, used = [[0]], needed[0]
    for i, size in enumerate(needed[1:], start=1):
        if used + size > room and len(found[-1]) > 1:
            found.append([0])
            used = needed[0]
        found[-1].append(i)
        used += size
    return found
