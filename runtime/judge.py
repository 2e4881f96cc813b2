"""The process that judges somebody's data by somebody's schema: started by a server's judges, never by hand.

It reads questions from standard input and answers on standard output, one after another, until its parent is gone.
Nothing that it is asked can keep it longer or take more memory than it may: then it is ended, and not the server.
"""

from __future__ import annotations

import pickle
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from runtime.abi.catalog import Catalog
from runtime.deep import deeply
from runtime.model.errors import Invalid
from runtime.services.judges import framed, read_framed

MEMORY_BYTES: Final = 1 << 30
_MARGIN_SECONDS: Final = 1.0
_BYTES_OF_MAXRSS: Final = 1 if sys.platform == "darwin" else 1_024


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer until there are no more questions, or so much memory was used that a fresh process is better."""
    first = read_framed(questions)
    if first is None:
        return
    catalog, seconds = pickle.loads(first)  # noqa: S301 - from the parent's own pipe
    is_last = False
    _write(answers, b"", is_last=is_last)
    while not is_last and (message := read_framed(questions)) is not None:
        # The parent ends a judge that is late. This ends it when there is no parent any more: by the signal's own
        # effect, which no code has to run for.
        signal.setitimer(signal.ITIMER_REAL, seconds + _MARGIN_SECONDS)
        answer, is_last = _answered(message, catalog)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answers, answer, is_last=is_last)


def _answered(message: bytes, catalog: Catalog) -> tuple[bytes, bool]:
    """What was found and None, or None and the problems; without problems it took too much.

    A fault of ours is told by its type alone: its words may quote what somebody has sent.
    """
    found: tuple[Any, list[Any] | None]
    try:
        found = pickle.loads(message).answer(catalog), None  # noqa: S301 - from the parent's own pipe
        answer = pickle.dumps(found)
    except Invalid as error:
        answer = pickle.dumps((None, list(error.problems)))
    except (MemoryError, RecursionError):
        return pickle.dumps((None, [])), True
    except Exception as error:  # noqa: BLE001 - whatever it is, the next question can be answered
        answer = pickle.dumps((None, type(error).__name__))
    return answer, peak_bytes() > MEMORY_BYTES // 2


def peak_bytes() -> int:
    """The most memory that this program has had at once.

    Linux says in `ru_maxrss` also what the process had before it became this program, when it was a copy of its parent:
    the judges of a large server would have been replaced after each answer (getrusage(2), proc_pid_status(5)).
    """
    with suppress(OSError), Path("/proc/self/status").open(encoding="ascii") as lines:
        for line in lines:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1_024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_OF_MAXRSS


def _write(answers: BinaryIO, answer: bytes, *, is_last: bool) -> None:
    answers.write(framed(bytes([is_last]) + answer))
    answers.flush()


def main() -> int:
    """Serve; the exit code."""
    with suppress(
        ValueError, OSError
    ):  # Where a lower bound holds already, or the system has none.
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    with suppress(BrokenPipeError):
        deeply(lambda: serve(sys.stdin.buffer, sys.stdout.buffer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
