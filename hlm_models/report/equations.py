"""Equations as MathML, which browsers typeset without a script or a font of ours.

Browsers do not break a formula into lines. So each summand is a formula of its own in running
text, and lines break between summands.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from hlm_models.spec.describe import Description
from hlm_models.spec.notation import (
    SPACE,
    Line,
    Piece,
    Sign,
    Symbol,
    Words,
    parts,
    written,
)

__all__ = ["Typeset", "TypesetLine", "typeset"]

SHOWN = 40
"""Letters of a name that are shown; the whole is in a title."""


@dataclass(frozen=True, slots=True)
class TypesetLine:
    """One line: what reads it aloud, and MathML left of where lines are aligned and right of it."""

    text: str
    left: Markup
    right: Markup


@dataclass(frozen=True, slots=True)
class Typeset:
    """Levels of equations, (heading, lines) each, and the same as LaTeX."""

    levels: tuple[tuple[str, tuple[TypesetLine, ...]], ...]
    source: str


def typeset(description: Description) -> Typeset:
    """The equations of a model for a page."""
    levels = tuple(
        (written(level.heading), tuple(map(_line, level.lines))) for level in description.levels
    )
    return Typeset(levels, description.latex_source())


def _line(line: Line) -> TypesetLine:
    return TypesetLine(line.text, _formulas([line.left]), _formulas(parts(line.right)))


def _formulas(groups: Iterable[tuple[Piece, ...]]) -> Markup:
    """Formulas with places between them where a line may break."""
    found = []
    for pieces in groups:
        if not pieces:
            continue
        first, *rest = pieces
        inner = Markup("").join([_piece(first, begins=True), *map(_piece, rest)])
        whole = written(pieces).strip()
        long = any(len(name) > SHOWN for piece in pieces for name in _names(piece))
        title = Markup(' title="{}"').format(whole) if long else Markup("")
        found.append(Markup("<span{}><math>{}</math></span>").format(title, inner))
    return Markup(" ").join(found)


def _names(piece: Piece) -> tuple[str, ...]:
    match piece:
        case Symbol():
            return (piece.base, piece.of, piece.group)
        case Words():
            return (piece.text,)
        case _:
            return ()


def _piece(piece: Piece, *, begins: bool = False) -> Markup:
    match piece:
        case Symbol():
            return _symbol(piece)
        case Words():
            return _words(piece.text)
        case Sign() if piece == SPACE:
            return Markup('<mspace width="0.17em"/>')
        case Sign() if piece.mark.isdigit():
            return Markup("<mn>{}</mn>").format(piece.mark)
        case _:
            # Where a formula begins with it, a sign would be taken for that of a number.
            form = ' form="infix"' + ' lspace="0"' * begins if piece.mark in "+=~" else ""
            mark = piece.mark.replace("~", "∼")
            return Markup('<mo stretchy="false"{}>{}</mo>').format(Markup(form), mark)


def _symbol(symbol: Symbol) -> Markup:
    letter = Markup("<mi>{}</mi>")
    named = symbol.named or len(symbol.base) > 1
    base = _words(symbol.base) if named else letter.format(symbol.base)
    index = [
        (Markup("<mn>{}</mn>") if one.isdigit() else letter).format(one) for one in symbol.index
    ]
    below = [*([_words(symbol.of)] if symbol.of else [])]
    if below and index:
        below.append(Markup("<mo>,</mo>"))
    under = Markup("").join([*below, *index])
    above = Markup("<mn>2</mn>") if symbol.squared else Markup("")
    if symbol.group:
        above = Markup('<mo stretchy="false">(</mo>{}<mo stretchy="false">)</mo>').format(
            _words(symbol.group)
        )
    form = {
        (True, True): "<msubsup>{}<mrow>{}</mrow><mrow>{}</mrow></msubsup>",
        (True, False): "<msub>{}<mrow>{}</mrow></msub>",
        (False, True): "<msup>{}<mrow>{}</mrow></msup>",
        (False, False): "{}",
    }[bool(under), bool(above)]
    return Markup(form).format(base, *(script for script in (under, above) if script))


def _words(text: str) -> Markup:
    short = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
    return Markup("<mtext>{}</mtext>").format(short.replace(" ", "\N{NO-BREAK SPACE}"))
