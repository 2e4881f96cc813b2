"""Documents by their SHA-256: automatic persisted queries, and trusted documents.

Automatic persisted queries (Apollo's protocol, version 1): a client sends the digest alone; when it is not known it is
told so and sends the document with it, once per process. Only documents that may run are remembered, up to a bound.

Trusted documents: the manifest of the product's own operations (`trusted_documents.json`, made of what `mc` and
GraphiQL's ready tabs send) and those that operators name. `log` reports what stands in none of them, `only` refuses it.
"""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from graphql import GraphQLError, parse, print_ast

from runtime.model.errors import BadInput, Denied, MaestroError, SetupError
from runtime.telemetry.log import get_logger

PRODUCT: Final = Path(__file__).with_name("trusted_documents.json")
FORMAT: Final = "apollo-persisted-query-manifest"
_MOST_CHARACTERS: Final = 4_194_304
# What a digest and its place take beside the text.
_CHARACTERS_OF_A_DIGEST: Final = 256
_MOST_REPORTED: Final = 1_000

_log = get_logger("graphql")


class PersistedQueryNotFound(MaestroError):
    """PersistedQueryNotFound"""  # noqa: D400 - the exact words that Apollo's clients look for

    code = "PERSISTED_QUERY_NOT_FOUND"


class PersistedDocuments:
    """Finds a document's text, and says which documents may run."""

    def __init__(self, mode: str = "off", manifests: Iterable[Path] = ()) -> None:
        self._mode = mode
        self._trusted = {} if mode == "off" else read_manifests((PRODUCT, *manifests))
        self._known: OrderedDict[str, str] = OrderedDict()
        self._characters = 0
        self._reported: set[str] = set()

    def text_of(self, text: str | None, sha256: str | None) -> str:
        """The document that a request means.

        Raises PersistedQueryNotFound for a digest that nobody has sent yet, BadInput for one that is
        not the document's, Denied for a document that is not trusted where only trusted ones may run.
        """
        if text is None:
            text = self._trusted.get(sha256 or "") or self._known.get(sha256 or "")
            if text is None:
                raise PersistedQueryNotFound
        elif sha256 is not None and digest_of(text) != sha256:
            raise BadInput(
                "`persistedQuery.sha256Hash` is not the SHA-256 of `query`.",
                reason="PERSISTED_QUERY_HASH",
            )
        if self._mode != "off":
            self._check(text)
        return text

    def remember(self, text: str, sha256: str | None) -> None:
        """Keep a document that may run, for those who send its digest from now on."""
        if sha256 is None or sha256 in self._trusted:
            return
        if sha256 in self._known:
            self._known.move_to_end(sha256)
            return
        self._known[sha256] = text
        self._characters += _CHARACTERS_OF_A_DIGEST + len(text)
        while self._characters > _MOST_CHARACTERS:
            _, forgotten = self._known.popitem(last=False)
            self._characters -= _CHARACTERS_OF_A_DIGEST + len(forgotten)

    def _check(self, text: str) -> None:
        sha256 = digest_of(text)
        if sha256 in self._trusted:
            return
        if self._mode == "only":
            raise Denied(
                "Only trusted documents may run here, and this one is in no manifest: see "
                "MC_TRUSTED_DOCUMENTS_FILES.",
                reason="DOCUMENT_NOT_TRUSTED",
            )
        if sha256 not in self._reported and len(self._reported) < _MOST_REPORTED:
            self._reported.add(sha256)
            _log.warning("graphql.untrusted_document", sha256=sha256)


def digest_of(text: str) -> str:
    """The SHA-256 of a document, as hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def read_manifests(paths: Iterable[Path]) -> dict[str, str]:
    """Every document of these manifests by its digest; raises SetupError for a file that is none.

    Each counts as written and as the reference implementations print it, since many clients send it so.
    """
    found: dict[str, str] = {}
    for path in paths:
        try:
            manifest = json.loads(path.read_text("utf-8"))
            bodies = [operation["body"] for operation in manifest["operations"]]
            if manifest["format"] != FORMAT:
                raise KeyError(FORMAT)
            for body in bodies:
                for text in (body, print_ast(parse(body))):
                    found[digest_of(text)] = text
        except (OSError, ValueError, KeyError, TypeError, GraphQLError) as error:
            raise SetupError(
                f"{path} is no manifest of trusted documents ({FORMAT}, version 1): {error}.",
                reason="BAD_MANIFEST",
            ) from error
    return found


def manifest_of(texts: Iterable[str]) -> str:
    """The manifest of these documents, as JSON text: the operations in the order of their names."""
    operations = []
    for text in texts:
        definition = parse(text).definitions[0]
        operations.append(
            {
                "id": digest_of(text),
                "name": definition.name.value,  # type: ignore[attr-defined]
                "type": definition.operation.value,  # type: ignore[attr-defined]
                "body": text,
            }
        )
    operations.sort(key=lambda each: each["name"])
    return json.dumps({"format": FORMAT, "version": 1, "operations": operations}, indent=1) + "\n"
