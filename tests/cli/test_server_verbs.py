"""The verbs against a running `mc dev`: one server, found through its folder, for all of them."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid

import pytest

TEA = """\
name: {name}
version: 1.0.0
params:
  cups: {{type: integer, minimum: 1, default: 2}}
steps:
  - id: boil
    uses: core.set@1
    with: {{litres: "{{{{ params.cups * 1 }}}}"}}
  - id: pour
    uses: core.set@1
    depends_on: [boil]
    with: {{cups: "{{{{ params.cups }}}}"}}
outputs: {{cups: "{{{{ steps.pour.output.cups }}}}"}}
"""
SLEEP = "name: {name}\nversion: 1.0.0\nsteps: [{{id: rest, uses: core.sleep@1, with: {{duration: 60s}}}}]\n"
BELL = (
    "name: {name}\nversion: 1.0.0\nsteps: [{{id: bell, type: wait, signal: go, timeout: 5m}}]\n"
    "outputs: {{n: '{{{{ steps.bell.output.n }}}}'}}\n"
)
FAIL = "name: {name}\nversion: 1.0.0\nsteps: [{{id: break, uses: core.fail@1, with: {{message: broken on purpose}}}}]\n"


@pytest.fixture
def publish(dev, tmp_path):
    """Publishes a definition under a fresh name; the name."""

    async def publishes(text=TEA):
        name = f"w-{uuid.uuid4().hex[:8]}"
        file = tmp_path / f"{name}.yaml"
        file.write_text(text.format(name=name))
        done = await dev.run("publish", str(file))
        assert done.code == 0, done.stderr
        return name

    return publishes


async def test_publish_prints_name_version_digest_and_is_idempotent(dev, tmp_path):
    name = f"w-{uuid.uuid4().hex[:8]}"
    file = tmp_path / "tea.yaml"
    file.write_text(TEA.format(name=name))

    first = await dev.run("publish", str(file))
    second = await dev.run("publish", str(file))

    word, version, digest = first.stdout.split()
    assert (word, version) == (name, "1.0.0")
    assert digest.startswith("sha256:")
    assert second.stdout == first.stdout


async def test_a_version_that_breaks_callers_needs_its_number_or_a_yes(dev, publish, tmp_path):
    name = await publish()
    file = tmp_path / "next.yaml"
    file.write_text(
        TEA.format(name=name).replace("version: 1.0.0", "version: 1.1.0").replace("id: boil", "id: heat")
        .replace("depends_on: [boil]", "depends_on: [heat]")
    )  # fmt: skip

    refused = await dev.run("publish", str(file))
    draft = await dev.run("diff", name, f"{name}@draft")
    done = await dev.run("publish", name, "--yes", "-o", "json")
    versions = await dev.run("diff", f"{name}@1.0.0", f"{name}@1.1.0", "-o", "json")

    assert refused.code == 6
    assert "the step 'boil' was removed" in refused.stderr
    assert "--yes" in refused.stderr
    assert draft.stdout.splitlines()[0] == f"{name}@1.0.0 -> {name}@draft"
    made = json.loads(done.stdout)
    assert (made["version"], made["created"], made["diff"]["compatibility"]) == (
        "1.1.0",
        True,
        "breaking",
    )
    assert [one["key"] for one in json.loads(versions.stdout)["added"]] == ["heat"]


async def test_versions_and_workflows_end_and_drafts_go(dev, publish):
    name = await publish()

    early = await dev.run("workflows", "archive", f"{name}@1.0.0")
    deprecated = await dev.run("workflows", "deprecate", f"{name}@1.0.0", "--reason", "old")
    archived = await dev.run("workflows", "archive", f"{name}@1.0.0", "-o", "json")
    ended = await dev.run("workflows", "archive", name)
    kept = await dev.run("workflows", "delete", name)
    unnamed = await dev.run("workflows", "deprecate", name)

    assert (early.code, "mc workflows deprecate" in early.stderr) == (6, True)
    assert deprecated.stdout == f"{name}@1.0.0 deprecated; no version is current\n"
    assert json.loads(archived.stdout)["state"] == "archived"
    assert ended.stdout == f"{name} archived\n"
    assert (kept.code, "mc workflows archive" in kept.stderr) == (6, True)
    assert unnamed.code == 2


async def test_a_draft_is_deleted_by_its_name(dev):
    name = f"w-{uuid.uuid4().hex[:8]}"
    create = "mutation($n: String!, $s: String!) { createWorkflow(input: {name: $n, source: $s}) { errors { message } } }"
    source = f"name: {name}\nsteps: [{{id: a, uses: core.noop@1}}]\n"
    await dev.run("gql", create, "--vars", json.dumps({"n": name, "s": source}))

    gone = await dev.run("workflows", "delete", name)
    again = await dev.run("workflows", "delete", name)

    assert gone.stdout == f"{name} deleted\n"
    assert again.code == 3


async def test_execute_prints_the_id_first_then_the_output(dev, publish):
    name = await publish()

    done = await dev.run("execute", name, "-i", "cups=3", "--wait")

    first, _, rest = done.stdout.partition("\n")
    assert str(uuid.UUID(first)) == first
    assert json.loads(rest) == {"cups": 3}
    assert done.code == 0


@pytest.mark.parametrize("verb", ["execute", "simulate"])
async def test_a_misspelt_param_is_answered_by_the_nearest(dev, publish, verb):
    name = await publish()

    done = await dev.run(verb, name, "-i", "cusp=3")

    assert done.code == 4
    assert "cusp is not a param of this workflow" in done.stderr
    assert "hint: did you mean 'cups'?" in done.stderr


async def test_a_workflow_is_simulated_by_name_with_what_an_execution_gave(dev, publish):
    name = await publish()
    past = (await dev.run("execute", name, "-i", "cups=7", "--wait")).stdout.split()[0]

    done = await dev.run("simulate", f"{name}@1.0.0", "--from", past, "-o", "json")
    unknown = await dev.run("simulate", "nobody-knows-it")
    elsewhere = await dev.run("simulate", name, "--namespace", "elsewhere")
    no_version = await dev.run("simulate", f"{name}@one")

    found = json.loads(done.stdout)
    assert (elsewhere.code, no_version.code) == (3, 2)
    assert (found["status"], found["output"], done.code) == ("completed", {"cups": 7}, 0)
    assert unknown.code == 3


async def test_json_is_one_document_and_nothing_else(dev, publish):
    name = await publish()

    done = await dev.run("-o", "json", "execute", f"{name}@1.0.0", "--wait")

    document = json.loads(done.stdout)
    assert (document["workflow"], document["status"], document["output"]) == (
        name,
        "completed",
        {"cups": 2},
    )


async def test_watch_prints_one_line_per_change_in_a_pipe(dev, publish):
    done = await dev.run("execute", await publish(), "--watch")

    words = [line.split()[1] for line in done.stdout.splitlines()[1:] if line.startswith("20")]
    assert words[0] == "execution_queued"
    assert words[-1] == "execution_completed"
    assert words.count("step_completed") == 2


async def test_a_failed_execution_is_exit_code_1_and_names_the_step(dev, publish):
    done = await dev.run("execute", await publish(FAIL), "--wait")

    assert done.code == 1
    assert "step break: broken on purpose" in done.stderr


async def test_list_get_and_logs_show_what_ran(dev, publish):
    name = await publish()
    key = (await dev.run("execute", name, "--wait", "-q")).stdout.split()[0]

    listed = json.loads(
        (await dev.run("ex", "list", f"workflow:{name}", "status:completed", "-o", "json")).stdout
    )
    shown = await dev.run("executions", "get", key)
    names = await dev.run("ex", "list", "--workflow", name, "-o", "name")

    assert [row["id"] for row in listed] == [key]
    assert f"{name}@1.0.0" in shown.stdout
    assert "pour" in shown.stdout
    assert names.stdout.split() == [key]
    assert (await dev.run("executions", "logs", key)).code == 0


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["execute", "nobody"], 3),
        (["workflows", "get", "nobody"], 3),
        (["workflows", "versions", "nobody"], 3),
        (["executions", "get", "0198c0de-0000-7000-8000-000000000001"], 3),
        (["executions", "watch", "0198c0de-0000-7000-8000-000000000001"], 3),
        (["cancel", "0198c0de-0000-7000-8000-000000000001"], 3),
        (["executions", "list", "--token", "not.a.token"], 5),
        (["gql", "{ nothing }"], 4),
        (["executions", "list", "--endpoint", "http://127.0.0.1:9"], 7),
    ],
    ids=lambda value: "-".join(value[:2]) if isinstance(value, list) else str(value),
)
async def test_the_exit_code_says_what_is_wrong(dev, arguments, code):
    done = await dev.run(*arguments)

    assert done.code == code, done.stderr
    assert done.stderr.startswith("error: ")


async def test_a_role_that_may_only_read_is_denied(dev, publish):
    name = await publish()
    token = (
        await dev.run(
            "token", "create", "--tenant", "default", "--subject", "eve", "--role", "viewer"
        )
    ).stdout

    done = await dev.run("execute", name, "--token", token.strip())

    assert done.code == 5
    assert (await dev.run("workflows", "get", name, "--token", token.strip())).code == 0


async def test_another_tenant_sees_nothing(dev, publish):
    name = await publish()
    token = (
        await dev.run("token", "create", "--tenant", "other", "--subject", "eve", "--role", "admin")
    ).stdout

    assert (await dev.run("workflows", "get", name, "--token", token.strip())).code == 3


async def test_an_invalid_definition_is_refused_with_line_and_column(dev, tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(
        "name: bad\nversion: 1.0.0\nsteps:\n  - id: a\n    uses: core.noop@1\n    depends_on: [b]\n"
    )

    done = await dev.run("publish", str(file))

    assert done.code == 4
    assert f"at {file}:6:" in done.stderr


async def test_an_input_that_does_not_fit_is_refused_field_by_field(dev, publish):
    done = await dev.run("execute", await publish(), "-i", "cups=many")

    assert done.code == 4
    assert "cups" in done.stderr


async def test_the_same_key_is_the_same_execution_and_another_body_a_conflict(dev, publish):
    name, key = await publish(), uuid.uuid4().hex

    first = await dev.run("execute", name, "--idempotency-key", key, "-i", "cups=1")
    again = await dev.run("execute", name, "--idempotency-key", key, "-i", "cups=1")
    other = await dev.run("execute", name, "--idempotency-key", key, "-i", "cups=2")

    assert first.stdout == again.stdout
    assert other.code == 6


@pytest.mark.parametrize("flag", ["--wait", pytest.param("--watch", marks=pytest.mark.long)])
async def test_waiting_ends_with_the_timeout_and_the_execution_goes_on(dev, publish, flag):
    name = await publish(SLEEP)

    done = await dev.run("execute", name, flag, "--timeout", "1s")
    key = done.stdout.split()[0]

    assert done.code == 8
    assert (await dev.run("cancel", key, "--reason", "enough")).code == 0
    assert (await dev.run("executions", "watch", key, "-q")).code == 9
    assert (await dev.run("retry", key)).code == 0
    assert (await dev.run("cancel", key)).code == 0


async def test_a_rewind_is_shown_and_done_from_a_step(dev, publish):
    one = (await dev.run("execute", await publish(FAIL), "--wait")).stdout.split()[0]

    drawn = await dev.run("rewind", one, "break", "--dry-run")
    names = await dev.run("rewind", one, "break", "--dry-run", "-o", "name")
    absent = await dev.run("rewind", one, "nothing", "--dry-run")
    done = await dev.run("rewind", one, "break", "--reason", "again", "--idempotency-key", "r")
    again = await dev.run("rewind", one, "break", "--reason", "again", "--idempotency-key", "r")
    shown = await dev.run("executions", "get", one, "-o", "json")

    assert drawn.stdout.splitlines()[0].startswith(f"{one} generation 1: 1 step runs again, 0 kept")
    assert names.stdout.split() == ["break"]
    assert absent.code != 0
    assert "no step 'nothing'" in absent.stderr
    assert (done.code, again.code) == (0, 0)
    assert json.loads(shown.stdout)["generation"] == 1


async def test_a_rewind_gives_another_input(dev, publish, tmp_path):
    one = (await dev.run("execute", await publish(), "-i", "cups=3", "--wait")).stdout.split()[0]
    (tmp_path / "input.json").write_text('{"cups": 5}')
    given = ["rewind", one, "pour", "--input"]

    wrong = await dev.run(*given, '{"cups": 0}', "--dry-run")
    none = await dev.run(*given, "null")
    drawn = await dev.run(*given, f"@{tmp_path}/input.json", "--dry-run")
    kept = await dev.run("rewind", one, "boil", "--keep", "pour", "--dry-run", "-o", "name")
    done = await dev.run(*given, f"@{tmp_path}/input.json")
    shown = await dev.run("executions", "get", one, "-o", "json")

    assert wrong.code != 0
    assert (none.code, "leave --input out" in none.stderr) == (2, True)
    assert drawn.stdout.splitlines()[0].startswith(f"{one} generation 1: 1 step runs again")
    assert kept.stdout.split() == ["boil"]
    assert done.code == 0
    assert json.loads(shown.stdout)["input"] == {"cups": 5}


async def test_a_retry_is_shown_before_it_happens(dev, publish):
    one = (await dev.run("execute", await publish(FAIL), "--wait")).stdout.split()[0]

    drawn = await dev.run("retry", one, "--dry-run")
    told = json.loads((await dev.run("retry", one, "--dry-run", "-o", "json")).stdout)
    names = await dev.run("retry", one, "--dry-run", "-o", "name")
    shown = await dev.run("executions", "get", one, "-o", "json")
    absent = await dev.run("retry", "01930000-0000-7000-8000-00000000ffff", "--dry-run")

    head, *rows = drawn.stdout.splitlines()
    assert head == (
        f"{one} generation 1: 1 step runs again, 0 kept, 0 with calls that are repeated"
    )
    assert rows[-1].split() == ["break", "run", "-", "-"]
    assert (told[0]["executionId"], told[0]["generation"]) == (one, 1)
    assert [(step["stepKey"], step["action"]) for step in told[0]["steps"]] == [("break", "run")]
    assert names.stdout.split() == ["break"]
    assert json.loads(shown.stdout)["generation"] == 0
    assert absent.code == 3


async def test_what_runs_goes_on_with_another_version_where_that_is_safe(dev, publish, tmp_path):
    name = await publish(BELL)
    done = await dev.run("execute", name, "--wait", "--timeout", "1s")
    one = done.stdout.split()[0]
    file = tmp_path / "next.yaml"
    file.write_text(BELL.format(name=name).replace("1.0.0", "2.0.0").replace("bell", "gong"))
    await dev.run("publish", str(file))
    said = ("workflows", "migrate", name, "--from", "1.0.0", "--to", "2.0.0")

    drawn = await dev.run(*said, "--dry-run")
    told = json.loads((await dev.run(*said, "--dry-run", "-o", "json")).stdout)
    names = await dev.run(*said, "--dry-run", "-o", "name")
    asked = await dev.run(*said)
    refused = await dev.run(*said, "--yes", "--reason", "mended", "-o", "json")
    absent = await dev.run(*said[:-1], "9.9.9", "--dry-run")
    wrong = await dev.run(*said[:-1], "next", "--dry-run")

    head, *rows = drawn.stdout.splitlines()
    assert head == f"{name} 1.0.0 -> 2.0.0: 1 have not ended; 0 safe, 1 needs mapping, 0 impossible"
    assert rows[-1].split(maxsplit=2) == [
        one, "needs_mapping", "The step 'bell' has begun, and is not there any more.",
    ]  # fmt: skip
    assert (told["total"], told["needs_mapping"]) == (1, 1)
    [found] = told["executions"]
    assert [(f["obstacle"], f["stepKey"]) for f in found["findings"]] == [("step_missing", "bell")]
    assert names.stdout.split() == [one]
    assert (asked.code, "--yes" in asked.stderr) == (2, True)
    ended = json.loads(refused.stdout)
    assert (ended["total"], ended["done"], ended["refused"]) == (1, 0, 1)
    file.write_text(
        BELL.format(name=name).replace("1.0.0", "3.0.0").replace("steps.bell.output.n", "1")
    )
    await dev.run("publish", str(file))
    moved = await dev.run(*said[:-1], "3.0.0", "--yes", "--reason", "mended", "-o", "json")
    assert json.loads(moved.stdout)["done"] == 1
    shown = json.loads((await dev.run("executions", "get", one, "-o", "json")).stdout)
    assert shown["workflowVersion"]["version"] == "3.0.0"
    assert (absent.code, wrong.code) == (3, 2)


async def test_a_cancel_that_is_asked_to_undoes_what_was_done(dev, publish):
    name = await publish(
        "name: {name}\nversion: 1.0.0\nsteps: [{{id: a, uses: core.noop@1, compensate: {{uses: core.noop@1}}}},"
        " {{id: b, type: wait, depends_on: [a], signal: never}}]"
    )
    done = await dev.run("execute", name, "--wait", "--timeout", "1s")
    key = done.stdout.split()[0]

    assert (await dev.run("cancel", key, "--compensate")).code == 0
    assert (await dev.run("executions", "watch", key, "-q")).code == 9
    shown = json.loads((await dev.run("executions", "get", key, "-o", "json")).stdout)
    assert shown["steps"][0]["status"] == "compensated"
    assert shown["steps"][0]["compensation"]["status"] == "completed"


async def test_two_executions_are_compared(dev, publish):
    name = await publish()
    two, three = [
        (await dev.run("execute", name, "-i", f"cups={n}", "--wait", "-q")).stdout.split()[0]
        for n in (2, 3)
    ]

    drawn = await dev.run("diff", two, three)
    told = json.loads((await dev.run("diff", two, three, "-o", "json")).stdout)

    assert "differ in: input, output" in drawn.stdout
    assert "part at: boil (input, output)" in drawn.stdout
    assert told["differences"] == ["input", "output"]
    assert [(step["stepKey"], step["a"]["status"]) for step in told["steps"]] == [
        ("boil", "completed"),
        ("pour", "completed"),
    ]
    assert (await dev.run("diff", two, three, "-o", "name")).stdout.split() == ["boil", "pour"]
    same = await dev.run("diff", two, two)
    assert "differ in: nothing" in same.stdout
    assert (await dev.run("diff", two, "01930000-0000-7000-8000-00000000ffff")).code == 3


async def test_a_replay_says_that_all_follows_and_ends_with_1_where_it_does_not(
    dev, publish, monkeypatch
):
    one = (await dev.run("execute", await publish(), "--wait")).stdout.split()[0]

    drawn = await dev.run("replay", one)
    told = json.loads((await dev.run("replay", one, "--execute", "-o", "json")).stdout)

    assert (drawn.code, drawn.stdout.splitlines()[0]) == (0, "equal")
    assert "compared:" in drawn.stdout
    assert (told["isEqual"], told["divergence"]) == (True, None)
    assert (await dev.run("replay", "01930000-0000-7000-8000-00000000ffff")).code == 3


async def test_pause_resume_and_signal(dev, publish, tmp_path):
    key = (await dev.run("execute", await publish(BELL))).stdout.split()[0]
    payload = tmp_path / "payload.json"
    payload.write_text('{"n": 1}')

    why = await dev.run("why", key)
    assert "bell  waiting  signal since" in why.stdout
    assert "freed by: The signal 'go', sent to this execution, or its timeout." in why.stdout
    (told,) = json.loads((await dev.run("why", key, "-o", "json")).stdout)
    assert (told["stepKey"], told["cause"], told["signal"]) == ("bell", "signal", "go")
    assert (await dev.run("pause", key, "--reason", "look")).code == 0
    assert (await dev.run("resume", key)).code == 0
    assert (await dev.run("signal", key, "go", "-d", f"@{payload}")).code == 0
    assert (await dev.run("executions", "watch", key, "-q")).code == 0

    shown = json.loads((await dev.run("ex", "get", key, "-o", "json")).stdout)
    assert shown["output"] == {"n": 1}
    over = await dev.run("why", key)
    assert (over.stdout, "no step waits for anything" in over.stderr) == ("", True)
    assert (await dev.run("why", "01930000-0000-7000-8000-00000000ffff")).code == 3
    late = await dev.run("signal", key, "go", "-d", "3")
    assert (late.code, "it is completed" in late.stderr) == (6, True)
    assert (await dev.run("signal", key, "go", "-d", "{")).code == 2


async def test_a_document_of_waiting_comes_alone_and_even_after_the_timeout(dev, publish):
    done = await dev.run("execute", await publish(), "--wait", "-o", "json")
    late = await dev.run("execute", await publish(SLEEP), "--wait", "--timeout", "1s", "-o", "json")

    assert (done.stderr, json.loads(done.stdout)["status"]) == ("", "completed")
    assert late.code == json.loads(late.stderr)["error"]["exit_code"] == 8
    assert (await dev.run("cancel", json.loads(late.stdout)["id"])).code == 0


async def test_documents_spell_statuses_as_tables_do(dev, publish):
    name = await publish()
    key = (await dev.run("execute", name, "--wait", "-q")).stdout.split()[0]

    shown = json.loads((await dev.run("ex", "get", key, "-o", "json")).stdout)
    listed = json.loads((await dev.run("wf", "list", "--name", name, "-o", "json")).stdout)

    assert (shown["status"], shown["steps"][0]["status"]) == ("completed", "completed")
    assert listed[0]["status"] == "published"


@pytest.mark.parametrize("flag", ["--wait", pytest.param("--watch", marks=pytest.mark.long)])
async def test_ctrl_c_detaches_and_says_how_to_attach_again(dev, publish, flag):
    running = dev.start("execute", await publish(SLEEP), flag)
    found = await running.printed(r"^([0-9a-f-]{36})$")
    if flag == "--watch":
        await running.printed("step_started")

    assert await running.stop(signal.SIGINT) == 130
    assert f"mc executions watch {found[1]}" in running.output()
    assert (await dev.run("cancel", found[1])).code == 0


async def test_workflows_are_listed_and_shown(dev, publish):
    name = await publish()

    listed = await dev.run("workflows", "list", "--name", name, "-o", "name")
    versions = await dev.run("workflows", "versions", name, "-o", "json")

    assert listed.stdout.split() == [name]
    assert [row["version"] for row in json.loads(versions.stdout)] == ["1.0.0"]
    assert "pour" in (await dev.run("workflows", "get", name)).stdout


async def test_gql_sends_anything_and_follows_subscriptions(dev, publish, tmp_path):
    key = (await dev.run("execute", await publish(), "--wait", "-q")).stdout.split()[0]
    file = tmp_path / "watch.graphql"
    file.write_text("subscription S($id: ID!) { executionEvents(id: $id) { type } }")

    asked = await dev.run(
        "gql",
        "query Q($id: ID!) { execution(id: $id) { status } }",
        "--vars",
        json.dumps({"id": key}),
    )
    followed = await dev.run("gql", f"@{file}", "--vars", json.dumps({"id": key}), "--subscribe")

    assert json.loads(asked.stdout) == {"data": {"execution": {"status": "COMPLETED"}}}
    events = [json.loads(line)["executionEvents"]["type"] for line in followed.stdout.splitlines()]
    assert events[-1] == "EXECUTION_COMPLETED"


async def test_doctor_finds_everything_in_order(dev):
    done = await dev.run("doctor", "-o", "json")

    checks = {check["name"]: check["status"] for check in json.loads(done.stdout)}
    assert done.code == 0
    assert {checks[name] for name in ("postgresql", "redis", "server", "clock", "token")} == {"ok"}


async def test_the_schema_of_a_running_dev_is_up_to_date(dev):
    assert (await dev.run("migrate", "--check")).code == 0


@pytest.mark.long
async def test_many_at_once_are_all_found(dev, publish):
    name = await publish()
    started = await asyncio.gather(*(dev.run("execute", name) for _ in range(3)))

    listed = await dev.run("ex", "list", "--workflow", name, "--all", "-o", "jsonl")

    assert {json.loads(line)["id"] for line in listed.stdout.splitlines()} == {
        s.stdout.strip() for s in started
    }
