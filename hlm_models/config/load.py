"""Model files and mappings to ModelConfig: the shape is checked here, all problems at once."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import reduce
from pathlib import Path
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hlm_models.config.located import KeyPath, Located, dotted, parse_value, read_yaml
from hlm_models.config.settings import (
    SCHEMA_VERSION,
    ContrastSettings,
    ModelConfig,
    PointReference,
    PosteriorReference,
    PosteriorValue,
)
from hlm_models.errors import InputErrors, Problem, nearest
from hlm_models.parts.covariances import COVARIANCES
from hlm_models.parts.priors import PRIORS
from hlm_models.parts.residuals import RESIDUALS
from hlm_models.parts.shrinkage import SHRINKAGES

__all__ = ["apply_overrides", "config_from_mapping", "load_config"]


def load_config(path: Path, overrides: Sequence[str] = ()) -> ModelConfig:
    """Typed settings of a model file, with `key.path=value` overrides applied.

    Raises
    ------
    InputErrors
        Every problem of the file and the overrides, each with its key and its line.
    """
    return _checked(read_yaml(path), overrides, stem=path.stem)


def config_from_mapping(
    data: Mapping[str, object], overrides: Sequence[str] = (), file: str = ""
) -> ModelConfig:
    """Typed settings in a mapping with the keys of a model file; `file` is for the messages.

    Raises
    ------
    InputErrors
        Every problem of the mapping and the overrides, each with its key.
    """
    return _checked(Located(_keyed(data), {}, file=file), overrides)


def apply_overrides(data: Mapping[str, object], overrides: Sequence[str]) -> dict[str, object]:
    """Copy of `data` with each `key.path=value` set; the values are read as YAML.

    Raises
    ------
    InputErrors
        Every override that cannot be read or leads through something that is not a mapping.
    """
    changed, _, problems = _overridden(data, overrides)
    if problems:
        raise InputErrors(problems)
    return changed


def _checked(located: Located, overrides: Sequence[str], *, stem: str = "") -> ModelConfig:
    data, options, problems = _overridden(located.data, overrides)
    wrong = _wrong(data)
    name = data.get("name")
    if stem and ("name",) not in [*wrong, *options] and name != stem:
        wrong["name",] = f"must equal the name of the file: expected '{stem}', found '{name}'"
    told = {problem.key for problem in located.problems}
    problems += located.problems
    problems += [
        _locate(path, message, located, options)
        for path, message in wrong.items()
        if dotted(path) not in told
    ]
    if problems:
        raise InputErrors(sorted(problems, key=lambda problem: problem.line or 0))
    return ModelConfig.model_validate(data, strict=True)


def _locate(
    path: KeyPath, message: str, located: Located, options: Iterable[tuple[str, ...]]
) -> Problem:
    """Problem at its line, or at the `--set` that brought the value."""
    for option in options:
        made = option[: len(path)] == path and path not in located.lines
        if made or path[: len(option)] == option:
            return Problem(message, key=f"--set {dotted(path)}")
    return Problem(message, key=dotted(path), file=located.file, line=located.line(path))


def _overridden(
    given: Mapping[str, object], overrides: Sequence[str]
) -> tuple[dict[str, object], list[tuple[str, ...]], list[Problem]]:
    """Apply the overrides: changed data, key paths that were set, problems."""
    if isinstance(overrides, str):
        raise InputErrors.one(f"overrides are a list of texts: [{overrides!r}]", key="overrides")
    data = _keyed(given)
    options: list[tuple[str, ...]] = []
    problems: list[Problem] = []
    for override in overrides:
        try:
            options.append(_set(data, override))
        except InputErrors as error:
            problems += [Problem(problem.message, key="--set") for problem in error.problems]
    return data, options, problems


def _set(data: dict[str, object], override: str) -> tuple[str, ...]:
    key, equals, text = override.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise InputErrors.one(f"expected key.path=value, found '{override}'")
    try:
        value = _plain(parse_value(text))
    except InputErrors as error:
        message = f"{error.problems[0].message}, in '{override}'; put quotes around the value"
        raise InputErrors.one(message) from None
    here = data
    for depth, step in enumerate(path[:-1], start=1):
        inner = here.get(step)
        if inner is None:
            inner = here[step] = {}
        if not isinstance(inner, dict):
            message = f"cannot set {dotted(path)}: {dotted(path[:depth])} is {_found(inner)}"
            raise InputErrors.one(f"{message}, not a mapping")
        here = inner
    here[path[-1]] = value
    return path


def _keyed(data: Mapping[str, object]) -> dict[str, object]:
    return {str(key): _plain(value) for key, value in data.items()}


def _plain(value: object) -> object:
    """Copy with dicts and tuples, as pydantic's strict mode wants them."""
    if isinstance(value, BaseModel):
        return value.model_dump(by_alias=True)
    if isinstance(value, Mapping):
        return _keyed(value)
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value


