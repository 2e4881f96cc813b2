"""The dominator tree says the same as trying each step out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runtime.definition.dominators import Dominators


@st.composite
def graphs(draw: st.DrawFn) -> list[list[int]]:
    """For each step those before it that it waits for; long chains are likely."""
    needs: list[list[int]] = []
    for step in range(draw(st.integers(1, 24))):
        near = st.integers(max(0, step - 3), step - 1) if step else st.nothing()
        far = st.integers(0, step - 1) if step else st.nothing()
        needs.append(sorted(draw(st.sets(near | far, max_size=3))) if step else [])
    return needs


def reached_without(needs: list[list[int]], gone: int, to: int) -> bool:
    """Whether a way leads from a step that waits for nothing to this one, past another."""
    if to == gone:
        return False
    return not needs[to] or any(reached_without(needs, gone, need) for need in needs[to])


@given(graphs())
def test_every_way_leads_through_what_dominates(needs: list[list[int]]):
    tree = Dominators(range(len(needs)), needs)

    for to in range(len(needs)):
        for through in range(len(needs)):
            if through != to:
                expected = not reached_without(needs, through, to)
                assert tree.leads_through(through, to) is expected, (through, to)
        assert not tree.leads_through(to, to)
