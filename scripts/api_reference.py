"""Write docs/api.md from the signatures and docstrings of the public names.

`python scripts/api_reference.py` writes the page. Nothing of the package is run: griffe reads it.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import griffe

__all__ = ["load", "page", "public", "sections"]

ROOT = Path(__file__).resolve().parents[1]

THEMES: Mapping[str, tuple[str, str]] = {
    "Build and fit": (
        "A model file, a mapping, or a formula with a frame to a model; a model to a fit.",
        "list_models build equations fit summary run load_run save_fit load_fit mundlak to_pymc"
        " from_bambi to_bambi",
    ),
    "Before the data": (
        "What the priors say by themselves.",
        "prior_summary prior_predictive",
    ),
    "Posterior": (
        "Whether its draws can be relied on, and what they rest on. The draws are in `fit.data`.",
        "agreement samplers sensitivity calibrate",
    ),
    "Point fits: parts": (
        "What REML and ML found, mostly by the names that lme4 gives it.",
        "fixef vcov ranef coef varcorr fitted residuals coefficient_table leverage cooks_distance"
        " case_deletion simulate refit",
    ),
    "Point fits: tests and intervals": (
        "Degrees of freedom, contrasts, marginal means, profiles, the bootstrap.",
        "coefficient_tests anova hypothesis marginal_means likelihood_ratio profile bootstrap",
    ),
    "Predictions": ("Of a posterior or a point fit.", "predict"),
    "Comparison": (
        "How well models of the same data foresee what they have not seen.",
        "compare loo waic kfold loo_pit influence log_likelihood Grouping grouping"
        " log_marginal_likelihood bayes_factor",
    ),
    "Interpretation": (
        "What a fit says.",
        "shrinkage pooling icc r2 variance_draws bayes_r2 variance_explained effects"
        " contextual_effects macro_effects group_ppc group_ols ad_hoc ladder",
    ),
    "Figures": ("Of fits, and of finished values.", "plot.*"),
    "Pages and zoo": (
        "A page is one file, which needs no network.",
        "write_report write_comparison write_calibration write_prior build_zoo verify",
    ),
    "Errors": (
        "What a user can cause is an `HlmError`.",
        "HlmError InputErrors ModelMismatchError RefusalError FitError",
    ),
}
"""What stands under each heading, and its names in the order of the page."""

HEAD = """# Reference

