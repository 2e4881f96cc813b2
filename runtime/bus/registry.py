"""Which event handlers this process has: those of installed packages and those named explicitly.

Made once by the bootstrap. Whatever is wrong with a handler is said here, at the start, by name and
place: a word that is no event would otherwise be waited for in silence.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from runtime.abi.handler import Handler
from runtime.model.errors import SetupError
from runtime.model.event import DOMAIN_EVENTS, EventKind
from runtime.registry import Found, index, offered, scan

GROUP: Final = "maestro.handlers"
_NAME: Final = re.compile(r"[a-z][a-z0-9._-]{0,99}")
_PARTS: Final = ("name", "events", "start", "when_stuck", "timeout_seconds", "handle", "missed")


@dataclass(frozen=True, slots=True)
class Registered:
    """A handler, and what it wants: bits of EventKind, and words of other nouns."""

    handler: Handler
    kinds: int
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name under which its place is kept."""
        return self.handler.name

    @property
    def wants_domain(self) -> bool:
        """Whether events of other nouns than executions can be meant."""
        return any(_is_meant(word, known) for word in self.words for known in DOMAIN_EVENTS)

    def wants(self, word: str) -> bool:
        """Whether an event of this word is for it."""
        return any(_is_meant(wanted, word) for wanted in self.words)


def load(extra: Sequence[str] = ()) -> tuple[Registered, ...]:
    """The handlers of the entry points and of the packages in `extra`; raises SetupError."""
    found = offered(GROUP, _pick, "event handlers")
    for package in extra:
        found += scan(package, _pick)
    return registered(found)


def registered(found: Iterable[Found[Any]]) -> tuple[Registered, ...]:
    """One object per class, checked; two of one name are refused."""
    by_name = index(_instances(found), lambda one: one.name)
    return tuple(_registered(by_name[name]) for name in sorted(by_name))


def _pick(module: ModuleType) -> Iterator[tuple[str, Any]]:
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module.__name__:
            continue
        if inspect.isclass(value) and not inspect.isabstract(value) and _wants_to_be(value):
            yield name, value


def _wants_to_be(cls: type) -> bool:
    return isinstance(getattr(cls, "name", None), str) and callable(getattr(cls, "handle", None))


def _instances(found: Iterable[Found[Any]]) -> Iterator[Found[Handler]]:
    seen: set[int] = set()
    for item in found:
        if id(item.value) in seen:
            continue
        seen.add(id(item.value))
        one = item.value
        if inspect.isclass(one):
            try:
                one = one()
            except Exception as error:
                raise _broken(item, f"can't be made without arguments: {error}") from error
        missing = [part for part in _PARTS if not hasattr(one, part)]
        if missing:
            raise _broken(item, f"lacks {', '.join(missing)}; inherit from EventHandler")
        yield Found(one, item.place)


def _registered(item: Found[Handler]) -> Registered:
    one = item.value
    if not _NAME.fullmatch(str(one.name)):
        raise _broken(item, "needs a name of small letters, digits, '.', '_' and '-'")
    if not inspect.iscoroutinefunction(one.handle):
        raise _broken(item, "needs `async def handle(self, events)`")
    if isinstance(one.events, str) or not one.events:
        raise _broken(item, "needs the words of its events, like events = ('execution_failed',)")
    if one.start not in {"now", "beginning"} or one.when_stuck not in {"skip", "wait"}:
        raise _broken(item, "may say start = 'now' or 'beginning', when_stuck = 'skip' or 'wait'")
    for word in one.events:
        _refuse_unknown(item, word)
    words = tuple(one.events)
    kinds = sum(1 << k for k in EventKind if any(_is_meant(word, k.word) for word in words))
    return Registered(one, kinds, words)


def _refuse_unknown(item: Found[Handler], word: str) -> None:
    known = sorted({*(kind.word for kind in EventKind), *DOMAIN_EVENTS})
    if any(_is_meant(word, one) for one in known):
        return
    near = difflib.get_close_matches(word.rstrip("*"), known, n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}."
    raise _broken(item, f"wants {word!r}, which is no event{hint}")


def _is_meant(wanted: str, word: str) -> bool:
    return word.startswith(wanted[:-1]) if wanted.endswith("*") else word == wanted


def _broken(item: Found[Any], what: str) -> SetupError:
    name = getattr(item.value, "name", item.place)
    what = what if what.endswith(("?", ".")) else f"{what}."
    return SetupError(f"The event handler {name} ({item.place}) {what}", reason="HANDLER_BROKEN")
