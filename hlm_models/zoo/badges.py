"""What the last verification of each model found, kept as one JSON file."""

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from hlm_models.config.registry import default_folders
from hlm_models.errors import HlmError, InputErrors
from hlm_models.zoo.estimates import Estimate, Estimates
from hlm_models.zoo.judge import Difference, Status

__all__ = ["PACKAGED", "Badge", "newest", "packaged_badges", "read_badges", "renew_badges"]

PACKAGED = "verified.json"
"""The file of badges that is packed with the zoo, beside its model files."""

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Badge:
    """One verification of one model.

    `worst` is the largest difference from a reference, in tolerances; `failed` the checks of its
    fits that failed; `when` is UTC, ISO 8601; `digest` identifies model and data, `references`
    the numbers it was held to; `groups` are levels by group.
    """

    model: str
    status: Status
    worst: Difference | None
    failed: tuple[str, ...]
    when: str
    versions: Mapping[str, str]
    digest: str
    references: str
    n: int
    p: int
    groups: Mapping[str, int]
    estimates: tuple[Estimates, ...]

    @property
    def seconds(self) -> float:
        """Wall time of all its fits."""
        return sum(one.seconds for one in self.estimates)

    def standing(self, *, digest: str, references: str) -> Literal["stale"] | Status:
        """The status, or `stale` where model, data or references are not those it is of."""
        same = (self.digest, self.references) == (digest, references)
        return self.status if same else "stale"


def packaged_badges() -> dict[str, Badge]:
    """The badges that are packed with the zoo, by model; none where there is no file."""
    [zoo] = default_folders()
    return read_badges(zoo / PACKAGED)


def read_badges(path: Path) -> dict[str, Badge]:
    """Badges of a file by model; none where the file is not there.

    Raises
    ------
    InputErrors
        it is no file of badges.
    """
    try:
        found = json.loads(path.read_text("utf-8"))
        if found["format"] != FORMAT:
            raise InputErrors.one(
                f"format {found['format']} is not that of this version ({FORMAT}); name another "
                "file, or delete it",
                file=str(path),
            )
        return {name: _badge(name, one) for name, one in found["models"].items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputErrors.one(f"this is no file of badges ({reason})", file=str(path)) from error


def newest(*collections: Mapping[str, Badge]) -> dict[str, Badge]:
    """Of each model the badge that was made last."""
    found: dict[str, Badge] = {}
    for badges in collections:
        for name, one in badges.items():
            if name not in found or one.when >= found[name].when:
                found[name] = one
    return dict(sorted(found.items()))


def renew_badges(path: Path, badges: Iterable[Badge]) -> None:
    """Put badges in the place of those of their models; others of the file stay.

    Raises
    ------
    InputErrors
        what stands there is no file of badges.
    HlmError
        it cannot be written.
    """
    kept = read_badges(path) | {one.model: one for one in badges}
    document = {"format": FORMAT, "models": {name: _plain(kept[name]) for name in sorted(kept)}}
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}-", delete=False
        ) as part:
            part.write(text)
        Path(part.name).chmod(0o644)
        Path(part.name).replace(path)
    except OSError as error:
        raise HlmError(f"{path}: cannot be written: {error.strerror}") from error


def _plain(badge: Badge) -> dict[str, Any]:
    found = asdict(badge)
    del found["model"]
    found["estimates"] = {one.pop("engine"): one for one in found["estimates"]}
    return found


def _badge(name: str, found: Mapping[str, Any]) -> Badge:
    given = dict(found)
    worst = given.pop("worst")
    return Badge(
        model=name,
        worst=None if worst is None else Difference(**worst),
        failed=tuple(given.pop("failed")),
        estimates=tuple(_estimates(engine, one) for engine, one in given.pop("estimates").items()),
        **given,
    )


def _estimates(engine: str, found: Mapping[str, Any]) -> Estimates:
    given = dict(found)
    named = {name: Estimate(**one) for name, one in given.pop("parameters").items()}
    failed = tuple(given.pop("failed"))
    return Estimates(engine=engine, parameters=named, failed=failed, **given)
