"""What validation recognises without Jinja means the same to Jinja."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from runtime.expression.compile import compile_expression
from runtime.expression.usual import usual_references

WORDS = st.sampled_from(
    ["params.x", "steps['a-b'].output", "a", "a.b[0]", "'t'", '"q"', "1", "2.5", "01", "1.", "true", "none", "None",
     "and", "or", "not", "in", "is", "if", "else", "==", "!=", "<", ">=", "|", "(", ")", ",", "upper", "default", "d",
     "default('x')", "join(', ')", "replace('a','b')", "length", "odd", "jmespath('a')", "int", "int(1)", "default(1) | length", "even", "none", "number", "a.upper()", "+", "-", "~",
     "[1]", "{", "}", ".", "x", "in [1]", "is defined", "is none", "default(1,true)", "a.and", "and.b", "if.x", "a[ 0 ]",
     "a .b", "1e3", "1_0", "'a\\n'", "\N{LEFT DOUBLE QUOTATION MARK}"]
)  # fmt: skip
TEXTS = st.lists(st.tuples(WORDS, st.sampled_from([" ", "", "  "])), min_size=1, max_size=8).map(
    lambda parts: "".join(word + space for word, space in parts).strip()
)


@settings(max_examples=500, deadline=None)
@example("a.b | upper == 'X' and c[0] | default(1) > 3")
@example("a is odd or b is number")
@example("a[0]params.x")
@given(TEXTS)
def test_usual_expressions_read_what_jinja_reads(text):
    known = usual_references(text)
    if known is None:
        return

    compiled = compile_expression(text)

    assert (
        tuple((one.path, one.is_guarded, one.needs_value) for one in compiled.references) == known
    )


def test_the_usual_ones_are_recognised():
    assert usual_references("steps.a.output.x | upper") == (
        (("steps", "a", "output", "x"), False, True),
    )
    assert usual_references("params.a == 'x' and params.b | default('y') != 'z'") == (
        (("params", "a"), False, False),
        (("params", "b"), True, False),
    )
    assert usual_references("[1]") is None
