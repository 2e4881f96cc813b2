"""Subscriptions over WebSocket: the only place that imports gql. A lost connection resumes by cursor."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final

from gql import Client as GqlClient
from gql import GraphQLRequest
from gql.transport.exceptions import (
    TransportConnectionFailed,
    TransportError,
    TransportQueryError,
    TransportServerError,
)
from gql.transport.websockets import WebsocketsTransport

from maestro_cli.client import Client, failure_of, refusal_of
from maestro_cli.errors import CliError

_MAX_MESSAGE_BYTES: Final = 16 << 20
_PATIENCE_SECONDS: Final = 60.0
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 3.0
_LOST: Final = (TransportConnectionFailed, OSError, TimeoutError)

Show = Callable[[dict[str, Any]], bool]
Failed = Callable[[Sequence[Mapping[str, Any]]], CliError]


def follow(client: Client, query: str, variables: Mapping[str, Any], show: Show) -> None:
    """Give each item of a subscription to `show`, until it ends or `show` says False. No second try."""
    asyncio.run(_once(client, query, dict(variables), show, failure_of))


def follow_field(
    client: Client,
    query: str,
    variables: Mapping[str, Any],
    field: str,
    show: Show,
    *,
    seconds: float | None = None,
) -> None:
    """Follow one field whose items carry a `cursor`, across lost connections; each item is shown once.

    Raises TimeoutError after so many seconds.
    """
    asyncio.run(_limited(_resuming(client, query, dict(variables), field, show), seconds))


async def _limited(body: Coroutine[Any, Any, None], seconds: float | None) -> None:
    async with asyncio.timeout(seconds):
        await body


async def _resuming(
    client: Client, query: str, variables: dict[str, Any], field: str, show: Show
) -> None:
    loop = asyncio.get_running_loop()
    lost_since: float | None = None
    pause = _FIRST_PAUSE_SECONDS

    def on_item(item: dict[str, Any]) -> bool:
        nonlocal lost_since, pause
        lost_since, pause = None, _FIRST_PAUSE_SECONDS
        variables["after"] = item[field]["cursor"]
        return show(item[field])

    while True:
        try:
            await _once(client, query, variables, on_item, refusal_of)
        except CliError as error:
            if error.reason != "CONNECTION_LOST":
                raise
            lost_since = lost_since or loop.time()
            if loop.time() - lost_since > _PATIENCE_SECONDS:
                raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        else:
            return


async def _once(
    client: Client, query: str, variables: dict[str, Any], show: Show, failed: Failed
) -> None:
    request = GraphQLRequest(query, variable_values=variables)
    try:
        async with GqlClient(
            transport=_transport(client), fetch_schema_from_transport=False
        ) as session:
            items = session.subscribe(request)
            async with contextlib.aclosing(items):
                async for item in items:
                    if not show(item):
                        return
    except TransportQueryError as error:
        raise failed(error.errors or [{"message": str(error)}]) from error
    except TransportServerError as error:
        code = "UNAUTHENTICATED" if error.code in {401, 403, 4401, 4403} else "UNAVAILABLE"
        raise CliError(str(error) or "The server refused the subscription.", code=code) from error
    except _LOST as error:
        raise CliError(
            f"The connection to {client.server.url} was lost.",
            code="UNAVAILABLE",
            reason="CONNECTION_LOST",
        ) from error
    except TransportError as error:
        raise _refusal(error) from error


def _refusal(error: TransportError) -> CliError:
    """What a server says by closing: graphql-transport-ws uses 4401 and 4403 for the caller's identity."""
    closed = error.__cause__
    code = getattr(getattr(closed, "rcvd", None), "code", None)
    if code in {4401, 4403}:
        return CliError("The server refused the token.", code="UNAUTHENTICATED")
    return CliError(
        f"The subscription ended: {str(error) or type(error).__name__}.", code="UNAVAILABLE"
    )


def _transport(client: Client) -> WebsocketsTransport:
    payload = {name.lower(): value for name, value in client.headers.items() if name != "Accept"}
    return WebsocketsTransport(
        "ws" + client.server.graphql_url.removeprefix("http"),
        headers=client.headers,
        init_payload=payload,
        subprotocols=["graphql-transport-ws"],
        close_timeout=1,
        connect_args={"max_size": _MAX_MESSAGE_BYTES},
    )
