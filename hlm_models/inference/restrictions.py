"""Linear hypotheses about coefficients: as text, as weights by name, or as a matrix."""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hlm_models.errors import InputErrors, Problem, nearest
from hlm_models.types import FloatArray, frozen

__all__ = ["Hypotheses", "Restrictions", "restrictions"]

Hypotheses = str | Mapping[str, float] | Sequence[str | Mapping[str, float]] | ArrayLike
"""How a user may say linear hypotheses; one of them, or several."""

_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_WORD = re.compile(r"`[^`]+`|[^\W\d][\w.]*(?:\[[^\]]*\])?(?::[^\W\d][\w.]*(?:\[[^\]]*\])?)*")


@dataclass(frozen=True, eq=False)
class Restrictions:
    """L beta = rhs: L (r, p), rhs (r,), and each row in words."""

    L: FloatArray
    rhs: FloatArray
    texts: tuple[str, ...]


def restrictions(
    hypotheses: Hypotheses, rhs: float | Sequence[float] | FloatArray, coef: Sequence[str]
) -> Restrictions:
    """Hypotheses as rows of weights of the coefficients `coef`.

    Parameters
    ----------
    hypotheses : "ses - hwh = 0", {"ses": 1, "hwh": -1}, several of either, or a matrix (r, p). A
        text sums coefficients, each with a number in front, times or divided by one, and says what
        the sum equals (0 where it does not say)
    rhs : what a mapping or a row of a matrix is held against; a text says its own

    Raises
    ------
    InputErrors
        every name that is no coefficient, with the nearest one; a text that cannot be read; numbers
        that are none or not finite; sizes that do not fit.
    """
    held = _held(rhs)
    if isinstance(hypotheses, str | Mapping):
        hypotheses = [hypotheses]
    several = isinstance(hypotheses, Sequence) and len(hypotheses) > 0
    if several and all(isinstance(one, str) for one in hypotheses):  # type: ignore[union-attr]
        if held.any():
            raise InputErrors.one("a text says what it equals: write it there", key="rhs")
        return _from_texts([str(one) for one in hypotheses], coef)  # type: ignore[union-attr]
    if several and all(isinstance(one, Mapping) for one in hypotheses):  # type: ignore[union-attr]
        L = _from_mappings(hypotheses, coef)  # type: ignore[arg-type]
    else:
        L = _from_matrix(hypotheses, coef)
    if held.ndim > 1 or (held.ndim == 1 and len(held) != len(L)):
        raise InputErrors.one(f"{len(L)} hypotheses need one number, or {len(L)}", key="rhs")
    held = np.broadcast_to(held, (len(L),)).copy()
    texts = tuple(_spelled(row, value, coef) for row, value in zip(L, held, strict=True))
    return Restrictions(frozen(L), frozen(held), texts)


