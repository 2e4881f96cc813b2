"""Secrets are found in every form that they take on the way out."""

from __future__ import annotations

import base64
import html
import json
from urllib.parse import quote, quote_plus, urlencode

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from yarl import URL

from runtime.secrets.masker import MIN_LENGTH, Masker

SECRET = 'p@ss/w"rd ünd <m&re>\n+line'


@pytest.mark.parametrize(
    "text",
    [
        SECRET,
        SECRET.strip(),
        quote(SECRET),
        quote(SECRET, safe=""),
        quote(SECRET, safe="").lower(),
        quote_plus(SECRET),
        urlencode({"a": SECRET}),
        json.dumps(SECRET),
        orjson.dumps(SECRET).decode(),
        repr(SECRET),
        html.escape(SECRET),
        html.escape(html.escape(SECRET)),
        quote(SECRET, safe="/+<>&"),
        quote(quote(SECRET)),
        str(URL.build(scheme="http", host="a.example", query={"q": SECRET})),
        json.dumps(json.dumps(json.dumps({"a": SECRET}))),
        orjson.dumps(repr(SECRET)).decode(),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
    ],
)
def test_a_secret_is_masked_in_every_form(text: str):
    masked = Masker([SECRET]).mask(f"before {text} after")

    assert "***" in masked
    assert "rd" not in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")


@given(before=st.binary(max_size=7), after=st.binary(max_size=7))
def test_a_secret_inside_longer_base64_is_masked(before: bytes, after: bytes):
    secret = "hunter2-hunter2"
    text = base64.b64encode(before + secret.encode() + after).decode()

    masked = Masker([secret]).mask(text)

    # What is left are the ends, which hold what stands before and after and a few bits at the seam.
    assert "***" in masked
    assert len(masked) <= len(text) - len(secret) + len("***")


def test_a_long_secret_is_masked_in_another_case_a_short_word_is_not():
    masker = Masker(["Tenant-77-Key", "Mango"])

    assert masker.mask("http://tenant-77-key.example mango Mango") == "http://***.example mango ***"


@given(secret=st.text(min_size=4, max_size=24), around=st.text(max_size=4))
def test_any_secret_is_masked_as_it_is_and_in_json_and_addresses(secret: str, around: str):
    assume(len(secret.strip()) >= MIN_LENGTH)
    masker = Masker([secret])

    for text in (secret, json.dumps({"a": secret}), quote(secret, safe="", errors="replace")):
        assert "***" in masker.mask(f"{around}{text}{around}")


def test_a_row_of_backslashes_costs_no_time():
    text = "\\" * 5_000

    assert Masker(["\\\\\\a\\\\b", '"""""""x'])._text(f"ab x{text}") == f"ab x{text}"


def test_json_is_masked_in_values_and_keys_and_keeps_its_shape():
    value = {"a": ["x hunter2! y", 1, None, True, 2.5], "k-hunter2!": {"b": "hunter2!"}, "c": ()}

    assert Masker(["hunter2!"]).mask(value) == {
        "a": ["x *** y", 1, None, True, 2.5],
        "k-***": {"b": "***"},
        "c": [],
    }


def test_what_holds_no_secret_is_the_same_object():
    value = {"a": [1, {"b": "text"}]}

    assert Masker(["hunter2!"]).mask(value) is value
    assert Masker().mask(value) is value


def test_what_json_has_no_word_for_is_masked_too():
    assert Masker(["hunter2!"]).mask({"a": {1, 2}, "b": "hunter2!"}) == {"a": {1, 2}, "b": "***"}


def test_a_secret_that_contains_another_goes_as_a_whole():
    assert Masker(["abcd", "abcdefgh"]).mask("abcdefgh abcd") == "*** ***"


def test_lines_of_a_long_secret_are_masked_one_by_one():
    secret = "-----BEGIN KEY-----\nMIIEpAIBAAKCAQEA\nshort\n-----END KEY-----\n"

    masked = Masker([secret]).mask("line: MIIEpAIBAAKCAQEA, -----BEGIN KEY-----")

    assert masked == "line: ***, -----BEGIN KEY-----"


@pytest.mark.parametrize("secret", ["", "   ", "abc"])
def test_values_too_short_to_be_told_from_text_are_left(secret: str):
    assert Masker([secret]).mask("abc   def") == "abc   def"
