"""Room for recursion: a thread with a large stack, for libraries that go deeper than Python lets them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Final, TypeVar

Found = TypeVar("Found")

# What judges a value takes up to thirty frames for each schema in a row and each level: some thousands of schemas.
LEVELS: Final = 100_000
STACK_BYTES: Final = 256 << 20

_lock = threading.Lock()


def deeply(work: Callable[[], Found]) -> Found:
    """What `work` gives or raises, done in a thread of its own with room for 100,000 levels of recursion.

    For processes that do one thing: meanwhile the interpreter's limit is raised for all of its threads.
    """
    found: list[Found] = []
    raised: list[BaseException] = []

    def done() -> None:
        try:
            found.append(work())
        except BaseException as error:  # noqa: BLE001 - raised again by who waits
            raised.append(error)

    with _lock:
        levels, size = sys.getrecursionlimit(), threading.stack_size(STACK_BYTES)
        sys.setrecursionlimit(max(LEVELS, levels))
        try:
            thread = threading.Thread(target=done, name="deep", daemon=True)
            thread.start()
            thread.join()
        finally:
            threading.stack_size(size)
            sys.setrecursionlimit(levels)
    if raised:
        raise raised[0]
    return found[0]
