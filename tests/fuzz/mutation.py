"""Makes documents out of others: cut, doubled, swapped, spliced, with signs and words put in between."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
_BLOCK: Final = re.compile(r"^```\w+ workflow.*?\n(.*?)^```", re.MULTILINE | re.DOTALL)
WORDS: Final = (
    "{", "}", "[", "]", ":", ": ", ",", "- ", "&a ", "*a", "!", "!!str ", "|\n", ">-\n", "'", '"', "#", "%", "@", "`", "\t", "\n",
    "  ", "\x00", "\ufeff", "\ud800", "\u2028", "{{ ", " }}", "${", "{%", "steps.", "params.", "secrets.X", " | default(1)",
    " | join", "range(9**9)", "'a' * 10**9", "null", "true", "~", "1e999", "-0", "0x1F", "99999999999999999999", "---\n", "...\n",
    "? ", "<<: ", "depends_on: ", "steps:\n", "type: map\n", "for_each: ", "retry: {max_attempts: 0}\n", "timeout: 5 parsecs\n",
    "params: {a: {pattern: '(a+)+$'}}\n", "$ref: '#'\n", "apiVersion: composer/v1\n", "spec:\n", "cron: '* * * * *'\n", "on_error: {goto: a}\n",
)  # fmt: skip


def corpus() -> list[str]:
    """Everything that people wrote: fixtures, examples, the blocks of the manual."""
    files = [*(ROOT / "tests/golden/definitions").rglob("*.*"), *(ROOT / "examples").glob("*.yaml")]
    texts = [one.read_text("utf-8") for one in files if one.suffix in {".yaml", ".json"}]
    for page in sorted((ROOT / "docs/language").glob("*.md")):
        texts += _BLOCK.findall(page.read_text("utf-8"))
    return sorted(text for text in texts if len(text) < 20_000)


def mutated(texts: list[str], chance: random.Random) -> str:
    """One of the texts, changed a few times."""
    text = chance.choice(texts)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 5, 9))):
        start = chance.randint(0, len(text))
        end = min(len(text), start + chance.choice((0, 1, 2, 5, 20, 200)))
        match chance.randint(0, 5):
            case 0:
                text = text[:start] + text[end:]
            case 1:
                text = text[:start] + chance.choice(WORDS) + text[start:]
            case 2:
                text = text[:start] + chance.choice(WORDS) + text[end:]
            case 3:
                text = text[:end] + text[start:end] * chance.choice((1, 2, 50)) + text[end:]
            case 4:
                lines = text.split("\n")
                chance.shuffle(lines) if len(lines) < 12 else lines.reverse()
                text = "\n".join(lines)
            case _:
                other = chance.choice(texts)
                cut = chance.randint(0, len(other))
                text = text[:start] + other[cut : cut + 300] + text[end:]
    return text[:60_000]
