"""A model in words and symbols: equations by level, formula, priors, sizes."""

from dataclasses import dataclass

from hlm_models.design.build import RandomBlock
from hlm_models.design.contrasts import Factor
from hlm_models.design.formula import names_in
from hlm_models.spec.model import ModelSpec
from hlm_models.spec.priors import BlockPrior, free_scales

__all__ = ["Description", "PriorRow", "describe"]

_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True, slots=True)
class PriorRow:
    """One parameter and its prior, with numbers."""

    parameter: str
    prior: str


@dataclass(frozen=True, slots=True)
class Description:
    """What `hlm show` prints.

    `equations` are (heading, lines) pairs, one a level; `sizes` maps rows and groups to counts;
    `factors` says how each factor is coded.
    """

    name: str
    about: str
    formula: str
    equations: tuple[tuple[str, tuple[str, ...]], ...]
    priors: tuple[PriorRow, ...]
    sizes: tuple[tuple[str, int], ...]
    factors: tuple[Factor, ...]
    parameterization: str
    notes: tuple[str, ...]

    def text(self) -> str:
        """The equations as plain text."""
        lines = []
        for heading, body in self.equations:
            lines += [heading, *(f"    {line}" for line in body)]
        return "\n".join(lines)


def describe(spec: ModelSpec) -> Description:
    """Equations, formula, priors with their numbers, and sizes of a model."""
    design = spec.design
    levels = _by_level(spec, spec.blocks[0]) if len(spec.blocks) == 1 else _composite(spec)
    sizes = [("rows", design.n), *((block.group, block.J) for block in spec.blocks)]
    return Description(
        name=spec.name,
        about=spec.about,
        formula=design.formula.text,
        equations=levels,
        priors=_prior_rows(spec),
        sizes=tuple(sizes),
        factors=design.factors,
        parameterization=f"{spec.parameterization}: {spec.parameterization_why}",
        notes=spec.notes,
    )


def _by_level(spec: ModelSpec, block: RandomBlock) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Raudenbush and Bryk's two levels: each row's equation, and the equations of its slopes."""
    design, group = spec.design, block.group
    macro = set(design.macro.get(group, ()))
    slopes: dict[str, list[tuple[str, list[str]]]] = {effect: [] for effect in block.effects}
    for name in design.coef:
        pieces = [] if name == "Intercept" else name.split(":")
        upper = [piece for piece in pieces if _reads_only(piece, macro)]
        lower = [piece for piece in pieces if piece not in upper]
        slopes.setdefault(":".join(lower) or "Intercept", []).append((name, upper))
    terms, second = [], []
    for k, (slope, coefficients) in enumerate(slopes.items()):
        varies = slope in block.effects or any(upper for _, upper in coefficients)
        symbol = f"α{str(k).translate(_SUBSCRIPTS)}" + ("ⱼ" if varies else "")
        terms.append(symbol if slope == "Intercept" else f"{symbol} {slope}ᵢ")
        right = [
            f"β[{name}]" + "".join(f" {piece}ⱼ" for piece in upper) for name, upper in coefficients
        ]
        if slope in block.effects:
            right.append(f"b[{slope}]ⱼ")
        second.append(f"{symbol} = {' + '.join(right)}")
    names = ", ".join(f"b[{effect}]ⱼ" for effect in block.effects)
    law = f"({names}) ~ N(0, Ψ)" if block.q > 1 else f"{names} ~ N(0, sd²)"
    if any(not term.correlated for term in block.terms) and block.q > 1:
        law += ",  Ψ " + _structure(block, spec.priors.blocks[0])
    return (
        (
            f"Level 1: rows i = 1..{design.n:,}",
            (f"{design.formula.response}ᵢ = {' + '.join(terms)}{_residual(spec)}",),
        ),
        (f"Level 2: {group} j = 1..{block.J:,}", (*second, law)),
    )


def _residual(spec: ModelSpec) -> str:
    """The end of a row's equation: the offset, if there is one, and the residual with its law."""
    design = spec.design
    offset = "" if design.offset_column is None else f" + {design.offset_column}ᵢ"
    if design.known_sd_column is not None:
        return f"{offset} + eᵢ,   eᵢ ~ N(0, {design.known_sd_column}ᵢ²), known"
    variance = "σ²" if design.weights_column is None else f"σ² / {design.weights_column}ᵢ"
    return f"{offset} + eᵢ,   eᵢ ~ N(0, {variance})"


def _reads_only(piece: str, columns: set[str]) -> bool:
    """Whether a factor of a coefficient's name is made of these columns alone."""
    plain = piece.partition("[")[0]
    if plain in columns:
        return True
    return (plain.isidentifier() or "(" in plain) and set(names_in(plain)) <= columns


def _composite(spec: ModelSpec) -> tuple[tuple[str, tuple[str, ...]], ...]:
    design = spec.design
    fixed = [f"β[{name}]" + ("" if name == "Intercept" else f" {name}ᵢ") for name in design.coef]
    random, laws = [], []
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        g = block.group
        for effect in block.effects:
            random.append(f"b_{g}[{effect}]" + ("" if effect == "Intercept" else f" {effect}ᵢ"))
        law = f"b_{g} ~ N(0, Ψ_{g}),   {block.J:,} levels"
        structured = block.q > 1 and any(not term.correlated for term in block.terms)
        laws.append(f"{law},  Ψ_{g} {_structure(block, prior)}" if structured else law)
    head = f"{design.formula.response}ᵢ = {' + '.join(fixed)}"
    if not spec.blocks:
        return ((f"Rows i = 1..{design.n:,}", (head + _residual(spec),)),)
    tail = f"     + {' + '.join(random)}{_residual(spec)}"
    return (
        (f"Rows i = 1..{design.n:,}", (head, tail)),
        ("Groups (each b is the one of the row's level)", tuple(laws)),
    )


def _structure(block: RandomBlock, prior: BlockPrior) -> str:
    shared = [
        term.text
        for term, covariance in zip(block.terms, prior.terms, strict=True)
        if covariance.structure == "shared" and term.q > 1
    ]
    if len(block.terms) == len(shared) == 1:
        return "= sd² I"
    words = "diagonal"
    if any(term.correlated for term in block.terms):
        words = "block diagonal: " + " and ".join(f"({term.text})" for term in block.terms)
    return words + "".join(f", one sd for ({text})" for text in shared)


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
