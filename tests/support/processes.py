"""Real `mc` processes: started with a clean environment on a free port, watched through their log, ended by pid."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.02
READY_SECONDS = 60.0
STOP_SECONDS = 30.0


def clean_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without what would change the product's behaviour (MC_*, OTEL_*, PG*)."""
    source = os.environ if environ is None else environ
    return {
        name: value
        for name, value in source.items()
        if not name.startswith(("MC_", "OTEL_", "PG")) and name not in {"NO_COLOR", "FORCE_COLOR"}
    }


def chosen() -> dict[str, str]:
    """What the whole suite is run with: who executes GraphQL."""
    return {name: os.environ[name] for name in ("MC_EXECUTOR",) if name in os.environ}


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_alive(process: psutil.Process) -> bool:
    """Whether it still runs: not when it is gone, nor when only its parent's look at its end is missing."""
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


async def eventually(
    check: Callable[[], Awaitable[object] | object], *, seconds: float = 30.0, what: str = ""
) -> None:
    """Wait until the check is true: for conditions in other processes, which no event of ours announces."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        outcome = check()
        if isinstance(outcome, Awaitable):
            outcome = await outcome
        if outcome:
            return
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what or check}")
        await asyncio.sleep(POLL_SECONDS)


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command came to."""

    code: int
    stdout: str
    stderr: str


@dataclass(slots=True)
class Running:
    """A process that was started and goes on."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    url: str

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        """Everything that it has printed so far, both streams."""
        return self.log.read_text("utf-8", "replace")

    def descendants(self) -> list[psutil.Process]:
        """What it has started, at any depth."""
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    async def ready(self, seconds: float = READY_SECONDS) -> Running:
        """Wait until /readyz says yes."""
        await self._until(lambda: _is_ready(self.url), seconds, "ready")
        return self

    async def printed(self, pattern: str, seconds: float = READY_SECONDS) -> re.Match[str]:
        """Wait for a line in its output that matches."""
        await self._until(lambda: re.search(pattern, self.output(), re.MULTILINE), seconds, pattern)
        found = re.search(pattern, self.output(), re.MULTILINE)
        assert found is not None
        return found

    async def ended(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end; the exit code."""
        await eventually(
            lambda: self.process.poll() is not None,
            seconds=seconds,
            what=f"end of {self.name}:\n{self.output()[-4000:]}",
        )
        return int(self.process.returncode)

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and wait; the exit code."""
        self.send(number)
        return await self.ended()

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this process only."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    def kill(self) -> None:
        """`kill -9`, and wait until the system has noticed."""
        self.process.kill()
        self.process.wait()

    async def _until(self, check: Callable[[], object], seconds: float, what: str) -> None:
        def settled() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"{self.name} ended with {self.process.returncode}:\n{self.output()[-4000:]}"
                )
            return bool(check())

        try:
            async with asyncio.timeout(seconds):
                while not await asyncio.to_thread(settled):
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            self.send(signal.SIGABRT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self.process.wait, STOP_SECONDS)
            raise AssertionError(
                f"{self.name}: no {what!r} within {seconds:g} s:\n{self.output()[-4000:]}"
            ) from None


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=2) as answer:  # noqa: S310 - loopback
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


@dataclass(slots=True)
class Mc:
    """Starts `mc` commands in one folder with one environment; a free port is chosen once."""

    home: Path
    folder: Path
    environ: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=free_port)
    started: list[Running] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, **more: str) -> dict[str, str]:
        """What the processes see: a clean environment, this home and this port."""
        return {
            **clean_environment(),
            **chosen(),
            # The compiled tree comes first when that is what is tested.
            "PYTHONPATH": os.pathsep.join(
                path for path in (os.environ.get("PYTHONPATH"), str(ROOT)) if path
            ),
            "MC_HOME": str(self.home),
            "MC_PORT": str(self.port),
            "NO_COLOR": "1",
            "PYTHONFAULTHANDLER": "1",  # so that SIGABRT shows where it stands
            **self.environ,
            **more,
        }

    def start(self, *arguments: str, name: str | None = None, **environ: str) -> Running:
        """Start a command that goes on (`dev`, `serve`, `worker`, `scheduler`), in a session of its own."""
        label = name or arguments[0]
        log = self.folder / f"{label}-{len(self.started)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", "maestro_cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=self.environment(**environ),
                cwd=self.folder,
                start_new_session=True,
            )
        running = Running(label, process, log, self.url)
        self.started.append(running)
        return running

    async def run(
        self,
        *arguments: str,
        text: str | None = None,
        seconds: float = 60.0,
        cwd: Path | None = None,
        **environ: str,
    ) -> Finished:
        """Run a command to its end; one that has none is shown with all it printed and where it stands."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "maestro_cli",
            *arguments,
            stdin=subprocess.PIPE if text is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment(**environ),
            cwd=cwd or self.folder,
        )
        talking = asyncio.ensure_future(
            process.communicate(text.encode() if text is not None else None)
        )
        # Not cancelled when the time is up: what it has read by then would be lost with it.
        await asyncio.wait([talking], timeout=seconds)
        if late := not talking.done():
            process.send_signal(signal.SIGABRT)
            await asyncio.wait([talking], timeout=STOP_SECONDS)
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        out, err = (stream.decode("utf-8", "replace") for stream in await talking)
        if late:
            raise AssertionError(
                f"mc {' '.join(arguments)}: not done within {seconds:g} s:\n{out}{err}"
            )
        return Finished(process.returncode or 0, out, err)

    def end_all(self) -> None:
        """End what is still running, children included; for the end of a test, however it went."""
        for running in self.started:
            family = running.descendants()
            running.send(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.process.wait(STOP_SECONDS)
            if running.process.poll() is None:
                running.kill()
            _, alive = psutil.wait_procs(family, timeout=5)
            for process in alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
