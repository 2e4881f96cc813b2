"""The only reader of the environment.

Made once by the bootstrap, frozen, handed down in slices; nobody asks again.

A variable that begins with MC_ and stands not in TABLE is an error that names the nearest valid
one, so that a typing mistake can't silently change where data goes.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import yaml

from runtime.model.blob import INLINE_BYTES
from runtime.model.breaker import BreakerRule
from runtime.model.errors import SetupError
from runtime.model.plan import MOST_TAG, TAG
from runtime.model.rate import NO_LIMIT, Rate, Rates
from runtime.model.shard_map import Place, ShardMap, bad_map, shard_numbers
from runtime.model.values import Duration

_MAX_PORT: Final = 65535
_MOST_COST: Final = 10_000_000
_MOST_STREAMS: Final = 1_000_000
_POSTGRES: Final = ("postgresql://", "postgres://")
_MOST_OUTPUT: Final = 1 << 30
_MOST_FAILURES: Final = 1_000
_A_DAY: Final = 86_400.0

TABLE: Final[dict[str, str]] = {
    "MC_HOME": "Folder of embedded services, keys, tokens. Default: `.mc` in the current folder.",
    "MC_HOST": "Address on which the API listens. Default: 127.0.0.1.",
    "MC_PORT": "Port on which the API listens. Default: 8000.",
    "MC_DATABASE_URL": "An outside PostgreSQL 16+ (`postgresql://...`). Unset: the embedded one.",
    "MC_DATABASES": "Shard map: a YAML file that lists databases and their shards; instead of MC_DATABASE_URL.",
    "MC_REDIS_URL": "An outside Redis 6.2+ (`redis://`, `rediss://`). Unset: the embedded one.",
    "MC_AUTH_JWKS_URL": "Keys of an identity provider. Unset: the development issuer.",
    "MC_AUTH_ISSUER": "The `iss` that tokens must carry; with MC_AUTH_JWKS_URL.",
    "MC_AUTH_AUDIENCE": "The `aud` that tokens must carry; with MC_AUTH_JWKS_URL.",
    "MC_AUTH_TENANT_CLAIM": "Name of the claim that holds the tenant. Default: tenant.",
    "MC_AUTH_SCOPE_CLAIM": "Name of the claim that holds scopes (RFC 8693). Default: scope.",
    "MC_AUTH_ROLES_CLAIM": "Name of the claim that holds roles (RFC 9068). Default: roles.",
    "MC_AUTH_GROUPS_CLAIM": "Name of the claim that holds groups (RFC 9068). Default: groups.",
    "MC_SECRETS_FILE": "Secrets of steps: YAML, mode 0600. Default: `$MC_HOME/secrets.yaml`.",
    "MC_EGRESS_ALLOW": "Private hosts, addresses, networks that steps may call (commas).",
    "MC_EXECUTOR": "Who executes GraphQL: `compiled` plans, or `strawberry` alone. Default: compiled.",
    "MC_TRUSTED_DOCUMENTS": "`off`, `log` what is in no manifest, or `only` trusted. Default: off.",
    "MC_TRUSTED_DOCUMENTS_FILES": "Your manifests of trusted documents, beside our own (commas).",
    "MC_INTROSPECTION": "`on`, or `off`: the graph does not show its schema. Default: on.",
    "MC_SHOW_COST": "`asked`, or `always`: which answers tell what they cost. Default: asked.",
    "MC_RATE_REQUESTS": "Requests of each tenant: `100/s`, `3000/m burst 500`. Default: no limit.",
    "MC_RATE_COST": "Cost of each tenant's operations, e.g. `50000/m`. Default: no limit.",
    "MC_MAX_COST": "What one operation of the graph may cost at the most. Default: 50000.",
    "MC_MAX_ANSWER_BYTES": "How large one answer of the graph may be. Default: 16777216.",
    "MC_MAX_STREAMS": "Sockets and streams that each tenant may keep open in one API process. Default: 10000.",
    "MC_BLOB_URL": "Where values over 32 KiB lie: `file:///folder` or `s3://bucket/prefix?endpoint=...`. "
    "Default: `$MC_HOME/blobs`.",
    "MC_WORKER_TAGS": "Tags of a worker, for steps with `runs_on` (commas). Default: none.",
    "MC_MAX_OUTPUT_BYTES": "The largest output of a step or an execution. Default: 67108864.",
    "MC_BREAKER_FAILURES": "After how many failures of a target it is left alone. Default: 10.",
    "MC_BREAKER_WINDOW": "The time within which they count. Default: 30s.",
    "MC_BREAKER_OPEN": "How long it is left alone first; doubled while probes fail. Default: 5s.",
    "MC_BREAKER_LONGEST": "How long it is left alone at most. Default: 5m.",
    "MC_URL": "Where `mc` looks for a server. Default: the local `mc dev`.",
    "MC_TOKEN": "The token that `mc` sends. Default: that of the local `mc dev`.",
    "MC_LOG_FORMAT": "`json` or `console`. Default: console on a terminal, json elsewhere.",
    "MC_LOG_LEVEL": "`debug`, `info`, `warning` or `error`. Default: info.",
    "MC_BIN_DIR": "Tests only: folder of optional real servers.",
    "MC_TEST_DATABASE_URL": "Tests only: an outside PostgreSQL.",
    "MC_TEST_REDIS_URL": "Tests only: an outside Redis.",
    "MC_TEST_CITUS_URL": "Tests only: a Citus coordinator.",
}


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Which tokens are believed.

    Without a JWKS address the development issuer's are, on loopback only.
    """

    jwks_url: str | None = None
    issuer: str | None = None
    audience: str | None = None
    tenant_claim: str = "tenant"
    scope_claim: str = "scope"
    roles_claim: str = "roles"
    groups_claim: str = "groups"


