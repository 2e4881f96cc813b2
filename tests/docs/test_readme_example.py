"""The workflow that the README begins with: it validates, without a word of complaint."""

from __future__ import annotations

import re
from pathlib import Path

from runtime.connectors.registry import Registry
from runtime.definition import validate

README = Path(__file__).parents[2] / "README.md"


def test_every_workflow_of_the_readme_validates_without_findings():
    blocks = re.findall(r"```yaml\n(name:.*?)```", README.read_text(), re.DOTALL)
    catalog = Registry.load().catalog()

    assert [validate(block, None, catalog).problems for block in blocks] == [()]
