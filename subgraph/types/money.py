"""Money: an amount of one currency."""

from decimal import Decimal
from typing import Self

import strawberry

from runtime.model import values


@strawberry.type(description="An amount of one currency.")
class Money:
    """An amount of one currency."""

    amount: Decimal = strawberry.field(description="How much, exact to a millionth.")
    currency: str = strawberry.field(description="Three capital letters of ISO 4217, e.g. EUR.")

    @classmethod
    def of(cls, money: values.Money) -> Self:
        """From its value."""
        return cls(amount=money.amount, currency=money.currency)