def _wrong(data: dict[str, object]) -> dict[KeyPath, str]:
    """Plain words for all that is wrong, by key path."""
    schema = data.get("schema")
    if type(schema) is int and schema > SCHEMA_VERSION:
        # The other keys of a future file cannot be judged.
        knows = f"schema {schema} is newer than this version knows ({SCHEMA_VERSION})"
        return {("schema",): f"{knows}: upgrade hlm_models"}
    beyond = dict(_beyond_shape(data))
    kindless = [path[:-1] for path in beyond if path[-1] == "kind"]
    groups: dict[KeyPath, list[ErrorDetails]] = {}
    for error in _shape_errors(data):
        path = _key_path(error, data)
        if not any(path[: len(above)] == above for above in kindless):
            groups.setdefault(path, []).append(error)
    shape = {
        path: _message(path, errors, data)
        for path, errors in groups.items()
        # An error above another one: the alternative of a union that was not meant.
        if not any(path == other[: len(path)] for other in groups if other != path)
    }
    return shape | beyond


def _shape_errors(data: dict[str, object]) -> list[ErrorDetails]:
    try:
        ModelConfig.model_validate(data, strict=True)
    except ValidationError as error:
        return error.errors(include_url=False)
    return []


def _beyond_shape(data: dict[str, object]) -> Iterator[tuple[KeyPath, str]]:
    """Faults that the types cannot see."""
    if type(data.get("schema", SCHEMA_VERSION)) is not int:  # True == 1.0 == 1
        yield ("schema",), f"expected {SCHEMA_VERSION}, found {_found(data['schema'])}"
    yield from _beside_known(data)
    for path, value in _walk(data, ()):
        if isinstance(value, float) and not math.isfinite(value):
            yield path, f"expected a finite number, found {value}"
        if not isinstance(value, dict) or path[:1] != ("priors",):
            continue
        lower = value.get("lower") if value.get("kind") == "uniform" else None
        if path[1:2] != ("beta",) and isinstance(lower, int | float) and lower < 0:
            message = "a standard deviation cannot be negative: expected 0 or more"
            yield (*path, "lower"), f"{message}, found {_found(lower)}"
        if _lacks_kind(path, value):
            yield (*path, "kind"), _kind_message(path, data)


def _beside_known(data: dict[str, object]) -> Iterator[tuple[KeyPath, str]]:
    """What would have no effect, or two meanings, beside residual sds that are known."""
    residual, priors = data.get("residual"), data.get("priors")
    part = RESIDUALS.get(str(residual.get("kind"))) if isinstance(residual, dict) else None
    if part is None or not part.known:
        return
    if data.get("weights") is not None:
        yield (
            ("weights",),
            "the residual standard deviations are known, so rows have no other weights: leave "
            "weights out, or derive the column of residual.sd with them in it",
        )
    if isinstance(priors, dict) and "sigma" in priors:
        yield (
            ("priors", "sigma"),
            "the residual standard deviations are known, so sigma has no prior: leave it out",
        )


def _walk(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, object]]:
    yield path, value
    if isinstance(value, dict | tuple):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _walk(inner, (*path, key))


def _lacks_kind(path: KeyPath, value: dict[str, object]) -> bool:
    """Whether settings of a prior stand where a prior or a mapping to priors is expected."""
    beta = path == ("priors", "beta")
    # A scale by effect is no prior, whatever the names of the effects.
    group = path[1:2] == ("groups",) and len(path) > 2 and path[3:][-1:] != ("scale",)
    return (
        (beta or group)
        and "kind" not in value
        and any(
            (word in _SETTING_NAMES and not isinstance(inner, dict))
            or (group and word == "sd" and "sd" not in path)
            for word, inner in value.items()
        )
    )


