"""The shop's books: one SQLite file, durable, written by one thread.

The promise that makes the shop a judge: an effect, the answer stored for its key and the counter
that tells of it are ONE transaction. So a duplicate either comes before the effect or meets the
stored answer; there is no moment in between, and a killed shop never half-remembers.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.shop.bodies import RefusalError

_TABLES = """
CREATE TABLE IF NOT EXISTS records (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    order_id TEXT NOT NULL,
    status TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX IF NOT EXISTS records_order ON records (order_id, kind);
CREATE TABLE IF NOT EXISTS answers (
    endpoint TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    status INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (endpoint, key)
);
CREATE TABLE IF NOT EXISTS counters (
    endpoint TEXT NOT NULL,
    subject TEXT NOT NULL,
    keyed INTEGER NOT NULL,
    calls INTEGER NOT NULL DEFAULT 0,
    effects INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (endpoint, subject, keyed)
);
CREATE TABLE IF NOT EXISTS order_effects (
    endpoint TEXT NOT NULL,
    order_id TEXT NOT NULL,
    effects INTEGER NOT NULL,
    PRIMARY KEY (endpoint, order_id)
);
"""

_MAX_DIGITS = 18

PREFIXES = {
    "reservation": "res",
    "charge": "chg",
    "refund": "ref",
    "label": "lbl",
    "notification": "ntf",
}


@dataclass(frozen=True, slots=True)
class Call:
    """One request that arrived. Without a key its counter goes by the order it is about."""

    endpoint: str
    key: str | None
    order: str | None

    @property
    def subject(self) -> str:
        """What the call is counted under."""
        return self.key or self.order or "-"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the shop replies; `replayed` when it was stored by an earlier call of the same key."""

    status: int
    body: dict[str, Any]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an effect did: its answer, its order, and whether anything changed."""

    answer: Answer
    order: str
    changed: bool = True


Effect = Callable[["Ledger"], Outcome]


class Ledger:
    """Reads and writes the books; every public method is one transaction."""

    def __init__(self, path: Path) -> None:
        """Open or create the file; `synchronous=FULL` because an answer must survive a crash."""
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_TABLES)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def arrive(self, call: Call) -> int:
        """Count a request before anything can go wrong with it; returns its number, from 1."""
        with self._transaction():
            return self._count(call, calls=1)

    def perform(self, call: Call, fingerprint: str, effect: Effect, *, honour_key: bool) -> Answer:
        """Do the effect once per key, or give the stored answer again."""
        key = call.key if honour_key else None
        with self._transaction():
            if key is not None and (stored := self._stored(call.endpoint, key)) is not None:
                if stored["fingerprint"] != fingerprint:
                    raise RefusalError(
                        422, "KEY_REUSED", "This Idempotency-Key was used with another body."
                    )
                return Answer(stored["status"], json.loads(stored["body"]), replayed=True)
            outcome = effect(self)
            if outcome.changed:
                self._count(call, effects=1)
                self._count_order(call.endpoint, outcome.order)
            if key is not None:
                answer = outcome.answer
                self._db.execute(
                    "INSERT INTO answers VALUES (?, ?, ?, ?, ?)",
                    (call.endpoint, key, fingerprint, answer.status, json.dumps(answer.body)),
                )
            return outcome.answer

    def add(self, kind: str, order: str, status: str, body: dict[str, Any]) -> dict[str, Any]:
        """Write a record; only an effect calls this, inside `perform`."""
        cursor = self._db.execute(
            "INSERT INTO records (kind, order_id, status, body) VALUES (?, ?, ?, ?)",
            (kind, order, status, json.dumps(body)),
        )
        return self.get(kind, f"{PREFIXES[kind]}_{cursor.lastrowid:06d}")

    def set_status(self, kind: str, record_id: str, status: str) -> dict[str, Any]:
        """Change a record's status; only an effect calls this, inside `perform`."""
        seq = _sequence(kind, record_id)
        self._db.execute("UPDATE records SET status = ? WHERE seq = ?", (status, seq))
        return self.get(kind, record_id)

    def get(self, kind: str, record_id: str) -> dict[str, Any]:
        """One record, or a refusal that names it."""
        row = self._db.execute(
            "SELECT * FROM records WHERE seq = ? AND kind = ?", (_sequence(kind, record_id), kind)
        ).fetchone()
        if row is None:
            raise RefusalError(404, "NOT_FOUND", f"There is no {kind} '{record_id}'.")
        return _record(row)

    def find_all(self, kind: str, order: str | None = None) -> list[dict[str, Any]]:
        """The records of a kind, oldest first, of one order or of all."""
        rows = self._db.execute(
            "SELECT * FROM records WHERE kind = ? AND (? IS NULL OR order_id = ?) ORDER BY seq",
            (kind, order, order),
        )
        return [_record(row) for row in rows]

    def totals(self) -> dict[str, Any]:
        """Calls and effects of the whole shop and of each endpoint, and the worst key and order."""
        rows = self._db.execute(
            "SELECT endpoint, sum(calls) AS calls, sum(effects) AS effects,"
            " count(*) FILTER (WHERE keyed) AS keys,"
            " coalesce(max(effects) FILTER (WHERE keyed), 0) AS max_effects_per_key,"
            " coalesce((SELECT max(o.effects) FROM order_effects o"
            "           WHERE o.endpoint = c.endpoint), 0) AS max_effects_per_order"
            " FROM counters c GROUP BY endpoint ORDER BY endpoint"
        )
        endpoints = {row["endpoint"]: _without(row, "endpoint") for row in rows}
        columns = list(endpoints.values())
        return {
            "calls": sum(column["calls"] for column in columns),
            "effects": sum(column["effects"] for column in columns),
            "keys": sum(column["keys"] for column in columns),
            "max_effects_per_key": max((c["max_effects_per_key"] for c in columns), default=0),
            "max_effects_per_order": max((c["max_effects_per_order"] for c in columns), default=0),
            "endpoints": endpoints,
        }

    def counters_of(self, key: str) -> dict[str, Any]:
        """Calls and effects of one key, in all and by endpoint; a refusal when it never came."""
        rows = self._db.execute(
            "SELECT endpoint, calls, effects FROM counters WHERE subject = ? AND keyed"
            " ORDER BY endpoint",
            (key,),
        )
        endpoints = {row["endpoint"]: _without(row, "endpoint") for row in rows}
        if not endpoints:
            raise RefusalError(404, "NOT_FOUND", f"No request came with the key '{key}'.")
        calls = sum(column["calls"] for column in endpoints.values())
        effects = sum(column["effects"] for column in endpoints.values())
        return {"key": key, "calls": calls, "effects": effects, "endpoints": endpoints}

    def order(self, order: str) -> dict[str, Any]:
        """Everything that happened to one order; empty lists mean that nothing did."""
        return {"order": order} | {f"{kind}s": self.find_all(kind, order) for kind in PREFIXES}

    def _stored(self, endpoint: str, key: str) -> sqlite3.Row | None:
        row: sqlite3.Row | None = self._db.execute(
            "SELECT * FROM answers WHERE endpoint = ? AND key = ?", (endpoint, key)
        ).fetchone()
        return row

    def _count(self, call: Call, *, calls: int = 0, effects: int = 0) -> int:
        row = self._db.execute(
            "INSERT INTO counters VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
            " SET calls = calls + excluded.calls, effects = effects + excluded.effects"
            " RETURNING calls",
            (call.endpoint, call.subject, call.key is not None, calls, effects),
        ).fetchone()
        return int(row["calls"])

    def _count_order(self, endpoint: str, order: str) -> None:
        self._db.execute(
            "INSERT INTO order_effects VALUES (?, ?, 1)"
            " ON CONFLICT DO UPDATE SET effects = effects + 1",
            (endpoint, order),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _sequence(kind: str, record_id: str) -> int:
    prefix, _, digits = record_id.partition("_")
    valid = prefix == PREFIXES[kind] and digits.isascii() and digits.isdigit()
    # More digits than SQLite's integers have are an id that was never given out: row 0.
    return int(digits) if valid and len(digits) <= _MAX_DIGITS else 0


def _record(row: sqlite3.Row) -> dict[str, Any]:
    head = {
        "id": f"{PREFIXES[row['kind']]}_{row['seq']:06d}",
        "order": row["order_id"],
        "status": row["status"],
    }
    facts: dict[str, Any] = json.loads(row["body"])
    return head | facts | {"created_at": row["created_at"]}


def _without(row: sqlite3.Row, name: str) -> dict[str, Any]:
    return {key: row[key] for key in row.keys() if key != name}  # noqa: SIM118 - Row iterates values
