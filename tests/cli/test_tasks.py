"""`mc tasks` against a running `mc dev`: listed, taken, handed out, answered; and a form at the terminal."""

from __future__ import annotations

import json
import sys
import uuid
from typing import Any

import pytest

from tests.http.test_graph_human_task import RULES
from tests.support.terminal import terminal

CREATE = "mutation ($input: CreateHumanTaskInput!) { createHumanTask(input: $input) { humanTask { id } errors { message } } }"
FORM = {
    "type": "object",
    "required": ["amount"],
    "properties": {"amount": {"type": "integer", "title": "How much"}, "note": {"type": "string"}},
}


@pytest.fixture
def tenant() -> str:
    return f"t-{uuid.uuid4().hex[:8]}"


async def token(
    dev: Any, tenant: str, who: str, role: str = "approver", *groups: str
) -> tuple[str, ...]:
    words = [word for group in groups for word in ("--group", group)]
    made = await dev.run(
        "token", "create", "--tenant", tenant, "--subject", who, "--role", role, *words
    )
    return "--token", made.stdout.strip()


async def new(dev: Any, given: tuple[str, ...], **input: Any) -> str:
    said = json.dumps({"input": {"title": "Pay invoice 17?", **input}})
    made = await dev.run("gql", CREATE, "--vars", said, *given)
    assert made.code == 0, made.stderr
    return str(json.loads(made.stdout)["data"]["createHumanTask"]["humanTask"]["id"])


async def test_a_task_is_listed_taken_handed_out_and_answered(dev: Any, tenant: str) -> None:
    olga, ann = (
        await token(dev, tenant, "olga"),
        await token(dev, tenant, "ann", "approver", "clerks"),
    )
    task = await new(dev, olga, candidateGroups=["clerks"], form=FORM)

    listed = await dev.run("tasks", "list", "--mine", *ann)
    nobodys = await dev.run("tasks", "list", "--mine", *await token(dev, tenant, "eve"))
    taken = await dev.run("tasks", "claim", task, "--comment", "mine", *ann)
    denied = await dev.run("tasks", "assign", task, "bob", *ann)
    given = await dev.run("tasks", "assign", task, "ann", *olga)
    wrong = await dev.run("tasks", "complete", task, "approved", "-d", '{"amount": "x"}', *ann)
    done = await dev.run(
        "tasks", "complete", task, "approved", "-d", '{"amount": 7}', "--key", "k", *ann
    )
    again = await dev.run(
        "tasks", "complete", task, "approved", "-d", '{"amount": 7}', "--key", "k", *ann
    )
    late = await dev.run("tasks", "reject", task, "-d", '{"amount": 7}', *olga)
    shown = await dev.run("tasks", "show", task, *ann)
    document = json.loads((await dev.run("tasks", "show", task, "-o", "json", *ann)).stdout)
    unknown = await dev.run("tasks", "show", "task_nobodys", *ann)

    assert "Pay invoice 17?" in listed.stdout
    assert task in listed.stdout
    assert nobodys.stdout == ""
    assert (taken.code, "claimed ann" in taken.stderr + taken.stdout) == (0, True)
    assert (denied.code, "tasks:admin" in denied.stderr) == (5, True)
    assert given.code == 0
    assert (wrong.code, "amount" in wrong.stderr) == (4, True)
    assert (done.code, again.code) == (0, 0)
    assert (late.code, "by ann" in late.stderr) == (6, True)
    assert "completed by ann" in shown.stdout
    assert (document["status"], document["response"]) == ("completed", {"amount": 7})
    assert unknown.code == 3


WORDS = {
    "claim": (),
    "assign": ("assignee",),
    "complete": ("outcome",),
    "escalate": (),
}
BY_COMMAND = [
    rule for rule in RULES if {verb for _, verb, _ in (*rule[2], rule[3])} <= WORDS.keys()
]


@pytest.mark.long
async def test_every_rule_holds_on_this_path_too(dev: Any, tenant: str) -> None:
    """The table of the graph's own test, deed by deed through the command line."""
    tokens: dict[str, tuple[str, ...]] = {}

    async def by(who: str) -> tuple[str, ...]:
        name, _, groups = who.partition(":")
        role = {"max": "admin", "vic": "viewer"}.get(name, "approver")
        if who not in tokens:
            tokens[who] = await token(dev, tenant, name, role, *filter(None, groups.split(",")))
        return tokens[who]

    async def do(who: str, verb: str, task: str, said: dict[str, Any]) -> Any:
        words = [said[name] for name in WORDS[verb]]
        return await dev.run("tasks", verb, task, *words, "-o", "json", *await by(who))

    told = {}
    for what, said, before, deed, _ in BY_COMMAND:
        task = await new(dev, await by("olga"), **said)
        for who, verb, more in before:
            assert (await do(who, verb, task, more)).code == 0, what
        who, verb, more = deed
        refused = await do(who, verb, task, more)
        told[what] = json.loads(refused.stderr)["error"]["reason"]

    assert len(told) > 10
    assert told == {rule[0]: rule[4] for rule in BY_COMMAND}


async def test_escalating_does_the_next_step(dev: Any, tenant: str) -> None:
    olga = await token(dev, tenant, "olga")
    task = await new(dev, olga, escalations=[{"at": "2099-01-01T00:00:00Z", "to": "cy"}])

    first = await dev.run("tasks", "escalate", task, *olga)
    second = await dev.run("tasks", "escalate", task, *olga)
    other = await dev.run("tasks", "escalate", task, "--to", "bob", *olga)

    assert (first.code, "escalated cy" in first.stderr + first.stdout) == (0, True)
    assert (second.code, "no further step" in second.stderr) == (6, True)
    assert "escalated bob" in other.stderr + other.stdout


async def test_a_form_is_asked_for_at_the_terminal_field_by_field(dev: Any, tenant: str) -> None:
    olga = await token(dev, tenant, "olga")
    task = await new(dev, olga, form=FORM)
    words = (sys.executable, "-m", "maestro_cli", "tasks", "complete", task, "--form", *olga)

    with terminal(*words, folder=dev.folder, environment=dev.environment()) as screen:
        for asked, said in (
            ("Pay invoice 17", "approved"),
            ("How much", "many"),
            ("this field|to be", "7"),
            ("note", ""),
        ):
            await screen.printed(asked)
            screen.press(said.encode() + b"\n")
        assert await screen.ended() == 0, screen.output()

    document = json.loads((await dev.run("tasks", "show", task, "-o", "json", *olga)).stdout)
    assert (document["status"], document["response"]) == ("completed", {"amount": 7})


async def test_without_a_terminal_a_form_asks_nothing(dev: Any, tenant: str) -> None:
    olga = await token(dev, tenant, "olga")
    task = await new(dev, olga)

    asked = await dev.run("tasks", "complete", task, "--form", *olga)
    nothing = await dev.run("tasks", "complete", task, *olga)
    both = await dev.run("tasks", "complete", task, "--form", "-d", "{}", *olga)

    assert (asked.code, "terminal" in asked.stderr) == (2, True)
    assert (nothing.code, both.code) == (2, 2)