Made from the docstrings by `make docs`: edit those, not this page. Every name is one of the package
(`import hlm_models as hlm`). What functions give back stands under [values](#values), and names of
longer types under [types](#types).
"""

SOURCE = re.compile(r"\n\n(?=Sources?: )")
ITEM = re.compile(r"\S.* : ")
WIDTH = 96
SHARED = ("inference.f_tests", "results.checks")
"""Files whose classes stand in the answers of others."""


def load() -> griffe.Module:
    """The package as it is written."""
    package = griffe.load("hlm_models", search_paths=[ROOT], allow_inspection=False)
    assert isinstance(package, griffe.Module)
    return package


def public(package: griffe.Module) -> dict[str, griffe.Object]:
    """Every public name, those of the figures as plot.NAME, and where it is defined."""
    names = [str(name) for name in package.exports or () if name != "plot"]
    names += [f"plot.{name}" for name in package["plot"].exports]
    return {name: _defined(package[name]) for name in names}


def page(package: griffe.Module) -> str:
    """The text of the page."""
    names = public(package)
    themes = {
        theme: (about, _spread(members.split(), names))
        for theme, (about, members) in THEMES.items()
    }
    placed = {name for _, members in themes.values() for name in members}
    if left := sorted(set(names) - placed):
        raise SystemExit(f"scripts/api_reference.py: {', '.join(left)}: in none of THEMES")
    if gone := sorted(placed - set(names)):
        raise SystemExit(f"scripts/api_reference.py: {', '.join(gone)}: in THEMES, and not public")
    types = _types(package, names.values())
    values = _values(package, [*names.values(), *types])
    anchors = {one.path: _anchor(_title(name, one)) for name, one in names.items()}
    anchors |= {one.path: _anchor(one.name) for one in values} | {
        one.path: "types" for one in types
    }
    lines = [HEAD]
    for theme, (_, members) in themes.items():
        linked = ", ".join(f"[{name}](#{anchors[names[name].path]})" for name in members)
        lines.append(f"* [{theme}](#{_anchor(theme)}): {linked}")
    linked = ", ".join(f"[{one.name}](#{_anchor(one.name)})" for one in values)
    lines.append(f"* [Values](#values): {linked}")
    lines.append("* [Types](#types)")
    for theme, (about, members) in themes.items():
        lines += ["", f"## {theme}", "", about]
        for name in members:
            one = names[name]
            lines += ["", f"### {_title(name, one)}", "", *_entry(f"hlm.{name}", one, anchors)]
    lines += ["", "## Values", "", "What functions give back, and what is in it."]
    for one in values:
        lines += ["", f"### {one.name}", "", *_entry(one.name, one, anchors)]
    lines += ["", "## Types", ""]
    for one in types:
        said = f": {_flowing(one.docstring.value)}" if one.docstring else ""
        again = sum(each.name == one.name for each in types) > 1
        where = f" of `{one.module.path}`" if again else ""
        lines.append(f"* `{one.name}`{where} is `{one.value}`{said}")
    return "\n".join(lines) + "\n"


def _title(name: str, one: griffe.Object) -> str:
    """The heading of a public name; of a class another one than of the function of that name."""
    return f"{'class ' if isinstance(one, griffe.Class) else ''}hlm.{name}"


def _spread(members: Iterable[str], names: Iterable[str]) -> list[str]:
    """The members of a theme, with every figure in place of plot.*."""
    figures = [name for name in names if name.startswith("plot.")]
    return [name for one in members for name in (figures if one == "plot.*" else [one])]


def _defined(found: griffe.Object | griffe.Alias) -> griffe.Object:
    target = found.final_target if isinstance(found, griffe.Alias) else found
    assert isinstance(target, griffe.Object)
    return target


def _named(package: griffe.Module, written: object) -> list[griffe.Object]:
    """What the package defines of the names in an annotation."""
    if not isinstance(written, griffe.Expr):
        return []
    paths = [one.canonical_path for one in written.iterate() if isinstance(one, griffe.ExprName)]
    prefix = f"{package.path}."
    return [
        _defined(package[path.removeprefix(prefix)]) for path in paths if path.startswith(prefix)
    ]


def _types(package: griffe.Module, members: Iterable[griffe.Object]) -> list[griffe.Attribute]:
    """Names of types in the signatures of `members`, and in each other, in order of name."""
    found: dict[str, griffe.Attribute] = {}
    waiting = [
        named
        for one in members
        if isinstance(one, griffe.Function)
        for written in (one.returns, *(each.annotation for each in one.parameters))
        for named in _named(package, written)
    ]
    while waiting:
        one = waiting.pop()
        if isinstance(one, griffe.Attribute) and one.path not in found:
            found[one.path] = one
            waiting += _named(package, one.value)
    return sorted(found.values(), key=lambda one: one.name)


def _values(package: griffe.Module, members: Iterable[griffe.Object]) -> list[griffe.Class]:
    """Classes that functions give back or types stand for, in order of name.

    Classes of the same file, or of SHARED, that their fields hold or their methods give back too.
    """
    found: dict[str, griffe.Class] = {}
    public = list(members)
    shared = [package[path] for path in SHARED]
    waiting = [named for one in public for each in _gives(one) for named in _named(package, each)]
    waiting = [one for one in waiting if one.module.path != f"{package.path}.config.settings"]
    while waiting:
        one = waiting.pop()
        if not isinstance(one, griffe.Class) or one.path in found or one in public:
            continue
        found[one.path] = one
        given = [each for member in _members(one) for each in _gives(member)]
        held = [named for each in given for named in _named(package, each)]
        waiting += [each for each in held if each.module in (one.module, *shared)]
    return sorted(found.values(), key=lambda one: one.name.lower())


def _members(one: griffe.Class) -> list[griffe.Function | griffe.Attribute]:
    """Public fields, properties and methods of its own."""
    found = [_defined(each) for name, each in one.members.items() if not name.startswith("_")]
    return [each for each in found if isinstance(each, griffe.Function | griffe.Attribute)]


def _gives(one: griffe.Object) -> list[object]:
    """What a function gives back, an attribute holds, a type stands for."""
    if isinstance(one, griffe.Function):
        return [each.returns for each in one.overloads or [one]]
    if isinstance(one, griffe.Attribute):
        return [one.annotation or one.value]
    return []


def _entry(title: str, one: griffe.Object, anchors: Mapping[str, str]) -> list[str]:
    """Signature and docstring; of a class its fields, properties and methods."""
    if isinstance(one, griffe.Function):
        given = list(dict.fromkeys(_linked(each, anchors) for each in _gives(one)))
        returned = ["", f"**Returns** {' or '.join(given)}"] if given != ["`None`"] else []
        lines = ["```python", _signature(title, one), "```", *returned, ""]
        return [*lines, *_docstring(one, anchors)]
    assert isinstance(one, griffe.Class)
    lines = _docstring(one, anchors)
    if bases := [_linked(base, anchors) for base in one.bases]:
        lines += ["", f"A kind of {' and '.join(bases)}."]
    plain, told = [], []
    for each in _members(one):
        if isinstance(each, griffe.Function):
            told.append(f"* `{_signature(each.name, each, line=True)}`")
            told += [f"  {line}".rstrip() for line in ["", *_docstring(each, anchors)]]
        elif each.docstring:
            told.append(f"* `{each.name}: {each.annotation}`: {_prose(each.docstring.value)[0]}")
        else:
            plain.append(f"`{each.name}: {each.annotation}`")
    if plain:
        lines += ["", f"**Fields** {', '.join(plain)}"]
    return [*lines, "", *told] if told else lines


def _signature(title: str, one: griffe.Function, *, line: bool = False) -> str:
    """As written: in one line where that is asked for or short, else one line a parameter."""
    kind = griffe.ParameterKind
    stars = {kind.var_positional: "*", kind.var_keyword: "**"}
    written = []
    for each in one.parameters:
        if each.kind is kind.keyword_only and "*" not in written:
            written.append("*")
        if each.name != "self":
            hint = f": {each.annotation}" if each.annotation else ""
            value = f" = {each.default}" if each.default and each.kind not in stars else ""
            written.append(f"{stars.get(each.kind, '')}{each.name}{hint}{value}")
    end = f" -> {one.returns}" if one.returns else ""
    short = f"{title}({', '.join(written)}){end}"
    if line or len(short) <= WIDTH:
        return short
    return "\n".join([f"{title}(", *(f"    {each}," for each in written), f"){end}"])


def sections(one: griffe.Object) -> tuple[list[griffe.DocstringSection], str]:
    """A docstring in parts, and its sources: a paragraph that numpydoc has no heading for."""
    text, *rest = SOURCE.split(one.docstring.value if one.docstring else "")
    # What follows the sources is a section again.
    source, *after = rest[0].split("\n\n", 1) if rest else ("",)
    whole = griffe.Docstring("\n\n".join([text, *after]), parent=one)
    return whole.parse("numpy", warnings=False), source


def _docstring(one: griffe.Object, anchors: Mapping[str, str]) -> list[str]:
    """Markdown of a docstring."""
    lines: list[str] = []
    parts, source = sections(one)
    for section in parts:
        match section:
            case griffe.DocstringSectionText():
                lines += ["", *_prose(section.value)]
            case griffe.DocstringSectionParameters():
                lines += ["", "**Parameters**", ""]
                # The house writes `name : what it is`, which numpydoc takes for a type.
                lines += [f"* `{item.name}`: {_said(item)}" for item in section.value]
            case griffe.DocstringSectionReturns():
                lines += ["", f"What comes back: {'; '.join(map(_said, section.value))}."]
            case griffe.DocstringSectionRaises():
                lines += ["", "**Raises**", ""]
                lines += [
                    f"* {_linked(item.annotation, anchors)}: {_flowing(item.description)}"
                    for item in section.value
                ]
            case griffe.DocstringSectionExamples():
                code = "\n".join(text for _, text in section.value)
                lines += ["", "```python", code, "```"]
            case _:
                raise SystemExit(f"{one.path}: a {section.kind.value} has no form on the page")
    return [*lines, *(["", _flowing(source)] if source else [])][1:]


def _said(item: griffe.DocstringParameter | griffe.DocstringReturn) -> str:
    return _flowing(" ".join(str(part) for part in (item.annotation, item.description) if part))


def _prose(text: str) -> list[str]:
    """Paragraphs; those of `name : what it is` as a list, indented ones as they are."""
    lines: list[str] = []
    for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
        if ITEM.match(paragraph):
            for item in re.split(r"\n(?=\S)", paragraph):
                name, _, said = item.partition(" : ")
                lines.append(f"* `{name}`: {_flowing(said)}")
        elif paragraph.startswith("    "):
            lines.append(paragraph)
        else:
            lines.append(_flowing(paragraph))
        lines.append("")
    return lines[:-1]


def _flowing(text: str) -> str:
    """One line; outside of code no character is taken for markup."""
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(p if p.startswith("`") else re.sub(r"([*<\\])", r"\\\1", p) for p in pieces)


def _linked(written: object, anchors: Mapping[str, str]) -> str:
    """An annotation as code, with a link to what it names where that is on the page."""
    if isinstance(written, griffe.Expr):
        for one in written.iterate():
            if isinstance(one, griffe.ExprName) and one.canonical_path in anchors:
                return f"[`{written}`](#{anchors[one.canonical_path]})"
    return f"`{written}`"


def _anchor(heading: str) -> str:
    """As code hosts make it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


if __name__ == "__main__":
    (ROOT / "docs" / "api.md").write_text(page(load()), encoding="utf-8")
