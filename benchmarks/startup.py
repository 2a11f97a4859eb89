"""CPU of the light commands in a fresh process, against importing pandas in one.

    python benchmarks/startup.py [REPEATS]

`hlm list` should cost less than `python -c 'import pandas'` on the same machine. Each repeat runs
all commands in turn; medians of user plus system seconds are printed.
"""

import os
import statistics
import subprocess
import sys

COMMANDS = {
    "import pandas": ["-c", "import pandas"],
    "import hlm_models": ["-c", "import hlm_models"],
    "hlm list": ["-m", "hlm_models", "list"],
    "hlm show radon-slopes": ["-m", "hlm_models", "show", "radon-slopes"],
    "hlm check radon-slopes": ["-m", "hlm_models", "check", "radon-slopes"],
}


def cpu(arguments: list[str]) -> float:
    """User plus system seconds of one child process."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )


def main(repeats: int = 5) -> None:
    for arguments in COMMANDS.values():
        cpu(arguments)
    rounds = [
        {name: cpu(arguments) for name, arguments in COMMANDS.items()} for _ in range(repeats)
    ]
    base = statistics.median(one["import pandas"] for one in rounds)
    for name in COMMANDS:
        seconds = statistics.median(one[name] for one in rounds)
        print(f"{name:25s} {seconds:6.2f} s CPU   {seconds / base:5.2f} of importing pandas")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