@dataclass(frozen=True, slots=True)
class TrustedDocuments:
    """Which documents the graph runs: all (`off`, `log`) or those of the manifests (`only`)."""

    mode: str = "off"
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphSettings:
    """What the graph shows of itself, and how much of it one operation and one tenant may use."""

    shows_schema: bool = True
    shows_cost: bool = False
    max_cost: int = 50_000
    max_answer_bytes: int = 16_777_216
    max_streams: int = 10_000
    rates: Rates = NO_LIMIT


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Where the API listens, and the sizes that it takes."""

    host: str = "127.0.0.1"
    port: int = 8000
    max_body_bytes: int = 1_572_864
    max_input_bytes: int = 1_048_576
    trusted_documents: TrustedDocuments = TrustedDocuments()
    executor: str = "compiled"
    graph: GraphSettings = GraphSettings()

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the API."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """How much one worker takes on, and how long its lease lasts (seconds).

    `breaker`: when a target is left alone; None: as usual. `born_owned`: what the same process accepts while
    nothing waits is its own from the first commit on. `lend_seconds`: a map of which more is left than a worker does
    in that time is run by others too. `tags` are what steps with `runs_on` ask for; None: it runs them all.
    `database` is the one of the shard map whose shards it serves; None: those of all. `shards` is where the process
    that runs suspects looks for them.
    """

    max_executions: int = 5_000
    max_steps: int = 1_000
    lease_seconds: float = 4.0
    beat_seconds: float = 1.0
    lease_margin_seconds: float = 1.5
    drain_seconds: float = 20.0
    max_output_bytes: int = 67_108_864
    inline_bytes: int = INLINE_BYTES
    loaded_bytes: int = 268_435_456
    resident_bytes: int = 536_870_912
    born_owned: bool = True
    lend_seconds: float = 2.0
    breaker: BreakerRule | None = None
    imports: tuple[str, ...] = ()
    tags: frozenset[str] | None = frozenset()
    database: str | None = None
    shards: tuple[int, ...] = ()

    @property
    def late_seconds(self) -> float:
        """After so long without a heartbeat a worker is lost already, if its session has ended as well."""
        return min(1.5 * self.beat_seconds, self.lease_seconds)

    @property
    def overlap_seconds(self) -> float:
        """For so long a worker that was taken over for want of a session may believe in its lease."""
        return self.lease_seconds - self.late_seconds


@dataclass(frozen=True, slots=True)
class BlobSettings:
    """Where large values lie, how many bytes of them a process keeps in memory, and what AWS clients read."""

    url: str
    cache_bytes: int = 67_108_864
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class EgressSettings:
    """Private places that steps may call: hosts, `host:port`, addresses, networks."""

    allow: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Shape and level of the process's own log."""

    format: str = "auto"
    level: str = "info"


