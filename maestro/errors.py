"""How a step says that it failed, and whether trying again makes sense.

Subclass them to name an error of your own: the class's name is the error's type, which `retry.on`
and `retry.never_on` of a workflow refer to.
"""

from __future__ import annotations

from runtime.model.errors import StepErrorKind, StepFailed


class Retryable(StepFailed):
    """It may succeed when it is tried again; with `retry_after` (seconds) not before that."""

    def __init__(
        self,
        message: str | None = None,
        *,
        type: str | None = None,
        retry_after: float | None = None,
        details: object = None,
    ) -> None:
        throttled = retry_after is not None
        super().__init__(
            message,
            kind=StepErrorKind.THROTTLED if throttled else StepErrorKind.TRANSIENT,
            type=type or self.__class__.__name__,
            retry_after=retry_after,
            details=details,
        )


class Permanent(StepFailed):
    """Trying again would not help; the step fails at once, whatever its retry policy allows."""

    def __init__(
        self, message: str | None = None, *, type: str | None = None, details: object = None
    ) -> None:
        super().__init__(
            message,
            kind=StepErrorKind.PERMANENT,
            type=type or self.__class__.__name__,
            details=details,
        )
