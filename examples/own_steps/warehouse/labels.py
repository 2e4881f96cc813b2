"""An asynchronous step with plain types: it runs in the worker's event loop."""

import hashlib

from maestro import StepContext, step


@step(name="warehouse.label", version="1.0.0", effect="idempotent")
async def label(order: str, grams: int, ctx: StepContext) -> dict[str, str | int]:
    """Make the label of a parcel."""
    # The key is the same with every attempt, so a repeated attempt makes the same label.
    number = hashlib.sha256(ctx.idempotency_key.encode()).hexdigest()[:10].upper()
    return {"number": f"WH-{number}", "order": order, "grams": grams}
