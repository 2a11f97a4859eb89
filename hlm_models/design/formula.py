"""The formula grammar: a formula's text to its response, common part and random terms.

Nothing is evaluated here. The random terms are split off, so that the wide Z is never formed, and
every name and call is held against an allow-list before a library sees the text.
"""

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from hlm_models.errors import InputErrors, nearest

__all__ = ["FUNCTIONS", "Formula", "RandomTerm", "parse"]

TRANSFORMS = ("I", "center", "exp", "log", "scale", "sqrt")
"""Calls that give one column, so that a response may be one of them."""

FUNCTIONS = ("C", "I", "bs", "center", "exp", "log", "poly", "scale", "sqrt")
"""Calls that a formula may make; everything else is refused."""

INDEPENDENT = (
    "the formula has no random term: rows are taken as independent; where they come in groups, "
    "add one, such as (1 | group)"
)

_WORD = r"[^\W\d]\w*|`[^`]+`"
"""The name of a column."""

_TOKEN = re.compile(
    r"\s*(?:(?P<name>[^\W\d]\w*(?:\.\w+)*)|(?P<quoted>`[^`]+`)"
    r"|(?P<number>\d+(?:\.\d+)?)|(?P<bar>\|\|?)|(?P<op>[-+:*/()~]))"
)


@dataclass(frozen=True)
class RandomTerm:
    """One `(effects | group)`: effects as a formula, the factors, whether they may correlate."""

    effects: str
    factors: tuple[str, ...]
    correlated: bool

    @property
    def group(self) -> str:
        """Name of the group: `school`, or `a:b` for a crossing of factors."""
        return ":".join(self.factors)

    @property
    def text(self) -> str:
        """The term as `hlm show` prints it, without its parentheses."""
        return f"{self.effects} {'|' if self.correlated else '||'} {self.group}"


