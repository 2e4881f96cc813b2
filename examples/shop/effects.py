"""What the shop does: one function per POST endpoint, from a valid body to a change in the books.

Each returns an `Effect`, which the ledger runs inside the transaction that also stores the answer.
A refusal raised in an effect rolls everything back and stores nothing, so it may succeed later.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from examples.shop.bodies import (
    ChargeBody,
    LabelBody,
    NotificationBody,
    RefundBody,
    RefusalError,
    ReservationBody,
    validated,
)
from examples.shop.ledger import Answer, Effect, Ledger, Outcome


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A POST endpoint: its path, the kind of record it makes, and how."""

    path: str
    kind: str
    effect: Callable[[dict[str, Any]], Effect]


def reserve(value: dict[str, Any]) -> Effect:
    """Set the articles of an order aside."""
    body = validated(ReservationBody, value)
    lines = [line.model_dump() for line in body.lines]
    units = sum(line.quantity for line in body.lines)
    return _adding("reservation", body.order, "reserved", {"lines": lines, "units": units})


def charge(value: dict[str, Any]) -> Effect:
    """Take the money."""
    body = validated(ChargeBody, value)
    facts = {"amount": float(body.amount), "currency": body.currency}
    return _adding("charge", body.order, "charged", facts)


def refund(value: dict[str, Any]) -> Effect:
    """Give money back, never more than was taken."""
    body = validated(RefundBody, value)

    def effect(ledger: Ledger) -> Outcome:
        taken = ledger.get("charge", body.charge)
        back = [r for r in ledger.find_all("refund", taken["order"]) if r["charge"] == body.charge]
        left = Decimal(str(taken["amount"])) - sum(Decimal(str(r["amount"])) for r in back)
        amount = left if body.amount is None else body.amount
        if amount <= 0 or amount > left:
            raise RefusalError(
                409, "NOTHING_LEFT", f"Of {body.charge} only {left} can still be refunded."
            )
        facts = {"charge": body.charge, "amount": float(amount), "currency": taken["currency"]}
        return Outcome(
            Answer(201, ledger.add("refund", taken["order"], "refunded", facts)), taken["order"]
        )

    return effect


def label(value: dict[str, Any]) -> Effect:
    """Print a shipping label with a tracking number."""
    body = validated(LabelBody, value)

    def effect(ledger: Ledger) -> Outcome:
        if body.reservation is not None:
            ledger.get("reservation", body.reservation)
        number = len(ledger.find_all("label")) + 1
        facts = {"carrier": body.carrier, "tracking": f"TRK{number:010d}"}
        return Outcome(Answer(201, ledger.add("label", body.order, "printed", facts)), body.order)

    return effect


def notify(value: dict[str, Any]) -> Effect:
    """Send a message to the customer."""
    body = validated(NotificationBody, value)
    facts = {"to": body.to, "subject": body.subject, "text": body.text}
    return _adding("notification", body.order, "sent", facts)


def release(reservation_id: str) -> Effect:
    """Put reserved articles back; a second time changes nothing and says the same."""

    def effect(ledger: Ledger) -> Outcome:
        record = ledger.get("reservation", reservation_id)
        if record["status"] == "released":
            return Outcome(Answer(200, record), record["order"], changed=False)
        record = ledger.set_status("reservation", reservation_id, "released")
        return Outcome(Answer(200, record), record["order"])

    return effect


ENDPOINTS = (
    Endpoint("stock/reservations", "reservation", reserve),
    Endpoint("payments/charges", "charge", charge),
    Endpoint("payments/refunds", "refund", refund),
    Endpoint("shipping/labels", "label", label),
    Endpoint("notifications", "notification", notify),
)
RELEASE = "stock/reservations/release"


def _adding(kind: str, order: str, status: str, facts: dict[str, Any]) -> Effect:
    def effect(ledger: Ledger) -> Outcome:
        return Outcome(Answer(201, ledger.add(kind, order, status, facts)), order)

    return effect
