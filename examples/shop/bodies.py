"""What each endpoint of the shop accepts, and how a refusal reads.

The pydantic models are the border: whatever passes them is safe to store. A refusal names every
bad field in one answer, because a caller who fixes faults one by one is a caller who gives up.
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_BODY_BYTES = 1_000_000

B = TypeVar("B", bound=BaseModel)

Name = Annotated[str, Field(min_length=1, max_length=200)]
Amount = Annotated[Decimal, Field(gt=0, max_digits=12, decimal_places=2)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Line(_Body):
    """One article of an order."""

    sku: Name
    quantity: Annotated[int, Field(ge=1, le=1000, strict=True)] = 1


class ReservationBody(_Body):
    """Body of `POST /stock/reservations`."""

    order: Name
    lines: Annotated[list[Line], Field(min_length=1, max_length=100)]


class ChargeBody(_Body):
    """Body of `POST /payments/charges`."""

    order: Name
    amount: Amount
    currency: Annotated[str, Field(pattern="^[A-Z]{3}$")] = "EUR"


class RefundBody(_Body):
    """Body of `POST /payments/refunds`; without an amount the whole charge goes back."""

    charge: Name
    amount: Amount | None = None


class LabelBody(_Body):
    """Body of `POST /shipping/labels`."""

    order: Name
    reservation: Name | None = None
    carrier: Name = "parcel"


class NotificationBody(_Body):
    """Body of `POST /notifications`."""

    order: Name
    to: Name
    subject: Name
    text: Annotated[str, Field(max_length=10_000)] = ""


class RefusalError(Exception):
    """The shop says no, with a status, a stable code and one sentence."""

    def __init__(
        self, status: int, code: str, message: str, fields: list[dict[str, str]] | None = None
    ) -> None:
        """Keep what the answer needs."""
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields or []

    def as_json(self) -> dict[str, Any]:
        """The body of the answer."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.fields:
            error["fields"] = self.fields
        return {"error": error}


def parse_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in a request's body, or a refusal."""
    if len(raw) > MAX_BODY_BYTES:
        raise RefusalError(413, "BODY_TOO_LARGE", f"The body exceeds {MAX_BODY_BYTES} bytes.")
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise RefusalError(422, "INVALID_JSON", f"The body is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise RefusalError(422, "INVALID_BODY", "The body must be a JSON object.")
    return value


def validated(model: type[B], value: dict[str, Any]) -> B:
    """The body as its model, or one refusal that names every bad field."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        fields = [
            {"path": ".".join(str(part) for part in item["loc"]), "message": item["msg"]}
            for item in error.errors()
        ]
        raise RefusalError(422, "INVALID_BODY", "The body does not fit.", fields) from error


def fingerprint(value: dict[str, Any]) -> str:
    """A digest that is equal for equal JSON, whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
