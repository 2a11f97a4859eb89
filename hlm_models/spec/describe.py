"""A model in words and symbols: equations by level, formula, priors, sizes."""

from dataclasses import dataclass

from hlm_models.design.build import RandomBlock
from hlm_models.design.contrasts import Factor
from hlm_models.design.formula import names_in
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.notation import (
    CLOSE,
    COMMA,
    EQUALS,
    GAP,
    OPEN,
    OVER,
    PLUS,
    SIM,
    SPACE,
    Line,
    Piece,
    Sign,
    Symbol,
    Words,
    joined,
    written,
)
from hlm_models.spec.priors import BlockPrior, free_scales

__all__ = ["Description", "Level", "PriorRow", "describe"]

_ZERO = Sign("0", "0")
_ASIDE = Sign(",  ", GAP.latex)


@dataclass(frozen=True, slots=True)
class PriorRow:
    """One parameter and its prior, with numbers."""

    parameter: str
    prior: str


@dataclass(frozen=True, slots=True)
class Level:
    """The equations of one level, under their heading."""

    heading: tuple[Piece, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Description:
    """What `hlm show` prints.

    `levels` has the equations, which `equations` and `latex` print as (heading, lines) pairs;
    `sizes` maps rows and groups to counts; `factors` says how each factor is coded.
    """

    name: str
    about: str
    formula: str
    levels: tuple[Level, ...]
    priors: tuple[PriorRow, ...]
    sizes: tuple[tuple[str, int], ...]
    factors: tuple[Factor, ...]
    parameterization: str
    notes: tuple[str, ...]

    @property
    def equations(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """In plain text."""
        return tuple(
            (written(one.heading), tuple(line.text for line in one.lines)) for one in self.levels
        )

    @property
    def latex(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """In LaTeX for math mode; `&` where lines are aligned."""
        return tuple(
            ("".join(piece.latex for piece in one.heading), tuple(line.latex for line in one.lines))
            for one in self.levels
        )

    def text(self) -> str:
        """The equations as plain text."""
        lines = []
        for heading, body in self.equations:
            lines += [heading, *(f"    {line}" for line in body)]
        return "\n".join(lines)

    def latex_source(self) -> str:
        """The equations as an `align*` of amsmath."""
        rows = []
        for heading, body in self.latex:
            rows += [f"&{heading}", *body]
        inner = " \\\\\n".join(rows)
        return f"\\begin{{align*}}\n{inner}\n\\end{{align*}}"


def describe(spec: ModelSpec) -> Description:
    """Equations, formula, priors with their numbers, and sizes of a model."""
    design = spec.design
    levels = _by_level(spec, spec.blocks[0]) if len(spec.blocks) == 1 else _composite(spec)
    sizes = [("rows", design.n), *((block.group, block.J) for block in spec.blocks)]
    return Description(
        name=spec.name,
        about=spec.about,
        formula=design.formula.text,
        levels=levels,
        priors=_prior_rows(spec),
        sizes=tuple(sizes),
        factors=design.factors,
        parameterization=f"{spec.parameterization}: {spec.parameterization_why}",
        notes=spec.notes,
    )


def _by_level(spec: ModelSpec, block: RandomBlock) -> tuple[Level, ...]:
    """Raudenbush and Bryk's two levels: each row's equation, and the equations of its slopes."""
    design, group = spec.design, block.group
    macro = set(design.macro.get(group, ()))
    slopes: dict[str, list[tuple[str, list[str]]]] = {effect: [] for effect in block.effects}
    for name in design.coef:
        pieces = [] if name == "Intercept" else _factors(name)
        upper = [piece for piece in pieces if _reads_only(piece, macro)]
        lower = [piece for piece in pieces if piece not in upper]
        slopes.setdefault(":".join(lower) or "Intercept", []).append((name, upper))
    terms: list[tuple[Piece, ...]] = []
    second: list[Line] = []
    for k, (slope, coefficients) in enumerate(slopes.items()):
        varies = slope in block.effects or any(upper for _, upper in coefficients)
        symbol = Symbol("α", index=str(k) + "j" * varies)
        terms.append((symbol,) if slope == "Intercept" else (symbol, SPACE, _of_row(slope)))
        right: list[tuple[Piece, ...]] = [
            joined(
                [
                    (Symbol("β", of=name),),
                    *((Symbol(piece, index="j", named=True),) for piece in upper),
                ],
                SPACE,
            )
            for name, upper in coefficients
        ]
        if slope in block.effects:
            right.append((_deviation(slope),))
        second.append(Line((symbol, EQUALS, *joined(right, PLUS))))
    names = joined([(_deviation(effect),) for effect in block.effects], COMMA)
    law: tuple[Piece, ...] = (*names, *_normal(Symbol("sd", squared=True)))
    if block.q > 1:
        law = (OPEN, *names, CLOSE, *_normal(Symbol("Ψ")))
    if _has_zeros(block):
        law += (_ASIDE, Symbol("Ψ"), *_structure(block, spec.priors.blocks[0]))
    row = (_of_row(design.formula.response), EQUALS, *joined(terms, PLUS), *_residual(spec))
    return (
        Level(_rows(design.n, "Level 1: rows "), (Line(row),)),
        Level(
            (Words(f"Level 2: {group} "), Symbol("j"), EQUALS, _up_to(block.J)),
            (*second, Line(law)),
        ),
    )


def _of_row(name: str) -> Symbol:
    return Symbol(name, index="i", named=True)


def _deviation(effect: str) -> Symbol:
    """What a level's effect is off the mean of all."""
    return Symbol("b", of=effect, index="j")


def _normal(*variance: Piece) -> tuple[Piece, ...]:
    return (SIM, Symbol("N"), OPEN, _ZERO, COMMA, *variance, CLOSE)


def _rows(n: int, words: str) -> tuple[Piece, ...]:
    return (Words(words), Symbol("i"), EQUALS, _up_to(n))


def _up_to(count: int) -> Sign:
    number = f"{count:,}".replace(",", "{,}")
    return Sign(f"1..{count:,}", rf"1, \dots, {number}")


def _residual(spec: ModelSpec) -> tuple[Piece, ...]:
    """The end of a row's equation: the offset, if there is one, and the residual with its law."""
    design, e = spec.design, Symbol("e", index="i")
    offset = () if design.offset_column is None else (PLUS, _of_row(design.offset_column))
    start: tuple[Piece, ...] = (*offset, PLUS, e, GAP, e)
    if design.known_sd_column is not None:
        known = Symbol(design.known_sd_column, index="i", squared=True, named=True)
        return (*start, *_normal(known), COMMA, Words("known"))
    variance: tuple[Piece, ...] = (Symbol("σ", squared=True),)
    if design.weights_column is not None:
        variance += (OVER, _of_row(design.weights_column))
    return (*start, *_normal(*variance))


def _factors(name: str) -> list[str]:
    """What a coefficient's name is a product of; a colon in a level's label parts nothing."""
    found, depth = [""], 0
    for letter in name:
        depth += (letter in "([") - (letter in ")]")
        if letter == ":" and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return found


def _reads_only(piece: str, columns: set[str]) -> bool:
    """Whether a factor of a coefficient's name is made of these columns alone."""
    plain = piece.partition("[")[0]
    if plain in columns:
        return True
    return (plain.isidentifier() or "(" in plain) and set(names_in(plain)) <= columns


def _composite(spec: ModelSpec) -> tuple[Level, ...]:
    design = spec.design
    fixed: list[tuple[Piece, ...]] = [
        (Symbol("β", of=name), *(() if name == "Intercept" else (SPACE, _of_row(name))))
        for name in design.coef
    ] or [(_ZERO,)]
    random: list[tuple[Piece, ...]] = []
    laws = []
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        group, Psi = block.group, Symbol("Ψ", group=block.group)
        for effect in block.effects:
            b = Symbol("b", of=effect, group=group)
            random.append((b,) if effect == "Intercept" else (b, SPACE, _of_row(effect)))
        law = (Symbol("b", group=group), *_normal(Psi), GAP, Words(f"{block.J:,} levels"))
        aside = (_ASIDE, Psi, *_structure(block, prior)) if _has_zeros(block) else ()
        laws.append(Line((*law, *aside)))
    head = (_of_row(design.formula.response), EQUALS, *joined(fixed, PLUS))
    if not spec.blocks:
        return (Level(_rows(design.n, "Rows "), (Line((*head, *_residual(spec))),)),)
    tail = (*joined(random, PLUS), *_residual(spec))
    return (
        Level(_rows(design.n, "Rows "), (Line(head), Line(tail, further=True))),
        Level((Words("Groups (each b is the one of the row's level)"),), tuple(laws)),
    )


def _has_zeros(block: RandomBlock) -> bool:
    """Whether some of a group's effects are independent of others."""
    return block.q > 1 and (len(block.terms) > 1 or not block.terms[0].correlated)


def _structure(block: RandomBlock, prior: BlockPrior) -> tuple[Piece, ...]:
    """What is said of a covariance with zeros, behind its symbol."""
    shared = [
        term.text
        for term, covariance in zip(block.terms, prior.terms, strict=True)
        if covariance.structure == "shared" and term.q > 1
    ]
    if len(block.terms) == len(shared) == 1:
        return (EQUALS, Symbol("sd", squared=True), SPACE, Symbol("I"))
    words = "diagonal"
    if any(term.correlated for term in block.terms):
        words = "block diagonal: " + " and ".join(f"({term.text})" for term in block.terms)
    return (Words(" " + words + "".join(f", one sd for ({text})" for text in shared)),)


def _prior_rows(spec: ModelSpec) -> tuple[PriorRow, ...]:
    rows = [
        PriorRow(f"beta[{name}]", str(prior))
        for name, prior in zip(spec.design.coef, spec.priors.beta, strict=True)
    ]
    joint = spec.priors.shrinkage
    if joint is not None:
        rows += [PriorRow(name, text) for name, text in joint.law.rows(joint.count)]
    for block, of_block in zip(spec.blocks, spec.priors.blocks, strict=True):
        for term, covariance in zip(block.terms, of_block.terms, strict=True):
            names = [name for name, _, _ in free_scales(block, term, covariance)]
            rows += [
                PriorRow(name, text)
                for name, text in covariance.rows(block.group, term.text, names)
            ]
    if spec.priors.sigma is not None:
        rows.append(PriorRow("sigma", str(spec.priors.sigma)))
    return tuple(rows)
