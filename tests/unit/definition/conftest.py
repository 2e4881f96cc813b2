"""A catalog of the built-in connectors, made once."""

from __future__ import annotations

import pytest

from runtime.connectors.registry import Registry
from runtime.definition import validate


@pytest.fixture(scope="session")
def catalog():
    return Registry.load().catalog()


@pytest.fixture
def check(catalog):
    """Validates a text; gives the Validation."""
    return lambda text, **options: validate(text, options.pop("format", None), catalog, **options)


@pytest.fixture
def rules(check):
    """The rules that a text breaks, in order."""
    return lambda text, **options: [one.rule for one in check(text, **options).problems]
