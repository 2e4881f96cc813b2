"""The language as a table: every key of a document, its shape, and one sentence about it.

Reading, JSON Schema, editors' completion and the reference pages all come from here. A new key is a
line here; a new step kind a record here and a variant in the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from runtime.definition.finding import Path
from runtime.definition.params import check_schema
from runtime.definition.shape import (
    MISSING,
    Choice,
    DurationText,
    Either,
    Field,
    Flag,
    ListOf,
    MapOf,
    MoneyText,
    Number,
    Reading,
    Record,
    Schema,
    Template,
    Text,
    Whole,
    wrong,
)
from runtime.definition.template import read_condition
from runtime.model.plan import MOST_TAG, TAG, Backoff, Effect, InDoubt, Jitter, StepKind
from runtime.model.values import Json, SemVer

API_VERSION: Final = "composer/v1"
NAME: Final = r"[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9])?"
STEP_ID: Final = r"[A-Za-z_][A-Za-z0-9_.-]{0,199}"
USES: Final = r"(?:tasks/)?[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*@\d{1,9}(?:\.\d{1,9}){0,2}"
WORKFLOW_REF: Final = rf"{NAME}(?:@[\^~]?\d{{1,9}}(?:\.\d{{1,9}}){{0,2}})?"


_USES: Final = Text(
    "a connector and its version",
    USES,
    "connector-reference",
    200,
    "write name@major, like http.request@1",
)


@dataclass(frozen=True, slots=True)
class Uses:
    """`[tasks/]name@major[.minor[.patch]]`."""

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        found = _USES.read(value, path, reading)
        return found if found is MISSING else found.removeprefix("tasks/")

    def schema(self) -> Schema:
        """As Shape says."""
        return {"type": "string", "pattern": f"^{USES}$", "maxLength": 200}


@dataclass(frozen=True, slots=True)
class Version:
    """major.minor.patch; an integer N is N.0.0."""

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if isinstance(value, bool) or not isinstance(value, int | str):
            return wrong("a version", value, path, reading, 'write "1.4.0", in quotes')
        try:
            return str(SemVer.parse(value))
        except ValueError:
            reading.findings.error(
                "bad-version", f"{str(value)[:60]!r} is not a version", path, hint="write 1.4.0"
            )
            return MISSING

    def schema(self) -> Schema:
        """As Shape says."""
        pattern = r"^([0-9]{1,9}|[0-9]{1,9}\.[0-9]{1,9}\.[0-9]{1,9}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?)$"
        return {
            "anyOf": [
                {"type": "string", "pattern": pattern, "maxLength": 128},
                {"type": "integer", "minimum": 0},
            ]
        }


@dataclass(frozen=True, slots=True)
class Condition:
    """true, false or an expression; the braces may be left out."""

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        return read_condition(
            value, path, step=reading.step, findings=reading.findings, uses=reading.uses
        )

    def schema(self) -> Schema:
        """As Shape says."""
        return {"anyOf": [{"type": "string"}, {"type": "boolean"}]}


@dataclass(frozen=True, slots=True)
class SchemaJson:
    """A JSON Schema that an execution will judge by: it must be one, and one that can be run."""

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if not isinstance(value, dict):
            return wrong("a JSON Schema", value, path, reading)
        check_schema(value, path, reading.findings)
        return value

    def schema(self) -> Schema:
        """As Shape says."""
        return {"type": "object"}


@dataclass(frozen=True, slots=True)
class AnyJson:
    """Data that is checked elsewhere."""

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        if not isinstance(value, dict):
            return wrong("a mapping", value, path, reading)
        return value

    def schema(self) -> Schema:
        """As Shape says."""
        return {"type": "object"}


def _names(enum: Any) -> tuple[str, ...]:
    return tuple(str(one.value) for one in enum)


_WORD = Text("a short text", longest=200)
_TAG = Text("a tag of letters, digits, . _ -", TAG, "bad-tag", MOST_TAG, "like gpu")
_PROSE = Text("text")
_MOST = 100  # Of people, groups, outcomes, escalations and attachments that one task may have.
_TEXTS = ListOf(Template("text", "text"), lone=True, most=_MOST)
# A list of nobody would not be one of anybody: who wants that leaves the key out.
_PEOPLE = ListOf(
    Template("text", "text"), lone=True, least=1, most=_MOST,
    too_few="nobody is named here", hint="name somebody, or leave it out",
)  # fmt: skip
_OUTCOME = Text("an outcome", longest=200, least=1)
_STEP_ID = Text(
    "a step id", STEP_ID, "bad-id", 200, "letters, digits, _ . -, not beginning with a digit"
)
_LABEL_KEY = Text(
    "a label's name", r"[A-Za-z0-9](?:[A-Za-z0-9_./-]{0,61}[A-Za-z0-9])?", "bad-label", 63
)
LABELS = MapOf(Text("a label's value", longest=255, rule="bad-label"), _LABEL_KEY)

RETRY = Record(
    "retry",
    {
        "max_attempts": Field(Whole(1, 1_000), "How often at most, the first attempt included."),
        "backoff": Field(Choice(_names(Backoff)), "How the delay grows."),
        "initial": Field(DurationText(), "The first delay; 1s if absent."),
        "max": Field(DurationText(), "The longest delay; 1m if absent."),
        "factor": Field(Number(1, 100), "By what an exponential delay grows; 2 if absent."),
        "jitter": Field(Choice(_names(Jitter)), "full: anything up to the delay. none: the delay."),
        "on": Field(ListOf(_WORD, lone=True), "Repeat only after these errors."),
        "never_on": Field(ListOf(_WORD, lone=True), "Never repeat after these errors."),
    },
)
POLICY = Record(
    "policy",
    {
        "purpose": Field(_WORD, "What the data is used for."),
        "authority": Field(_WORD, "On whose authority."),
        "license": Field(_WORD, "Under which licence."),
        "region": Field(_WORD, "Where it must run."),
    },
)
COMPENSATE = Record(
    "compensate",
    {
        "uses": Field(Uses(), "The connector that undoes the step.", required=True),
        "with": Field(Template("with", "mapping"), "Its input; may read this step's own output."),
        "timeout": Field(DurationText(positive=True), "The longest one attempt may take."),
        "retry": Field(RETRY, "When to repeat it."),
        "effect": Field(Choice(_names(Effect)), "What a second call would do."),
    },
)
CACHE = Record(
    "cache",
    {
        "ttl": Field(DurationText(positive=True), "How long a result stays good.", required=True),
        "key": Field(Template("text"), "What makes two calls the same; the input if absent."),
    },
)
ON_ERROR = Either(
    Choice(("fail", "continue")),
    Record(
        "on_error",
        {
            "action": Field(Choice(("fail", "continue")), "What to do when it failed for good."),
            "output": Field(Template("text"), "The output to go on with."),
            "goto": Field(_STEP_ID, "The step to go on with; it must come after this one."),
        },
    ),
    "action",
)
CONCURRENCY = Record(
    "concurrency",
    {
        "key": Field(Template("start", "text"), "Executions with the same key share the limit."),
        "limit": Field(Whole(1, 100_000), "How many may run at once.", required=True),
        "on_conflict": Field(
            Choice(("queue", "reject", "cancel_oldest")), "What to do with one more."
        ),
    },
)
TRIGGER = Record(
    "triggers",
    {
        "type": Field(
            Choice(("schedule", "webhook", "event")), "What starts an execution.", required=True
        ),
        "id": Field(_STEP_ID, "A name for the trigger."),
        "cron": Field(_WORD, "When: five fields of cron."),
        "every": Field(DurationText(), "How often."),
        "timezone": Field(_WORD, "The zone that cron is read in; UTC if absent."),
        "path": Field(_WORD, "The last part of the webhook's address."),
        "secret": Field(_WORD, "The name of the secret that signs."),
        "event": Field(_WORD, "The name of the event."),
        "input": Field(Template("trigger", "mapping"), "The params, from what came in."),
    },
)
_WORKFLOW_REF = Text("a workflow", WORKFLOW_REF, "workflow-reference", 200, "write name or name@^1")
ON_FAILURE = Record(
    "on_failure",
    {
        "workflow": Field(_WORKFLOW_REF, "The workflow to start.", required=True),
        "input": Field(Template("outputs", "mapping"), "Its params."),
    },
)
_ESCALATION = Record(
    "escalate",
    {
        "after": Field(DurationText(), "When, counted from the task's beginning.", required=True),
        "to": Field(Template("text", "text"), "Who gets it."),
        "candidate_groups": Field(_PEOPLE, "Groups whose members may answer from then on."),
        "notify": Field(_PEOPLE, "Who is told."),
        "outcome": Field(_WORD, "The outcome that it is decided with."),
    },
)
_ON_EXPIRY = Either(
    Choice(("fail",)),
    Record(
        "on_expiry",
        {
            "outcome": Field(_WORD, "The outcome that it is decided with."),
            "goto": Field(_STEP_ID, "The step to go on with; it must come after this one."),
        },
    ),
)
_CASE = Record(
    "cases",
    {
        "when": Field(Condition(), "The condition."),
        "then": Field(ListOf(_STEP_ID, lone=True, least=1), "The steps that run."),
        "else": Field(ListOf(_STEP_ID, lone=True, least=1), "The steps that run if no case holds."),
    },
)

EVERY_STEP: Final[dict[str, Field]] = {
    "id": Field(_STEP_ID, "The step's name in expressions and in every view.", required=True),
    "type": Field(Choice(_names(StepKind), "unknown-kind"), "What kind of step; task if absent."),
    "name": Field(_WORD, "A name for people."),
    "description": Field(_PROSE, "What it is for."),
    "depends_on": Field(
        ListOf(Text("a step id", longest=200), lone=True), "The steps it waits for."
    ),
    "join": Field(
        Either(Choice(("all", "any")), Whole(1, 10_000)),
        "How many of them must lead here: all, any, or a number; all if absent.",
    ),
    "when": Field(Condition(), "Run only if this holds; otherwise the step is skipped."),
    "timeout": Field(DurationText(positive=True), "The longest one attempt may take."),
    "retry": Field(RETRY, "When to repeat a failed attempt."),
    "cache": Field(CACHE, "Reuse an earlier result."),
    "on_error": Field(ON_ERROR, "What happens when it failed for good."),
    "compensate": Field(COMPENSATE, "How to undo it when a later step fails."),
    "policy": Field(POLICY, "Why this step may touch what it touches."),
    "runs_on": Field(
        ListOf(_TAG, lone=True), "Tags that a worker must have, all of them, to run it."
    ),
    "labels": Field(LABELS, "Labels for searching."),
}
_WORK: Final[dict[str, Field]] = {
    "uses": Field(Uses(), "The connector: name@major.", required=True),
    "with": Field(Template("with", "mapping"), "Its input; strings may hold expressions."),
    "effect": Field(Choice(_names(Effect)), "What a second call would do to the outside."),
    "in_doubt": Field(
        Choice(_names(InDoubt)),
        "What becomes of an at_most_once call when nobody knows whether it was made; fail if absent.",
    ),
}
HUMAN: Final[dict[str, Field]] = {
    "title": Field(Template("text", "text"), "What stands in lists of tasks; the name if absent."),
    "message": Field(Template("text", "text"), "What is asked."),
    "assignees": Field(_PEOPLE, "People who may answer."),
    "candidate_groups": Field(_PEOPLE, "Groups whose members may answer."),
    "form": Field(SchemaJson(), "What is to be filled in, as JSON Schema."),
    "outcomes": Field(
        ListOf(_OUTCOME, least=1, most=_MOST, unique="duplicate-outcome"),
        "The possible answers; approved and rejected if absent.",
    ),
    "quorum": Field(Whole(1, 100), "How many people must agree."),
    "separation_of_duties": Field(
        Flag(), "Neither who started it nor who approved earlier may answer."
    ),
    "delegation": Field(Flag(), "Whether a task may be handed on; true if absent."),
    "priority": Field(Whole(-32_000, 32_000), "Below 0 low, above 0 high."),
    "due": Field(Template("text", "text"), "The point in time by which an answer is wanted."),
    "sla": Field(
        Either(
            DurationText(positive=True),
            Record(
                "sla",
                {
                    "due": Field(
                        DurationText(positive=True), "When an answer is due.", required=True
                    ),
                    "warn": Field(DurationText(), "How long before that a warning is given."),
                },
            ),
        ),
        "When an answer is due, counted from the task's beginning.",
    ),
    "escalate": Field(
        ListOf(_ESCALATION, most=_MOST), "What happens when it is late, step by step."
    ),
    "on_expiry": Field(
        _ON_EXPIRY, "What happens when the timeout passes; the step fails if absent."
    ),
    "attachments": Field(_TEXTS, "Where what belongs to it lies."),
}
_MAPPED: Final = Record(
    "the task of a map",
    {
        "type": Field(Choice(("task",), "unknown-kind"), "task."),
        **_WORK,
        "timeout": Field(DurationText(positive=True), "The longest one attempt may take."),
        "retry": Field(RETRY, "When to repeat a failed attempt."),
    },
)
_OWN: Final[dict[StepKind, dict[str, Field]]] = {
    StepKind.TASK: _WORK,
    StepKind.AGENT_TASK: {
        "agent": Field(_WORD, "The agent's name.", required=True),
        "message": Field(Template("text", "text"), "What it is asked.", required=True),
        "tools": Field(ListOf(_WORD), "The tools it may use."),
        "output_schema": Field(SchemaJson(), "What it must answer, as JSON Schema."),
        "budget": Field(
            Either(
                Whole(1, 100_000_000),
                Record(
                    "budget",
                    {
                        "tokens": Field(Whole(1, 100_000_000), "How many tokens it may use."),
                        "cost": Field(MoneyText(), "What it may cost, like 1.50 EUR."),
                    },
                ),
                "tokens",
            ),
            "How much it may use: tokens, or a mapping of tokens and cost.",
        ),
    },
    StepKind.HUMAN_APPROVAL: HUMAN,
    StepKind.HUMAN_TASK: HUMAN,
    StepKind.GATEWAY: {
        "cases": Field(
            ListOf(_CASE, least=1),
            "The cases, tried in order.",
            required=True,
        ),
        "mode": Field(
            Choice(("exclusive", "inclusive")),
            "exclusive: the first case that holds wins; inclusive: every case that holds.",
        ),
    },
    StepKind.MAP: {
        "for_each": Field(
            Template("text", needs_value=True),
            "The list; each element is `item`, its place `index`.",
            required=True,
        ),
        "max_concurrency": Field(Whole(1, 10_000), "How many run at once."),
        "failure_policy": Field(
            Choice(("fail_fast", "collect")),
            "fail_fast: the first failure ends the map; collect: all run, failures are listed.",
        ),
        "task": Field(_MAPPED, "What is done with each element.", required=True),
    },
    StepKind.WAIT: {
        "signal": Field(_WORD, "The signal that ends the waiting; its payload is the output."),
        "for": Field(DurationText(), "How long."),
        "until": Field(
            Template("text", "text", needs_value=True),
            "Until when: an instant, like 2026-01-31T12:00:00Z.",
        ),
        "default": Field(Template("text"), "The output when the signal's timeout is over."),
    },
    StepKind.WORKFLOW: {
        "workflow": Field(_WORKFLOW_REF, "The workflow: name, or name@^1.", required=True),
        "input": Field(Template("text", "mapping"), "Its params."),
    },
}
_OF_PEOPLE: Final = {
    "retry": "people are asked once: timeout and on_expiry say until when, and what happens then",
    "cache": "an answer is given to one execution, and to no other",
    "runs_on": "people are asked, and no worker makes a call that it could be chosen for",
}
_OF_EVERY_TASK: Final = {
    "timeout": Field(
        DurationText(positive=True),
        "When the task expires, counted from its opening; never if absent.",
    )
}
# The first ones are carried out in the engine: nothing is called, so there is no attempt.
_NEVER: Final[dict[StepKind, dict[str, str]]] = {
    StepKind.GATEWAY: {
        "else": "what runs if no case holds is one of its cases: cases: [..., {else: STEP}]",
        "retry": "a gateway makes no call that could be repeated",
        "timeout": "a gateway makes no call that could take long",
        "cache": "a gateway has no result that could be reused",
        "compensate": "a gateway leaves nothing behind that could be undone",
        "runs_on": "a gateway makes no call for which a worker could be chosen",
    },
    StepKind.WAIT: {
        "retry": "a wait step makes no call that could be repeated",
        "cache": "a wait step has no result that could be reused",
        "compensate": "a wait step leaves nothing behind that could be undone",
        "runs_on": "a wait step makes no call for which a worker could be chosen",
    },
    **dict.fromkeys((StepKind.HUMAN_APPROVAL, StepKind.HUMAN_TASK), _OF_PEOPLE),
    StepKind.WORKFLOW: {"runs_on": "the steps of its workflow say for themselves where they run"},
}


def _step(kind: StepKind, own: dict[str, Field]) -> Record:
    never = _NEVER.get(kind, {})
    every = EVERY_STEP | (_OF_EVERY_TASK if never is _OF_PEOPLE else {})
    fields = {name: one for name, one in {**every, **own}.items() if name not in never}
    rule = "human" if never is _OF_PEOPLE else kind.value if never else "unknown-key"
    return Record(f"a {kind.value} step", fields, rule, never)


STEPS: Final[dict[StepKind, Record]] = {kind: _step(kind, own) for kind, own in _OWN.items()}
KINDS_WITH_OWN_KEYS: Final = frozenset(
    (StepKind.HUMAN_APPROVAL, StepKind.HUMAN_TASK, StepKind.AGENT_TASK)
)

_ABOUT: Final[dict[str, Field]] = {
    "name": Field(
        Text(
            "a name of small letters, digits, . _ -", NAME, "bad-name", 100, "like order-fulfilment"
        ),
        "The workflow's name, unique within the tenant.",
        required=True,
    ),
    "version": Field(Version(), "major.minor.patch; without it the document is a draft."),
    "display_name": Field(_WORD, "A name for people."),
    "description": Field(_PROSE, "What it is for."),
    "namespace": Field(
        Text("a namespace", NAME, "bad-name", 100), "A part of the tenant; default if absent."
    ),
    "labels": Field(LABELS, "Labels for searching; passed on to executions."),
    "owner": Field(_WORD, "Who answers for it."),
}
_BODY: Final[dict[str, Field]] = {
    "params": Field(AnyJson(), "The input: JSON Schema, or a mapping of names to schemas."),
    "outputs": Field(Template("outputs", "mapping"), "The output of an execution."),
    "policy": Field(POLICY, "Why it may touch what it touches."),
    "timeout": Field(DurationText(positive=True), "The longest an execution may take."),
    "retry": Field(RETRY, "The retry of every step that has none."),
    "concurrency": Field(CONCURRENCY, "How many executions may run at once."),
    "priority": Field(Whole(-32_000, 32_000), "Below 0 low, above 0 high."),
    "max_parallel_steps": Field(Whole(1, 10_000), "1 makes the process sequential."),
    "triggers": Field(ListOf(TRIGGER), "What starts executions by itself."),
    "on_failure": Field(ON_FAILURE, "The workflow to start when an execution failed."),
}


@dataclass(frozen=True, slots=True)
class Steps:
    """The list of steps is read by the document, kind by kind."""

    def read(self, value: Json, path: Path, reading: Reading) -> Any:
        """As Shape says."""
        return value if isinstance(value, list) else wrong("a list of steps", value, path, reading)

    def schema(self) -> Schema:
        """As Shape says."""
        return {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/step"}}


_STEPS = Field(
    Steps(), "The steps; their order does not matter, their dependencies do.", required=True
)
FLAT: Final = Record("a workflow", {**_ABOUT, **_BODY, "steps": _STEPS})
FLAT_TASKS: Final = Record("a workflow", {**_ABOUT, **_BODY, "tasks": _STEPS})
METADATA: Final = Record("metadata", _ABOUT)
SPEC: Final = Record("spec", {**_BODY, "tasks": _STEPS})
SPEC_STEPS: Final = Record("spec", {**_BODY, "steps": _STEPS})

# What this version of the engine does not run yet. Publishing refuses it by name; nothing is ignored.
NOT_RUN_KINDS: Final = frozenset(StepKind) - {
    StepKind.TASK,
    StepKind.WAIT,
    StepKind.GATEWAY,
    StepKind.MAP,
    StepKind.WORKFLOW,
    StepKind.HUMAN_APPROVAL,
    StepKind.HUMAN_TASK,
}
NOT_RUN_STEP_KEYS: Final = ("policy",)
NOT_RUN_KEYS: Final = ("triggers", "on_failure")
