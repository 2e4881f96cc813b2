"""Formatting touches white space and nothing else; converting keeps meaning, comments and digest."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from runtime.definition.layout import format_document
from runtime.definition.source import read_source
from runtime.definition.spelling import Spelling, convert
from runtime.model.errors import Invalid
from runtime.model.workflow import DefinitionFormat

ROOT = Path(__file__).parents[3]
SAMPLES = [
    *sorted((ROOT / "tests/golden/definitions/valid").iterdir()),
    *sorted((ROOT / "examples").glob("*.yaml")),
]
MESSY = """\


# head

# second
name:   x   # why
version : 1.0.0


steps:
- id: a      # first
  uses:  core.set@1
  with: {a:  1,b: "two",   # in flow
     c: 'x' }
  # before timeout
  timeout: 30s{0}

  # trailing of a
- id: b
  depends_on:
  - a # a
  # end of list
  message: |
    text # no comment
      more

  keep: |2
      two
  folded: >-
    folded
    text
  plain: several
   lines
  code: 007
  quoted: "a\\tb
    c"
  none: ~
  void:
  list: [ 1,2 , 3 ]
  deep:
  -   - 1
      - k:   v
        w: x
  anchor:   &x  {a: 1}
  alias: *x
# tail
""".replace("{0}", "   ")
NEAT = """\
# head

# second
name: x   # why
version: 1.0.0

steps:
  - id: a      # first
    uses: core.set@1
    with: {a: 1, b: "two",   # in flow
       c: 'x'}
    # before timeout
    timeout: 30s

    # trailing of a
  - id: b
    depends_on:
      - a # a
    # end of list
    message: |
      text # no comment
        more

    keep: |2
        two
    folded: >-
      folded
      text
    plain: several
      lines
    code: 007
    quoted: "a\\tb
      c"
    none: ~
    void:
    list: [1, 2, 3]
    deep:
      - - 1
        - k: v
          w: x
    anchor: &x {a: 1}
    alias: *x
# tail
"""


def test_a_messy_document_becomes_neat():
    assert format_document(read_source(MESSY)) == NEAT
    assert format_document(read_source(NEAT)) == NEAT


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_samples_are_as_they_should_be_and_convert_there_and_back(path, check):
    source = read_source(path.read_bytes())
    if source.format is DefinitionFormat.YAML:
        assert format_document(source) == source.text
    digest = check(source.text).digest

    manifest = convert(source, Spelling.MANIFEST)
    flat = convert(read_source(manifest), Spelling.FLAT)

    assert {check(manifest).digest, check(flat).digest} == {digest}
    assert convert(read_source(flat), Spelling.MANIFEST) == manifest
    assert sorted(notes(manifest)) == sorted(notes(source.text)) == sorted(notes(flat))


def notes(text):
    return re.findall(r"(?m)(?:^|\\s)#[^\"'\\n]*$", text)


def test_comments_move_with_what_they_stand_at():
    text = """\
# all
params: {a: &x {b: c}}
# about
name: x # beside
steps: # the work
- {id: a, uses: core.set@1, with: *x, depends_on: []}
# end
"""

    manifest = convert(read_source(text), Spelling.MANIFEST)

    assert (
        manifest
        == """\
# all
apiVersion: composer/v1
kind: Workflow
metadata:
  # about
  name: x # beside
spec:
  params: {a: &x {b: c}}
  tasks: # the work
    - {id: a, uses: core.set@1, with: *x, dependsOn: []}
  # end
"""
    )
    assert (
        convert(read_source(manifest), Spelling.FLAT)
        == """\
# all
# about
name: x # beside
params: {a: &x {b: c}}
steps: # the work
  - {id: a, uses: core.set@1, with: *x, depends_on: []}
# end
"""
    )


@pytest.mark.parametrize(
    "text",
    ["{name: x, # one\n tasks: [{id: a, uses: core.noop@1, depends_on: []}]} # two",
     "steps: [{id: a, uses: core.set@1, with: &x {k: v}}] # one\nname: x\nlabels: *x # two",
     "name: x # one\nsteps: [{id: a, uses: core.noop@1, name: 'yes'}] # two"],
)  # fmt: skip
def test_what_can_not_be_moved_is_written_anew_below_its_comments(text, check):
    manifest = convert(read_source(text, DefinitionFormat.YAML), Spelling.MANIFEST)

    assert check(manifest).digest == check(text, format=DefinitionFormat.YAML).digest
    assert "# one" in manifest
    assert "# two" in manifest


def test_json_is_written_with_two_spaces_and_stays_json():
    source = read_source(
        '{"name":"x","steps":[{"id":"a","uses":"core.noop@1","depends_on":[],"timeout":"1s"}]}'
    )

    assert format_document(source).startswith('{\n  "name": "x",\n  "steps": [\n')
    assert json.loads(convert(source, Spelling.MANIFEST))["spec"]["tasks"][0]["dependsOn"] == []


def test_only_documents_of_the_right_form_are_converted():
    with pytest.raises(Invalid) as caught:
        convert(
            read_source("name: x\nstep: []\nsteps: [{id: a, timeout: soon}]"), Spelling.MANIFEST
        )

    assert [(one.rule, one.line) for one in caught.value.problems][:2] == [
        ("unknown-key", 2),
        ("bad-duration", 3),
    ]
