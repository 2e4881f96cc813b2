"""Steps of a user's own package, for journeys: they log, quote what they were given, give much, wait for a file."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from maestro import Permanent, StepContext, step


class Words(BaseModel):
    """What to talk about."""

    text: str
    fail: bool = False


class Line(BaseModel):
    """Something to say, and the file to wait for afterwards."""

    lines: list[str]
    gate: str | None = None
    price: str | None = None


class Size(BaseModel):
    """How much to give."""

    bytes: int


class Given(BaseModel):
    """Something."""

    text: str


@step(name="talk.quote", version="1.0.0", effect="pure")
def quote(words: Words, ctx: StepContext) -> Given:
    """Log what was given, then give it back or fail with it."""
    heard = f"heard {words.text}"
    ctx.log.info(heard, text=words.text, nested={"list": [words.text]})
    if words.fail:
        raise Permanent(f"refused: {words.text}", details={"text": words.text})
    return Given(text=f"said {words.text}")


@step(name="talk.lines", version="1.0.0", effect="pure")
def lines(line: Line, ctx: StepContext) -> Given:
    """Log line by line; then wait until a file is there."""
    for number, text in enumerate(line.lines, start=1):
        ctx.log.info(text, number=number)
        if line.price is not None:
            ctx.charge(line.price)
    while line.gate and not Path(line.gate).exists():
        if ctx.cancel.wait_for(0.02):
            ctx.cancel.raise_if_cancelled()
    ctx.log.warning("done", count=len(line.lines))
    return Given(text="done")


@step(name="talk.much", version="1.0.0", effect="pure")
def much(size: Size) -> Given:
    """Give so many bytes of output (JSON, all of it)."""
    frame = len('{"text":""}')
    return Given(text="x" * (size.bytes - frame))
