"""What is wrong with the user's input, with the lines of the file that it is about."""

import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hlm_models.cli.terminal import cleaned, console
from hlm_models.config.located import KeyPath, Place, read_yaml
from hlm_models.errors import HlmError, InputErrors, Problem

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["Excerpt", "excerpt", "tell"]

LONGEST = 110
"""Columns of a line of a file that are shown, on a wide terminal too."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """Lines of a file with their numbers, and the piece of one of them that is at fault."""

    lines: tuple[tuple[int | None, str], ...]
    marked: int | None
    start: int = 0
    end: int = 0


def tell(problems: "Sequence[Problem] | HlmError", overrides: Sequence[str] = ()) -> None:
    """Print problems on stderr, each with an excerpt of its file or its override.

    Where several in a row are about the same place, it is shown below the last of them.
    """
    if isinstance(problems, HlmError) and not isinstance(problems, InputErrors):
        print(cleaned(str(problems)), file=sys.stderr)
        return
    found = problems.problems if isinstance(problems, InputErrors) else problems
    excerpts = [excerpt(one, overrides) for one in found]
    print_one = _in_colour if sys.stderr.isatty() else _plainly
    for k, (one, here) in enumerate(zip(found, excerpts, strict=True), start=1):
        print_one(one, None if here in excerpts[k : k + 1] else here)


def excerpt(problem: Problem, overrides: Sequence[str] = ()) -> Excerpt | None:
    """The line before, the line of the problem and the line after; None where there is none."""
    if problem.key.startswith("--set "):
        return _of_override(problem, overrides)
    if problem.line is None or not problem.file.endswith((".yaml", ".yml")):
        return None
    try:
        text = Path(problem.file).read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
    lines = text.split("\n")
    if not 0 < problem.line <= len(lines):
        return None
    at, start, end = problem.line, 0, 0
    place = _place(problem)
    if place is not None:
        start, end = place.start, place.end
        for row in range(place.line, place.last_line + 1):
            # A key may be spelled like the piece of its value that is at fault.
            after = lines[row - 1].find(":") + 1 if row == place.line else 0
            hit = _found(problem.fragment, lines[row - 1], after)
            if hit is not None:
                at, (start, end) = row, hit
                break
    near = range(max(at - 1, 1), min(at + 1, len(lines)) + 1)
    shown = tuple((row, lines[row - 1]) for row in near if row == at or lines[row - 1].strip())
    return Excerpt(shown, at, start, end)


def _place(problem: Problem) -> Place | None:
    """Where the key of a problem stands, or the nearest key above it, if it is on the line told."""
    try:
        located = read_yaml(Path(problem.file))
    except InputErrors:
        return None
    steps: KeyPath = tuple(int(one) if one.isdigit() else one for one in problem.key.split("."))
    place = located.place(steps) if problem.key else None
    return place if place is not None and place.line == problem.line else None


def _of_override(problem: Problem, overrides: Sequence[str]) -> Excerpt | None:
    path = problem.key.removeprefix("--set ")
    for override in overrides:
        key, equals, _ = override.partition("=")
        if equals and f"{path}.".startswith(f"{key.strip()}."):
            line = f"--set {override}"
            behind = line.index("=") + 1
            start, end = _found(problem.fragment, line, behind) or (behind, len(line))
            return Excerpt(((None, line),), None, start, end)
    return None


def _found(fragment: str, line: str, after: int) -> tuple[int, int] | None:
    """Where the fragment stands in the line as a word of its own, blanks aside."""
    pieces = re.findall(r"\w+|\S", fragment)
    if not pieces:
        return None
    inner = r"\s*".join(map(re.escape, pieces))
    first = r"(?<!\w)" if re.match(r"\w", pieces[0]) else ""
    last = r"(?!\w)" if re.match(r"\w", pieces[-1]) else ""
    hit = re.compile(first + inner + last).search(line, after)
    return None if hit is None else hit.span()


def _plainly(problem: Problem, shown: Excerpt | None) -> None:
    print(cleaned(str(problem)), file=sys.stderr)
    if shown is not None:
        print("\n".join(line.plain for line in _drawn(shown)), file=sys.stderr)


def _in_colour(problem: Problem, shown: Excerpt | None) -> None:
    from rich.text import Text

    place = Problem("", file=problem.file, line=problem.line, key=problem.key)
    where = cleaned(str(place))
    told = Text(cleaned(str(problem)))
    told.stylize("bold", 0, len(where))
    screen = console(stderr=True)
    screen.print(told, soft_wrap=True)
    for line in _drawn(shown) if shown is not None else ():
        screen.print(line, soft_wrap=True)


def _drawn(shown: Excerpt) -> "Iterable[Text]":
    """The lines of an excerpt, and carets below what is at fault."""
    from rich.cells import cell_len
    from rich.text import Text

    size = max(len(str(number or "")) for number, _ in shown.lines)
    room = min(shutil.get_terminal_size((100, 24)).columns, LONGEST) - size - 8
    for number, whole in shown.lines:
        marked = number == shown.marked
        line, start, end = _window(whole, *(shown.start, shown.end) if marked else (0, 0), room)
        gutter = f"{number:>{size}} | " if number else ""
        drawn = Text(f"  {'>' if marked else ' '} {gutter}{cleaned(line)}")
        drawn.stylize("" if marked else "dim")
        if marked:
            drawn.stylize("bold red", 2, 3)
        yield drawn
        if marked and end > start:
            before = " " * cell_len(cleaned(line[:start]))
            carets = "^" * max(cell_len(cleaned(line[start:end])), 1)
            below = f"{' ' * size} | " if number else ""
            yield Text(f"    {below}{before}").append(carets, style="bold red")


def _window(line: str, start: int, end: int, room: int) -> tuple[str, int, int]:
    """A long line cut around what is at fault, and where that stands in it."""
    line = line.replace("\t", " ").rstrip("\r")
    if len(line) <= room:
        return line, start, min(end, len(line))
    first = max(0, min(start - room // 3, len(line) - room))
    last = first + room
    cut = line[first:last]
    if first:
        cut = f"…{cut[1:]}"
    if last < len(line):
        cut = f"{cut[:-1]}…"
    return cut, max(start - first, 0), min(end - first, len(cut))
