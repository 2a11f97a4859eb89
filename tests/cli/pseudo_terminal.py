"""A command run on a pseudo-terminal: what it writes there, and how it ends."""

import errno
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import hlm_models

COMMAND = [sys.executable, "-m", "hlm_models"]
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_terminal(
    words,
    folder,
    *,
    columns=80,
    interrupt=None,
    by=signal.SIGINT,
    pause=0.3,
    stdout=None,
    **environment,
):
    """What a command writes to a terminal of so many columns, and its exit code.

    It gets the signal `by`, `pause` seconds after `interrupt` has been written. With `stdout`, only
    stderr is the terminal.
    """
    main, side = pty.openpty()
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    variables = {name: value for name, value in os.environ.items() if name not in IGNORED}
    process = subprocess.Popen(
        [*COMMAND, *words],
        stdin=side,
        stdout=side if stdout is None else stdout,
        stderr=side,
        cwd=folder,
        env={**variables, "PYTHONPATH": ROOTS, "TERM": "xterm-256color", **environment},
        start_new_session=True,
    )
    os.close(side)
    # Whoever does not heed the signal is killed, and has another exit code.
    watchdog = threading.Timer(300, process.kill)
    watchdog.start()
    found = b""
    try:
        while chunk := _read(main):
            found += chunk
            if interrupt is not None and interrupt in found.decode(errors="replace"):
                interrupt = None
                time.sleep(pause)
                process.send_signal(by)
        return found.decode(), process.wait()
    finally:
        watchdog.cancel()
        process.kill()
        os.close(main)


ROOTS = os.pathsep.join(
    filter(None, [str(Path(hlm_models.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
)

IGNORED = {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}


def _read(main):
    try:
        return os.read(main, 65536)
    except OSError as error:
        # Linux says so where the other side is closed.
        if error.errno != errno.EIO:
            raise
        return b""


def lines_of(text):
    return [ESCAPE.sub("", line) for line in text.replace("\r\n", "\n").split("\n")]
