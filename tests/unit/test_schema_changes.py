"""What `make check` says of a changed schema.graphql: how grave each change is, and that a break must be announced."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from scripts import schema_changes
from scripts.schema_changes import Change, Severity, find_changes, unannounced

OLD = """
extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key"])
type Query {
  execution(id: ID!): Execution @authenticated
  executions(first: Int): [Execution!]! @authenticated @listSize(assumedSize: 20)
  dead: [Execution!]! @requiresScopes(scopes: [["executions:admin"]])
}
type Execution @key(fields: "id") @key(fields: "name") { id: ID! size: Int name: String! state: State! }
enum State { OPEN CLOSED }
input Wanted { state: State limit: Int @inaccessible }
"""


def one(new: str) -> Change:
    """The gravest change."""
    return find_changes(OLD, new)[0]


def test_the_same_schema_has_no_changes() -> None:
    assert find_changes(OLD, OLD) == []


@pytest.mark.parametrize(
    ("was", "now", "severity", "place"),
    [
        (" name: String!", "", Severity.BREAKING, "Execution.name"),
        ("state: State! }", "state: State }", Severity.BREAKING, "Execution.state"),
        ("CLOSED", "", Severity.BREAKING, "State.CLOSED"),
        ("(first: Int)", "", Severity.BREAKING, "Query.executions"),
        ("{ state: State ", "{ state: State! ", Severity.BREAKING, "Wanted.state"),
        (' @key(fields: "name")', "", Severity.BREAKING, "Execution"),
        (
            "Execution @authenticated",
            'Execution @requiresScopes(scopes: [["a:read"]])',
            Severity.BREAKING,
            "Query.execution",
        ),
        ("size: Int", "size: Int @inaccessible", Severity.BREAKING, "Execution.size"),
        ("CLOSED", "CLOSED @inaccessible", Severity.BREAKING, "State.CLOSED"),
        ("Int)", "Int @inaccessible)", Severity.BREAKING, "Query.executions"),
        ("enum State", "enum State @inaccessible", Severity.BREAKING, "State"),
        ("limit: Int @inaccessible", "limit: Int", Severity.SAFE, "Wanted.limit"),
        ("limit: Int", "limit: Int @cost(weight: 9)", Severity.DANGEROUS, "Wanted.limit"),
        ("CLOSED", "CLOSED LOST", Severity.DANGEROUS, "State.LOST"),
        ("(first: Int)", "(first: Int, after: ID)", Severity.DANGEROUS, "Query.executions"),
        ("assumedSize: 20", "assumedSize: 50", Severity.DANGEROUS, "Query.executions"),
        (" name: String!", " name: String! more: Int", Severity.SAFE, "Execution.more"),
        (
            '@requiresScopes(scopes: [["executions:admin"]])',
            "@authenticated",
            Severity.SAFE,
            "Query.dead",
        ),
        ("Execution @key", 'Execution @key(fields: "other") @key', Severity.SAFE, "Execution"),
    ],
)
def test_each_change_has_its_gravity_and_its_place(
    was: str, now: str, severity: Severity, place: str
) -> None:
    assert was in OLD

    found = one(OLD.replace(was, now, 1))

    assert (found.severity, found.place) == (severity, place)


def test_a_break_is_announced_by_its_name_under_unreleased() -> None:
    changes = [Change(Severity.BREAKING, "Execution.name", "."), Change(Severity.SAFE, "X", ".")]

    assert unannounced(changes, "## Unreleased\n- `Execution.name` is gone.\n\n## 1.0\n") == []
    assert unannounced(changes, "## Unreleased\n\n## 1.0\n- `Execution.name`\n") == changes[:1]
    assert unannounced(changes, "## Unreleased\n- Execution.name\n") == changes[:1]


def test_the_committed_schema_is_compared_with_a_commit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = (schema_changes.ROOT / "schema.graphql").read_text("utf-8")
    old = committed.replace("type Query {", 'type Query {\n  """Gone."""\n  gone: Int\n', 1)
    monkeypatch.setattr(schema_changes, "last_release", lambda _: ("release v1", old))

    code = schema_changes.main([])

    assert code == 1
    told = capsys.readouterr().out
    assert told.startswith("since release v1: 1 breaking, 0 dangerous, 0 safe\n")
    assert "breaking: Field Query.gone was removed.\n" in told
    assert "name `Query.gone`" in told


def test_before_a_release_it_is_compared_with_where_main_was_left(tmp_path, monkeypatch) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(
            [str(shutil.which("git")), *who, *arguments],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    def commit(text: str) -> None:
        (tmp_path / "schema.graphql").write_text(text)
        git("add", ".")
        git("commit", "-m", text)

    monkeypatch.setattr(schema_changes, "ROOT", tmp_path)
    monkeypatch.delenv("BASE", raising=False)
    git("init", "-b", "main")
    assert schema_changes.last_release() is None
    commit("one")
    git("checkout", "-b", "change")
    commit("two")
    commit("three")

    branch = schema_changes.last_release()
    git("checkout", "main")
    git("merge", "change")
    merged = schema_changes.last_release()
    git("tag", "v1.2.0", "HEAD^")
    released = schema_changes.last_release()

    assert branch is not None
    assert branch[1] == "one"
    assert "no release yet" in branch[0]
    assert merged is not None
    assert merged[1] == "two"
    assert released == ("release v1.2.0", "two")
