"""The pieces that equations are made of, each printed as plain text and as LaTeX."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "CLOSE",
    "COMMA",
    "EQUALS",
    "GAP",
    "OPEN",
    "OVER",
    "PLUS",
    "SIM",
    "SPACE",
    "Line",
    "Piece",
    "Sign",
    "Symbol",
    "Words",
    "joined",
    "parts",
    "written",
]

_SUBSCRIPTS = str.maketrans("0123456789ij", "₀₁₂₃₄₅₆₇₈₉ᵢⱼ")

_LETTERS = {"α": r"\alpha", "β": r"\beta", "σ": r"\sigma", "Ψ": r"\Psi", "sd": r"\mathrm{sd}"}

# In text mode: what is markup there, and what old font encodings print as something else.
_ESCAPED = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "^": r"\textasciicircum{}",
        "~": r"\textasciitilde{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        **{mark: f"\\{mark}" for mark in "{}$&#%_"},
    }
)


@dataclass(frozen=True, slots=True)
class Sign:
    """An operator, a relation or punctuation, with the space around it."""

    text: str
    latex: str

    @property
    def mark(self) -> str:
        """The sign without its space."""
        return self.text.strip()


SPACE = Sign(" ", r"\,")
PLUS = Sign(" + ", " + ")
EQUALS = Sign(" = ", " = ")
SIM = Sign(" ~ ", r" \sim ")
COMMA = Sign(", ", ", ")
GAP = Sign(",   ", r",\quad ")
OPEN = Sign("(", "(")
CLOSE = Sign(")", ")")
OVER = Sign(" / ", " / ")


@dataclass(frozen=True, slots=True)
class Words:
    """Words within an equation, ours or the user's, as they are."""

    text: str

    @property
    def latex(self) -> str:
        return r"\text{" + _plain(self.text).translate(_ESCAPED) + "}"


@dataclass(frozen=True, slots=True)
class Symbol:
    """A letter, or with `named` a name of the user's, and what stands below and above it.

    `of` is the effect that a parameter belongs to, `group` its group, `index` of digits, i and j.
    """

    base: str
    of: str = ""
    index: str = ""
    group: str = ""
    squared: bool = False
    named: bool = False

    @property
    def text(self) -> str:
        return "".join(
            (
                self.base,
                f"_{self.group}" if self.group else "",
                f"[{self.of}]" if self.of else "",
                self.index.translate(_SUBSCRIPTS),
                "²" if self.squared else "",
            )
        )

    @property
    def latex(self) -> str:
        base = Words(self.base).latex if self.named else _LETTERS.get(self.base, self.base)
        below = ",".join(
            [*([Words(self.of).latex] if self.of else []), *([self.index] if self.index else [])]
        )
        above = f"({Words(self.group).latex})" if self.group else "2" * self.squared
        return base + (f"_{{{below}}}" if below else "") + (f"^{{{above}}}" if above else "")


Piece = Sign | Symbol | Words


@dataclass(frozen=True, slots=True)
class Line:
    """One line of equations; one that goes `further` continues the sum of the line before it."""

    pieces: tuple[Piece, ...]
    further: bool = False

    @property
    def left(self) -> tuple[Piece, ...]:
        """What stands left of the relation that lines are aligned at."""
        relations = (k for k, one in enumerate(self.pieces) if one in (EQUALS, SIM))
        return () if self.further else self.pieces[: next(relations, 0)]

    @property
    def right(self) -> tuple[Piece, ...]:
        """The rest, with its relation or plus."""
        return (PLUS, *self.pieces) if self.further else self.pieces[len(self.left) :]

    @property
    def text(self) -> str:
        return ("     + " if self.further else "") + written(self.pieces)

    @property
    def latex(self) -> str:
        """With `&` where lines are aligned."""
        left, right = ("".join(one.latex for one in side) for side in (self.left, self.right))
        return f"{left} &{right.strip()}" if left else rf"&\quad {right.strip()}"


def written(pieces: Iterable[Piece]) -> str:
    """The pieces as plain text."""
    return "".join(one.text for one in pieces)


def joined(groups: Iterable[Sequence[Piece]], sign: Sign) -> tuple[Piece, ...]:
    """The groups one behind the other, with a sign between two of them."""
    found: list[Piece] = []
    for group in groups:
        found += [sign, *group] if found else group
    return tuple(found)


def parts(pieces: Iterable[Piece]) -> tuple[tuple[Piece, ...], ...]:
    """The pieces cut where a line may break: before a plus, behind a comma, outside of brackets."""
    found: list[list[Piece]] = [[]]
    depth = 0
    for one in pieces:
        depth += (one == OPEN) - (one == CLOSE)
        if one == PLUS and depth == 0:
            found.append([])
        found[-1].append(one)
        if one == GAP:
            found.append([])
    return tuple(tuple(part) for part in found if part)


def _plain(text: str) -> str:
    """The text on one line, without characters that are not seen."""
    return "".join(one if one.isprintable() else " " for one in text)
