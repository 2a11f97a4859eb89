"""The templates of this folder, filled with what they show."""

from collections.abc import Mapping
from importlib import resources

__all__ = ["filled"]


def filled(name: str, context: Mapping[str, object]) -> str:
    """The template called `name` as text; what is no markup is escaped, what is missing raises."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined

    folder = resources.files("hlm_models.report")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(lambda one: folder.joinpath(one).read_text("utf-8")),
    )
    return environment.get_template(name).render(context)
