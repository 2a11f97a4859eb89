"""Everything that can go wrong for a user, as one tree.

::

    HlmError                 exit code 2 unless said otherwise
    ├── InputErrors          one or more located problems in what the user gave
    ├── ModelMismatchError   a saved fit does not belong to the model at hand
    ├── RefusalError         an engine cannot fit this model (exit code 3)
    └── FitError             a fit could not be computed (exit code 1)
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = [
    "FitError",
    "HlmError",
    "InputErrors",
    "ModelMismatchError",
    "Problem",
    "RefusalError",
    "nearest",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with what the user gave: where, what was found, what would do.

    `fragment` is the piece of what was given that is at fault, as it was given.
    """

    message: str
    key: str = ""
    file: str = ""
    line: int | None = None
    fragment: str = field(default="", compare=False)

    def __str__(self) -> str:
        place = self.file + (f":{self.line}" if self.line is not None else "")
        return ": ".join(piece for piece in (place, self.key, self.message) if piece)


class HlmError(Exception):
    """Base of every error that a user can cause; its text is one clear message."""

    exit_code = 2


class InputErrors(HlmError):
    """Problems in the user's input, all of them at once."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    @classmethod
    def one(
        cls, message: str, *, key: str = "", file: str = "", fragment: str = ""
    ) -> "InputErrors":
        return cls([Problem(message, key=key, file=file, fragment=fragment)])


class ModelMismatchError(HlmError):
    """A saved fit does not match the model it is asked to serve."""


class RefusalError(HlmError):
    """The engine cannot fit this model; the text names the reason and the engines that can."""

    exit_code = 3


class FitError(HlmError):
    """The numbers could not be computed although the model is valid."""

    exit_code = 1


def nearest(word: object, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the known word nearest to what was given, or an empty text."""
    import difflib

    names = list(known)
    folded = {name.casefold(): name for name in names}
    match = difflib.get_close_matches(str(word).casefold(), list(folded), n=1, cutoff=0.6)
    return f"; did you mean '{folded[match[0]]}'?" if match else ""
