"""The templates of this folder, filled with what they show."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources

from markupsafe import Markup

from hlm_models.report.equations import typeset

__all__ = ["cut", "filled"]


def filled(name: str, context: Mapping[str, object], *, also: Sequence[str] = ()) -> str:
    """The template called `name` as text; what is no markup is escaped, what is missing raises.

    Style and script stand in the page, whose policy allows this script alone and no request; those
    of the files `also` follow them.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = resources.files("hlm_models.report")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
        loader=FunctionLoader(lambda one: folder.joinpath(one).read_text("utf-8")),
    )
    environment.filters["cut"] = cut
    environment.globals["typeset"] = typeset
    files = ("style.css", "equations.css", "script.js", *also)
    style, script = (
        "".join(folder.joinpath(one).read_text("utf-8") for one in files if one.endswith(kind))
        for kind in (".css", ".js")
    )
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    frame = {
        "contents": [],
        "style": Markup(style),
        "script": Markup(script),
        "script_digest": digest,
    }
    return environment.get_template(name).render({**context, **frame})


def cut(text: object, size: int) -> object:
    """The text, or where it is longer than `size` its ends, with the whole as a title."""
    whole = str(text)
    if isinstance(text, Markup) or len(whole) <= size:
        return text
    left = (2 * size) // 3
    short = f"{whole[:left]}…{whole[len(whole) - (size - left - 1) :]}"
    return Markup('<span title="{}">{}</span>').format(whole, short)