_SETTING_NAMES = {
    name
    for shelf in (PRIORS, COVARIANCES, SHRINKAGES)
    for part in shelf.values()
    for name in part.model_fields
}


def _inner(here: object, step: str | int) -> object:
    """Look up what stands in `here` under `step`; a KeyError if nothing does."""
    if isinstance(here, dict):
        return here[step]
    if isinstance(here, tuple) and isinstance(step, int):
        return here[step]
    raise KeyError(step)


def _key_path(error: ErrorDetails, data: object) -> KeyPath:
    """Pydantic's `loc` without what is no key of the data (names of union members)."""
    path: KeyPath = ()
    here = data
    for step in error["loc"]:
        with suppress(KeyError):
            here = _inner(here, step)
            path = (*path, step)
    if error["type"] == "missing":
        return (*path, error["loc"][-1])
    if error["type"].startswith("union_tag_"):
        return (*path, "engine" if path[0] == "reference" else "kind")
    return path


_EXPECTED = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_type": "a number",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "a number of at least {ge:g}",
    "int_type": "a whole number",
    "less_than": "a number below {lt:g}",
    "less_than_equal": "a number of at most {le:g}",
    "literal_error": "{expected}",
    "model_attributes_type": "a mapping",
    "model_type": "a mapping",
    "string_type": "text",
    "too_short": "a list of at least {min_length}",
    "tuple_type": "a list",
}


def _message(path: KeyPath, errors: list[ErrorDetails], data: dict[str, object]) -> str:
    """One sentence for all errors of one key."""
    error = errors[0]
    found, context = error["input"], error.get("ctx", {})
    match error["type"]:
        case "missing":
            message = f"is missing{f': add `schema: {SCHEMA_VERSION}`' * (path == ('schema',))}"
        case "extra_forbidden":
            message = _unknown_key(error["loc"])
        case "union_tag_invalid" | "union_tag_not_found":
            told = {"residual": _residual_kind, "reference": _reference_engine}.get(str(path[0]))
            message = told(found) if told else _kind_message(path[:-1], data)
        case "value_error":
            message = str(context["error"])
        case "string_too_short":
            message = "is empty"
        case "string_type" | "string_pattern_mismatch" if path[2:3] == ("values",):
            quotes = "expected the number in quotes with the digits it was printed with, as '66.50'"
            message = f"{quotes}; found {_found(found)}"
        case "string_pattern_mismatch":
            letters = "lower-case letters, digits, - and _, with a letter or digit first"
            message = f"expected {letters}, found {_found(found)}"
        case "literal_error" if path == ("family",):
            message = _not_available(path[0], found, [context["expected"].replace("'", "")])
        case "literal_error" if path == ("residual",) and found in RESIDUALS:
            message = f"{found} has settings: write {RESIDUALS[found].written}"
        case "literal_error" if path == ("residual",):
            written = [part.written for part in RESIDUALS.values()]
            message = _not_available(path[0], found, written, nearest(found, RESIDUALS))
        case _:
            message = _expectation(errors)
    return message


def _not_available(key: str, found: object, written: Sequence[str], hint: str = "") -> str:
    word = found if isinstance(found, str) else _found(found)
    available = f"available: {', '.join(written)}"
    return f"{key} {word} is not available in this version{hint or ';'} {available}"


def _residual_kind(found: object) -> str:
    """Say why the kind of a residual structure, or its absence, does not do."""
    kind = found.get("kind") if isinstance(found, dict) else None
    if kind is None:
        return f"is missing: expected {_either(RESIDUALS)}"
    if not isinstance(kind, str):
        return f"expected {_either(RESIDUALS)}, found {_found(kind)}"
    return f"unknown kind {kind!r}{nearest(kind, RESIDUALS)} (available: {', '.join(RESIDUALS)})"


def _reference_engine(found: object) -> str:
    """Say why the engine of a reference, or its absence, does not do."""
    engine = found.get("engine") if isinstance(found, dict) else None
    known = _either(_REFERENCES)
    if engine is None:
        return f"is missing: expected {known}"
    return f"expected {known}, found {_found(engine)}{nearest(engine, _REFERENCES)}"


