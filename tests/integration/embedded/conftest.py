"""A data folder that was made once and is copied for each test: making one takes most of a second."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runtime.embedded import EmbeddedServices


@pytest.fixture(scope="session")
def original_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete data folder, at rest."""
    home = tmp_path_factory.mktemp("embedded") / "home"
    services = EmbeddedServices(home, postgres=True, redis=False)

    async def make() -> None:
        await services.start()
        await services.stop()

    asyncio.run(make())
    return home


@pytest.fixture
def made_home(original_home: Path, tmp_path: Path) -> Path:
    """A copy of it for this test."""
    return Path(shutil.copytree(original_home, tmp_path / "home"))


@pytest.fixture
def end_process() -> Iterator[Callable[[int], None]]:
    """Remember a pid; whatever still has it afterwards is killed."""
    pids: list[int] = []
    yield pids.append
    for pid in pids:
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            continue
