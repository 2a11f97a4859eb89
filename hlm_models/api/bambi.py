"""Models to Bambi and from it, with the same posterior (docs/bambi.md says what does not go)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from hlm_models.errors import InputErrors, RefusalError
from hlm_models.parts.priors import Place, Prior
from hlm_models.types import FloatArray

if TYPE_CHECKING:
    import bambi as bmb
    import pandas as pd

    from hlm_models.design.build import RandomBlock
    from hlm_models.design.formula import RandomTerm
    from hlm_models.spec.model import ModelSpec

__all__ = ["from_bambi", "to_bambi"]

WORDS: Mapping[tuple[str, Place], tuple[str, Mapping[str, str]]] = {
    ("normal", "location"): ("Normal", {"loc": "mu", "scale": "sigma"}),
    ("student_t", "location"): ("StudentT", {"df": "nu", "loc": "mu", "scale": "sigma"}),
    ("uniform", "location"): ("Uniform", {"lower": "lower", "upper": "upper"}),
    ("flat", "location"): ("Flat", {}),
    ("half_normal", "scale"): ("HalfNormal", {"scale": "sigma"}),
    ("half_student_t", "scale"): ("HalfStudentT", {"df": "nu", "scale": "sigma"}),
    ("exponential", "scale"): ("Exponential", {"scale": "scale"}),
    ("uniform", "scale"): ("Uniform", {"lower": "lower", "upper": "upper"}),
    ("flat", "scale"): ("HalfFlat", {}),
}
"""A prior and where it stands: its name in PyMC, which is Bambi's, and those of its settings."""

ALSO: Mapping[str, tuple[str, Mapping[str, str], Mapping[str, float]]] = {
    "Cauchy": ("student_t", {"loc": "alpha", "scale": "beta"}, {"df": 1.0}),
    "HalfCauchy": ("half_student_t", {"scale": "beta"}, {"df": 1.0}),
}
"""Names of PyMC for what has another name here, with what is then fixed."""

DEFAULTS = {"mu": 0.0, "sigma": 1.0, "lower": 0.0, "upper": 1.0, "scale": 1.0}
"""What PyMC takes a setting to be that is not given."""

OTHERWISE = ("bs", "poly", "scale")
"""Calls of a formula that the two compute differently."""

KNOWN = re.compile(r"sigma\s*~\s*0\s*\+\s*offset\(log\((?:`(?P<quoted>[^`]+)`|(?P<name>\w+))\)\)")
"""How a formula of Bambi says that residual standard deviations are a column."""


@dataclass(frozen=True)
class Column:
    """One column of a Bambi term: values (n,), and its place in that term."""

    term: str
    place: int
    values: FloatArray


def to_bambi(spec: "ModelSpec") -> "bmb.Model":
    """The model as a `bambi.Model` with the same posterior, not built yet.

    It has the rows that the model uses, its formula with every random term as independent
    effects, and every prior with its numbers; the intercept stands at zero of every predictor,
    `center_predictors=False`. Settings of sampling are not part of a Bambi model.

    Raises
    ------
    RefusalError
        Bambi cannot say this model: everything that it cannot say, each with its repair.
    """
    from hlm_models.spec.model import ModelSpec

    if not isinstance(spec, ModelSpec):
        raise InputErrors.one(
            f"to_bambi takes a model, hlm.build(...), and this is {type(spec).__name__}", key="spec"
        )
    reasons = list(_unsaid(spec))
    if reasons:
        raise _refused("Bambi cannot say this model", reasons)
    import bambi as bmb

    design = spec.design
    formula = design.formula
    sides = [_bracketed(formula.common), *(f"offset({_quoted(name)})" for name in _offsets(spec))]
    sides += [f"({_effects(term)}|{_quoted(term.group)})" for term in formula.random]
    text = f"{formula.response} ~ {' + '.join(sides)}"
    frame = _rows(spec)
    known = design.known_sd_column
    model = bmb.Model(
        text if known is None else bmb.Formula(text, f"sigma ~ 0 + offset(log({_quoted(known)}))"),
        frame,
        auto_scale=False,
        noncentered=spec.parameterization != "centered",
        center_predictors=False,
        extra_namespace={"sqrt": np.sqrt},
    )
    common, groups = _matched(spec, model)
    priors = dict(_said(common, spec.priors.beta, "location"))
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        scales = [one for term in prior.terms for one in term.sd_priors()]
        for term, sd in _said(groups[block.group], scales, "scale"):
            priors[term] = bmb.Prior("Normal", mu=0, sigma=sd)
    if spec.priors.sigma is not None:
        [(_, priors["sigma"])] = _said([Column("sigma", 0, design.y)], [spec.priors.sigma], "scale")
    model.set_priors(priors)
    return model


