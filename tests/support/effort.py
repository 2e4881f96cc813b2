"""What a piece of work costs, judged where only bounded effort is right: hostile documents."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Effort:
    """Seconds of CPU of this process; 0 until the work is over."""

    seconds: float = 0.0


@contextmanager
def effort() -> Iterator[Effort]:
    """Measure what stands below it, without the tracer of a coverage run, which counts several times the work.

    And without a look through the objects that a thousand other tests have left: on a slow machine that is a second.
    """
    spent, tracer, collects = Effort(), sys.gettrace(), gc.isenabled()
    sys.settrace(None)
    gc.disable()
    began = time.process_time()
    try:
        yield spent
    finally:
        spent.seconds = time.process_time() - began
        sys.settrace(tracer)
        if collects:
            gc.enable()
