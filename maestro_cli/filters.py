"""The filter language of lists: `status:failed,running workflow:billing@2 tag:team=pay created:>24h`.

Words that this version can't filter by are refused by name, never ignored.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from maestro_cli.errors import CliError, usage

STATUSES: Final = (
    "queued",
    "running",
    "waiting",
    "paused",
    "cancelling",
    "compensating",
    "completed",
    "failed",
    "cancelled",
    "timed_out",
    "dead_lettered",
)
_TRIGGERS: Final = ("api", "schedule", "webhook", "parent", "event", "cli", "agent")
_WORDS: Final = (
    "status",
    "workflow",
    "trigger",
    "tag",
    "key",
    "namespace",
    "created",
    "finished",
    "text",
)
_ORDERS: Final = {
    "created": "CREATED_AT",
    "started": "STARTED_AT",
    "finished": "FINISHED_AT",
    "priority": "PRIORITY",
}


def parse_filter(words: Sequence[str], now: datetime | None = None) -> dict[str, Any]:
    """The graph's ExecutionFilter for a filter written by a person."""
    filter: dict[str, Any] = {}  # noqa: A001 - the graph's word
    for text in (part for word in words for part in shlex.split(word)):
        key, separator, value = text.partition(":")
        if not separator or not value:
            raise usage(
                f"{text!r} is not of the form word:value.", f"words are {', '.join(_WORDS)}"
            )
        _add(filter, key, value, now or datetime.now(UTC))
    return filter


def parse_order(text: str) -> dict[str, str]:
    """The graph's ExecutionOrder for `finished`, or `finished:asc` for the other end first.

    The usual order is not named: it costs nothing, and whoever names a field pays for those that do.
    """
    field, separator, direction = text.partition(":")
    (known,) = _known([field], tuple(_ORDERS), "order")
    named = {} if known == "created" else {"field": _ORDERS[known]}
    end = _known([direction], ("asc", "desc"), "direction")[0].upper() if separator else "DESC"
    return {**named, "direction": end}


def _add(filter: dict[str, Any], key: str, value: str, now: datetime) -> None:
    match key:
        case "status":
            filter["status"] = [s.upper() for s in _known(value.split(","), STATUSES, "status")]
        case "trigger":
            filter["trigger"] = [t.upper() for t in _known(value.split(","), _TRIGGERS, "trigger")]
        case "workflow":
            name, separator, version = value.partition("@")
            filter["workflowName"] = name.split(",")
            if separator:
                filter["version"] = version
        case "tag" | "label":
            name, separator, text = value.partition("=")
            if not separator:
                raise usage(f"{key}:{value} is not of the form {key}:name=value.")
            filter.setdefault("labels", []).append({"key": name, "value": text})
        case "key":
            filter["idempotencyKey"] = value
        case "text":
            filter["search"] = value
        case "namespace":
            filter["namespace"] = value.split(",")
        case "created" | "finished":
            filter.setdefault(key, {}).update(_range(key, value, now))
        case _:
            raise _unknown(key, _WORDS, "filter word")


def _range(key: str, value: str, now: datetime) -> dict[str, str]:
    """`>24h` or `<7d`: younger or older than that; `>2026-01-31`: after that instant."""
    sign, text = value[:1], value[1:]
    if sign not in {">", "<"} or not text:
        raise usage(f"{key}:{value} needs > or <, e.g. {key}:>24h.")
    # `created:>24h` reads "since 24 hours ago", `created:>2026-01-31` "since that day".
    return {"from" if sign == ">" else "to": _moment(key, text, now).isoformat()}


def _moment(key: str, text: str, now: datetime) -> datetime:
    from runtime.model.values import Duration

    try:
        return now - timedelta(seconds=Duration.parse(text).seconds)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise usage(
            f"{key}: {text!r} is neither a duration like 24h nor a time like 2026-01-31T12:00Z."
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _known(values: Sequence[str], allowed: Sequence[str], noun: str) -> list[str]:
    for value in values:
        if value not in allowed:
            raise _unknown(value, allowed, noun)
    return list(values)


def _unknown(word: str, allowed: Sequence[str], noun: str) -> CliError:
    near = difflib.get_close_matches(word, allowed, n=1)
    return usage(
        f"There is no {noun} {word!r}.",
        f"did you mean {near[0]}?" if near else f"there are {', '.join(allowed)}",
    )