def from_bambi(
    model: "bmb.Model",
    *,
    name: str = "model",
    intercept: Literal["exact", "marginal"] = "exact",
) -> "ModelSpec":
    """The model of a `bambi.Model`, built or not, with the same posterior.

    Priors that Bambi scaled to the data come with their numbers. Parameterization and settings of
    sampling are not taken over: they are no part of the posterior.

    Parameters
    ----------
    name : of the model
    intercept : Bambi centres predictors by default, and its prior of the intercept is then of the
        expected response at their means, which is no prior of the intercept at zero: "exact"
        refuses it; "marginal" takes the distribution that it gives the intercept at zero, where
        priors of coefficients are normal, and leaves out that it depends on them

    Raises
    ------
    RefusalError
        what this package cannot say: another family, a prior that it does not have, ...
    InputErrors
        `model` is no Bambi model, or `build` finds its data or its formula wrong.
    """
    import bambi as bmb

    from hlm_models.api.models import build

    if not isinstance(model, bmb.Model):
        raise InputErrors.one(
            f"from_bambi takes a bambi.Model, and this is {type(model).__name__}", key="model"
        )
    if intercept not in ("exact", "marginal"):
        raise InputErrors.one(f"{intercept!r} is neither exact nor marginal", key="intercept")
    reasons = list(_unread(model))
    if reasons:
        raise _refused("this Bambi model cannot be said here", reasons)
    settings: dict[str, Any] = {
        "schema": 1,
        "name": name,
        "data": {"source": "frame", "missing": "drop" if model.dropna else "error"},
        "formula": _formula(model),
    }
    known = _known(model)
    if known:
        settings["residual"] = {"kind": "known", "sd": known}
    columns = build(settings, data=model.data)
    common, groups = _matched(columns, model)
    terms = model.parameters["mu"].terms
    beta: dict[str, Mapping[str, Any]] = {
        coef: _heard(terms[column.term].prior, "location", column)
        for coef, column in zip(columns.design.coef, common, strict=True)
    }
    if "Intercept" in beta and model.center_predictors:
        beta["Intercept"] = _at_zero(beta, columns.design.X.mean(axis=0), intercept)
    settings["priors"] = {
        "beta": beta,
        "groups": {
            block.group: _scales(block, groups[block.group], terms) for block in columns.blocks
        },
    }
    if not known:
        sigma = Column("sigma", 0, columns.design.y)
        settings["priors"]["sigma"] = _heard(model.parameters["sigma"].prior, "scale", sigma)
    return build(settings, data=model.data)


def _refused(what: str, reasons: Sequence[str]) -> RefusalError:
    return RefusalError(f"{what}: {'; '.join(dict.fromkeys(reasons))}")


def _unsaid(spec: "ModelSpec") -> Iterator[str]:
    """What Bambi cannot say of a model, each with its repair."""
    design = spec.design
    yield from _unsaid_effects(spec)
    if spec.priors.shrinkage is not None:
        yield (
            f"the prior {spec.config['priors']['beta']['kind']} is one of several coefficients "
            "together: give each its own"
        )
    own = [(design.coef[k], prior) for k, prior in spec.priors.own]
    yield from _unsaid_priors(own, "location", "the coefficient {}")
    if spec.priors.sigma is not None:
        yield from _unsaid_priors([("sigma", spec.priors.sigma)], "scale", "{}")
    if design.weights_column is not None:
        yield (
            f"weights divide the residual variance here ({design.weights_column}), and Bambi's "
            "weighted() raises a row's likelihood to a power: leave them out"
        )
    yield from _unsaid_columns(spec)