@dataclass(frozen=True, slots=True)
class Settings:
    """All of it. `database_url` and `redis_url` are None when the embedded services are meant.

    `watches_disk`: the database is the embedded one, so a full disk under `home` is known before it refuses.
    With a shard map, `database_url` is the address of its first database.
    """

    home: Path
    database_url: str | None = None
    databases: ShardMap | None = None
    redis_url: str | None = None
    watches_disk: bool = False
    api: ApiSettings = ApiSettings()
    auth: AuthSettings = AuthSettings()
    worker: WorkerSettings = WorkerSettings()
    egress: EgressSettings = EgressSettings()
    log: LogSettings = LogSettings()
    blob_url: str | None = None
    aws: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets_file: Path | None = None
    url: str | None = None
    token: str | None = None
    telemetry_enabled: bool = False

    @property
    def blob(self) -> BlobSettings:
        """Where large values lie: without an address in the data folder."""
        return BlobSettings(self.blob_url or (self.home / "blobs").as_uri(), environment=self.aws)

    @property
    def secrets_path(self) -> Path:
        """Where secrets of steps lie."""
        return self.secrets_file or self.home / "secrets.yaml"

    @property
    def shard_map(self) -> ShardMap | None:
        """Which database holds which shard; None while no address is known."""
        if self.databases is None and self.database_url is not None:
            return ShardMap.single(self.database_url)
        return self.databases

    @classmethod
    def from_env(cls, environment: Mapping[str, str] | None = None) -> Settings:
        """Read and check the environment; raises SetupError that names the variable."""
        env = os.environ if environment is None else environment
        _refuse_unknown(env)
        host = env.get("MC_HOST") or "127.0.0.1"
        secrets_file = env.get("MC_SECRETS_FILE")
        databases = _databases(env)
        return cls(
            home=Path(env.get("MC_HOME") or ".mc").expanduser().absolute(),
            database_url=databases.catalog.url
            if databases
            else _url(env, "MC_DATABASE_URL", _POSTGRES),
            databases=databases,
            redis_url=_url(env, "MC_REDIS_URL", ("redis://", "rediss://", "unix://")),
            api=ApiSettings(
                host=host,
                port=_port(env.get("MC_PORT") or "8000"),
                trusted_documents=TrustedDocuments(
                    _choice(env, "MC_TRUSTED_DOCUMENTS", "off", ("off", "log", "only")),
                    tuple(map(Path, _parts(env, "MC_TRUSTED_DOCUMENTS_FILES"))),
                ),
                executor=_choice(env, "MC_EXECUTOR", "compiled", ("compiled", "strawberry")),
                graph=_graph(env),
            ),
            auth=_auth(env),
            worker=_worker(env),
            blob_url=_url(env, "MC_BLOB_URL", ("file://", "s3://")),
            aws={name: value for name, value in env.items() if name.startswith("AWS_") and value},
            egress=EgressSettings(_parts(env, "MC_EGRESS_ALLOW")),
            log=LogSettings(
                _choice(env, "MC_LOG_FORMAT", "auto", ("auto", "json", "console")),
                _choice(env, "MC_LOG_LEVEL", "info", ("debug", "info", "warning", "error")),
            ),
            secrets_file=Path(secrets_file).expanduser().absolute() if secrets_file else None,
            url=env.get("MC_URL") or None,
            token=env.get("MC_TOKEN") or None,
            telemetry_enabled=any(
                env.get(name)
                for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
            ),
        )


