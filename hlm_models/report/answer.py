"""What a fit answers, in two sentences: what its coefficients say, and how far to believe them."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from hlm_models.comparison.agreement import Agreement
from hlm_models.data.table import NumberColumn
from hlm_models.design.build import Design
from hlm_models.design.contrasts import Factor
from hlm_models.design.formula import names_in
from hlm_models.report.findings import VarianceSplit
from hlm_models.report.tables import percent, rounded
from hlm_models.results.checks import Check
from hlm_models.results.summary import DrawRow, PointRow

__all__ = ["Estimate", "answer", "estimates"]

TOLD = 3
"""Coefficients, or parameters that disagree, that are told one by one."""

CURVE = re.compile(r"(poly|bs)\(")


@dataclass(frozen=True, slots=True)
class Estimate:
    """A parameter's mean and sd in a posterior, or its estimate and standard error; and the 95%."""

    name: str
    value: float
    error: float
    lower: float
    upper: float

    @property
    def sure(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.lower > 0 or self.upper < 0

    @property
    def distance(self) -> float:
        """How far from 0, in its own error."""
        return abs(self.value) / self.error if self.error > 0 else math.inf


def estimates(draws: Sequence[DrawRow], points: Sequence[PointRow]) -> list[Estimate]:
    """What is told of each parameter: the posterior, or the point fit where there is none."""
    if draws:
        return [Estimate(one.name, one.mean, one.sd, one.lower, one.upper) for one in draws]
    return [Estimate(one.name, one.estimate, one.se, one.lower, one.upper) for one in points]


def answer(
    design: Design,
    estimates: Mapping[str, Estimate],
    *,
    units: Mapping[str, str],
    split: VarianceSplit | None,
    agreement: Agreement | None,
    engines: Sequence[str],
    checks: Sequence[tuple[str, Check]],
) -> tuple[str, str]:
    """The two sentences; the first one says so where a check has failed.

    Parameters
    ----------
    estimates : of all parameters, by name
    units : of columns, as far as they are known
    split : where the variance of the response lies
    checks : with the engine of each
    """
    said = _Words(design, units, estimates).first()
    failed = list(dict.fromkeys(f"{one.code} ({by})" for by, one in checks if one.status == "fail"))
    if failed:
        said = f"Not to be used before {_listed(failed)} {_is(failed)} mended: {said}"
    else:
        said = said[0].upper() + said[1:] if _starts_with_a_word(said) else said
    second = (_shares(design, split), _trust(agreement), _checked(engines, checks))
    return f"{said}.", _sentence("; ".join(part for part in second if part))


@dataclass(frozen=True)
class _Words:
    """The coefficients of one fit in words."""

    design: Design
    units: Mapping[str, str]
    estimates: Mapping[str, Estimate]

    @property
    def response(self) -> str:
        return self.design.formula.response

    @property
    def subject(self) -> str:
        """The response, with its unit where that is too long to stand behind every number."""
        unit = self.units.get(self.response, "")
        return f"{self.response} ({unit})" if unit and not unit.isalpha() else self.response

    def first(self) -> str:
        """What the coefficients say, or where there is none but a mean, what it is."""
        by_name = {name: self.estimates[f"beta[{name}]"] for name in self.design.coef}
        parts = {name: one for name, one in self.parts.items() if name != "Intercept"}
        means = {name: part.given for name, part in parts.items() if not part.contrasts}
        curved = self._curved([name for name in parts if name not in means])
        told = [name for name in parts if name not in means and name not in curved]
        if not told and not curved:
            return self._mean(means)
        sure = sorted(
            (name for name in told if by_name[name].sure), key=lambda n: -by_name[n].distance
        )
        unsure = [name for name in told if name not in sure]
        single = [name for name in sure[:TOLD] if len(parts[name].contrasts) == 1]
        said = []
        if single:
            columns = {one for part in parts.values() for one in self._columns(part)}
            held = "with the other predictors held, " if len(columns) > 1 else ""
            main = [self._main(parts[name], by_name[name]) for name in single]
            said.append(f"{held}{self.subject} is {_listed(main)}")
            said += self._spreads([parts[name].contrasts[0] for name in single])
        said += [
            self._joint(name, parts[name], by_name[name])
            for name in sure[:TOLD]
            if name not in single
        ]
        said += [
            f"{self.subject} changes along {_listed(sorted(of))} in a curve "
            f"({_listed(names)}), whose coefficients say little one by one"
            for of, names in self._curves(curved)
        ]
        if len(sure) > TOLD:
            said.append(f"away from 0 too: {_listed(_some(sure[TOLD:]))}")
        if unsure:
            some = _some([f"{name} ({_range(by_name[name])})" for name in unsure])
            start = "" if said else f"no coefficient of {self.subject} is clearly away from 0: "
            said.append(f"{start}the sign is uncertain for {_listed(some)}")
        return "; ".join(said)

    def _mean(self, cells: Mapping[str, Sequence[str]]) -> str:
        """A model without predictors, or with the means of a factor's levels."""
        if cells:
            some = [
                f"{self._amount(one)} where {_listed([self._held(piece) for piece in given])} "
                f"(95% interval {_range(one)})"
                for name, given in cells.items()
                for one in [self.estimates[f"beta[{name}]"]]
            ]
            return f"the mean of {self.subject} is {_listed(_some(some))}"
        slopes = [e for b in self.design.blocks for e in b.effects if e != "Intercept"]
        where = f" where {_listed(sorted(set(slopes)))} {_is(set(slopes))} 0" if slopes else ""
        parts = []
        if "Intercept" in self.design.coef:
            one = self.estimates["beta[Intercept]"]
            parts.append(
                f"the mean of {self.subject}{where} is {self._amount(one)} "
                f"(95% interval {_range(one)}{'' if one.sure else ', its sign uncertain'})"
            )
        else:
            parts.append(f"{self.subject} varies around 0, having no mean in this model")
        sds = [
            f"{self._amount(one)}{_bracketed(one)} between levels of {block.group}"
            f"{'' if one.value else ', at its limit'}"
            for block in self.design.blocks
            for one in [self.estimates.get(f"sd_{block.group}[Intercept]")]
            if one is not None
        ]
        if sds:
            parts.append(f"it varies with a standard deviation of {_listed(sds)}")
        return ", and ".join(parts)

    def _main(self, part: "_Parts", one: Estimate) -> str:
        """`higher by 3.9 points per unit of ses (95% interval 3.6 to 4.1)`."""
        [piece] = part.contrasts
        way = "higher" if one.value > 0 else "lower"
        words = [f"{way} by {self._amount(one, size=True)} {self._contrast(piece)}"]
        where = self._where(part)
        over = [block.group for block in self.design.blocks if piece in block.effects]
        words += [f"where {_listed(where)}"] if where else []
        words += [f"on average over the levels of {_listed(over)}"] if over else []
        return f"{', '.join(words)} (95% interval {_range(one)})"

    def _spreads(self, pieces: Sequence[str]) -> list[str]:
        """How much the effects of predictors differ between the levels of groups."""
        return [
            f"the effect of {piece} differs between levels of {block.group} with a standard "
            f"deviation of {self._amount(one)}{_bracketed(one)}"
            f"{'' if one.value else ', at its limit'}"
            for piece in pieces
            for block in self.design.blocks
            for one in [self.estimates.get(f"sd_{block.group}[{piece}]")]
            if one is not None
        ]

    def _joint(self, name: str, part: "_Parts", one: Estimate) -> str:
        """What an interaction does to the effect of its first part."""
        if len(part.contrasts) > 2:
            return (
                f"{_listed(part.contrasts)} act together: the coefficient of {name} is "
                f"{_range(one)} (95% interval)"
            )
        varying = {effect for block in self.design.blocks for effect in block.effects}
        inner, outer = sorted(part.contrasts, key=lambda piece: piece not in varying)
        way = "higher" if one.value > 0 else "lower"
        where = self._where(part)
        return (
            f"{self._change(inner)} is {way} by {self._amount(one, size=True)} "
            f"{self._contrast(outer)}{f', where {_listed(where)},' if where else ''} "
            f"(95% interval {_range(one)})"
        )

    @cached_property
    def pieces(self) -> dict[str, list[str]]:
        """The pieces of every coefficient's name."""
        return {name: _pieces(name) for name in self.design.coef}

    @cached_property
    def parts(self) -> "dict[str, _Parts]":
        """The differences that every coefficient is of, and the levels that it is in."""
        found = {}
        for name, pieces in self.pieces.items():
            given = [at for at in range(len(pieces)) if self._whole(pieces, at)]
            found[name] = _Parts(
                tuple(piece for at, piece in enumerate(pieces) if at not in given),
                tuple(pieces[at] for at in given),
            )
        return found

    def _whole(self, pieces: Sequence[str], at: int) -> bool:
        """Whether every level of a factor has such a coefficient, so that it is no difference."""
        factor = self._factor(pieces[at])
        if factor is None:
            return False
        stems = {
            _level(found[at])
            for found in self.pieces.values()
            if len(found) == len(pieces)
            and self._factor(found[at]) == factor
            and [*found[:at], *found[at + 1 :]] == [*pieces[:at], *pieces[at + 1 :]]
        }
        return stems >= set(factor.levels)

    def _where(self, part: "_Parts") -> list[str]:
        """Levels that the coefficient is in, and where what it interacts with stands."""
        found = [self._held(piece) for piece in part.given]
        for other in self.parts.values():
            pieces = (*other.contrasts, *other.given)
            if all(any(self._same(mine, one) for one in pieces) for mine in part.contrasts):
                found += [
                    self._at_rest(one)
                    for one in other.contrasts
                    if not any(self._same(piece, one) for piece in part.contrasts)
                ]
        return list(dict.fromkeys(found))

    def _held(self, piece: str) -> str:
        factor = self._factor(piece)
        return f"{factor.name if factor else piece} is {_level(piece)}"

    def _amount(self, one: Estimate, *, size: bool = False) -> str:
        value = rounded(abs(one.value) if size else one.value, one.error)
        unit = self.units.get(self.response, "")
        return f"{value} {unit}" if unit.isalpha() else value

    def _contrast(self, piece: str) -> str:
        """Between what and what a coefficient is a difference."""
        factor = self._factor(piece)
        if factor is not None:
            level = _level(piece)
            if factor.contrast == "sum":
                return f"where {factor.name} is {level} than on average over its levels"
            return f"where {factor.name} is {level} than where it is {self._reference(factor)}"
        if self._binary(piece):
            return f"where {piece} is 1 than where it is 0"
        unit = self.units.get(piece, "")
        return f"per unit of {piece}" + (f" ({unit})" if unit and unit != piece else "")

    def _change(self, piece: str) -> str:
        """What an interaction changes."""
        factor = self._factor(piece)
        if factor is not None:
            average = factor.contrast == "sum"
            other = "the average" if average else f"{factor.name} = {self._reference(factor)}"
            ends = f"between {factor.name} = {_level(piece)} and {other}"
        elif self._binary(piece):
            ends = f"between {piece} = 1 and {piece} = 0"
        else:
            return f"the change of {self.response} {self._contrast(piece)}"
        return f"the difference of {self.response} {ends}"

    def _binary(self, piece: str) -> bool:
        column = self.design.table.columns.get(piece)
        if not isinstance(column, NumberColumn):
            return False
        return bool(((column.values == 0) | (column.values == 1)).all())

    def _at_rest(self, piece: str) -> str:
        """Where a partner of an interaction stands when the main coefficient is the difference."""
        factor = self._factor(piece)
        if factor is None:
            return f"{piece} is 0"
        if factor.contrast == "sum":
            return f"{factor.name} is averaged over its levels"
        return f"{factor.name} is {self._reference(factor)}"

    def _reference(self, factor: Factor) -> str:
        """The level that treatment columns are differences from."""
        coded = {
            _level(piece)
            for part in self.parts.values()
            for piece in part.contrasts
            if self._factor(piece) == factor
        }
        return next((one for one in factor.levels if one not in coded), factor.levels[0])

    def _factor(self, piece: str) -> Factor | None:
        found = [one for one in self.design.factors if piece.startswith(f"{one.name}[")]
        return found[0] if found else None

    def _same(self, piece: str, other: str) -> bool:
        one, two = self._factor(piece), self._factor(other)
        return piece == other or (one is not None and one == two)

    def _columns(self, part: "_Parts") -> tuple[str, ...]:
        """What a coefficient reads."""
        return tuple(
            column
            for piece in (*part.contrasts, *part.given)
            for factor in [self._factor(piece)]
            for column in ([factor.name] if factor else _reads(piece))
        )

    def _curved(self, names: Sequence[str]) -> tuple[str, ...]:
        """Coefficients of columns that enter by several functions of themselves."""
        reads: dict[str, set[str]] = {}
        for name in names:
            if len(_pieces(name)) == 1 and self._factor(name) is None:
                for column in _reads(name):
                    reads.setdefault(column, set()).add(name)
        many = {one for of in reads.values() if len(of) > 1 for one in of}
        return tuple(
            name
            for name in names
            if any(CURVE.match(piece) or piece in many for piece in _pieces(name))
        )

    def _curves(self, names: Sequence[str]) -> list[tuple[set[str], list[str]]]:
        """The curved terms by the columns that they read."""
        found: list[tuple[set[str], list[str]]] = []
        for name in names:
            term = ":".join(
                _stem(piece) if CURVE.match(piece) else piece for piece in _pieces(name)
            )
            columns = {
                one
                for piece in _pieces(name)
                if self._factor(piece) is None
                for one in _reads(piece)
            }
            for known, terms in found:
                if known & columns:
                    known.update(columns)
                    if term not in terms:
                        terms.append(term)
                    break
            else:
                found.append((columns, [term]))
        return found


@dataclass(frozen=True, slots=True)
class _Parts:
    """Pieces of a coefficient's name: differences, and levels of factors that it is in."""

    contrasts: tuple[str, ...]
    given: tuple[str, ...]


def _shares(design: Design, split: VarianceSplit | None) -> str:
    """How much of the variance lies between groups; without groups, what predictors account for."""
    if split is None:
        return ""
    response = design.formula.response
    predictors = [name for name in design.coef if name != "Intercept"]
    if not design.blocks:
        if not predictors:
            return f"the model has no groups, so all variance of {response} is between rows"
        return (
            f"the predictors account for {percent(split.marginal)} of the variance of "
            f"{response}, and the model has no groups"
        )
    of = f"that the predictors leave in {response}" if predictors else f"of {response}"
    groups = [
        f"{percent(row.share)} {'lies between levels' if not k else ''}".rstrip()
        + f" of {row.group}"
        for k, row in enumerate(split.groups)
    ]
    known = "is the known error of the rows" if design.sigma is not None else "lies within them"
    return f"of the variance {of}, {_listed(groups)}, and the rest {known}"


def _trust(found: Agreement | None) -> str:
    """Whether the two engines say the same."""
    if found is None or not found.rows:
        return ""
    who = f"the two ways of fitting, {found.posterior} and {found.reference},"
    others = [row.parameter for row in found.rows if row.verdict in ("shifted", "spread")]
    edge = sum(row.verdict == "boundary" for row in found.rows)
    rest = (
        f" ({edge} cannot be compared: {found.reference} has {_it(edge)} on the boundary)"
        if edge
        else ""
    )
    count = len(found.rows) - edge
    told = {1: "the one parameter", 2: "both parameters"}.get(count, f"all {count} parameters")
    if count == 0:
        return f"{who} cannot be compared, {found.reference} being on the boundary"
    if not others:
        return f"{who} agree on {told}{rest}"
    some = _listed(_some(others))
    if count == len(others):
        return f"{who} differ in {some}{rest}"
    return f"{who} agree on {count - len(others)} of {count} parameters, not on {some}{rest}"


def _checked(engines: Sequence[str], checks: Sequence[tuple[str, Check]]) -> str:
    codes = {
        status: list(dict.fromkeys(one.code for _, one in checks if one.status == status))
        for status in ("fail", "warn")
    }
    by = f" of {_listed(engines)}"
    if not checks:
        return f"nothing{by} was checked"
    parts = [
        f"{_listed(found)} {word}{_third(found)}"
        for (status, found), word in zip(codes.items(), ("fail", "warn"), strict=True)
        if found
    ]
    if not parts:
        return f"{'all ' if len(checks) > 1 else ''}{len(checks)} check{_s(len(checks))}{by} passed"
    passed = sum(one.status == "pass" for _, one in checks)
    return f"{passed} of the {len(checks)} checks{by} passed, and {_listed(parts)}"


def _pieces(name: str) -> list[str]:
    """The parts of a coefficient's name between colons that are in no brackets."""
    parts, depth, quoted = [""], 0, False
    for char in name:
        quoted ^= char == "`"
        depth += (char in "([") - (char in ")]")
        if char == ":" and depth <= 0 and not quoted:
            parts.append("")
        else:
            parts[-1] += char
    return parts


def _stem(piece: str) -> str:
    """A function without the number of its column."""
    return re.sub(r"\[\d+\]$", "", piece)


def _reads(piece: str) -> tuple[str, ...]:
    """The columns of a piece that is no level of a factor."""
    return names_in(_stem(piece)) if "(" in piece else (piece,)


def _level(piece: str) -> str:
    return piece[piece.index("[", 0) + 1 : -1] if "[" in piece else piece


def _range(one: Estimate) -> str:
    if not math.isfinite(one.lower):
        return rounded(one.value, one.error)
    return f"{rounded(one.lower, one.error)} to {rounded(one.upper, one.error)}"


def _bracketed(one: Estimate) -> str:
    return f" ({_range(one)})" if math.isfinite(one.lower) else ""


def _listed(parts: Sequence[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _some(parts: Sequence[str]) -> list[str]:
    """The first few, and how many there are more."""
    more = len(parts) - TOLD
    return [*parts[:TOLD], *([f"{more} more"] if more > 0 else [])]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _starts_with_a_word(text: str) -> bool:
    """Whether it begins with a word of ours, which may be written large, and not with a name."""
    return text.startswith(("the ", "with ", "no "))


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _is(things: object) -> str:
    return "is" if len(list(things)) == 1 else "are"  # type: ignore[call-overload]


def _it(count: int) -> str:
    return "it" if count == 1 else "them"


def _third(found: Sequence[str]) -> str:
    return "s" if len(found) == 1 else ""
