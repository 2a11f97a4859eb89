"""The references in a model file, held against the model that they are of."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hlm_models.api.models import model_path, read_config
from hlm_models.config.located import read_yaml
from hlm_models.errors import InputErrors
from hlm_models.spec.model import ModelSpec
from hlm_models.zoo.references import reference_problems

if TYPE_CHECKING:
    from hlm_models.config.settings import Reference

__all__ = ["check_references"]


def check_references(
    model: str | Path, spec: ModelSpec, *, folders: Sequence[Path] = ()
) -> "tuple[Reference, ...]":
    """The references in the file of a model, of which `spec` was built.

    Raises
    ------
    InputErrors
        one names no parameter of the model, or is of an engine that refuses it; with file and line.
    """
    references = read_config(model, folders=folders)[0].reference
    problems = reference_problems(spec, references)
    if problems:
        located = read_yaml(model_path(model, folders))
        raise InputErrors(located.placed(problem) for problem in problems)
    return references
