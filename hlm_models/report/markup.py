"""Figures as SVG that stands in the page: in its colours, and with the levels that artists are."""

import hashlib
import io
import json
import re
from collections.abc import Mapping
from xml.etree import ElementTree as ET

from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from hlm_models.plot.style import (
    CHAINS,
    GRID,
    INK,
    LINE,
    MUTED,
    POSTERIOR,
    PRIOR,
    RAISED,
    REFERENCE,
    Drawing,
    styled,
)

__all__ = ["markup"]

NAMES = {
    INK: "ink", MUTED: "muted", LINE: "line", GRID: "grid", RAISED: "raised",
    POSTERIOR: "posterior", REFERENCE: "reference", PRIOR: "prior",
}  # fmt: skip
SHADES = (
    (CHAINS[0], INK, 100),
    (CHAINS[1], RAISED, 60),
    (CHAINS[2], INK, 55),
    (CHAINS[3], RAISED, 80),
)
"""Shades of the posterior: what it is mixed with, and its share in percent."""


def _variable(colour: str) -> str:
    return f"var(--{NAMES[colour]},{colour})"


VARIABLES = {colour: _variable(colour) for colour in NAMES} | {
    shade: f"color-mix(in srgb,{_variable(POSTERIOR)} {share}%,{_variable(other)})"
    for shade, other, share in SHADES
}
"""What a page calls a colour, which is another one in the dark; elsewhere it is what it was."""

GROUND = f"fill:{VARIABLES[RAISED]}"
"""The white behind a figure and its axes: the page has its own."""

COLOUR = re.compile(r"#[0-9a-f]{6}")
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
HOISTED = ("style", "clip-path")


def markup(figure: Figure, alt: str) -> Markup:
    """Inline SVG of a figure, described by `alt`.

    Its colours are variables of the page. Where parts of a drawing stand for levels, it says which
    (docs/pages.md): the group as `data-group`, and as `data-series` the levels of the children of
    each such element. Identifiers are made of what the picture shows, so that different ones share
    none.
    """
    root = ET.fromstring(_svg(figure))
    for one in root.iter():
        _plain(one)
    drawn = figure.series if isinstance(figure, Drawing) else {}
    series = {gid: levels for gid, levels in drawn.items() if levels}
    _tidy(root, set(series))
    known = {one.get("id"): one for one in root.iter()}
    carriers = {gid: _carrier(known[gid], levels) for gid, levels in series.items()}
    for one in carriers.values():
        _drawn_out(one, known)
    # Not matplotlib's own identifiers, some of which are of the moment.
    _rename(root, set(series), "x")
    salt = "f" + hashlib.sha256(alt.encode() + ET.tostring(root)).hexdigest()[:7]
    _rename(root, {str(one.get("id")) for one in carriers.values()}, salt)
    told = Markup("")
    if isinstance(figure, Drawing) and carriers:
        levels = {str(one.get("id")): series[gid] for gid, one in carriers.items()}
        told = Markup(' data-group="{}" data-series="{}"').format(
            figure.group, json.dumps(levels, separators=(",", ":"))
        )
    width, height = (round(72 * inches) for inches in figure.get_size_inches())
    opening = Markup(
        '<svg role="img" aria-label="{}" width="{}pt" height="{}pt" viewBox="0 0 {} {}"'
        ' stroke-linejoin="round"{}><title>{}</title>'
    ).format(alt, width, height, width, height, told, alt)
    body = "".join(ET.tostring(one, encoding="unicode") for one in root)
    return opening + Markup(body + "</svg>")


def _svg(figure: Figure) -> str:
    text, engine = io.StringIO(), figure.get_layout_engine()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with styled():
        if engine is not None:
            # Once, with the metrics of pixels: `savefig` would do it twice, with slow ones.
            engine.execute(figure)
            figure.set_layout_engine("none")
        FigureCanvasSVG(figure).print_svg(text, metadata=metadata)  # type: ignore[no-untyped-call]
        figure.set_layout_engine(engine)
    return text.getvalue()


