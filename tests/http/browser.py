"""A headless Chromium, driven by the DevTools protocol over one WebSocket; no Node, no driver.

Each `Page` keeps what a test judges by: every address that the page or one of its workers asked
for, and every complaint of the console, among them what the Content-Security-Policy refused.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1440,900",
    "--remote-debugging-port=0",
)
DEADLINE_SECONDS = 30


class BrowserError(Exception):
    """The browser, or a script in the page, answered with an error."""


class Page:
    """One browser tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session: str | None = None
        self._changed = asyncio.Event()
        self.requests: list[str] = []
        self.complaints: list[str] = []

    async def open(self) -> None:
        """Make a tab of a fresh profile and begin to listen, workers included."""
        made = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        self._session = attached["sessionId"]
        await self._listen(self._session)
        await self.call("Page.enable")

    async def goto(self, url: str) -> None:
        """Begin to load an address."""
        await self.call("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page."""
        answer = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise BrowserError(json.dumps(answer["exceptionDetails"])[:500])
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """The value of an expression as soon as it is true; asked again after each event."""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while True:
                    # A page that is just being left does not answer, or answers with an error.
                    with suppress(TimeoutError, BrowserError):
                        async with asyncio.timeout(DEADLINE_SECONDS / 10):
                            if value := await self.evaluate(_READ % expression):
                                return value
                    await self._next_event()
        except TimeoutError:
            text = await self.evaluate("document.body.innerText")
            raise AssertionError(f"never true: {expression}\n{self.complaints}\n{text}") from None

    async def until_asked(self, part: str) -> None:
        """Return once the page or a worker has asked for an address with this part."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not any(part in url for url in self.requests):
                await self._next_event()

    async def _next_event(self) -> None:
        # Not every change of a page is an event of the protocol, so look again soon in any case.
        self._changed.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.1):
                await self._changed.wait()

    async def click(self, selector: str) -> None:
        """Click the first element that a selector finds, once it is there."""
        await self.until(f"document.querySelector({json.dumps(selector)})")
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def screenshot(self, path: Path) -> None:
        """Keep a picture of what is to be seen now."""
        shot = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))

    async def call(self, method: str, **params: Any) -> Any:
        """One command of the protocol and its result."""
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            await self._send(number, method, self._session, params)
            async with asyncio.timeout(DEADLINE_SECONDS):
                answer = await future
        finally:
            del self._waiting[number]
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    async def _send(
        self, number: int, method: str, session: str | None, params: dict[str, Any]
    ) -> None:
        message: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        await self._socket.send_json(message)

    async def read(self) -> None:
        """Take what the browser says until it is closed."""
        async for message in self._socket:
            said = json.loads(message.data)
            if (number := said.get("id")) is not None:
                if (future := self._waiting.get(number)) is not None and not future.done():
                    future.set_result(said)
                continue
            self._changed.set()
            if said["method"] == "Target.attachedToTarget" and self._session is not None:
                await self._listen(said["params"]["sessionId"])
            self._note(said["method"], said["params"])

    async def _listen(self, session: str) -> None:
        # Nobody waits for these answers: a worker may be gone before it gives them.
        follow = {"autoAttach": True, "waitForDebuggerOnStart": True, "flatten": True}
        for method, params in (
            ("Network.enable", {}),
            ("Runtime.enable", {}),
            ("Log.enable", {}),
            ("Target.setAutoAttach", follow),
            ("Runtime.runIfWaitingForDebugger", {}),
        ):
            await self._send(next(self._numbers), method, session, params)

    def _note(self, method: str, params: dict[str, Any]) -> None:
        match method:
            case "Network.requestWillBeSent":
                if not params["request"]["url"].startswith("data:"):
                    self.requests.append(params["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(params["url"])
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.complaints.append(params["entry"]["text"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(params["exceptionDetails"])[:500])


# Expressions may say `text(selector)`; an element counts as true, though it is no JSON.
_READ = """(() => {
  const text = (selector) => document.querySelector(selector)?.textContent ?? "";
  const value = (%s);
  return value instanceof Node ? true : value;
})()"""


@asynccontextmanager
async def open_page() -> AsyncIterator[Page]:
    """A tab in a Chromium of its own, with an empty profile that is gone afterwards."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(prefix="mc-chromium-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            CHROMIUM,
            *_FLAGS,
            f"--user-data-dir={profile}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with aiohttp.ClientSession() as client:
                address = await _address(process)
                async with client.ws_connect(address, max_msg_size=0) as socket:
                    page = Page(socket)
                    reader = asyncio.create_task(page.read())
                    await page.open()
                    yield page
                    reader.cancel()
                    await asyncio.wait([reader])
        finally:
            process.terminate()
            await process.communicate()


async def _address(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for line in process.stderr:
            if line.startswith(b"DevTools listening on "):
                return line.decode().split()[-1]
    raise AssertionError("Chromium ended before it listened")
