"""Makes whole documents: steps of every kind, ways that are chosen, joins, maps, and expressions of every filter.

Most are accepted. Each is a text of YAML or JSON, in one of the two spellings, for `mutation` to break.
"""

from __future__ import annotations

import json
import random
from typing import Any, Final

from runtime.expression import ExpressionError, parse_template
from tests.fuzz.expressions import expression

_DURATIONS: Final = ("1s", "90m", "PT5M", "2h30m", "500ms", "P1D")
_SCHEMA: Final = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
_PARAMS: Final[dict[str, Any]] = {
    "text": {"type": "string", "default": "a"}, "long": "string", "date": {"type": "string", "default": "2026-01-31T12:00:00Z"},
    "n": {"type": "integer", "default": 7, "minimum": 0}, "x": {"type": "number", "default": -0.5}, "none": {"default": None}, "yes": "boolean",
    "list": {"type": "array", "default": [1, "b", None], "maxItems": 50}, "rows": {"type": "array", "items": {"type": "object"}, "default": [{"n": 1}]},
    "map": {"type": "object", "default": {"a": 1}}, "deep": {"type": "object", "required": False},
}  # fmt: skip
KINDS: Final = (
    "task", "task", "task", "gateway", "gateway", "map", "wait", "human_approval", "human_task", "agent_task", "workflow",
)  # fmt: skip


def document(chance: random.Random) -> str:
    """One document, as text."""
    made = _Making(chance)
    found = made.flat()
    if chance.random() < 0.4:
        found = _manifest(found)
    if chance.random() < 0.3:
        return json.dumps(
            found, indent=chance.choice((None, 1)), ensure_ascii=chance.random() < 0.5
        )
    return _yaml(found)


