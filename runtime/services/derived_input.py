"""Inputs of steps that are derived from large values, for all steps that an answer asks about at the same time.

An execution is read and replayed once for each event that is asked about, however many of its steps are; a large value
is read once for all inputs of the execution, and counts once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from uuid import UUID

import orjson

from runtime.model.blob import SHOWN_BYTES, BlobRef, NotLoaded
from runtime.model.errors import MaestroError, PayloadTooLarge
from runtime.model.execution import StepExecution
from runtime.model.identity import Principal
from runtime.model.values import Json
from runtime.services.past import Past
from runtime.services.step_view import StepView
from runtime.services.stored_step import Moment, StoredSteps
from runtime.store.blob import Blobs

_DERIVED_FROM_BYTES: Final = 134_217_728


class InputKey(NamedTuple):
    """Whose input: a step's (`item` -1) or an item's, as it is or as it was at an event."""

    execution_id: UUID
    step_key: str
    item: int = -1
    at: int | None = None


@dataclass(slots=True)
class Allowance:
    """The bytes of large values that may be read for the inputs of steps in one answer, all together."""

    left: int = _DERIVED_FROM_BYTES

    def take(self, size: int) -> None:
        """Take so many; raises PayloadTooLarge, and takes none, when that is more than is left."""
        if size > self.left:
            raise PayloadTooLarge(
                f"The inputs of these steps are derived from more than {_DERIVED_FROM_BYTES} bytes: ask for those of "
                "fewer steps at once.",
                reason="STEP_INPUTS",
            )
        self.left -= size


def fitting(value: Json) -> Json:
    """A value that was derived; None when its JSON is too large to be part of an answer."""
    try:
        size = len(orjson.dumps(value))
    except orjson.JSONEncodeError:
        # Deeper than it writes.
        size = len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())
    return None if size > SHOWN_BYTES else value


@dataclass(slots=True)
class _AtHand:
    """Large values of one execution that have been read, and those that the input which is being derived touches."""

    values: dict[BlobRef, Json] = field(default_factory=dict)
    touched: set[BlobRef] = field(default_factory=set)

    def __call__(self, ref: BlobRef) -> Json:
        self.touched.add(ref)
        if ref not in self.values:
            raise NotLoaded(ref)
        return self.values[ref]


class DerivedInputs:
    """Derives them, one after another: what they are derived from is held for one execution at a time."""

    def __init__(self, stored: StoredSteps, blobs: Blobs) -> None:
        self._stored = stored
        self._blobs = blobs

    async def of(
        self, who: Principal, keys: Sequence[InputKey], allowance: Allowance
    ) -> dict[InputKey, Json | MaestroError]:
        """Each input, secrets masked, or why there is none to be had; None when it is too large to be shown.

        PayloadTooLarge where others have used the allowance up.
        """
        by_execution: dict[UUID, dict[Moment, list[InputKey]]] = {}
        for key in dict.fromkeys(keys):
            moments = by_execution.setdefault(key.execution_id, {})
            moments.setdefault((key.execution_id, key.at), []).append(key)
        stored = await self._stored.read(
            who, [one for moments in by_execution.values() for one in moments]
        )
        found: dict[InputKey, Json | MaestroError] = {}
        for moments in by_execution.values():
            at_hand = _AtHand()
            for moment, some in moments.items():
                found |= await self._at(who, stored[moment], some, at_hand, allowance)
        return found

    async def _at(
        self,
        who: Principal,
        stored: Past | MaestroError,
        keys: Iterable[InputKey],
        at_hand: _AtHand,
        allowance: Allowance,
    ) -> dict[InputKey, Json | MaestroError]:
        """Those of one execution at one moment."""
        if isinstance(stored, MaestroError):
            return dict.fromkeys(keys, stored)
        try:
            view = await self._stored.view(who, stored, resolve=at_hand)
        except MaestroError as error:  # of this execution alone
            return dict.fromkeys(keys, error)
        by_step: dict[str, list[InputKey]] = {}
        for key in keys:
            by_step.setdefault(key.step_key, []).append(key)
        found: dict[InputKey, Json | MaestroError] = {}
        for step, some in by_step.items():
            try:
                seen = await self._stored.step(who, view, step, [key.item for key in some])
            except MaestroError as error:  # of this step alone
                found |= dict.fromkeys(some, error)
                continue
            for key in some:
                try:
                    found[key] = await self._input(who, view, seen, key.item, at_hand, allowance)
                except MaestroError as error:  # of this input alone
                    found[key] = error
        return found

    async def _input(
        self,
        who: Principal,
        view: StepView,
        seen: Callable[[int], StepExecution],
        item: int,
        at_hand: _AtHand,
        allowance: Allowance,
    ) -> Json:
        at_hand.touched.clear()
        while True:
            step = seen(item)
            missing = step.input_missing
            if missing is None:
                return fitting(step.input)
            if sum(ref.size for ref in at_hand.touched) > _DERIVED_FROM_BYTES:
                return None  # Nor would it be alone in an answer.
            allowance.take(missing.size)
            at_hand.values[missing] = await self._blobs.load(
                who.tenant_id, view.execution.id, missing
            )