def _unsaid_effects(spec: "ModelSpec") -> Iterator[str]:
    for block, prior in zip(spec.blocks, spec.priors.blocks, strict=True):
        for term, covariance in zip(block.terms, prior.terms, strict=True):
            if term.correlated:
                yield (
                    f"({term.text}) has correlated effects, and Bambi's are independent: "
                    f"write ({term.text.replace(' | ', ' || ')})"
                )
            elif covariance.kind != "diagonal":
                yield (
                    f"the prior {covariance.kind} of ({term.text}) is not one of independent "
                    "standard deviations: use diagonal"
                )
            else:
                yield from _unsaid_priors(
                    zip(block.effects[term.columns], covariance.sd_priors(), strict=True),
                    "scale",
                    f"the standard deviation of {block.group}[{{}}]",
                )


def _unsaid_columns(spec: "ModelSpec") -> Iterator[str]:
    from hlm_models.design.formula import names_in

    design, formula = spec.design, spec.design.formula
    for factor in design.factors:
        if factor.contrast == "sum" or factor.reference not in (None, factor.levels[0]):
            yield f"{factor.name} has contrasts of its own: derive columns of 0 and 1"
    sides = (formula.response, formula.common, *(term.effects for term in formula.random))
    for call in OTHERWISE:
        if any(re.search(rf"\b{call}\s*\(", side) for side in sides):
            yield f"{call}() has other columns in Bambi: derive them"
    taken = {"mu", "sigma", "common", "group_specific", *names_in(formula.response)}
    for coef in design.coef:
        if coef in taken:
            yield f"the coefficient {coef} has a name that Bambi uses: derive a column"


def _unsaid_priors(named: Any, place: Place, what: str) -> Iterator[str]:
    possible = ", ".join(kind for kind, where in WORDS if where == place)
    for name, prior in named:
        if (prior.kind, place) not in WORDS:
            yield f"the prior {prior.kind} of {what.format(name)}: use one of {possible}"


def _offsets(spec: "ModelSpec") -> tuple[str, ...]:
    column = spec.design.offset_column
    return () if column is None else (column,)


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name) else f"`{name}`"


def _effects(term: "RandomTerm") -> str:
    """The effects of a term with their constant in front: Bambi reads it nowhere else."""
    hidden = re.sub(r"`[^`]*`", lambda quoted: "_" * len(quoted[0]), term.effects)
    while "(" in hidden:
        hidden = re.sub(r"\([^()]*\)", lambda inner: "_" * len(inner[0]), hidden)
    rest, signs = term.effects, ""
    for found in reversed([*re.finditer(r"(?:^|[-+])\s*[01]\s*(?=[-+]|$)", hidden)]):
        signs += found[0].replace(" ", "")
        rest = rest[: found.start()] + rest[found.end() :]
    constant = "0" if "-1" in signs or "0" in signs else "1"
    rest = rest.strip().removeprefix("+").strip()
    return f"{constant} + {rest}" if rest else constant


def _bracketed(common: str) -> str:
    """The common part, which may begin by a sign that must not meet another."""
    return f"0 {common}" if common.startswith("-") else common


def _rows(spec: "ModelSpec") -> "pd.DataFrame":
    """The rows that a model uses; a group of crossed factors has a column of its own."""
    import pandas as pd

    formula = spec.design.formula
    frame = spec.design.table.frame()
    if formula.response in frame:
        frame[formula.response] = spec.design.y
    for block in spec.blocks:
        # In the order of the levels here; that of a predictor says which level is left out.
        if block.group not in formula.predictors:
            labels = pd.Index(block.labels)
            frame[block.group] = pd.Categorical.from_codes(block.level, categories=labels)
    return frame


def _said(
    columns: Sequence[Column], priors: Sequence[Prior], place: Place
) -> Iterator[tuple[str, "bmb.Prior"]]:
    """Terms of Bambi with their priors; those of several columns have arrays of settings."""
    import bambi as bmb

    terms: dict[str, list[tuple[int, Prior]]] = {}
    for column, prior in zip(columns, priors, strict=True):
        terms.setdefault(column.term, []).append((column.place, prior))
    for term, members in terms.items():
        here = [prior for _, prior in sorted(members, key=lambda one: one[0])]
        kinds = list(dict.fromkeys(prior.kind for prior in here))
        if len(kinds) > 1:
            raise _refused(
                "Bambi cannot say this model",
                [f"the columns of {term} have priors of several kinds ({', '.join(kinds)})"],
            )
        word, settings = WORDS[kinds[0], place]
        numbers = {
            theirs: np.array([prior.numbers()[ours] for prior in here])
            for ours, theirs in settings.items()
        }
        yield term, bmb.Prior(word, **numbers)


