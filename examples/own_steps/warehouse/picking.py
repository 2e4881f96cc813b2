"""Picking takes a while and blocks: a synchronous step, which the worker runs in a thread."""

from pydantic import BaseModel, Field

from maestro import Permanent, StepContext, step

WEIGHTS = {"book": 420, "lamp": 1_900, "desk": 31_000}


class Line(BaseModel):
    """So many of one article."""

    sku: str
    quantity: int = Field(ge=1, le=100)


class Order(BaseModel):
    """What to pick."""

    id: str
    lines: list[Line] = Field(min_length=1)
    seconds_per_line: float = 0.05


class Picked(BaseModel):
    """What lies on the trolley."""

    order: str
    articles: int
    grams: int


class UnknownArticle(Permanent):
    """There is no such article: picking again would not find it either."""


@step(name="warehouse.pick", version="1.0.0", effect="idempotent", timeout="5m")
def pick(order: Order, ctx: StepContext) -> Picked:
    """Pick the articles of an order, line by line."""
    grams = 0
    for number, line in enumerate(order.lines, start=1):
        if line.sku not in WEIGHTS:
            raise UnknownArticle(f"There is no article {line.sku!r}.", details={"sku": line.sku})
        if ctx.cancel.wait_for(order.seconds_per_line):  # walking there
            ctx.cancel.raise_if_cancelled()
        grams += WEIGHTS[line.sku] * line.quantity
        ctx.heartbeat({"line": number, "of": len(order.lines)})
    ctx.log.info("Picked.", order=order.id, grams=grams)
    return Picked(order=order.id, articles=sum(one.quantity for one in order.lines), grams=grams)
