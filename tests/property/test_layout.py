"""Any YAML that we read can be formatted: the same values, the same words, and once is enough."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runtime.definition.layout import LayoutRefused, format_document, lay_out, same
from runtime.definition.source import read_source
from runtime.model.workflow import DefinitionFormat

LEAVES = st.sampled_from(
    ["a", "'b c'", '"d\\te"', "007", "1.50", "~", "", "true", "|\n{0}x\n{0}  y\n\n", ">-\n{0}x\n{0}y", "[1,  2 ]", "{{a: 1,b: c }}",
     "[a, # n\n{0}b]", "&x 1", "more than\n{0}one", "'q\n\n{0}r'", "|+\n{0}k\n\n"]
)  # fmt: skip
NOTES = st.sampled_from(["", "", "", "  # note", " #n"])


@st.composite
def block(draw: Any, column: int = 0, depth: int = 0) -> list[str]:
    """Lines of a block mapping or list, indented by chance."""
    is_list = draw(st.booleans()) if depth else False
    out = []
    for index in range(draw(st.integers(1, 3))):
        head = "-" if is_list else f"k{index}:"
        if draw(st.booleans()):
            note_at = draw(st.integers(0, column + 3))
            out += draw(st.sampled_from([[], [""], ["", ""], [" " * note_at + "# c"]]))
        if depth < 3 and draw(st.booleans()):
            inner = column + draw(st.integers(1, 4))
            out += [" " * column + head + draw(NOTES), *draw(block(inner, depth + 1))]
            continue
        leaf = draw(LEAVES).format(" " * (column + draw(st.integers(1, 3))))
        gap = " " * draw(st.integers(1, 3))
        note = draw(NOTES) if "\n" not in leaf else ""
        out += (" " * column + head + gap + leaf + note).split("\n")
    return out


@settings(max_examples=300, deadline=None)
@given(block())
def test_formatting_changes_white_space_alone(lines):
    text = "\n".join(lines) + "\n"
    source = read_source(text, DefinitionFormat.YAML)
    assume(source.is_read)

    once = format_document(source)

    assert re.sub(r"\s", "", once) == re.sub(r"\s", "", text)
    assert same(read_source(once, DefinitionFormat.YAML).value, source.value)
    assert lay_out(once) == once


@settings(max_examples=300, deadline=None)
@given(st.text("{}[]:,-&*!|>'\"%@` \n\tab0~#?$.", max_size=60))
def test_no_punctuation_makes_the_layout_fail(text):
    source = read_source(text, DefinitionFormat.YAML)
    if not source.is_read:
        return

    try:
        once = format_document(source)
    except LayoutRefused:
        return

    assert same(read_source(once, DefinitionFormat.YAML).value, source.value)
