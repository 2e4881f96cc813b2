"""A connector class: it holds something (here a price list) for as long as the process lives."""

import json
from importlib.resources import files

from pydantic import BaseModel, Field

from maestro import Connector, Effect, Permanent, StepContext


class Parcel(BaseModel):
    """What is to be sent."""

    grams: int = Field(ge=1)


class Quote(BaseModel):
    """What that costs."""

    product: str
    cents: int


class Carrier(Connector):
    """Ask the carrier's price list what a parcel costs."""

    name = "warehouse.quote"
    version = "1.0.0"
    effect_class = Effect.PURE

    async def open(self) -> None:
        """Read the price list, once per process."""
        text = files("warehouse").joinpath("tariff.json").read_text(encoding="utf-8")
        self.tariff: dict[str, dict[str, int]] = json.loads(text)

    async def execute(self, context: StepContext, input: Parcel) -> Quote:
        """The cheapest product that carries it."""
        for product, limits in self.tariff.items():
            if input.grams <= limits["up_to_grams"]:
                return Quote(product=product, cents=limits["cents"])
        raise Permanent(f"No product carries {input.grams} g.", type="TooHeavy")
