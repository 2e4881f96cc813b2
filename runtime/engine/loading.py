"""Large values that the core needs to decide: asked for one at a time, forgotten when they have been used."""

from __future__ import annotations

from runtime.engine.command import Command, LoadBlob
from runtime.engine.event import BlobLoaded
from runtime.engine.state import ExecutionState
from runtime.model.blob import BlobRef


def ask_for(state: ExecutionState, ref: BlobRef, out: list[Command]) -> None:
    """Let a value be loaded, unless one is on its way: then what comes next is asked for afterwards."""
    if state.awaits is None:
        state.awaits = ref
        out.append(LoadBlob(ref))


def take_loaded(state: ExecutionState, event: BlobLoaded) -> bool:
    """Whether this is the value that was asked for; it is at hand, or known to be lost, from now on."""
    if event.ref != state.awaits:
        return False
    state.awaits = None
    if event.problem is None:
        state.loaded[event.ref] = event.value
    else:
        state.lost[event.ref] = event.problem
    return True
