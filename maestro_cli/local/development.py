"""The body of `mc dev`: its stages, what it leaves in the data folder for `mc`, the block that says where to look."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Final

from maestro_cli.client import Client
from maestro_cli.errors import CliError
from maestro_cli.local import example as shop_example
from maestro_cli.local.guard import check_issuer
from maestro_cli.local.logs import logging_to_file
from maestro_cli.local.parts import bind
from maestro_cli.local.signals import run_until_stopped
from maestro_cli.local.stack import Engine, development_token, whole_engine
from maestro_cli.local.stages import Stages
from maestro_cli.local.threads import in_thread
from maestro_cli.options import Options
from maestro_cli.servers import DEV_FILE, TOKEN_FILE, Server, find_dev_server
from runtime.embedded.home import locked, prepare_home
from runtime.model.errors import SetupError
from runtime.settings import Settings

LOCK_FILE: Final = "dev.lock"
_TOKEN_SECONDS: Final = 90 * 86_400.0


def run_dev(options: Options, settings: Settings, *, example: bool) -> int:
    """Everything in this process until Ctrl-C; the exit code."""
    check_issuer(settings)
    if example:
        shop_example.check_example()
    prepare_home(settings.home)
    with _alone(settings), logging_to_file(settings.home, settings.log, options) as log:
        code = run_until_stopped(_dev(options, settings, example=example, log=log))
    options.say("stopped")
    return code


async def _dev(options: Options, settings: Settings, *, example: bool, log: Path | None) -> int:
    stage = Stages(options)
    with bind(settings.api) as listener:
        async with contextlib.AsyncExitStack() as stack:
            shop_url = None
            if example:
                shop_url = await stack.enter_async_context(shop_example.shop(settings.home))
                stage(f"shop {shop_url}, a process of its own that fails on purpose")
            engine = await stack.enter_async_context(whole_engine(settings, listener, stage))
            token = stack.enter_context(_announced(engine, shop_url))
            if shop_url is not None and token is not None:
                await _example(engine, token, shop_url, stage)
            _say_where(engine, token, log, example=example, seconds=monotonic() - options.begun)
            stack.callback(options.say, "stopping ...")
            return await engine.run()


@contextlib.contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """One `mc dev` in a folder, from before it takes its port: where that has it, another port would not help."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(settings.home, LOCK_FILE))
        except SetupError as error:
            running = find_dev_server(settings.home)
            if running is None:
                raise
            raise CliError(
                f"The data folder {settings.home} is in use by process {running.pid}: `mc dev` runs "
                f"already, at {running.url}.",
                code="CONFLICT",
                reason="HOME_IN_USE",
                hint="use that one or stop it; for a second one beside it set MC_HOME and MC_PORT",
            ) from error
        yield


@contextlib.contextmanager
def _announced(engine: Engine, shop_url: str | None) -> Iterator[str | None]:
    """Leave address and token where `mc` finds them; the address goes away with the process."""
    settings = engine.settings
    token = settings.token
    if settings.auth.jwks_url is None:
        token = development_token(settings, ttl_seconds=_TOKEN_SECONDS)
        _write_private(settings.home / TOKEN_FILE, token + "\n")
    facts = {
        "url": engine.url,
        "pid": os.getpid(),
        "database_url": settings.database_url,
        "redis_url": settings.redis_url,
        "shop_url": shop_url,
    }
    path = settings.home / DEV_FILE
    _write_private(path, json.dumps(facts))
    try:
        yield token
    finally:
        path.unlink(missing_ok=True)


def _write_private(path: Path, text: str) -> None:
    """For the owner's eyes from its first byte on."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    draft.replace(path)


async def _example(engine: Engine, token: str, shop_url: str, stage: Stages) -> None:
    home = engine.settings.home
    ran = shop_example.read_state(home).get("execution_id")
    if ran is not None:
        stage(f"example has run in this folder: mc executions get {ran}")
        return
    client = Client(Server(engine.url, token, None, "mc dev"), Options(quiet=True))
    story = await in_thread(lambda: shop_example.run_example(client, Options(quiet=True), shop_url))
    shop_example.write_state(home, execution_id=story.execution_id)
    for number, line in enumerate(story.lines):
        stage(f"{'' if number else 'example'} {line}")


def _say_where(
    engine: Engine,
    token: str | None,
    log: Path | None,
    *,
    example: bool,
    seconds: float,
) -> None:
    """The block at the end of the start: where to look, and three lines to try."""
    home = engine.settings.home
    mc = _command(home)
    fragment = f"#token={token}" if token else ""
    lines = [
        "",
        f"Maestro Composer runs (started in {seconds:.1f} s). Ctrl-C stops it.",
        "",
        f"  GraphiQL     {engine.url}/graphql{fragment}",
        f"  token        {home / TOKEN_FILE} (tenant default, role admin)" if token else "",
        f"  log          {log}" if log else "",
        "",
        "Try in another terminal:",
        *(f"  {mc} {words}" for words in _suggestions(engine, example=example)),
        "",
    ]
    print(
        "\n".join(line for index, line in enumerate(lines) if line or lines[index - 1]), flush=True
    )


def _suggestions(engine: Engine, *, example: bool) -> list[str]:
    query = "gql '{ workflows { edges { node { name status } } } }'"
    if not example:
        return ["doctor", "publish FILE", query]
    shop_url = shop_example.read_state(engine.settings.home).get("port")
    other = (
        "" if shop_url == shop_example.SHOP_PORT else f" -i shop_url=http://127.0.0.1:{shop_url}"
    )
    order = _nearest(shop_example.ORDER)
    return [f"execute order-fulfilment -f {order}{other} --watch", "executions list", query]


def _command(home: Path) -> str:
    """How this program is called from the user's folder, so that the lines can be copied."""
    beside = Path(sys.executable).with_name("mc")
    found = shutil.which("mc")
    if found and Path(found).resolve() == beside.resolve():
        command = "mc"
    elif beside.exists():
        command = shlex.quote(_nearest(beside))
    else:
        command = f"{shlex.quote(sys.executable)} -m maestro_cli"
    return (
        command
        if home == Path(".mc").absolute()
        else f"MC_HOME={shlex.quote(os.fspath(home))} {command}"
    )


def _nearest(path: Path) -> str:
    """A path as seen from the current folder, when it lies below."""
    try:
        return os.fspath(path.relative_to(Path.cwd()))
    except ValueError:
        return os.fspath(path)
