"""Runs a program as the terminal's foreground job, so that Ctrl-C reaches it and not the make that started it.

    python3 scripts/foreground.py PROGRAM ARGS...

Without this, make dies of the same Ctrl-C with an error, however cleanly the program ends. Where there is no terminal,
or we are not in front, it only becomes the program. Ctrl-Z is switched off: the shell waits for make, not for us.
"""

from __future__ import annotations

import os
import signal
import sys


def main() -> None:
    """Step into the foreground if that is ours to take, then become the program."""
    try:
        in_front = os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        in_front = False
    if in_front:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTTOU, signal.SIG_IGN)
        os.tcsetpgrp(0, os.getpgrp())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    os.execvp(sys.argv[1], sys.argv[1:])


if __name__ == "__main__":
    main()
