"""Frames of a WebSocket: what we write is what a client of another house reads."""

from __future__ import annotations

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from subgraph.http.frames import frame_of


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 100_000])
def test_a_client_reads_the_text_of_a_frame(size: int) -> None:
    client = ClientProtocol(parse_uri("ws://localhost/"), state=OPEN)

    client.receive_data(frame_of(b"a" * size))
    (frame,) = client.events_received()

    assert isinstance(frame, Frame)
    assert (frame.opcode, frame.fin, len(frame.data)) == (Opcode.TEXT, True, size)
