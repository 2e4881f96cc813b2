"""The elements of a map's list: JSON text in chunks, of which few are decoded at a time."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import orjson

from runtime.model.values import Json

CHUNK: Final = 256
_DECODED: Final = 2


class ItemList:
    """The elements of one list; raises TypeError for what can't be written as JSON."""

    def __init__(self, values: list[Json]) -> None:
        self._chunks = [
            orjson.dumps(values[place : place + CHUNK]) for place in range(0, len(values), CHUNK)
        ]
        self._decoded: OrderedDict[int, list[Json]] = OrderedDict()
        self.size = sum(map(len, self._chunks))

    def __getitem__(self, item: int) -> Json:
        number, place = divmod(item, CHUNK)
        chunk = self._decoded.get(number)
        if chunk is None:
            chunk = self._decoded[number] = orjson.loads(self._chunks[number])
            if len(self._decoded) > _DECODED:
                self._decoded.popitem(last=False)
        return chunk[place]