class _Making:
    """One document in the making: its steps know those before them, and who chooses them."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._runs = (
            chance.random() < 0.6
        )  # Only what this version runs, so that it can be simulated.
        self._steps: list[dict[str, Any]] = []
        self._upstream: dict[str, list[str]] = {}
        self._seen: list[str] = []

    def flat(self) -> dict[str, Any]:
        """The document in the flat spelling."""
        chance = self._chance
        for index in range(chance.choice((1, 2, 3, 5, 8, 13, 30))):
            self._steps.append(self._step(index))
        self._choose()
        self._seen = [one["id"] for one in self._steps]
        found: dict[str, Any] = {"name": "made", "params": _PARAMS, "steps": self._steps}
        extra: dict[str, Any] = {
            "version": chance.choice(("1.0.0", 3, "2.1.0-rc.1")), "timeout": "P30D", "labels": {"a": "b"}, "owner": "me",
            "max_parallel_steps": chance.randint(1, 3), "priority": -5, "retry": {"max_attempts": 2, "initial": "1s"}, "description": "A: b # c",
            "outputs": {"v": self._text(), "w": self._reference()}, "policy": {"purpose": "test"},
        }  # fmt: skip
        if not self._runs:
            extra |= {
                "concurrency": {"key": self._text(), "limit": 1}, "on_failure": {"workflow": "other", "input": {"v": self._text()}},
                "triggers": [{"type": "schedule", "cron": "*/5 0 1 * mon"}, {"type": "webhook", "path": "p", "input": {"v": "{{ trigger.payload }}"}}],
            }  # fmt: skip
        return found | {key: one for key, one in extra.items() if chance.random() < 0.4}

    def _step(self, index: int) -> dict[str, Any]:
        chance = self._chance
        kind = (
            chance.choice(("task", "task", "gateway", "wait"))
            if self._runs
            else chance.choice(KINDS)
        )
        needs = [
            f"s{need}"
            for need in sorted(
                chance.sample(range(index), min(index, chance.choice((0, 1, 1, 2, 3))))
            )
        ]
        self._seen = sorted({*needs, *(far for near in needs for far in self._upstream[near])})
        self._upstream[f"s{index}"] = self._seen
        step: dict[str, Any] = {"id": f"s{index}", **getattr(self, f"_{kind}")()}
        if kind != "task":
            step["type"] = kind
        if needs:
            step["depends_on"] = needs
        common = {
            "when": self._condition(), "name": "N: é", "labels": {"k": "v"}, "description": "on",
        }  # fmt: skip
        if step.get("depends_on"):
            common["join"] = chance.choice(("all", "any", 1))
        if kind == "gateway":
            common["on_error"] = chance.choice(("continue", "fail"))
        elif kind != "wait":
            common |= {
                "timeout": chance.choice(_DURATIONS),
                "retry": {"max_attempts": 2, "initial": "10ms", "jitter": "none"},
                "on_error": chance.choice(("continue", "fail")),
            }
        if not self._runs and kind in {"task", "agent_task"}:
            common |= {
                "cache": {"ttl": "1h", "key": self._text()},
                "compensate": {"uses": "core.noop@1"},
                "runs_on": "gpu",
            }
            common["on_error"] = chance.choice(
                ("continue", {"action": "continue", "output": {"v": self._text()}})
            )
        step |= {key: one for key, one in common.items() if chance.random() < 0.25}
        if step.get("on_error") == "continue" and index % 2:
            # Without chance, so that the other documents stay what they were.
            why = f"{{{{ steps.s{index}.error.type }}}}"
            step["on_error"] = {"action": "continue", "output": {"v": 1, "why": why}}
        if step.keys() >= {"cache", "compensate"}:
            del step[chance.choice(("cache", "compensate"))]  # Both are refused.
        return step

    def _choose(self) -> None:
        """Cases of gateways and gotos name steps that come right after; who has none gets one."""
        chance = self._chance
        for step in list(self._steps):
            after = [one["id"] for one in self._steps if step["id"] in one.get("depends_on", ())]
            self._seen = self._upstream.get(step["id"], [])
            if step.get("type") == "gateway":
                if not after:
                    after = [f"after_{step['id']}"]
                    self._steps.append(
                        {"id": after[0], "uses": "core.noop@1", "depends_on": [step["id"]]}
                    )
                step["cases"] = [
                    {"when": self._condition(), "then": chance.sample(after, chance.randint(1, len(after)))} for _ in range(chance.randint(0, 3))
                ] + [{"else": after}]  # fmt: skip
            elif after and chance.random() < 0.3 and step.get("type") != "wait":
                step["on_error"] = {"goto": chance.choice(after)}
            if after and str(step.get("type")).startswith("human") and chance.random() < 0.4:
                step |= {"timeout": "2d", "on_expiry": {"goto": chance.choice(after)}}

    def _task(self) -> dict[str, Any]:
        chance = self._chance
        uses = chance.choice(
            (
                "core.set@1",
                "core.set@1",
                "core.noop@1",
                "core.sleep@1",
                "core.fail@1",
                "http.request@1",
                "tasks/core.set@1.0",
            )
        )
        given: dict[str, Any] = {
            "v": self._text(),
            "deep": [{"w": self._text()}],
            "read": self._reference(),
        }
        match uses:
            case "core.sleep@1":
                given = {"duration": chance.choice(_DURATIONS)}
            case "core.fail@1":
                given = {"message": self._text()}
            case "http.request@1":
                given = {
                    "url": "https://example.org/{{ params.text }}",
                    "headers": {"x": "Bearer {{ secrets.KEY }}"},
                }
        return {"uses": uses, "with": given}

    def _gateway(self) -> dict[str, Any]:
        return {"mode": self._chance.choice(("exclusive", "inclusive"))}

    def _map(self) -> dict[str, Any]:
        each = {
            "uses": "core.set@1",
            "with": {"v": "{{ item }}", "i": "{{ index }}", "x": self._text()},
        }
        lists = (
            "{{ params.list }}",
            "{{ params.rows | map(attribute='n') }}",
            [1, 2],
            "{{ range(9) }}",
        )
        return {
            "for_each": self._chance.choice(lists),
            "task": each,
            "failure_policy": "collect",
            "max_concurrency": 4,
        }

    def _wait(self) -> dict[str, Any]:
        return self._chance.choice(
            ({"for": "5m"}, {"until": "2026-05-01T00:00:00Z"}, {"signal": "go"}, {"signal": "go", "timeout": "1h", "default": {"by": "nobody"}})
        )  # fmt: skip

    def _human_task(self) -> dict[str, Any]:
        found = {
            "title": "T {{ params.text }}", "message": self._text(), "candidate_groups": ["ops"], "form": _SCHEMA, "outcomes": ["yes", "no"],
            "sla": {"due": "4h", "warn": "1h"}, "escalate": [{"after": "5h", "outcome": "no"}], "priority": 3,
        }  # fmt: skip
        return {
            key: one
            for key, one in found.items()
            if self._chance.random() < 0.5 or key == "outcomes"
        }

    _human_approval = _human_task

    def _agent_task(self) -> dict[str, Any]:
        return {
            "agent": "writer",
            "message": self._text(),
            "output_schema": _SCHEMA,
            "budget": {"tokens": 9, "cost": "1.50 EUR"},
        }

    def _workflow(self) -> dict[str, Any]:
        return {"workflow": "other@^1", "input": {"v": self._text()}}

    def _text(self) -> Any:
        """A value with an expression in it, or none."""
        chance = self._chance
        inner = (
            self._expression(chance.randint(0, 3))
            if chance.random() < 0.4
            else self._reference()[3:-3]
        )
        return (
            chance.choice(
                ("{{ %s }}", "{{ %s }}", "${%s}", "a {{ %s }} ß", "{{- %s -}}", "$${%s}", "%s")
            )
            % inner.strip()
        )

    def _reference(self) -> str:
        """What a step gives, guarded or not; a param when there is no step yet."""
        chance = self._chance
        if not self._seen or chance.random() < 0.3:
            return "{{ params." + chance.choice(sorted(_PARAMS)) + " }}"
        step = chance.choice(self._seen)
        root = chance.choice(("steps", "steps", "tasks"))
        part = chance.choice(("output", "output.v", "output['v']", "status", "error.type"))
        return f"{{{{ {root}.{step}.{part} | default('-') }}}}"

    def _condition(self) -> Any:
        chance = self._chance
        usual = (
            "params.n > 3",
            "{{ params.text == 'a' }}",
            "params.list | length > 1 and params.n is odd",
            True,
        )
        return self._expression(2) if chance.random() < 0.3 else chance.choice(usual)

    def _expression(self, depth: int) -> str:
        """One that can be read and whose params there are; mutation makes the others."""
        for _ in range(20):
            found = expression(self._chance, depth).replace("params.gone", "params.none")
            try:
                parse_template("{{ " + found + " }}")
            except ExpressionError:
                continue
            return found
        return "params.n"


def _manifest(flat: dict[str, Any]) -> dict[str, Any]:
    about = {
        key: flat[key]
        for key in ("name", "version", "labels", "owner", "description")
        if key in flat
    }
    spec = {_camel(key): one for key, one in flat.items() if key not in about and key != "steps"}
    tasks = [{_camel(key): one for key, one in step.items()} for step in flat["steps"]]
    return {
        "apiVersion": "composer/v1",
        "kind": "Workflow",
        "metadata": about,
        "spec": {**spec, "tasks": tasks},
    }


def _camel(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(part.title() for part in rest)


def _yaml(value: Any, indent: str = "") -> str:
    """Blocks for mappings and lists of them, JSON for the rest: what people write, with every sign possible."""
    out = ""
    for key, one in value.items():
        if isinstance(one, list) and one and all(isinstance(part, dict) for part in one):
            items = (_yaml(part, indent + "    ") for part in one)
            out += f"{indent}{key}:\n" + "".join(f"{indent}  - {text.lstrip()}" for text in items)
        elif isinstance(one, dict) and one:
            out += f"{indent}{key}:\n{_yaml(one, indent + '  ')}"
        else:
            out += f"{indent}{key}: {json.dumps(one, ensure_ascii=False)}\n"
    return out