def _plain(one: ET.Element) -> None:
    """Names without name spaces, short numbers, variables for colours."""
    one.tag = one.tag.rpartition("}")[2]
    one.tail = None
    if one.tag != "text" and one.text is not None:
        one.text = one.text.strip() or None
    for whole in list(one.attrib):
        value, name = one.attrib.pop(whole), whole.rpartition("}")[2]
        if name == "style":
            value = _style(value)
        elif name == "d":
            value = re.sub(r"\s*([A-Za-z])\s*", r"\1", NUMBER.sub(_short, value)).strip()
        elif name in {"x", "y", "transform", "width", "height"}:
            value = NUMBER.sub(_short, value)
        if value and not value.startswith("rotate(-0 "):
            one.set(name, value)


def _short(number: re.Match[str]) -> str:
    text = f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _style(value: str) -> str:
    """Declarations without fonts; opacity of strokes and fills, which children inherit."""
    kept = []
    for one in value.split(";"):
        name, _, what = (part.strip() for part in one.partition(":"))
        if name == "opacity":
            kept += [f"fill-opacity:{what}", f"stroke-opacity:{what}"]
        elif name and name != "font-family":
            kept.append(f"{name}:{COLOUR.sub(lambda m: VARIABLES.get(m[0], m[0]), what)}")
    return ";".join(kept)


def _tidy(parent: ET.Element, kept: set[str]) -> None:
    """Leave out what shows nothing, and say once what all children say."""
    for one in list(parent):
        _tidy(one, kept)
        if one.tag in {"metadata", "style"} or _empty(one, kept):
            parent.remove(one)
        elif one.tag == "g" and one.get("id") not in kept:
            one.attrib.pop("id", None)
            if not one.attrib:
                at = list(parent).index(one)
                parent.remove(one)
                for k, child in enumerate(one):
                    parent.insert(at + k, child)
    if parent.tag == "g" and len(parent) > 1:
        for name in HOISTED:
            values = {one.get(name) for one in parent}
            if len(values) == 1 and None not in values and name not in parent.attrib:
                parent.set(name, values.pop() or "")
                for one in parent:
                    del one.attrib[name]


def _empty(one: ET.Element, kept: set[str]) -> bool:
    if one.get("id") in kept:
        return False
    if one.tag in {"g", "defs"}:
        return len(one) == 0
    return one.tag == "path" and one.get("style") in {"fill:none", GROUND}


def _carrier(one: ET.Element, levels: tuple[int, ...]) -> ET.Element:
    """The element whose children are the levels: markers lie one deeper, beside their shape."""
    found = one[-1] if one[-1].tag == "g" else one
    assert len(found) == len(levels)
    if found is not one:
        found.set("id", one.attrib.pop("id"))
    return found


def _drawn_out(carrier: ET.Element, known: Mapping[str | None, ET.Element]) -> None:
    """Markers as circles and paths: browsers take several times as long for what they `use`."""
    shape = known.get(carrier[0].get("href", "").removeprefix("#"))
    if shape is None:
        return
    path = shape.get("d", "")
    styles = [one.pop("style", "") for one in (carrier[0].attrib, carrier.attrib, shape.attrib)]
    kept = dict(part.split(":", 1) for style in styles for part in style.split(";") if part)
    carrier.set("style", ";".join(f"{name}:{value}" for name, value in kept.items()))
    # The round marker is eight arcs that begin a radius below the middle.
    radius = path[1:].partition("C")[0].split()[1] if path.count("C") == 8 else ""
    for one in carrier:
        x, y = one.get("x", ""), one.get("y", "")
        one.attrib.clear()
        if radius:
            one.tag, place = "circle", {"cx": x, "cy": y, "r": radius}
        else:
            one.tag, place = "path", {"d": path, "transform": f"translate({x} {y})"}
        one.attrib.update(place)


def _rename(root: ET.Element, told: set[str], salt: str) -> None:
    """Identifiers of this picture's own, for what is referred to and what is told elsewhere."""
    used = told | {old for one in root.iter() for _, old in _references(one)}
    named = [one for one in root.iter() if "id" in one.attrib]
    new: dict[str, str] = {}
    for one in named:
        old = one.attrib.pop("id")
        if old in used:
            new[old] = f"{salt}-{len(new)}"
            one.set("id", new[old])
    for one in root.iter():
        for name, old in _references(one):
            one.set(name, one.attrib[name].replace(old, new[old]))


def _references(one: ET.Element) -> list[tuple[str, str]]:
    """Attributes that name another element, and its identifier."""
    found = []
    for name in ("href", "clip-path"):
        value = one.get(name, "")
        if value.startswith(("#", "url(#")):
            found.append((name, value.partition("#")[2].removesuffix(")")))
    return found