def _matched(spec: "ModelSpec", model: "bmb.Model") -> tuple[list[Column], dict[str, list[Column]]]:
    """Columns of Bambi in the order of this model's: of the common part, and of each group.

    Raises
    ------
    RefusalError
        Bambi's formula gives other rows, columns or groups.
    """
    design, component = spec.design, model.parameters["mu"]
    response = np.squeeze(model.response_term.data)
    if response.shape != design.y.shape or not _equal(response, design.y):
        raise _refused("rows differ", [f"Bambi has another response {design.formula.response}"])
    offsets = [np.squeeze(term.data) for term in component.offset_terms.values()]
    offset = np.zeros(design.n) if design.offset is None else design.offset
    if not _equal(np.sum([np.zeros(design.n), *offsets], axis=0), offset):
        raise _refused("columns differ", ["Bambi has another offset"])
    fixed = list(component.common_terms.values())
    if component.intercept_term is not None:
        fixed.append(component.intercept_term)
    common = _same(
        design.X, design.coef, [column for term in fixed for column in _split(term.name, term.data)]
    )
    groups = {}
    varying = component.group_specific_terms.values()
    for block in spec.blocks:
        here = [term for term in varying if term.name.split("|")[1] == block.group]
        for term in here:
            pairs = np.unique(np.column_stack([term.group_index, block.level]), axis=0)
            if len(pairs) != block.J or len(np.unique(pairs[:, 0])) != block.J:
                raise _refused("groups differ", [f"Bambi has other levels of {block.group}"])
        groups[block.group] = _same(
            block.z,
            block.effects,
            [column for term in here for column in _split(term.name, term.predictor)],
        )
    return common, groups


def _equal(theirs: FloatArray, ours: FloatArray) -> bool:
    """Whether two columns are the same but for rounding."""
    return bool(np.max(np.abs(theirs - ours)) <= 1e-12 * np.max(np.abs(ours)))


def _split(term: str, values: FloatArray) -> list[Column]:
    wide = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    return [Column(term, place, wide[:, place]) for place in range(wide.shape[1])]


def _same(ours: FloatArray, names: Sequence[str], theirs: list[Column]) -> list[Column]:
    left, found = list(theirs), []
    for column in ours.T:
        one = next((one for one in left if _equal(one.values, column)), None)
        found.append(one)
        left = [other for other in left if other is not one]
    missing = [name for name, one in zip(names, found, strict=True) if one is None]
    if missing or len(theirs) != len(names):
        raise _refused(
            "columns differ",
            [
                f"Bambi has other columns ({', '.join(dict.fromkeys(one.term for one in theirs))}) "
                f"than {', '.join(missing or names)}: derive the columns"
            ],
        )
    return [one for one in found if one is not None]


def _unread(model: "bmb.Model") -> Iterator[str]:
    """What cannot be said here of a Bambi model, as far as its formula does not tell."""
    if model.family.name != "gaussian":
        yield f"the family {model.family.name}, and there is gaussian only"
        return
    if model.family.link["mu"].name != "identity":
        yield f"the link {model.family.link['mu'].name} of mu, and there is identity only"
    if model.potentials:
        yield "potentials"
    if model.formula.additionals and _known(model) is None:
        yield (
            f"a formula of sigma ({'; '.join(model.formula.additionals)}): residuals have one "
            "standard deviation, or those of a column, `sigma ~ 0 + offset(log(column))`"
        )
    elif not model.formula.additionals and not hasattr(model.parameters["sigma"].prior, "name"):
        yield (
            f"sigma is the number {model.parameters['sigma'].prior}: make it a column and write "
            "`sigma ~ 0 + offset(log(column))`"
        )
    for term in model.parameters["mu"].hsgp_terms:
        yield f"the Gaussian process {term}"


def _known(model: "bmb.Model") -> str | None:
    """The column of known residual standard deviations, where the formula says so."""
    if len(model.formula.additionals) != 1 or model.family.link["sigma"].name != "log":
        return None
    match = KNOWN.fullmatch(model.formula.additionals[0].strip())
    return match and (match["quoted"] or match["name"])


