"""What can be made durable, and in which words the rest is refused."""

from __future__ import annotations

import orjson
import pytest

from runtime.model.errors import StepErrorKind, StepFailed
from runtime.model.values import Json
from runtime.worker.encode import (
    MAX_MESSAGE,
    clean,
    copied,
    digest,
    encode,
    error_of,
    written,
)


def refused(value, limit=1_000):
    with pytest.raises(StepFailed) as caught:
        encode(value, "The output", limit)
    return caught.value


@pytest.mark.parametrize("value", [None, 1, "x", [1, {"a": "ü"}], "\\u0000"])
def test_json_is_encoded_as_it_is(value):
    assert encode(value, "The output", 1_000)


@pytest.mark.parametrize("value", ["\x00", ["a\x00b"], {"k": {"\x00": 1}}])
def test_a_nul_anywhere_is_refused_by_name(value):
    assert refused(value).type == "output_not_storable"
    assert "U+0000" in refused(value).message


@pytest.mark.parametrize("value", [2**70, "\ud800", object()])
def test_what_json_cannot_hold_is_refused(value):
    assert refused(value).type == "output_not_storable"


def test_a_nesting_without_end_is_refused():
    value: list[object] = []
    for _ in range(10_000):
        value = [value]

    assert refused(value).type == "output_not_storable"


def test_the_limit_counts_bytes_and_is_inclusive():
    assert encode("ü" * 4, "The output", 10)
    failed = refused("ü" * 5, 10)

    assert failed.type == "output_too_large"
    assert failed.details == {"bytes": 12, "limit": 10}


def test_the_digest_does_not_know_the_order_of_keys():
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest([1, 2]) != digest([2, 1])


def test_a_message_is_cut_and_cleaned():
    text = clean("a\x00b\ud800" + "x" * 10_000)

    assert len(text) == MAX_MESSAGE
    assert text.startswith("a\ufffdb?")
    text.encode()


@pytest.mark.parametrize(
    ("details", "stored"),
    [
        ({"a": 1}, {"a": 1}),
        ({"a": "\x00"}, "(holds U+0000, which can't be stored)"),
        ("x" * 20_000, "(too large to be stored)"),
        ({1: 2}, "(not storable as JSON)"),
    ],
)
def test_details_of_a_failure_always_fit(details, stored):
    failed = StepFailed("no", kind=StepErrorKind.THROTTLED, type="T", details=details)

    error = error_of(failed)

    assert error.details == stored
    assert (error.type, error.message, error.kind) == ("T", "no", StepErrorKind.THROTTLED)


@pytest.mark.parametrize("levels", [250, 251, 252, 253, 254, 255])
def test_details_that_are_kept_can_be_told(levels):
    """The event that tells of a failure puts three levels around its details; orjson writes 254."""
    deep: Json = None
    for _ in range(levels):
        deep = [deep]

    error = error_of(StepFailed("no", type="T", details=deep))

    assert orjson.dumps({"item": {"error": {"details": error.details}}})
    assert (error.details == deep) is (levels <= 251)


def test_a_constant_is_written_as_its_copies_are():
    value: Json = {"b": [1, {"ü": None}], "a": 1.5}
    raw, constant_digest = written(value) or (b"", "")

    assert (orjson.loads(raw), constant_digest) == copied(value)
    assert written(2**70) is None
