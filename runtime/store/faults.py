"""What PostgreSQL and its driver say, in the words of our error tree.

The one place where driver exceptions are told apart: a connection that broke (outcome unknown), a
statement that was refused and rolled back (safe to send again), and a row that will never fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from runtime.model.errors import MaestroError, Unavailable

SHARD_CLOSED = "MC001"
FENCED = "MC002"
IMMUTABLE = "MC003"
NOT_OWNED = "MC004"
LANE_FULL = "MC006"

_ROLLED_BACK = frozenset({"40001", "40P01", "55P03"})
# Data, integrity, cardinality, program limits (a text too long for jsonb), and our own refusal.
_NEVER_FITS = ("21", "22", "23", "54")
# Connection, resources, operator intervention, and the states of a server that starts or stops.
_GONE = ("08", "53", "57", "58")
_DISK_FULL = "53100"
# A server that takes no writes: the primary became a standby, or was set so by its operator.
_READ_ONLY = "25006"


class Fenced(MaestroError):
    """This worker was fenced off: another one owns its executions now."""

    code = "INTERNAL"
    reason = "FENCED"


class Busy(Unavailable):
    """No connection to PostgreSQL was free in time; nothing was sent, try again."""

    reason = "DATABASE_BUSY"


class ShardClosed(Unavailable):
    """This shard is closed while it is being moved; try again."""

    reason = "SHARD_CLOSED"


def sqlstate(error: BaseException) -> str:
    """The five letters of PostgreSQL, or nothing when the error is not from there."""
    return str(getattr(error, "sqlstate", None) or "")


def was_rolled_back(error: BaseException) -> bool:
    """Whether nothing of the statement stays and the same one may be sent again."""
    return sqlstate(error) in _ROLLED_BACK


def was_not_done(error: BaseException) -> bool:
    """Whether this refusal of ours stands for a statement that left nothing behind."""
    return isinstance(error, Busy) or was_rolled_back(error.__cause__ or error)


def was_refused(error: BaseException) -> bool:
    """Whether the server, or the driver before it, has refused: nothing of the statement stays."""
    cause = error.__cause__ or error
    if isinstance(cause, UnicodeError):
        return True
    # A server that ends the connection, or a connection that ends, may have committed before.
    state = sqlstate(cause)
    return bool(state) and not state.startswith(("08", "57"))


def never_fits(error: BaseException) -> bool:
    """Whether the statement was refused for what it carries: sending it again changes nothing."""
    state = sqlstate(error)
    is_ours = state in {NOT_OWNED, LANE_FULL}
    return state.startswith(_NEVER_FITS) or is_ours or isinstance(error, UnicodeError)


def is_gone(error: BaseException) -> bool:
    """Whether the server does not answer, or stopped answering in between."""
    # The driver calls it an internal error when the server's farewell meets a statement on its way.
    gone = OSError | TimeoutError | asyncpg.PostgresConnectionError | asyncpg.InternalClientError
    if isinstance(error, gone):
        return True
    if isinstance(error, asyncpg.InterfaceError):
        return "clos" in str(error)
    state = sqlstate(error)
    return isinstance(error, asyncpg.PostgresError) and (
        state.startswith(_GONE) or state == _READ_ONLY
    )


@contextmanager
def translated() -> Iterator[None]:
    """Foreign exceptions of a block, as ours: what is gone is Unavailable, a fence is Fenced."""
    try:
        yield
    except Exception as error:
        translate(error)
        raise


def translate(error: Exception) -> None:
    """Raise ours in the place of a foreign exception, if there is one for it."""
    if isinstance(error, MaestroError):
        return
    state = sqlstate(error)
    if state == FENCED:
        raise Fenced from error
    if state == SHARD_CLOSED:
        raise ShardClosed from error
    if state == _DISK_FULL:
        raise Unavailable(
            "PostgreSQL has no space left on its disk; nothing acknowledged is lost. "
            "Make room there, then try again.",
            reason="DATABASE_DISK_FULL",
        ) from error
    if is_gone(error) or was_rolled_back(error):
        raise Unavailable(
            "PostgreSQL does not answer at the moment; nothing acknowledged is lost, try again.",
            reason="DATABASE_UNAVAILABLE",
        ) from error
