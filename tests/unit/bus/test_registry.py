"""What is said about handlers that are not as they should be."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from maestro import EventHandler
from runtime import registry as points
from runtime.bus.registry import GROUP, load, registered
from runtime.model.errors import SetupError
from runtime.model.event import DOMAIN_EVENTS, EventKind
from runtime.registry import Found


def _one(**fields):
    async def handle(self, events):
        """Take them."""

    body = {"name": "mine", "events": ("execution_failed",), "handle": handle, **fields}
    return Found(type("Mine", (EventHandler,), body), "mine.board:Mine")


def test_words_become_kinds_and_a_star_means_all_that_begin_so():
    (one,) = registered([_one(events=("step_*", "execution_failed"))])

    wanted = {kind for kind in EventKind if one.kinds & 1 << kind}
    assert wanted == {k for k in EventKind if k.word.startswith("step_")} | {
        EventKind.EXECUTION_FAILED
    }
    assert one.wants("step_started")
    assert not one.wants("execution_started")
    assert not one.wants_domain


@pytest.mark.parametrize("words", [("*",), ("workflow_*",), ("workflow_published",)])
def test_other_nouns_are_meant_by_their_words(words):
    (one,) = registered([_one(events=words)])

    assert one.wants_domain
    assert any(one.wants(word) for word in DOMAIN_EVENTS)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"events": ("execution_faild",)}, "did you mean execution_failed?"),
        ({"events": ("nothing.like.it",)}, "known are"),
        ({"events": ()}, "needs the words of its events"),
        ({"events": "execution_failed"}, "needs the words of its events"),
        ({"name": "My Board"}, "needs a name of small letters"),
        ({"start": "yesterday"}, "may say start"),
        ({"when_stuck": "panic"}, "may say start"),
        ({"handle": lambda self, events: None}, "needs `async def handle"),
        ({"__init__": lambda self, path: None}, "can't be made without arguments"),
    ],
)
def test_a_broken_handler_is_named_with_its_place(fields, words):
    with pytest.raises(SetupError) as refused:
        registered([_one(**fields)])

    assert refused.value.reason == "HANDLER_BROKEN"
    assert "(mine.board:Mine)" in refused.value.message
    assert words in refused.value.message


def test_what_does_not_inherit_is_told_what_it_lacks():
    with pytest.raises(SetupError, match="lacks events, start, when_stuck, timeout_seconds"):
        registered([Found(type("Mine", (), {"name": "mine", "handle": None}), "mine:Mine")])


def test_two_of_one_name_are_refused_with_both_places():
    other = Found(_one().value, "other:Mine")

    with pytest.raises(SetupError, match=r"mine is defined twice: in mine.board:Mine and in other"):
        registered([_one(), other])


def test_a_package_offers_its_handlers_by_entry_point(tmp_path, monkeypatch):
    (tmp_path / "offering.py").write_text(
        "from maestro import EventHandler\n"
        "class Offered(EventHandler):\n"
        "    name = 'offered'\n"
        "    events = ('*',)\n"
        "    async def handle(self, events): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint(name="mine", value="offering", group=GROUP)
    monkeypatch.setattr(points, "entry_points", lambda group: [point])

    by_point, by_both = load(), load(["offering"])

    assert [one.name for one in by_point] == [one.name for one in by_both] == ["offered"]