def _formula(model: "bmb.Model") -> str:
    """Bambi's formula as it is written here: effects of a term are independent."""
    from hlm_models.design.formula import parse

    try:
        formula = parse(model.formula.main)
    except InputErrors as error:
        raise _refused("this Bambi model cannot be said here", [str(error)]) from None
    sides = [formula.common]
    if formula.offset is not None:
        sides.append(f"offset({_quoted(formula.offset)})")
    for term in formula.random:
        bar = "|" if term.effects == "1" else "||"
        sides.append(f"({term.effects} {bar} {':'.join(map(_quoted, term.factors))})")
    return f"{formula.response} ~ {' + '.join(sides)}"


def _heard(prior: "bmb.Prior", place: Place, column: Column) -> dict[str, Any]:
    """The settings of a Bambi prior of one column.

    Raises
    ------
    RefusalError
        there is no such prior here.
    """
    known: dict[str, tuple[str, Mapping[str, str], Mapping[str, float]]] = {
        word: (kind, settings, {}) for (kind, at), (word, settings) in WORDS.items() if at == place
    } | {word: also for word, also in ALSO.items() if (also[0], place) in WORDS}
    if prior.dist is not None or prior.name not in known:
        name = prior.name if prior.dist is None else "with a distribution of its own"
        raise _refused(
            "this Bambi model cannot be said here",
            [f"the prior {name} of {column.term}: use one of {', '.join(known)}"],
        )
    kind, settings, fixed = known[prior.name]
    given = dict(prior.args)
    if prior.name == "Exponential" and "lam" in given:
        given["scale"] = 1 / np.asarray(given.pop("lam"))
    wanted = list(settings.values())
    odd = [key for key in given if key not in wanted]
    lacking = [key for key in wanted if key not in given and key not in DEFAULTS]
    if odd or lacking:
        raise _refused(
            "this Bambi model cannot be said here",
            [f"the prior {prior} of {column.term}: give its {' and '.join(wanted)}"],
        )

    def number(key: str) -> float:
        values = np.ravel(np.asarray(given.get(key, DEFAULTS.get(key)), dtype=np.float64))
        return float(values[column.place if values.size > 1 else 0])

    return {"kind": kind, **fixed, **{ours: number(key) for ours, key in settings.items()}}


def _scales(
    block: "RandomBlock", columns: Sequence[Column], terms: Mapping[str, Any]
) -> dict[str, Any]:
    """Priors of the standard deviations of one group, in the words of a model file."""
    import bambi as bmb

    priors = {}
    for effect, column in zip(block.effects, columns, strict=True):
        normal = terms[column.term].prior
        sigma, mu = normal.args.get("sigma"), normal.args.get("mu", 0.0)
        if (
            normal.name != "Normal"
            or normal.dist is not None
            or set(normal.args) - {"mu", "sigma"}
            or not isinstance(sigma, bmb.Prior)
            or isinstance(mu, bmb.Prior)
            or np.any(mu)
        ):
            raise _refused(
                "this Bambi model cannot be said here",
                [f"the prior {normal} of {column.term}: effects are Normal with mu 0 and a sigma"],
            )
        priors[effect] = _heard(sigma, "scale", column)
    each = {
        term.text: {
            "kind": "diagonal",
            "sd": {name: priors[name] for name in block.effects[term.columns]},
        }
        for term in block.terms
    }
    return each if len(each) > 1 else next(iter(each.values()))


def _at_zero(
    beta: Mapping[str, Mapping[str, Any]], means: FloatArray, intercept: str
) -> Mapping[str, Any]:
    """The prior of the intercept at zero of every predictor, from that at their means (p,)."""
    prior = beta["Intercept"]
    others = [
        (mean, one)
        for mean, (name, one) in zip(means, beta.items(), strict=True)
        if name != "Intercept" and abs(mean) > 1e-12
    ]
    if not others or prior["kind"] == "flat":
        return prior
    if intercept == "exact":
        raise _refused(
            "this Bambi model cannot be said here",
            [
                "it centres predictors, and its prior of the intercept is of the response at their "
                "means: make it with center_predictors=False, or take intercept='marginal'"
            ],
        )
    if any(one["kind"] != "normal" for one in (prior, *(one for _, one in others))):
        raise _refused(
            "the intercept at zero has no normal prior",
            ["intercept='marginal' is for normal priors of all coefficients"],
        )
    loc = prior["loc"] - sum(mean * one["loc"] for mean, one in others)
    variance = prior["scale"] ** 2 + sum((mean * one["scale"]) ** 2 for mean, one in others)
    return {"kind": "normal", "loc": float(loc), "scale": float(np.sqrt(variance))}