@dataclass(frozen=True)
class Formula:
    """A parsed formula: `response ~ common + offset(column) + random terms`.

    Without random terms it is that of a plain regression.
    """

    text: str
    response: str
    common: str
    random: tuple[RandomTerm, ...]
    offset: str | None = None

    @cached_property
    def predictors(self) -> tuple[str, ...]:
        """Columns that the common part and the effects of random terms read, each once."""
        sides = [self.common, *(term.effects for term in self.random)]
        return tuple(dict.fromkeys(name for side in sides for name in names_in(side)))

    @cached_property
    def groups(self) -> tuple[str, ...]:
        """Groups in the order of the formula, each once."""
        return tuple(dict.fromkeys(term.group for term in self.random))

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever wrote the formula may have forgotten."""
        return () if self.random else (INDEPENDENT,)


def parse(text: str) -> Formula:
    """Parse a formula as lme4, brms and Bambi write it.

    Raises
    ------
    InputErrors
        keyed `formula`: what was found, where, and what would do.
    """
    sides = text.split("~")
    if len(sides) != 2 or not sides[0].strip() or not sides[1].strip():
        _fail("write it as `response ~ predictors + (effects | group)`, with one ~")
    _balanced(text)
    response = _checked(sides[0].strip(), "the response")
    called = re.match(r"([^\W\d]\w*)\s*\(", response)
    if re.search(r"[-+*:|]|^\d", re.sub(r"`[^`]*`|\(.*\)", "", response)) or (
        called and called.group(1) not in TRANSFORMS
    ):
        _fail(
            f"the response must be one column or a transform of it ({', '.join(TRANSFORMS)}), "
            f"found '{response}'",
            response,
        )
    if not names_in(response):
        _fail(f"the response '{response}' reads no column", response)
    common: list[str] = []
    random: list[RandomTerm] = []
    offset, summands = _without_offset(_summands(sides[1]))
    for sign, piece in summands:
        inner = _unwrapped(piece)
        if "|" not in _outside_calls(piece):
            common.append(f"{sign} {_checked(piece, 'the formula')}")
        elif inner is None:
            _fail(
                f"a random term stands alone in parentheses, `(1 | group)`; found '{piece}'", piece
            )
        elif sign == "-":
            _fail(f"a random term cannot be subtracted: leave '- {piece}' out", f"- {piece}")
        else:
            random += _random_terms(inner)
    rhs = " ".join(common).removeprefix("+ ") or "1"
    found = Formula(text.strip(), response, rhs, tuple(random), offset)
    if "Intercept" in (*found.predictors, *found.groups, *names_in(response)):
        _fail(
            "a column may not be named Intercept, which names the constant; derive another name",
            "Intercept",
        )
    both = [name for name in names_in(response) if name in found.predictors]
    if both:
        _fail(f"the response {both[0]} stands among the predictors too")
    return found


def names_in(expression: str) -> tuple[str, ...]:
    """Column names read by an expression, in order, each once (backticks removed)."""
    found = []
    for match in re.finditer(r"`([^`]+)`|(?<![\w.])([^\W\d]\w*)\s*(\(|=)?", expression):
        quoted, name, other = match.groups()
        if quoted or (not other and name not in ("True", "False")):
            found.append(quoted or name)
    return tuple(dict.fromkeys(found))


def _fail(message: str, fragment: str = "") -> None:
    raise InputErrors.one(message, key="formula", fragment=fragment)


def _balanced(text: str) -> None:
    open_at: list[int] = []
    for position, character in enumerate(text):
        if character == "(":
            open_at.append(position)
        elif character == ")" and not open_at:
            _fail(
                f"unbalanced parenthesis: ')' at column {position + 1} closes nothing: {text!r}",
                text[position:],
            )
        elif character == ")":
            open_at.pop()
    if open_at:
        _fail(
            f"unbalanced parenthesis: '(' at column {open_at[-1] + 1} is not closed: {text!r}",
            text[open_at[-1] :],
        )


def _summands(side: str) -> list[tuple[str, str]]:
    """Top-level summands with their signs."""
    pieces: list[tuple[str, str]] = []
    depth, sign, start = 0, "+", 0
    for position, character in enumerate([*side, "+"]):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character in "+-" and depth == 0:
            piece = side[start:position].strip()
            if piece:
                pieces.append((sign, piece))
            elif position == len(side) or pieces:
                _fail(f"'{sign}' is followed by nothing in '{side.strip()}'")
            sign, start = character, position + 1
    return pieces


def _without_offset(
    summands: list[tuple[str, str]],
) -> tuple[str | None, list[tuple[str, str]]]:
    """The column of `+ offset(column)`, if there is one, and the other summands."""
    form = re.compile(rf"offset\s*\(\s*({_WORD})\s*\)")
    found = [form.fullmatch(piece) if sign == "+" else None for sign, piece in summands]
    columns = [match.group(1).strip("`") for match in found if match]
    if len(columns) > 1:
        _fail(f"one column may be the offset, found {' and '.join(columns)}; derive their sum")
    rest = [one for one, match in zip(summands, found, strict=True) if not match]
    return (columns[0] if columns else None), rest


def _unwrapped(piece: str) -> str | None:
    """The inside of `( ... )` where the parentheses enclose the whole piece, else None."""
    if not (piece.startswith("(") and piece.endswith(")")):
        return None
    depth = 0
    for position, character in enumerate(piece):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and position < len(piece) - 1:
            return None
    return piece[1:-1]


def _outside_calls(piece: str) -> str:
    """The piece without the arguments of its calls."""
    return re.sub(r"\w+\([^()]*(?:\([^()]*\)[^()]*)*\)", "", piece)


def _random_terms(inner: str) -> list[RandomTerm]:
    match = re.fullmatch(r"([^|]*?)\s*(\|\|?)\s*([^|]*)", inner.strip())
    if match is None:
        _fail(f"a random term has one bar, `(effects | group)`; found '({inner})'", f"({inner})")
    assert match is not None
    effects, bar, group = match.groups()
    if not effects:
        _fail(
            f"'({inner})' has no effects before the bar; an intercept is written (1 | {group})",
            f"({inner})",
        )
    effects = re.sub(r"\s+", " ", _checked(effects, f"'({inner})'"))
    if not re.fullmatch(rf"(?:{_WORD})(?:\s*[:/]\s*(?:{_WORD}))*", group.strip()):
        _fail(
            f"the group of '({inner})' must be a column, a:b or a/b; found '{group.strip()}'",
            f"({inner})",
        )
    group = re.sub(r"`[^`]*`", lambda quoted: "_" * len(quoted.group()), spelled := group)
    if "/" in group and ":" in group:
        _fail(
            f"the group of '({inner})' mixes / and :; write the terms out, (1 | a) + (1 | a:b)",
            f"({inner})",
        )
    names = [name.strip("`") for name in re.findall(_WORD, spelled)]
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        _fail(f"the group of '({inner})' nests '{doubled[0]}' in itself", f"({inner})")
    nests = range(1, len(names) + 1) if "/" in group else [len(names)]
    return [RandomTerm(effects, tuple(names[:size]), bar == "|") for size in nests]


def _checked(expression: str, where: str) -> str:
    """The expression, once every token of it is known to be harmless."""
    position = 0
    while position < len(expression):
        if not expression[position:].strip():
            break
        match = _TOKEN.match(expression, position)
        if match is None:
            rest = expression[position:].strip()
            _fail(
                f"'{rest[0]}' is not part of the formula grammar (+ - : * and calls), in {where}",
                rest,
            )
        assert match is not None
        name = match.group("name")
        following = expression[match.end() :].lstrip()
        if name and "." in name:
            _fail(
                f"attribute access '{name}' is not allowed, in {where}; "
                f"a column with a dot in its name is written `{name}` in backticks",
                name,
            )
        if match.group("op") in ("/", "~"):
            _fail(
                f"'{match.group('op')}' is not part of the formula grammar, in {where}",
                expression[match.start("op") :],
            )
        if match.group("number") and match.group("number") not in ("0", "1"):
            _fail(
                f"a number other than 0 and 1 stands alone, '{match.group('number')}', in {where}",
                match.group("number"),
            )
        position = match.end()
        if name and following.startswith("("):
            end = _closing(expression, expression.index("(", position))
            _check_call(expression[match.start("name") : end + 1], where)
            position = end + 1
        if expression[:position].endswith(")") and expression[position:].lstrip().startswith("("):
            _fail(f"'{expression}' puts two parentheses side by side, in {where}", expression)
    return expression.strip()


def _closing(text: str, opening: int) -> int:
    depth = 0
    for position in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[position], 0)
        if depth == 0:
            return position
    return len(text) - 1


def _check_call(call: str, where: str) -> None:
    """Refuse every call but those of `FUNCTIONS` on arithmetic of columns and numbers."""
    try:
        tree = ast.parse(re.sub(r"`[^`]*`", "_", call), mode="eval")
    except SyntaxError:
        _fail(f"'{call}' cannot be read, in {where}", call)
    for node in ast.walk(tree):
        match node:
            case ast.Attribute():
                _fail(f"attribute access '{ast.unparse(node)}' is not allowed, in {where}", call)
            case ast.Call(func=ast.Name(id="offset")):
                _fail(
                    f"'{call}': an offset is one column, added as `+ offset(column)` or by the key "
                    "`offset: column`; make the column with data.derive",
                    call,
                )
            case ast.Call(func=ast.Name(id=name)) if name not in FUNCTIONS:
                _fail(
                    f"'{name}' is not a function that a formula may call{nearest(name, FUNCTIONS)} "
                    f"(allowed: {', '.join(FUNCTIONS)}); make other columns with data.derive",
                    name,
                )
            case ast.Constant(value=value) if not isinstance(value, int | float):
                _fail(
                    f"'{ast.unparse(node)}' in '{call}': only numbers may be given to a call", call
                )
            case (
                ast.Expression() | ast.Call(func=ast.Name()) | ast.Name() | ast.Constant()
                | ast.BinOp() | ast.UnaryOp() | ast.keyword() | ast.operator() | ast.unaryop()
                | ast.expr_context()
            ):  # fmt: skip
                pass
            case _:
                _fail(
                    f"'{ast.unparse(node)}' in '{call}' is not allowed: only arithmetic of columns",
                    call,
                )


def merged(terms: Iterable[RandomTerm]) -> dict[str, list[RandomTerm]]:
    """Random terms by group, groups in the order of the formula."""
    by_group: dict[str, list[RandomTerm]] = {}
    for term in terms:
        by_group.setdefault(term.group, []).append(term)
    return by_group


def joined(effects: Sequence[str], group: str, *, correlated: bool) -> str:
    """A random term written out, for a repair: `(1 + x | g)`."""
    names = ["1" if name == "Intercept" else name for name in effects]
    if "Intercept" not in effects:
        names.insert(0, "0")
    if len(names) > 1 and names[0] == "1":
        names = names[1:]
    return f"({' + '.join(names)} {'|' if correlated else '||'} {group})"
