"""Which call fails, and how: decided by query, by script or by seeded luck, never by the clock.

Luck is a hash of seed, endpoint, order and the number of the call, so the same order meets the
same faults under the same seed, whatever else the shop is doing at the time. The nasty faults are
those AFTER the effect: the work is done and committed, and the caller does not learn of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from examples.shop.bodies import RefusalError

ALWAYS = 2**31
MAX_SLOW_MS = 60_000
_HALF = 0.5

Moment = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class FaultPlan:
    """What goes wrong with one call; the empty plan is a call that goes well."""

    fail: int | None = None
    fail_at: Moment = "before"
    reset: Moment | None = None
    retry_after: int | None = None
    slow_ms: int = 0
    slow_at: Moment = "after"
    honour_key: bool = True


@dataclass(frozen=True, slots=True)
class FaultRule:
    """A fault asked for by name: the plan, and how many calls of one key it strikes."""

    plan: FaultPlan
    fail_times: int = 1

    def for_call(self, number: int) -> FaultPlan:
        """The plan for the n-th call (from 1) of a key; slowness has no limit."""
        if number <= self.fail_times:
            return self.plan
        return replace(self.plan, fail=None, reset=None)


@dataclass(frozen=True, slots=True)
class Luck:
    """Shares of calls that fail, are slow, or lose their connection."""

    fail_rate: float = 0.0
    slow_rate: float = 0.0
    slow_ms: int = 400
    reset_rate: float = 0.0
    seed: int = 0
    honour_keys: bool = True

    def for_call(self, endpoint: str, subject: str, number: int) -> FaultPlan:
        """The plan that chance has for the n-th call of one subject at one endpoint."""

        def draw(what: str) -> float:
            text = f"{self.seed}|{what}|{endpoint}|{subject}|{number}"
            return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big") / 2**56

        moment: Moment = "after" if draw("moment") < _HALF else "before"
        plan = FaultPlan()
        if draw("slow") < self.slow_rate:
            plan = replace(plan, slow_ms=self.slow_ms)
        if draw("reset") < self.reset_rate:
            return replace(plan, reset=moment)
        if draw("fail") < self.fail_rate:
            wait = 1 if draw("retry-after") < _HALF else None
            return replace(plan, fail=503, fail_at=moment, retry_after=wait)
        return plan


_NAMES = frozenset(
    {"fail", "fail_at", "fail_times", "reset", "retry_after", "slow_ms", "slow_at", "honour_key"}
)


def rule_from(values: Mapping[str, str]) -> FaultRule | None:
    """The fault a query or a script asks for; None when it names none."""
    if not _NAMES & values.keys():
        return None
    plan = FaultPlan(
        fail=_number(values, "fail", 400, 599) if "fail" in values else None,
        fail_at=_moment(values, "fail_at") or "before",
        reset=_moment(values, "reset"),
        retry_after=_number(values, "retry_after", 0, 3600) if "retry_after" in values else None,
        slow_ms=_number(values, "slow_ms", 0, MAX_SLOW_MS) if "slow_ms" in values else 0,
        slow_at=_moment(values, "slow_at") or "after",
        honour_key=_truth(values, "honour_key"),
    )
    times = values.get("fail_times", "1")
    if times == "always":
        return FaultRule(plan, ALWAYS)
    return FaultRule(plan, _number({"fail_times": times}, "fail_times", 0, ALWAYS))


def script_from(values: Mapping[str, object]) -> FaultRule:
    """A fault sent as a JSON object to `PUT /faults/...`; unknown names are refused."""
    unknown = sorted(set(values) - _NAMES)
    if unknown or not values:
        known = ", ".join(sorted(_NAMES))
        raise _bad(", ".join(unknown) or "body", f"a fault is made of: {known}")
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }
    return rule_from(texts) or FaultRule(FaultPlan())


def _number(values: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = values[name]
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise _bad(name, f"expected a whole number from {low} to {high}")
    return int(text)


def _moment(values: Mapping[str, str], name: str) -> Moment | None:
    match values.get(name):
        case None:
            return None
        case "before":
            return "before"
        case "after":
            return "after"
        case _:
            raise _bad(name, "expected 'before' or 'after' (the effect)")


def _truth(values: Mapping[str, str], name: str) -> bool:
    text = values.get(name, "true")
    if text not in {"true", "false"}:
        raise _bad(name, "expected 'true' or 'false'")
    return text == "true"


def _bad(name: str, message: str) -> RefusalError:
    fields = [{"path": name, "message": message}]
    return RefusalError(422, "INVALID_FAULT", "The fault asked for does not exist.", fields)