def _held(rhs: object) -> FloatArray:
    try:
        held = np.array(rhs, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        held = np.array(np.nan)
    if not np.isfinite(held).all():
        raise InputErrors.one(f"give finite numbers, not {rhs!r}", key="rhs")
    return held


def _from_mappings(rows: Sequence[Mapping[str, float]], coef: Sequence[str]) -> FloatArray:
    L, patterns = np.zeros((len(rows), len(coef))), _patterns(coef)
    problems = []
    for row, weights in zip(L, rows, strict=True):
        for written, weight in weights.items():
            name, length = _named(str(written), patterns)
            if name is None or length < len(str(written)):
                problems.append(_unknown(str(written), coef))
                continue
            try:
                row[coef.index(name)] += float(weight)
            except (TypeError, ValueError, OverflowError):
                row[coef.index(name)] = np.nan
            if not np.isfinite(row[coef.index(name)]):
                problems.append(
                    Problem(f"the weight of {name} is a finite number, not {weight!r}", key="L")
                )
    if problems:
        raise InputErrors(problems)
    return L


def _from_matrix(rows: object, coef: Sequence[str]) -> FloatArray:
    try:
        L = np.atleast_2d(np.array(rows, dtype=np.float64))
    except (TypeError, ValueError):
        raise InputErrors.one(
            "hypotheses are texts, mappings from coefficients to weights, or a matrix of numbers",
            key="L",
        ) from None
    if L.ndim != 2 or L.shape[1] != len(coef) or not len(L) or not np.isfinite(L).all():
        raise InputErrors.one(
            f"a matrix of hypotheses has one column of finite numbers for each of the {len(coef)} "
            f"coefficients ({', '.join(coef)}); this one has the shape {L.shape}",
            key="L",
        )
    return L


def _from_texts(texts: Sequence[str], coef: Sequence[str]) -> Restrictions:
    L, rhs = np.zeros((len(texts), len(coef))), np.zeros(len(texts))
    problems: list[Problem] = []
    for i, text in enumerate(texts):
        try:
            sides = _coded(text, coef).split("=")
            if len(sides) > 2:
                raise _unread(text, "it has more than one =")
            with np.errstate(over="ignore", invalid="ignore"):
                left, right = (_affine(side, text, len(coef)) for side in [*sides, "0"][:2])
                found = left - right
            if not np.isfinite(found).all():
                raise _unread(text, "its numbers are too large")
            if not found[:-1].any():
                raise _unread(text, "it is about no coefficient")
            L[i], rhs[i] = found[:-1], 0.0 - found[-1]
        except InputErrors as error:
            problems += error.problems
    if problems:
        raise InputErrors(problems)
    return Restrictions(frozen(L), frozen(rhs), tuple(" ".join(text.split()) for text in texts))


def _coded(text: str, coef: Sequence[str]) -> str:
    """The text with `_3` in place of the fourth coefficient's name, as Python can read it."""
    patterns = _patterns(coef)
    pieces, at, problems = [], 0, []
    while at < len(text):
        here = text[at:]
        name, length = _named(here, patterns)
        if name is not None:
            pieces.append(f" _{coef.index(name)} ")
            at += length
            continue
        word = _WORD.match(here)
        if word is not None:
            problems.append(_unknown(word.group().replace("`", ""), coef))
        token = (word or _NUMBER.match(here) or [here[0]])[0]
        pieces.append(token)
        at += len(token)
    if problems:
        raise InputErrors(problems)
    return "".join(pieces)


def _affine(side: str, text: str, p: int) -> FloatArray:
    """One side of an equation: weights (p,) of the coefficients, then the constant."""
    try:
        return _evaluate(ast.parse(side.strip(), mode="eval").body, text, p)
    except SyntaxError:
        raise _unread(text, "a product is written 2*x, a sum x + y") from None


def _patterns(coef: Sequence[str]) -> dict[str, re.Pattern[str]]:
    """How each name may be written: blanks beside signs and backticks may be there or not."""
    found = {}
    for name in coef:
        words, pattern = re.findall(r"\w+|[^\w\s`]", name), ""
        for one, following in zip(words, [*words[1:], ""], strict=True):
            both = re.match(r"\w", one) and re.match(r"\w", following)
            gap = (r"\s+" if both else r"[\s`]*") if following else ""
            pattern += re.escape(one) + gap
        # What follows must not make it another name.
        found[name] = re.compile(rf"(?:{re.escape(name)}|`?{pattern}`?)(?![\w.\[:(])")
    return found


def _named(text: str, patterns: Mapping[str, re.Pattern[str]]) -> tuple[str | None, int]:
    """The coefficient that the text starts with, and how much of the text its name takes.

    Of several the longest: a name may hold what looks like arithmetic, as `bs(x, df=3)[1]`.
    """
    matches = ((name, pattern.match(text)) for name, pattern in patterns.items())
    found = [(match.end(), text.startswith(name), name) for name, match in matches if match]
    length, _, name = max(found, default=(0, False, None))
    return name, length


def _evaluate(node: ast.expr, text: str, p: int) -> FloatArray:
    match node:
        case ast.Name(id=name):
            return np.asarray(np.eye(p + 1)[int(name[1:])])
        case ast.Constant(value=float() | int() as value):
            return np.append(np.zeros(p), float(value))
        case ast.UnaryOp(op=ast.UAdd() | ast.USub() as sign, operand=operand):
            return _evaluate(operand, text, p) * (-1 if isinstance(sign, ast.USub) else 1)
        case ast.BinOp(op=ast.Add() | ast.Sub() as sign, left=one, right=other):
            factor = -1 if isinstance(sign, ast.Sub) else 1
            return _evaluate(one, text, p) + factor * _evaluate(other, text, p)
        case ast.BinOp(op=ast.Mult() | ast.Div() as operator, left=one, right=other):
            left, right = _evaluate(one, text, p), _evaluate(other, text, p)
            if isinstance(operator, ast.Mult) and not left[:-1].any():
                return np.asarray(left[-1] * right)
            if not right[:-1].any() and (isinstance(operator, ast.Mult) or right[-1] != 0):
                factor = right[-1] if isinstance(operator, ast.Mult) else 1 / right[-1]
                return np.asarray(left * factor)
    raise _unread(text, "it may hold sums of coefficients times numbers, and nothing else")


def _unread(text: str, why: str) -> InputErrors:
    return InputErrors.one(f"the hypothesis '{text}' cannot be read: {why}", key="L")


def _unknown(name: str, coef: Sequence[str]) -> Problem:
    return Problem(
        f"'{name}' is not a coefficient of this model{nearest(name, coef)} "
        f"(coefficients: {', '.join(coef)})",
        key="L",
    )


def _spelled(row: FloatArray, value: float, coef: Sequence[str]) -> str:
    """A row of weights as a text: `ses - 2*hwh = 0`."""
    words = ""
    for weight, name in zip(row.tolist(), coef, strict=True):
        if weight:
            sign = ("-" if weight < 0 else "") if not words else (" - " if weight < 0 else " + ")
            words += sign + (name if abs(weight) == 1 else f"{abs(weight):.6g}*{name}")
    return f"{words or '0'} = {value:.6g}"
