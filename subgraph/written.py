"""Answers as JSON text, however deep the values in them are.

A value of the engine may be as deep as orjson writes (254 levels), and an answer puts more around it than that allows:
one such value in a row would be the end of every list that shows it. What orjson refuses is written by the standard
library, which goes deeper.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def written(answer: Any) -> bytes:
    """An answer as JSON; what JSON has no form for is written as its text."""
    try:
        return orjson.dumps(answer, default=str)
    except orjson.JSONEncodeError:
        return json.dumps(answer, default=str, separators=(",", ":")).encode()
