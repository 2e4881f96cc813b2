"""Writes the generated pages of docs/reference from the tables in the code; with --check, compares them instead."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from runtime.connectors.registry import Registry
from runtime.identity.roles import ROLE_SCOPES
from runtime.model import errors
from runtime.settings import TABLE
from runtime.telemetry.names import ATTRIBUTES, METRICS, SPANS

ROOT = Path(__file__).resolve().parents[1] / "docs" / "reference"


def settings() -> Iterator[str]:
    """Every variable of the environment."""
    yield "# Settings"
    yield ""
    yield "Read once at start, by `runtime/settings.py` only. An `MC_*` variable that is not in this table is an"
    yield "error at start that names the nearest valid one. `OTEL_*` are the OpenTelemetry SDK's own; nothing is"
    yield "exported unless an endpoint is set."
    yield ""
    yield "| variable | meaning |"
    yield "|---|---|"
    for name, meaning in TABLE.items():
        yield f"| `{name}` | {meaning} |"
    yield ""
    yield "## Roles and scopes"
    yield ""
    yield "A token's `scope` claim adds to what its roles give."
    yield ""
    yield "| role | scopes |"
    yield "|---|---|"
    for role, scopes in ROLE_SCOPES.items():
        yield f"| `{role}` | {', '.join(f'`{scope}`' for scope in sorted(scopes))} |"


def telemetry() -> Iterator[str]:
    """Every metric, span and attribute."""
    yield "# Telemetry"
    for title, table in (
        ("Metrics", METRICS),
        ("Spans", SPANS),
        ("Attributes of spans and log lines", ATTRIBUTES),
    ):
        yield ""
        yield f"## {title}"
        yield ""
        yield "| name | meaning |"
        yield "|---|---|"
        for name, meaning in table.items():
            yield f"| `{name}` | {meaning} |"


def error_codes() -> Iterator[str]:
    """Every code of the error tree."""
    yield "# Error codes"
    yield ""
    yield "Stable, the same in GraphQL (`extensions.code`, or `code` in a payload's `errors`) and in `mc`. The specific"
    yield "reason stands in `extensions.reason`."
    yield ""
    yield "| code | said when nothing more exact is known |"
    yield "|---|---|"
    found: dict[str, str] = {}
    for thing in vars(errors).values():
        if isinstance(thing, type) and issubclass(thing, errors.MaestroError):
            found.setdefault(thing.code, (thing.__doc__ or "").strip())
    for code, sentence in sorted(found.items()):
        yield f"| `{code}` | {sentence} |"


def connectors() -> Iterator[str]:
    """Every connector that is shipped."""
    yield "# Connectors"
    yield ""
    yield "`uses: name@major` in a step. Your own: [guides/own-steps.md](../guides/own-steps.md)."
    for versions in Registry.load().catalog().values():
        for info in versions:
            yield ""
            yield f"## `{info.name}@{info.version.major}`"
            yield ""
            yield f"{info.summary} Effect: {info.effect.value if info.effect else 'depends on the input'}."
            for title, schema in (("with", info.input_schema), ("output", info.output_schema)):
                properties = schema.get("properties")
                if isinstance(properties, dict) and properties:
                    yield ""
                    yield f"| {title} | meaning |"
                    yield "|---|---|"
                    required = schema.get("required")
                    for name, field in properties.items():
                        text = field.get("description", "") if isinstance(field, dict) else ""
                        needed = isinstance(required, list) and title == "with" and name in required
                        yield f"| `{name}`{' (required)' if needed else ''} | {text} |"


PAGES = {
    "settings": settings,
    "telemetry": telemetry,
    "errors": error_codes,
    "connectors": connectors,
}


def main() -> int:
    """Write or compare; 1 when a page is stale."""
    stale = []
    for name, lines in PAGES.items():
        path, text = ROOT / f"{name}.md", "\n".join(lines()) + "\n"
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                stale.append(path.name)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if stale:
        sys.stderr.write(f"stale: {', '.join(stale)} in docs/reference; run `make docs`\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
