"""The shared, guarded HTTP session for steps that speak a protocol of their own over HTTP."""

from __future__ import annotations

from runtime.abi.connector import StepContext
from runtime.model.errors import StepFailed
from runtime.transport.http import SERVICE, HttpTransport
from runtime.transport.http import HttpAnswer as HttpAnswer
from runtime.transport.http import HttpCall as HttpCall


def http_session(context: StepContext) -> HttpTransport:
    """The session of this process: pooled, bounded, and held to the operator's egress rule."""
    transport = context.services.get(SERVICE)
    if not isinstance(transport, HttpTransport):
        raise StepFailed("This process has no HTTP session for steps.", type="http.no_session")
    return transport
