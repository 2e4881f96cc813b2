"""What the author of a step, connector or event handler imports: decorator, base classes, errors."""

from __future__ import annotations

from maestro.connector import Connector as Connector
from maestro.errors import Permanent as Permanent
from maestro.errors import Retryable as Retryable
from maestro.function import Step as Step
from maestro.function import step as step
from maestro.handler import EventHandler as EventHandler
from maestro.session import http_session as http_session
from runtime.abi.connector import NotMade as NotMade
from runtime.abi.connector import StepContext as StepContext
from runtime.abi.connector import Unknown as Unknown
from runtime.abi.fields import DurationField as DurationField
from runtime.abi.handler import Event as Event
from runtime.abi.handler import TryLater as TryLater
from runtime.model.errors import StepErrorKind as StepErrorKind
from runtime.model.errors import StepFailed as StepFailed
from runtime.model.plan import Effect as Effect
from runtime.model.values import Money as Money
