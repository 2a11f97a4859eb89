"""The references of a model file: whether they are about its model, and what tells them apart."""

import hashlib
import json
from collections.abc import Sequence

from hlm_models.config.settings import PosteriorReference, Reference
from hlm_models.engines.find import ENGINES, find
from hlm_models.errors import Problem, nearest
from hlm_models.results.summary import parameters
from hlm_models.spec.model import ModelSpec
from hlm_models.zoo.estimates import CRITERIA

__all__ = ["digest_of", "reference_problems"]


def reference_problems(spec: ModelSpec, references: Sequence[Reference]) -> tuple[Problem, ...]:
    """What no fit of the model could be held to: unknown parameters, engines that refuse it."""
    named = tuple(one.name for one in parameters(spec))
    errors = tuple(f"se[{name}]" for name in spec.design.coef)
    found = []
    for i, reference in enumerate(references):
        posterior = isinstance(reference, PosteriorReference)
        known = named if posterior else (*named, *errors, *CRITERIA)
        for name in reference.values:
            if name not in known:
                message = f"no parameter of the model by {reference.engine}{nearest(name, known)}"
                listed = f"{message} (parameters: {', '.join(known)})"
                found.append(Problem(listed, key=f"reference.{i}.values.{name}"))
        refusals = {
            name: find(name).refusals(spec)
            for name in ENGINES
            if name == reference.engine or (posterior and find(name).draws)
        }
        if all(refusals.values()):
            reasons = "; ".join(f"{name}: {why[0]}" for name, why in refusals.items())
            message = f"no engine can meet it ({reasons}): leave it out"
            found.append(Problem(message, key=f"reference.{i}.engine"))
    return tuple(found)


def digest_of(references: Sequence[Reference]) -> str:
    """Hash of the references: another number, source or tolerance is another hash."""
    told = [one.model_dump(mode="json", exclude_none=True) for one in references]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
