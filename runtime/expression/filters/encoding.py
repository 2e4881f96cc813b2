"""Filters between representations: JSON, base64, URLs, digests, and questions in JMESPath."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from runtime.expression.budget import Meter
from runtime.expression.error import ExpressionError
from runtime.expression.filters.questions import ask
from runtime.expression.filters.texts import need_count, need_text
from runtime.expression.text import from_json, to_json, to_text

_DIGESTS = ("sha256", "sha384", "sha512", "sha1", "md5")
_MAX_INDENT = 8


def _tojson(meter: Meter, value: Any, indent: Any = None) -> str:
    if indent is not None and need_count(indent, "the indent of tojson") > _MAX_INDENT:
        raise ExpressionError(f"the indent of tojson is at most {_MAX_INDENT}")
    return to_json(value, meter, indent)


def _fromjson(meter: Meter, value: Any) -> Any:
    return from_json(need_text(value, "fromjson"), meter)


def _b64encode(meter: Meter, value: Any) -> str:
    text = to_text(value, meter)
    meter.produce(2 * len(text))
    return base64.b64encode(text.encode()).decode()


def _b64decode(meter: Meter, value: Any) -> str:
    text = need_text(value, "b64decode")
    meter.produce(len(text))
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, ValueError):
        raise ExpressionError("this is not the base64 of a text") from None


def _urlencode(meter: Meter, value: Any) -> str:
    """A text as part of a URL's path; a mapping or a list of pairs as a query."""
    if isinstance(value, str):
        meter.produce(3 * len(value))
        return quote(value, safe="/")
    pairs = value.items() if isinstance(value, Mapping) else value
    if not isinstance(value, Mapping | list) or not all(_is_pair(one) for one in pairs):
        return quote(to_text(value, meter), safe="/")
    texts = [(to_text(key, meter), to_text(one, meter)) for key, one in pairs]
    meter.produce(sum(3 * (len(key) + len(one)) + 2 for key, one in texts))
    return "&".join(f"{quote_plus(key)}={quote_plus(one)}" for key, one in texts)


def _is_pair(one: Any) -> bool:
    return isinstance(one, list | tuple) and len(one) == 2  # noqa: PLR2004 - a pair


def _hash(meter: Meter, value: Any, algorithm: Any = "sha256") -> str:
    if algorithm not in _DIGESTS:
        raise ExpressionError(f"hash knows {', '.join(_DIGESTS)}")
    text = to_text(value, meter)
    meter.produce(len(text))
    return hashlib.new(algorithm, text.encode(), usedforsecurity=False).hexdigest()


FILTERS: Mapping[str, Callable[..., Any]] = {
    "tojson": _tojson,
    "json": _tojson,
    "fromjson": _fromjson,
    "b64encode": _b64encode,
    "b64decode": _b64decode,
    "urlencode": _urlencode,
    "hash": _hash,
    "jmespath": ask,
}
