"""What a command prints, whatever it is printed on: texts and tables, and both as plain text."""

import shutil
import textwrap
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Block", "Heading", "Section", "Table", "filled", "plain", "width"]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells under a head, with lines before and behind.

    The columns numbered in `right` are aligned to the right. Where `folds`, the last column holds
    sentences, which are folded to the width there is.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    right: Container[int] = ()
    before: str = ""
    behind: str = ""
    folds: bool = False

    def plain(self) -> str:
        """Columns aligned by spaces."""
        rows = self._folded() if self.folds else self.rows
        widths = [max(len(row[i]) for row in [self.head, *rows]) for i in range(len(self.head))]

        def line(row: Sequence[str]) -> str:
            cells = [
                one.rjust(size) if i in self.right else one.ljust(size)
                for i, (one, size) in enumerate(zip(row, widths, strict=True))
            ]
            return "  ".join(cells).rstrip()

        body = [line(self.head), line(["-" * size for size in widths]), *map(line, rows)]
        return "\n".join(piece for piece in (self.before, *body, self.behind) if piece)

    def _folded(self) -> list[list[str]]:
        """The rows with their last cell folded to the width, over more rows."""
        columns = range(len(self.head) - 1)
        before = sum(max(len(row[i]) for row in [self.head, *self.rows]) + 2 for i in columns)
        folded: list[list[str]] = []
        for *cells, last in self.rows:
            first, *rest = textwrap.wrap(last, max(width() - before, 30)) or [""]
            folded += [[*cells, first], *([""] * len(cells) + [piece] for piece in rest)]
        return folded


@dataclass(frozen=True, slots=True)
class Section:
    """Lines or a table under a title; lines that are `sentences` are folded to the width."""

    title: str
    body: tuple[str, ...] | Table
    sentences: bool = False

    def plain(self) -> str:
        if isinstance(self.body, Table):
            lines = self.body.plain().splitlines()
        elif self.sentences:
            lines = [piece for line in self.body for piece in _fold(line)]
        else:
            lines = list(self.body)
        return "\n".join([self.title, *(f"    {line}" for line in lines)])


@dataclass(frozen=True, slots=True)
class Heading:
    """What the rest is about: a name, and words on it."""

    name: str
    words: str = ""

    def plain(self) -> str:
        return filled(f"{self.name}: {self.words}" if self.words else self.name)


Block = str | Table | Section | Heading


def plain(blocks: Iterable[Block]) -> str:
    """The blocks as text, with an empty line between two of them."""
    return "\n\n".join(one if isinstance(one, str) else one.plain() for one in blocks)


def width() -> int:
    """Columns that sentences are folded to."""
    return min(max(shutil.get_terminal_size((100, 24)).columns, 60), 110)


def filled(text: str, *, first: str = "", rest: str = "") -> str:
    """The text folded to the width; `first` and `rest` begin its lines."""
    return textwrap.fill(
        text, width(), initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def _fold(line: str) -> list[str]:
    return textwrap.wrap(line, width() - 4, subsequent_indent="    ", break_on_hyphens=False)
