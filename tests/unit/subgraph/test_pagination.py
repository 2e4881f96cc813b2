"""Pages: what arguments ask for, and which of them contradict each other."""

from __future__ import annotations

import pytest

from runtime.model.errors import BadInput
from runtime.model.page import Page, PageRequest
from subgraph.types.pagination import PageInfo, page_request, position, size_of


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ((None, None), PageRequest(20)),
        ((5, "c"), PageRequest(5, "c")),
        ((20, None, 3, "c"), PageRequest(3, "c", backward=True)),
        ((100, None), PageRequest(100)),
    ],
)
def test_arguments_become_a_page_request(
    arguments: tuple[object, ...], wanted: PageRequest
) -> None:
    assert page_request(*arguments) == wanted  # type: ignore[arg-type] # parametrized


@pytest.mark.parametrize(
    "arguments",
    [(0, None), (-1, None), (101, None), (20, None, 101), (20, "c", 3), (20, None, None, "c")],
)
def test_contradicting_arguments_are_refused(arguments: tuple[object, ...]) -> None:
    with pytest.raises(BadInput):
        page_request(*arguments)  # type: ignore[arg-type] # parametrized


def test_a_list_of_rows_has_its_own_most() -> None:
    assert size_of("first", 1000, most=1000) == 1000
    assert size_of("first", None, default=200, most=1000) == 200
    with pytest.raises(BadInput, match="1000"):
        size_of("first", 1001, most=1000)


@pytest.mark.parametrize(
    ("cursor", "place"), [(None, 0), ("0", 0), ("17", 17), ("999999999", 999999999)]
)
def test_a_cursor_is_a_place(cursor: str | None, place: int) -> None:
    assert position(cursor) == place


@pytest.mark.parametrize("cursor", ["", "-1", "x", "1.5", "1234567890", "\uff11"])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(BadInput):
        position(cursor)


def test_page_info_of_an_empty_page_has_no_cursors() -> None:
    assert PageInfo.of(Page((), ())) == PageInfo(
        has_next_page=False, has_previous_page=False, start_cursor=None, end_cursor=None
    )


def test_page_info_names_the_ends_of_a_page() -> None:
    info = PageInfo.of(Page((1, 2, 3), ("a", "b", "c"), has_next=True, has_previous=True))

    assert (info.start_cursor, info.end_cursor) == ("a", "c")
    assert info.has_next_page
    assert info.has_previous_page
