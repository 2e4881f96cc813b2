"""What a document calls by name must exist, as far as somebody knows what exists."""

from __future__ import annotations

import pytest

from runtime.abi.surroundings import KnownWorkflow, Surroundings
from runtime.definition.calling import fits
from runtime.model.values import SemVer

TEXT = """
name: start
steps:
  - {id: a, uses: http.request@1, with: {url: "{{ secrets.PAY_URL }}", auth: {bearer: "{{ secrets.PAY_TOKN }}"}}}
  - {id: b, type: workflow, workflow: bill@^1.2}
  - {id: c, type: workflow, workflow: bil}
  - {id: d, type: agent_task, agent: writr, message: Write}
on_failure: {workflow: tell@2}
"""
V = {
    "bill": KnownWorkflow((SemVer(1, 1), SemVer(2)), frozenset(["mail"])),
    "mail": KnownWorkflow((SemVer(1),), frozenset(["mail", "start"])),
    "tell": KnownWorkflow((SemVer(2, 5),)),
}
MANIFEST = """\
apiVersion: composer/v1
kind: Workflow
metadata:
  name: tea
spec: {tasks: [{id: a, uses: core.noop@1}]}
"""
KNOWN = Surroundings(frozenset(["PAY_URL", "PAY_TOKEN"]), frozenset(["writer"]), V)


def told(found, *rules):
    return [
        (one.line, one.severity.value, one.message, one.hint)
        for one in found.problems
        if one.rule in {"unknown-workflow", "unknown-secret", "unknown-agent", "workflow-recursion"}
    ]


@pytest.mark.parametrize(("publishing", "severity"), [(False, "warning"), (True, "error")])
def test_what_does_not_exist_is_named_with_what_is_near(publishing, severity, check):
    found = check(TEXT, surroundings=KNOWN, publishing=publishing)

    assert told(found) == [
        (4, "warning", "the secret PAY_TOKN is not defined here", "did you mean 'PAY_TOKEN'?"),
        (5, severity, "no published version of bill fits '^1.2'; the newest is 2.0.0", None),
        (
            5,
            "error",
            "these workflows would start each other without end: start -> bill -> mail -> start",
            None,
        ),
        (6, severity, "there is no published workflow 'bil'", "did you mean 'bill'?"),
        (7, "warning", "there is no agent 'writr' registered here", "did you mean 'writer'?"),
    ]
    assert found.calls == {"bill", "bil", "tell"}


def test_what_nobody_knows_is_not_judged(check):
    assert told(check(TEXT)) == []


@pytest.mark.parametrize(
    ("version", "wanted", "is_fit"),
    [("1.2.3", "", True), ("1.2.3", "1", True), ("1.2.3", "1.2", True), ("1.2.3", "1.3", False), ("1.9.0", "^1.2", True),
     ("1.1.9", "^1.2", False), ("2.0.0", "^1.2", False), ("1.2.9", "~1.2.3", True), ("1.3.0", "~1.2", False), ("1.9.0", "~1", True),
     ("1.2.3", "1.2.3", True), ("1.2.4", "1.2.3", False), ("1.2.4", "^1.2.3", True), ("1.3.0-rc.1", "^1", False), ("1.0.0", "x", False),
     ("1.3.0-rc.1", "", False)],
)  # fmt: skip
def test_ranges_of_versions(version, wanted, is_fit):
    assert fits(SemVer.parse(version), wanted) is is_fit


def test_of_a_workflow_with_only_previews_none_is_started(check):
    known = Surroundings(workflows={"bill": KnownWorkflow((SemVer(1, prerelease="rc.1"),))})
    text = "name: start\nsteps: [{id: b, type: workflow, workflow: bill}]\n"

    [(*_, message, _)] = told(check(text, surroundings=known, publishing=True))

    assert message == "bill has only previews, and none is started; the newest is 1.0.0-rc.1"


@pytest.mark.parametrize(
    ("text", "place", "path"),
    [
        ("name: tea\nsteps: [{id: a, uses: core.noop@1}]", (1, 7), ("name",)),
        (
            MANIFEST,
            (4, 9),
            ("metadata", "name"),
        ),
        ('{"steps": [{"id": "a", "uses": "core.noop@1"}],\n "name": "tea"}', (2, 10), ("name",)),
    ],
    ids=["flat", "manifest", "json"],
)
def test_a_document_of_another_name_is_told_at_its_name(text, place, path, check):
    found = check(text, surroundings=Surroundings(name="coffee"))

    (one,) = found.problems
    assert (one.rule, one.severity.value) == ("name-mismatch", "error")
    assert ((one.line, one.column), one.path) == (place, path)
    assert one.message == "this document is named 'tea', the workflow 'coffee'"
    assert one.hint == "name it 'coffee' here too"
    assert check(text, surroundings=Surroundings(name="tea")).ok


@pytest.mark.parametrize("wanted", ["Tea!", "t" * 9_000], ids=["no name", "too long"])
def test_a_name_that_no_workflow_can_have_is_not_recommended(wanted, check):
    text = "name: tea\nsteps: [{id: a, uses: core.noop@1}]"

    (one,) = check(text, surroundings=Surroundings(name=wanted)).problems

    assert one.hint == "save it as 'tea'"
    assert len(one.message) < 200
