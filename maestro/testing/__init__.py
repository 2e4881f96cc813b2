"""The test kit for steps: each runs as a worker runs it, without a server.

Whole workflows on a real engine: `maestro.testing.workflow`.
"""

from __future__ import annotations

from maestro.testing.steps import LOOPBACK as LOOPBACK
from maestro.testing.steps import LogLine as LogLine
from maestro.testing.steps import StepResult as StepResult
from maestro.testing.steps import make_context as make_context
from maestro.testing.steps import run_step as run_step
from maestro.testing.steps import run_step_async as run_step_async
