"""Options that say something of all groups, or of each by name: KIND, or GROUP=KIND,GROUP=KIND."""

from hlm_models.errors import InputErrors

__all__ = ["by_group"]


def by_group(text: str, *, key: str) -> str | dict[str, str]:
    """The one word, or the words by group.

    A word with an equals sign in it can be given in Python only.

    Raises
    ------
    InputErrors
        a group is named twice, or some are named and some not; names `key`.
    """
    if "=" not in text:
        return text.strip()
    found: dict[str, str] = {}
    for group, sign, word in (piece.partition("=") for piece in text.split(",")):
        if not sign or not group.strip() or not word.strip():
            raise InputErrors.one(
                f"{text!r} is to be one word, or GROUP=WORD with commas between", key=key
            )
        if group.strip() in found:
            raise InputErrors.one(f"{group.strip()} is named twice", key=key)
        found[group.strip()] = word.strip()
    return found
