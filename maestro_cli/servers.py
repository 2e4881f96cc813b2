"""Which server to talk to, with which token: flag, then MC_URL / MC_TOKEN, then profile, then the local `mc dev`.

The local `mc dev` leaves its address in `$MC_HOME/dev.json` and a token in `$MC_HOME/dev-token`. That token is sent to
that address only: it is worth nothing elsewhere, and another server has no business seeing it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from maestro_cli.errors import CliError, usage
from maestro_cli.options import Options
from runtime.settings import Settings

DEV_FILE: Final = "dev.json"
TOKEN_FILE: Final = "dev-token"  # noqa: S105 - the name of a file


@dataclass(frozen=True, slots=True)
class Server:
    """An address with what to send there."""

    url: str
    token: str | None
    namespace: str | None
    origin: str

    @property
    def graphql_url(self) -> str:
        """Where operations are posted."""
        return self.url if self.url.endswith("/graphql") else f"{self.url}/graphql"


@dataclass(frozen=True, slots=True)
class DevServer:
    """A `mc dev` of this folder, as it describes itself."""

    url: str
    pid: int
    database_url: str | None = None
    redis_url: str | None = None

    @property
    def is_alive(self) -> bool:
        """Whether its process still runs."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def find_dev_server(home: Path) -> DevServer | None:
    """The running `mc dev` of a data folder, or None."""
    try:
        found = json.loads((home / DEV_FILE).read_text(encoding="utf-8"))
        server = DevServer(
            found["url"], int(found["pid"]), found.get("database_url"), found.get("redis_url")
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return server if server.is_alive else None


def find_server(options: Options) -> Server | None:
    """The server to talk to; None when nothing names one."""
    settings = Settings.from_env()
    profile = _profile(options.profile)
    local = find_dev_server(settings.home)
    url, origin = _first(
        (options.endpoint, "--endpoint"),
        (settings.url, "MC_URL"),
        (profile.get("url"), "the profile"),
        (local.url if local else None, f"mc dev in {settings.home}"),
    )
    if url is None:
        return None
    url = _checked(url, origin)
    _check_header(options.purpose, "--purpose", encoding="latin-1")
    is_local = local is not None and url == local.url.rstrip("/")
    token, source = _first(
        (options.token, "--token"),
        (settings.token, "MC_TOKEN"),
        (profile.get("token"), "the profile"),
        (_local_token(settings.home) if is_local else None, "mc dev"),
    )
    _check_header(token, source, encoding="ascii")
    return Server(url, token, options.namespace or profile.get("namespace"), origin)


def get_server(options: Options) -> Server:
    """The server to talk to; without one an error that says how to have one."""
    server = find_server(options)
    if server is None:
        raise CliError(
            "No server is named, and no `mc dev` runs in this folder.",
            code="UNAVAILABLE",
            reason="NO_SERVER",
            hint="start one with `mc dev`, or name one with --endpoint or MC_URL",
        )
    return server


def _first(*candidates: tuple[str | None, str]) -> tuple[str | None, str]:
    return next(((value, origin) for value, origin in candidates if value), (None, ""))


def _checked(url: str, origin: str) -> str:
    try:
        parts = urlsplit(url)
        fits = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        raise usage(f"{origin} must be an http:// or https:// address, not {url!r}.")
    return url.rstrip("/")


def _check_header(value: str | None, origin: str, *, encoding: str) -> None:
    """Refuse what no HTTP header can carry; the value is not repeated, it may be a secret."""
    if value is None:
        return
    try:
        value.encode(encoding)
    except UnicodeEncodeError:
        raise usage(f"{origin} holds characters that a request can't carry.") from None
    if not value.isprintable():
        raise usage(f"{origin} holds control characters.")


def _local_token(home: Path) -> str | None:
    try:
        return (home / TOKEN_FILE).read_text(encoding="ascii").strip() or None
    except OSError:
        return None


def config_path(environment: Mapping[str, str] | None = None) -> Path:
    """The user's own configuration (XDG)."""
    env = os.environ if environment is None else environment
    base = env.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "maestro" / "config.toml"


def _profile(name: str | None) -> dict[str, Any]:
    """`[profiles.NAME]` of the user's config.toml; without a name, the one that `profile =` names there."""
    path = config_path()
    if not path.exists():
        if name is not None:
            raise usage(f"There is no profile {name!r}: {path} does not exist.")
        return {}
    import tomllib

    try:
        config = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CliError(f"{path} can't be read: {error}", code="USAGE") from error
    profiles = config.get("profiles", {})
    chosen = name or config.get("profile")
    if chosen is None:
        return {}
    if chosen not in profiles:
        raise usage(
            f"There is no profile {chosen!r} in {path}.",
            f"it has {', '.join(sorted(profiles)) or 'none'}",
        )
    profile: dict[str, Any] = profiles[chosen]
    if "token" in profile and path.stat().st_mode & 0o077:
        raise CliError(
            f"{path} holds a token and others may read it.", code="USAGE", hint=f"chmod 600 {path}"
        )
    return profile
