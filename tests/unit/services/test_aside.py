"""Long work leaves the loop to others, short work costs no thread."""

from __future__ import annotations

import threading

from runtime.services.aside import aside


async def test_only_what_is_long_goes_to_a_thread() -> None:
    here = threading.get_ident()

    assert await aside(1_000, threading.get_ident) == here
    assert await aside(1_001, threading.get_ident) != here