def _expectation(errors: list[ErrorDetails]) -> str:
    found = errors[0]["input"]
    expected = [
        _EXPECTED.get(one["type"], one["msg"]).format(**one.get("ctx", {})) for one in errors
    ]
    choices = re.findall(r"'([^']*)'", " ".join(expected))
    hint = nearest(found, choices) if isinstance(found, str) else ""
    return f"expected {_either(dict.fromkeys(expected))}, found {_found(found)}{hint}"


def _unknown_key(loc: tuple[str | int, ...]) -> str:
    """Nearest key of the object that holds the unknown one, and all its keys if few."""
    # Parameters of a reference have names of their own, which are no keys of settings.
    above = loc[: loc.index("values") + 1] if "values" in loc else loc[:-1]
    owner = next(owner for step in (*above[::-1], "") if (owner := _OWNERS.get(str(step))))
    known = sorted(field.alias or name for name, field in owner.model_fields.items())
    hint = nearest(str(loc[-1]), known)
    listed = f" (known: {', '.join(known)})" if len(known) <= 8 or not hint else ""
    return f"unknown key{hint}{listed}"


def _owners(model: type[BaseModel], name: str) -> Iterator[tuple[str, type[BaseModel]]]:
    """Each settings class by the names that `loc` may have for it: key and class."""
    yield name, model
    yield model.__name__, model
    for key, field in model.model_fields.items():
        for inner in (field.annotation, *get_args(field.annotation)):
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from _owners(inner, key)


_REFERENCES = {"reml": PointReference, "ml": PointReference, "posterior": PosteriorReference}

_OWNERS: dict[str, type[BaseModel]] = {
    **dict(_owners(ModelConfig, "")),
    **_REFERENCES,
    "values": PosteriorValue,
    **dict(_owners(ContrastSettings, "contrasts")),
    **PRIORS,
    **COVARIANCES,
    **RESIDUALS,
    **SHRINKAGES,
}

_KINDS = {
    "a coefficient": [kind for kind, part in PRIORS.items() if "location" in part.places],
    "a standard deviation": [kind for kind, part in PRIORS.items() if "scale" in part.places],
    "a random term": list(COVARIANCES),
}


def _place(path: KeyPath) -> str:
    """Say what a prior at this path is a prior of: a key of _KINDS."""
    if path[1] == "beta":
        return "a coefficient"
    return "a standard deviation" if path[1] == "sigma" or "sd" in path[3:] else "a random term"


def _known(path: KeyPath) -> list[str]:
    """Kinds that may stand at this path."""
    kinds = _KINDS[_place(path)]
    return [*kinds, *SHRINKAGES] if path == ("priors", "beta") else kinds


def _kind_message(path: KeyPath, data: object) -> str:
    """Say why the kind, or its absence, does not do for the prior at `path`."""
    prior = reduce(_inner, path, data)
    place = _place(path)
    match prior.get("kind") if isinstance(prior, dict) else None:
        case None:
            reason = "is missing"
        case str(kind) if kind in COVARIANCES:
            reason = f"{kind} is the prior of a covariance, {place} needs that of one number"
        case str(kind) if kind in SHRINKAGES:
            whole = f"{kind} is the prior of all coefficients together, beta: {{kind: {kind}}}"
            reason = f"{whole}; {place} needs its own"
        case str(kind) if kind in PRIORS and place == "a random term":
            reason = f"{kind} is the prior of one number, {place} needs that of a covariance"
        case str(kind) if kind in PRIORS and place == "a standard deviation":
            reason = f"{kind} can be negative, {place} cannot"
        case str(kind) if kind in PRIORS:
            reason = f"{kind} is never negative, {place} can be"
        case str(kind):
            known = _known(path)
            return f"unknown kind {kind!r}{nearest(kind, known)} (known: {', '.join(known)})"
        case other:
            reason = f"expected the name of a prior, found {_found(other)}"
    return f"{reason}: use {_either(_known(path))}"


def _either(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last


def _found(value: object) -> str:
    """Name the value as messages do."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    return "a list" if isinstance(value, tuple) else repr(value)
