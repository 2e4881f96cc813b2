"""What is known of the types of expressions reaches the judge of a connector's input."""

from __future__ import annotations

import pytest

HEAD = """
name: x
params:
  text: string
  count: integer
  maybe: {type: [string, "null"], default: null}
  choice: {enum: [1, 2], default: 1}
  list: {type: array, items: {type: object, properties: {url: {type: string}, size: {type: integer}}}}
  any: {}
steps:
  - {id: rest, uses: core.sleep@1, with: {duration: 1s}}
  - {id: ask, type: human_task, form: {type: object, properties: {note: {type: string}, page: {type: integer}}}}
"""


def call(field, value):
    return HEAD + (
        f'  - {{id: s, uses: http.request@1, depends_on: [rest, ask], with: {{url: "http://x", {field}: "{value}"}}}}\n'
    )


@pytest.mark.parametrize(
    "value",
    ["{{ params.text }}", "{{ params.count }}x", "{{ params.any }}", "{{ params.maybe }}", "{{ params.count | string }}",
     "{{ params.any.deep }}", "{{ steps.ask.output.response.note }}", "{{ steps.rest.status }}", "{{ execution.id }}",
     "{{ params.text or 5 }}", "{{ params.text if params.any else 5 }}", "{{ 'a' ~ 1 }}", "{{ params.count | default('a') }}",
     "{{ params.list[0].url }}", "{{ secrets.X }}", "{{ params.text | replace('a', 'b') }}", "{{ steps.ask.output.by }}"],
)  # fmt: skip
def test_what_may_be_text_is_taken_for_text(value, check):
    assert "connector-input" not in [
        one.rule for one in check(call("url", value).replace('url: "http://x", ', "")).problems
    ]


@pytest.mark.parametrize(
    ("value", "kinds"),
    [("{{ params.count }}", "integer"), ("{{ params.list }}", "array"), ("{{ params.list | length }}", "integer"),
     ("{{ [1] }}", "array"), ("{{ {'a': 1} }}", "object"), ("{{ 1 == 1 }}", "boolean"), ("{{ not params.any }}", "boolean"),
     ("{{ params.text is defined }}", "boolean"), ("{{ 1.5 }}", "integer or number"), ("{{ params.choice }}", "integer"),
     ("{{ steps.rest.output.seconds }}", "number"), ("{{ steps.rest.output }}", "null or object"), ("{{ range(3) }}", "array"),
     ("{{ steps.ask.output.response.page }}", "integer"), ("{{ params.text | split(',') }}", "array"),
     ("{{ params.list[0].size }}", "integer"), ("{{ trigger.payload.count }}", "integer"),
     ("{{ 1 if params.any else [1] }}", "array or integer"), ("{{ params.text | length | float }}", "integer or number")],
)  # fmt: skip
def test_what_can_never_be_text_is_refused_where_text_is_needed(value, kinds, check):
    text = call("url", value).replace('url: "http://x", ', "")

    found = [one for one in check(text).problems if one.rule == "connector-input"]

    assert [one.message for one in found] == [
        f"http.request: string is expected here, and this will be {kinds}"
    ]
    assert found[0].path == ("steps", "2", "with", "url")


def test_the_item_of_a_map_has_the_type_of_the_elements(check):
    text = (
        HEAD
        + "  - {id: m, type: map, for_each: '{{ params.list }}', task: {uses: core.sleep@1, with: {duration: '{{ item }}', more: '{{ index }}'}}}\n"
    )

    messages = [one.message for one in check(text).problems if one.rule == "connector-input"]

    assert any("this will be object" in one for one in messages)
