"""Finds the parts that lie in a folder of this package: the only lookup by name of a part."""

import importlib
import pkgutil
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["Part", "find"]


class Part(BaseModel):
    """Settings of one part, frozen and closed; `kind` is the word that YAML files use for it.

    A `recipe` stands for other parts, which it becomes when the model is resolved.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    recipe: ClassVar[bool] = False
    kind: str


def find[P: Part](package: str, contract: type[P]) -> dict[str, type[P]]:
    """Every part of `contract` in `package`, by its kind, sorted by kind.

    A module whose name begins with an underscore holds the contract, not a part.
    """
    found: dict[str, type[P]] = {}
    root = importlib.import_module(package)
    for module_info in pkgutil.iter_modules(root.__path__):
        if module_info.name.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{module_info.name}")
        for value in vars(module).values():
            if (
                isinstance(value, type)
                and issubclass(value, contract)
                and value.__module__ == module.__name__
            ):
                kind: Any = value.model_fields["kind"].default
                found[kind] = value
    return dict(sorted(found.items()))