def _refuse_unknown(env: Mapping[str, str]) -> None:
    for name in env:
        if name.startswith("MC_") and name not in TABLE:
            near = difflib.get_close_matches(name, TABLE, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; valid are {', '.join(TABLE)}."
            raise SetupError(
                f"{name} is not a variable of Maestro Composer{hint}", reason="UNKNOWN_VARIABLE"
            )


def _url(env: Mapping[str, str], name: str, schemes: tuple[str, ...]) -> str | None:
    value = env.get(name)
    if value and not value.startswith(schemes):
        raise SetupError(f"{name} must begin with {' or '.join(schemes)}.", reason="BAD_VARIABLE")
    return value or None


def _databases(env: Mapping[str, str]) -> ShardMap | None:
    """The shard map of a file; raises SetupError that says what is wrong with it."""
    path = env.get("MC_DATABASES")
    if not path:
        return None
    if env.get("MC_DATABASE_URL"):
        raise SetupError(
            "MC_DATABASES and MC_DATABASE_URL are both set: name one database by MC_DATABASE_URL, or several "
            "in the file of MC_DATABASES.",
            reason="BAD_VARIABLE",
        )
    try:
        document = yaml.safe_load(Path(path).expanduser().read_text("utf-8"))
    except OSError as error:
        raise bad_map(f"{path} can't be read ({error.strerror or error})") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise bad_map(f"{path} is no YAML ({str(error).splitlines()[0]})") from error
    if isinstance(document, dict):
        document = document.get("databases")
    if not isinstance(document, list):
        raise bad_map(f"{path} holds no list `databases`")
    return ShardMap.checked([_place(number, entry) for number, entry in enumerate(document, 1)])


def _place(number: int, entry: object) -> Place:
    """One entry of the file: `dsn` and `shards`, and a `name` if it shall not be its number."""
    if not isinstance(entry, dict) or not set(entry) <= {"name", "dsn", "url", "shards"}:
        raise bad_map(
            f"entry {number} must have `dsn`, `shards` and perhaps a `name`, nothing else"
        )
    name, url = str(entry.get("name", number)), entry.get("dsn") or entry.get("url")
    if not isinstance(url, str) or not url.startswith(_POSTGRES):
        raise bad_map(f"the `dsn` of {name!r} must begin with {' or '.join(_POSTGRES)}")
    try:
        return Place(name, url, shard_numbers(entry.get("shards", [])))
    except ValueError as error:
        raise bad_map(
            f"the `shards` of {name!r} must be numbers from 0 to 4095 like `0-3` or `[4, 5]`, not {error}"
        ) from error


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > _MAX_PORT:
        raise SetupError(
            f"MC_PORT must be a port number from 0 to 65535, not {text!r}.", reason="BAD_VARIABLE"
        )
    return int(text)


def _parts(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in env.get(name, "").split(",") if part.strip())


def _graph(env: Mapping[str, str]) -> GraphSettings:
    """What the graph shows and allows; raises SetupError that names the variable."""
    return GraphSettings(
        shows_schema=_choice(env, "MC_INTROSPECTION", "on", ("on", "off")) == "on",
        shows_cost=_choice(env, "MC_SHOW_COST", "asked", ("asked", "always")) == "always",
        max_cost=_whole(env, "MC_MAX_COST", 50_000, 1, _MOST_COST),
        max_answer_bytes=_whole(env, "MC_MAX_ANSWER_BYTES", 1 << 24, 1 << 16, _MOST_OUTPUT),
        max_streams=_whole(env, "MC_MAX_STREAMS", 10_000, 1, _MOST_STREAMS),
        rates=Rates(_rate(env, "MC_RATE_REQUESTS"), _rate(env, "MC_RATE_COST")),
    )


def _whole(env: Mapping[str, str], name: str, usual: int, least: int, most: int) -> int:
    text = env.get(name) or str(usual)
    if not text.isdigit() or not least <= int(text) <= most:
        raise SetupError(
            f"{name} must be a number from {least} to {most}, not {text!r}.", reason="BAD_VARIABLE"
        )
    return int(text)


def _rate(env: Mapping[str, str], name: str) -> Rate | None:
    text = env.get(name)
    if not text:
        return None
    try:
        return Rate.parse(text)
    except ValueError as error:
        raise SetupError(f"{name}: {error}.", reason="BAD_VARIABLE") from None


def worker_tags(text: str, name: str) -> frozenset[str]:
    """Tags with commas between them; raises SetupError that names where they were given."""
    found = frozenset(part.strip() for part in text.split(",") if part.strip())
    for tag in sorted(found):
        if not re.fullmatch(TAG, tag):
            raise SetupError(
                f"{name}: {tag!r} is no tag; letters, digits, . _ - are, at most {MOST_TAG} of them.",
                reason="BAD_VARIABLE",
            )
    return found


def _worker(env: Mapping[str, str]) -> WorkerSettings:
    text, breaker = env.get("MC_MAX_OUTPUT_BYTES"), _breaker(env)
    tags = worker_tags(env.get("MC_WORKER_TAGS", ""), "MC_WORKER_TAGS")
    if not text:
        return WorkerSettings(breaker=breaker, tags=tags)
    if not text.isdigit() or not INLINE_BYTES <= int(text) <= _MOST_OUTPUT:
        raise SetupError(
            f"MC_MAX_OUTPUT_BYTES must be a number of bytes from {INLINE_BYTES} to {_MOST_OUTPUT}, "
            f"not {text!r}.",
            reason="BAD_VARIABLE",
        )
    return WorkerSettings(max_output_bytes=int(text), breaker=breaker, tags=tags)


def _breaker(env: Mapping[str, str]) -> BreakerRule:
    """When a target that keeps failing is left alone."""
    usual = BreakerRule()
    failures = env.get("MC_BREAKER_FAILURES") or str(usual.failures)
    if not failures.isdigit() or not 1 <= int(failures) <= _MOST_FAILURES:
        raise SetupError(
            f"MC_BREAKER_FAILURES must be a number from 1 to {_MOST_FAILURES}, not {failures!r}.",
            reason="BAD_VARIABLE",
        )
    return BreakerRule(
        int(failures),
        _seconds(env, "MC_BREAKER_WINDOW", usual.window_seconds),
        _seconds(env, "MC_BREAKER_OPEN", usual.open_seconds),
        _seconds(env, "MC_BREAKER_LONGEST", usual.longest_seconds),
    )


def _seconds(env: Mapping[str, str], name: str, usual: float) -> float:
    text = env.get(name)
    if not text:
        return usual
    try:
        seconds = Duration.parse(text).seconds
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= _A_DAY:
        raise SetupError(
            f"{name} must be a length of time like 30s or 5m, up to a day, not {text!r}.",
            reason="BAD_VARIABLE",
        )
    return seconds


def _choice(env: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    value = env.get(name) or default
    if value not in allowed:
        raise SetupError(
            f"{name} must be one of {', '.join(allowed)}, not {value!r}.", reason="BAD_VARIABLE"
        )
    return value


def _auth(env: Mapping[str, str]) -> AuthSettings:
    jwks_url = env.get("MC_AUTH_JWKS_URL") or None
    issuer, audience = env.get("MC_AUTH_ISSUER") or None, env.get("MC_AUTH_AUDIENCE") or None
    if jwks_url and not (issuer and audience):
        raise SetupError(
            "MC_AUTH_JWKS_URL needs MC_AUTH_ISSUER and MC_AUTH_AUDIENCE beside it.",
            reason="BAD_VARIABLE",
        )
    if (issuer or audience) and not jwks_url:
        raise SetupError(
            "MC_AUTH_ISSUER and MC_AUTH_AUDIENCE need MC_AUTH_JWKS_URL beside them.",
            reason="BAD_VARIABLE",
        )
    return AuthSettings(
        jwks_url,
        issuer,
        audience,
        env.get("MC_AUTH_TENANT_CLAIM") or "tenant",
        env.get("MC_AUTH_SCOPE_CLAIM") or "scope",
        env.get("MC_AUTH_ROLES_CLAIM") or "roles",
        env.get("MC_AUTH_GROUPS_CLAIM") or "groups",
    )
