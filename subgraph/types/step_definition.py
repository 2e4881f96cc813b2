"""StepDefinition: one step as a version defines it, read from the compiled plan."""

from typing import Self

import strawberry
from strawberry.scalars import JSON

from runtime.definition import config_hash
from runtime.model import plan as model
from runtime.model.values import Digest, Duration
from subgraph.types.status import Backoff, Effect


@strawberry.type(description="When a failed attempt is repeated, and after how long.")
class RetryPolicy:
    """When a failed attempt is repeated."""

    max_attempts: int = strawberry.field(description="Attempts in all, the first one included.")
    backoff: Backoff = strawberry.field(description="How the delay grows.")
    initial_interval: Duration = strawberry.field(description="Delay before the second attempt.")
    backoff_coefficient: float = strawberry.field(
        description="Factor by which an exponential delay grows with each attempt."
    )
    max_interval: Duration = strawberry.field(description="The longest delay.")
    jitter: float = strawberry.field(
        description="Share of the delay that chance decides: 1 is full jitter, 0 none."
    )
    retryable_errors: list[str] = strawberry.field(
        description="Only these error types are repeated; empty means all that are retryable."
    )
    non_retryable_errors: list[str] = strawberry.field(
        description="Error types that are never repeated."
    )

    @classmethod
    def of(cls, policy: model.RetryPolicy) -> Self:
        """From its record."""
        return cls(
            max_attempts=policy.max_attempts,
            backoff=policy.backoff,
            initial_interval=policy.initial,
            backoff_coefficient=policy.factor,
            max_interval=policy.max,
            jitter=1.0 if policy.jitter is model.Jitter.FULL else 0.0,
            retryable_errors=list(policy.on),
            non_retryable_errors=list(policy.never_on),
        )


def _hash_of(root: "StepDefinition") -> Digest | None:
    """What tells whether the step was changed; computed for who asks."""
    return config_hash(root.step)


@strawberry.type(description="One step as a version defines it.")
class StepDefinition:
    """One step as a version defines it."""

    key: str = strawberry.field(description="The step's id within the document.")
    name: str | None = strawberry.field(description="A name for people.")
    type: str = strawberry.field(
        description="What it is: the connector with its version, or the kind of step."
    )
    depends_on: list[str] = strawberry.field(
        description="Keys of the steps that must end before this one starts."
    )
    condition: str | None = strawberry.field(
        description="The expression that must hold, or the step is skipped."
    )
    config: JSON | None = strawberry.field(description="The `with` block as it was written.")
    config_hash: Digest | None = strawberry.field(
        resolver=_hash_of, description="Digest of the step's definition."
    )
    step: strawberry.Private[model.StepPlan]
    effect: Effect | None = strawberry.field(
        description="The declared effect; null when the connector decides."
    )
    retry_policy: RetryPolicy = strawberry.field(
        description="When a failed attempt is repeated, and after how long."
    )
    timeout: Duration | None = strawberry.field(
        description="The longest that one attempt may take."
    )

    @classmethod
    def of(cls, step: model.StepPlan, plan: model.Plan) -> Self:
        """From the step of a plan."""
        return cls(
            key=step.key,
            name=step.name,
            type=str(step.uses) if step.uses else step.kind.value,
            depends_on=[plan.steps[index].key for index in step.depends_on],
            condition=None if step.when is None else str(step.when),
            config=JSON(step.config) if step.config is not None else None,
            step=step,
            effect=step.effect,
            retry_policy=RetryPolicy.of(step.retry),
            timeout=step.timeout,
        )


def steps_of(plan: model.Plan | None) -> list[StepDefinition]:
    """The steps of a plan in order of the document; none of a draft that has no plan."""
    return [StepDefinition.of(step, plan) for step in plan.steps] if plan else []
