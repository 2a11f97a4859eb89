"""What a figure is asked for, checked."""

from collections.abc import Sequence

from hlm_models.errors import InputErrors, nearest

__all__ = ["chosen", "is_a"]


def is_a(found: object, wanted: type | tuple[type, ...], name: str, how: str) -> None:
    """Refuse another kind of value; `how` tells what is wanted, and where it comes from."""
    if not isinstance(found, wanted):
        raise InputErrors.one(f"hlm.plot.{name} takes {how}, not {type(found).__name__}")


def chosen(
    known: Sequence[str],
    asked: str | Sequence[str] | None,
    *,
    what: str = "coefficient that varies within levels",
    most: int = 4,
) -> list[str]:
    """The names that were asked for; by default all, `most` at most."""
    if asked is None:
        return list(known[:most])
    names = [asked] if isinstance(asked, str) else list(asked)
    for name in names:
        if name not in known:
            raise InputErrors.one(
                f"{name!r} is no {what}{nearest(name, known)} (there are: {', '.join(known)})",
            )
    return names
