"""What a wait step may say: one thing to wait for, and nothing that contradicts it."""

from __future__ import annotations

from typing import Final

from runtime.definition.document import Document, Step
from runtime.definition.finding import Findings
from runtime.definition.shape import parse_duration
from runtime.expression import has_expression
from runtime.model.values import parse_instant

ENDS: Final = ("signal", "for", "until")


def check_wait(document: Document, step: Step, findings: Findings) -> None:
    """One of signal, for and until; a timeout only for a signal, a default only for a timeout."""
    given = [key for key in ENDS if key in step.value]
    if not given and not _says(step):
        findings.error("missing-key", "a wait step needs signal, for or until", step.path)
    for other in given[1:]:
        findings.error("wait", f"{given[0]} and {other} can't stand together", step.place(other))
    if given and "signal" not in given and "timeout" in step.value:
        findings.error(
            "wait",
            f"a timeout belongs to a signal; {given[0]} ends by itself",
            step.place("timeout"),
        )
    if "default" in step.value and not {"signal", "timeout"} <= step.value.keys():
        findings.error(
            "wait", "a default is the output after a signal's timeout: it needs both",
            step.place("default"), hint="write signal and timeout beside it",
        )  # fmt: skip
    _check_signal(step, findings)
    _check_moment(document, step, findings)


def _says(step: Step) -> bool:
    """Whether something is written for it to wait for; what can't be read is told of already."""
    inside = step.raw.get("with")
    return any(key in step.raw or (isinstance(inside, dict) and key in inside) for key in ENDS)


def _check_signal(step: Step, findings: Findings) -> None:
    """A name that somebody can send, as it stands there."""
    signal = step.value.get("signal")
    if signal == "":
        findings.error(
            "wait", "a signal's name is 1 to 200 characters, so nobody can send this one",
            step.place("signal"),
        )  # fmt: skip
    elif isinstance(signal, str) and has_expression(signal):
        findings.error(
            "wait", "the name of a signal is taken as it is written, and no expression in it is evaluated",
            step.place("signal"), hint="write a name: a signal is sent to one execution, so names need not differ",
        )  # fmt: skip


def _check_moment(document: Document, step: Step, findings: Findings) -> None:
    until, length = step.value.get("until"), step.value.get("for")
    if isinstance(until, str) and not has_expression(until):
        try:
            parse_instant(until)
        except ValueError as error:
            findings.error("wait", str(error), step.place("until"))
    whole = document.value.get("timeout")
    if isinstance(length, str) and isinstance(whole, str):
        longest, own = parse_duration(whole), parse_duration(length)
        if longest and own and own >= longest:
            findings.warning(
                "timeout-contradiction",
                f"this step waits longer ({length}) than the whole execution may take ({whole})",
                step.place("for"),
            )
