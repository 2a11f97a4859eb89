"""Words on the command line to calls of `api`; results to text, JSON and exit codes."""

import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hlm_models.errors import HlmError

__all__ = ["main"]

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `hlm`: 0 done, 1 done but a check failed, 2 bad input, 3 refused, 130 interrupted."""
    import typer

    from hlm_models.cli.commands import app

    # Typer does not name the parent of its errors of usage.
    usage_error: Any = typer.BadParameter.__base__
    try:
        status = app(args=arguments, prog_name="hlm", standalone_mode=False)
    except HlmError as error:
        from hlm_models.cli.problems import tell

        tell(error, _overrides(sys.argv[1:] if arguments is None else arguments))
        return error.exit_code
    except usage_error as error:
        error.show(file=sys.stderr)
        return 2
    except OSError as error:
        # A disk that is full, a folder that may not be written to.
        place = "output" if error.filename is None else error.filename
        print(f"{place}: cannot be written or read: {error.strerror}", file=sys.stderr)
        return 1
    # Typer turns Ctrl-C into this status, and other exits into theirs.
    if status == INTERRUPTED:
        print("interrupted: nothing half-written was left behind", file=sys.stderr)
    return status if isinstance(status, int) else 0


def _overrides(words: Sequence[str]) -> list[str]:
    """What was given by `--set`, to be shown with what is wrong with it."""
    behind = [after for word, after in pairwise(words) if word == "--set"]
    return behind + [one.removeprefix("--set=") for one in words if one.startswith("--set=")]
