"""Ids: the slot lives in the id, and the parts of what belongs to an execution can be read back."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.entropy import SeededEntropy, SystemEntropy
from runtime.model.ids import (
    EventId,
    StepExecutionId,
    make_uuid7,
    shard_of,
    slot_for,
    slot_of,
    unix_ms_of,
)


@given(st.integers(0, 2**48 - 1), st.integers(0, 4095), st.integers(0, 2**62 - 1))
def test_an_id_keeps_time_and_slot_and_is_a_uuid_v7(ms, slot, noise):
    made = make_uuid7(unix_ms=ms, slot=slot, noise=noise)

    assert (unix_ms_of(made), slot_of(made)) == (ms, slot)
    assert (made.version, made.variant) == (7, "specified in RFC 4122")


@given(st.integers(0, 4095), st.sampled_from([1, 2, 4, 8, 64, 4096]))
def test_every_slot_has_a_shard_and_shards_are_ranges_of_slots(slot, shards):
    made = make_uuid7(unix_ms=1, slot=slot, noise=0)

    assert shard_of(made, shards) == slot // (4096 // shards)


def test_the_slot_of_a_name_is_the_same_in_every_process():
    assert slot_for("acme") == 3712
    assert slot_for("acme", "key") != slot_for("acme")


@pytest.mark.parametrize("item", [-1, 0, 17])
def test_a_step_id_reads_back(item):
    made = StepExecutionId(UUID(int=7), 3, item)

    assert StepExecutionId.parse(str(made)) == made


@pytest.mark.parametrize(
    "text", ["", "x", f"{UUID(int=7)}.s", f"{UUID(int=7)}.e.1", f"{UUID(int=7)}.s.1.2.3"]
)
def test_what_is_no_step_id_is_refused(text):
    with pytest.raises(ValueError):
        StepExecutionId.parse(text)


def test_an_event_id_reads_back():
    assert EventId.parse(str(EventId(UUID(int=7), 12))) == EventId(UUID(int=7), 12)


def test_seeded_ids_repeat_and_system_ids_do_not():
    assert SeededEntropy(1).uuid7(5) == SeededEntropy(1).uuid7(5)
    assert SystemEntropy().uuid7(5, 9) != SystemEntropy().uuid7(5, 9)
    assert slot_of(SystemEntropy().uuid7(5, 9)) == 9
