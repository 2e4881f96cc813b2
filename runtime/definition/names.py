"""References: every name that an expression reads must exist, lie upstream, and be allowed there.

Params are followed into their schema, outputs into the connector's, as far as these say.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.abi.catalog import Catalog
from runtime.definition.certainty import Certainty
from runtime.definition.document import Document, Step
from runtime.definition.finding import Findings, known_here
from runtime.definition.graph import Graph
from runtime.definition.outputs import (
    asks_people,
    decides_alone,
    gives_in_place,
    missing_in_place,
    own_schema,
    resolved,
)
from runtime.definition.template import Use
from runtime.expression import Reference, fact_of, write_path
from runtime.model.plan import StepKind

_EVERYWHERE = ("params", "trigger", "execution", "steps", "tasks", "workload")
_ROOTS = {
    "with": (*_EVERYWHERE, "secrets"),
    "trigger": ("trigger",),
    "start": ("params", "trigger", "execution", "workload"),
}
_PARTS = {
    "trigger": ("payload", "kind"),
    "execution": ("id", "workflow", "version", "namespace", "generation", "created_at"),
    "workload": ("identity",),
}
_OF_STEP = ("output", "status", "error")
_OF_FAILED = (["status"], ["error"])
_OUTPUT = 3  # Keys of `steps.a.output`.
_TIMES = frozenset(("for", "until"))


class NameCheck:
    """The references of one document."""

    def __init__(
        self, document: Document, graph: Graph, catalog: Catalog, findings: Findings
    ) -> None:
        self._document = document
        self._graph = graph
        self._catalog = catalog
        self._findings = findings
        self._certainty = Certainty(graph)
        self._proved = {
            (use.step, one) for use in document.uses if use.area == "when" for one in use.proves
        }
        self._by_index = {step.index: step for step in graph.steps}
        self._known_outputs: dict[tuple[Any, ...], bool] = {}

    def run(self) -> None:
        """Check all templates of the document."""
        for use in self._document.uses:
            step = self._step_of(use)
            doubtful = [one for one in use.references if not self._surely_fits(step, one)]
            if not doubtful:
                continue
            first: dict[tuple[Any, ...], Reference] = {}
            for one in use.references:
                known = first.setdefault((one.path, one.at), one)
                first[one.path, one.at] = known._replace(
                    is_guarded=known.is_guarded and one.is_guarded,
                    needs_value=known.needs_value or one.needs_value,
                )
            doubtful = [one for one in first.values() if not self._surely_fits(step, one)]
            self._findings.step = step.id or None if step else None
            for reference in doubtful:
                placed = Use((), (*use.path, *reference.at), use.area, use.step)
                self._check(placed, step, reference)
        self._findings.step = None

    def _surely_fits(self, step: Step | None, reference: Reference) -> bool:
        """Whether this is what nearly all references are: an output of a step right before this one.

        Says False of whatever is otherwise in any way; `_check` then finds out, and finds the words.
        """
        path = reference.path
        if step is None or len(path) < 3 or path[0] != "steps" or path[2] != "output":  # noqa: PLR2004
            return False
        target = self._graph.index_of.get(path[1])  # type: ignore[arg-type]  # an index is in no dict of ids
        if target is None or step.index >= len(self._graph.steps):
            return False
        if self._graph.steps[step.index] is not step:
            return False
        if not self._graph.is_needed(target, step.index):
            return False
        if _fails_on_null(reference) and self._certainty.doubt(step.index, target):
            return False
        return self._surely_gives(self._graph.steps[target], path[3:])

    def _surely_gives(self, step: Step, rest: tuple[Any, ...]) -> bool:
        """Whether nothing speaks against this part of a connector's output; asked once for all alike."""
        uses = step.value.get("uses")
        if step.kind is not StepKind.TASK or not isinstance(uses, str) or gives_in_place(step):
            return False
        known = self._known_outputs.get((uses, rest))
        if known is None:
            known = unknown_key(own_schema(step, self._catalog), list(rest)) is None
            self._known_outputs[uses, rest] = known
        return known

    def _step_of(self, use: Use) -> Step | None:
        return None if use.step is None else self._by_index.get(use.step)

    def _check(self, use: Use, step: Step | None, reference: Reference) -> None:
        root, *rest = reference.path
        allowed = _ROOTS.get(use.area, _EVERYWHERE)
        if step is not None and step.kind is StepKind.MAP and _stands_in(use, step, "task"):
            allowed = (*allowed, "item", "index")
        if root not in allowed:
            self._refuse_root(use, str(root), allowed)
        elif not rest and (root == "secrets" or (root in {"steps", "tasks"} and step is not None)):
            self._refuse_whole(use, str(root))
        elif root in {"steps", "tasks"}:
            self._check_step(use, step, reference, rest)
        elif root == "params":
            self._check_param(use, reference, rest)
        elif root in _PARTS and rest and rest[0] not in _PARTS[str(root)]:
            self._unknown(
                use,
                f"{root} has no {str(rest[0])!r}",
                self._findings.near(str(rest[0]), _PARTS[str(root)]),
            )
        elif root == "trigger" and rest[:1] == ["payload"] and use.area != "trigger":
            self._check_param(use, reference, rest[1:])

    def _refuse_root(self, use: Use, root: str, allowed: tuple[str, ...]) -> None:
        if root == "secrets":
            where = (
                "the `with` of a call" if use.area != "with" and "with" in use.path else "`with`"
            )
            self._findings.error(
                "secret-outside-with", f"secrets may stand only inside of {where}", use.path,
                hint="what is rendered elsewhere is stored and shown",
            )  # fmt: skip
            return
        if root in {"item", "index"}:
            self._unknown(use, f"{root} exists only in the task of a map", None)
            return
        shown = [one for one in allowed if one != "tasks"]
        hint = self._findings.near(root, allowed) or known_here(shown)
        self._unknown(use, f"there is no {root!r}", hint)

    def _refuse_whole(self, use: Use, root: str) -> None:
        """All of them, or one by a name that is computed: nobody could say before what that reads."""
        if root == "secrets":
            message, hint = "which secrets this reads can't be told", "name it: secrets.NAME"
        else:
            message = "which steps this reads can't be told, and they may not have run yet"
            hint = "name it: steps.ID.output"
        self._findings.error("computed-reference", message, use.path, hint=hint)

    def _unknown(self, use: Use, message: str, hint: str | None) -> None:
        self._findings.error("unknown-reference", message, use.path, hint=hint)

    def _check_step(
        self, use: Use, step: Step | None, reference: Reference, rest: list[Any]
    ) -> None:
        if not rest:
            return
        name = str(rest[0])
        target = self._graph.index_of.get(name)
        if target is None:
            self._unknown(
                use, f"there is no step {name!r}", self._findings.near(name, self._graph.index_of)
            )
            return
        if len(rest) > 1 and rest[1] not in _OF_STEP:
            hint = (
                self._findings.near(str(rest[1]), _OF_STEP)
                or f"write steps.{name}.output.{rest[1]}"
            )
            self._unknown(use, f"a step has output, status and error, not {str(rest[1])!r}", hint)
            return
        if step is not None and not self._is_visible(use, step, name, target, rest):
            return
        if rest[1:2] == ["output"]:
            if _gives_null(self._graph.steps[target]):
                self._check_null(use, target, reference)
                return
            self._check_output(use, target, reference, rest[2:])
            if rest[2:3] == ["response"] and rest[3:] and not reference.is_guarded:
                self._check_response(use, self._graph.steps[target], reference, str(rest[3]))
            if _fails_on_null(reference):
                self._check_skipped(use, step, target, reference)

    def _is_visible(self, use: Use, step: Step, name: str, target: int, rest: list[Any]) -> bool:
        position = self._graph.index_of.get(step.id)
        if position is None:
            return False
        if target == position:
            if _stands_in(use, step, "compensate"):
                return True
            if _is_given(use, step) and rest[1:2] in _OF_FAILED:
                return True
            hint = f"write steps.{name}.error" if _is_given(use, step) else None
            self._findings.error(
                "not-upstream", f"a step can't read its own output ({name})", use.path, hint=hint
            )
            return False
        if not self._graph.is_upstream(target, position):
            if len(self._graph.order) == len(self._graph.steps):
                hint = f"write depends_on: [{name}]"
                if self._graph.is_upstream(position, target):
                    hint = f"{name} runs after {step.id}; turn the dependency round"
                self._findings.error(
                    "not-upstream",
                    f"{name} is not upstream: it may not have run yet",
                    use.path,
                    hint=hint,
                )
            return False
        return True

    def _check_output(self, use: Use, target: int, reference: Reference, rest: list[Any]) -> None:
        step = self._graph.steps[target]
        found = unknown_key(own_schema(step, self._catalog), rest)
        hint = None
        instead = None
        if (
            gives_in_place(step) and use.step != step.index
        ):  # What undoes it follows its own output.
            instead = missing_in_place(step, rest)
            if found is not None and instead is None:
                hint = f"only the output in on_error has it; {_way_out(reference)}"
            if reference.is_guarded and (found is None or instead is None):
                return  # What has a default need not be in both.
            if use.area != "when" and (use.step, ("steps", step.id)) in self._proved:
                instead = None
        if found is not None:
            key, known = found
            name = str(step.value.get("uses", step.kind.value)).partition("@")[0]
            hint = hint or self._findings.near(key, known) or known_here(known)
            self._findings.warning(
                "unknown-output", f"{name} has no {key!r} in its output", use.path, hint=hint
            )
        elif instead is not None:
            self._findings.warning(
                "unknown-output", f"what {step.id} gives when it has failed has no {instead!r}", use.path,
                hint=f"add it to the output in on_error, or {_way_out(reference)}",
            )  # fmt: skip

    def _check_response(self, use: Use, step: Step, reference: Reference, name: str) -> None:
        """A field that nobody may have filled in: none was asked for it, or nobody at all."""
        if not asks_people(step):
            return
        if use.area != "when" and (use.step, ("steps", step.id)) in self._proved:
            return
        form: Any = step.value.get("form")
        properties = form.get("properties") if isinstance(form, dict) else None
        field = properties.get(name) if isinstance(properties, dict) else None
        if decides_alone(step):
            message = f"{step.id} may be decided without an answer; its response is then null"
        elif isinstance(field, dict) and "default" not in field and not _is_required(form, name):
            message = f"the field {name} of the form of {step.id} may be absent"
        else:
            return
        hint = f"{_way_out(reference)}, or ask for steps.{step.id}.output.outcome first"
        self._findings.warning("may-be-absent", message, use.path, hint=hint)

    def _check_null(self, use: Use, target: int, reference: Reference) -> None:
        """Of a step whose output always is null: no part of it can be read, whatever was asked before."""
        if len(reference.path) <= _OUTPUT and not reference.needs_value:
            return
        step = self._graph.steps[target]
        if gives_in_place(step):
            lacks = missing_in_place(step, reference.path[_OUTPUT:])
            if _fails_on_null(reference) or lacks is not None:
                self._findings.warning(
                    "unknown-output", f"the output of {step.id} is null unless it has failed", use.path,
                    hint=_way_out(reference),
                )  # fmt: skip
            return
        self._findings.warning(
            "unknown-output", f"the output of {step.id} always is null, and so nothing of it can be used", use.path,
            hint="a wait for a time gives nothing; one for a signal gives its payload",
        )  # fmt: skip

    def _check_param(self, use: Use, reference: Reference, rest: list[Any]) -> None:
        schema = self._document.value.get("params")
        if not isinstance(schema, dict) or not rest:
            return
        found = unknown_key(schema, rest)
        if found is not None:
            key, known = found
            hint = self._findings.near(key, known) or known_here(known)
            self._unknown(use, f"there is no param {key!r}", hint)
        elif not reference.is_guarded:
            if use.area != "when" and (use.step, fact_of(reference.path)) in self._proved:
                return
            self._check_optional(use, schema, rest)

    def _check_optional(self, use: Use, schema: dict[str, Any], rest: list[Any]) -> None:
        """A param that may be absent is an error at run time, unless the expression provides for it."""
        properties, required = schema.get("properties"), schema.get("required", [])
        if not isinstance(properties, dict) or not isinstance(required, list):
            return
        one = properties.get(str(rest[0]))
        if isinstance(one, dict) and "default" not in one and rest[0] not in required:
            self._findings.warning(
                "may-be-absent", f"the param {rest[0]} may be absent", use.path,
                hint=f"give it a default, or write {write_path(('params', *rest))} | default(...)",
            )  # fmt: skip

    def _check_skipped(
        self, use: Use, step: Step | None, target: int, reference: Reference
    ) -> None:
        name = self._graph.steps[target].id
        reader = None if step is None else self._graph.index_of[step.id]
        if reader == target:
            return  # What undoes a step runs only after that has completed.
        doubt = self._certainty.doubt(reader, target)
        in_condition = use.area == "when"
        if doubt is None:
            return
        if step is not None and not in_condition and (step.index, ("steps", name)) in self._proved:
            return
        status = write_path((*reference.path[:2], "status"))
        hint = _way_out(reference)
        if in_condition:
            hint += f", or ask for {status} first"
        elif step is not None:
            hint += f", or a `when` that asks for {status}"
        self._findings.warning(
            "may-be-skipped", f"{name} {doubt}; its output is then null", use.path, hint=hint
        )


def _is_required(form: dict[str, Any], name: str) -> bool:
    required = form.get("required")
    return isinstance(required, list) and name in required


def _way_out(reference: Reference) -> str:
    """What to write in place of a read of what may be null."""
    # Null is there: only a default that replaces what is empty replaces it.
    ending = "default(...)" if len(reference.path) > _OUTPUT else "default(..., true)"
    return f"write {write_path(reference.path)} | {ending}"


def _fails_on_null(reference: Reference) -> bool:
    """Whether an expression can't go on when the output that this reads is null: steps.x.output alone often may be."""
    if len(reference.path) > _OUTPUT:
        return not reference.is_guarded
    return reference.needs_value


def _is_given(use: Use, step: Step) -> bool:
    """Whether this stands in the output with which the step goes on when it has failed."""
    return gives_in_place(step) and _stands_in(use, step, "on_error", "output")


def _stands_in(use: Use, step: Step, *keys: str) -> bool:
    """Whether this stands in a part of its step that the step has, and not under a key that is only called so."""
    place = step.place(*keys)
    return keys[0] in step.value and use.path[: len(place)] == place


def _gives_null(step: Step) -> bool:
    """Whether a step that completes has no output but null."""
    return (
        step.kind is StepKind.WAIT
        and "signal" not in step.value
        and not _TIMES.isdisjoint(step.value)
    )


def unknown_key(schema: Any, path: list[Any]) -> tuple[str, Mapping[str, Any]] | None:
    """The first key of a path that a closed schema does not have, and the keys it has."""
    root = schema
    for key in path:
        schema = resolved(schema, root)
        if not isinstance(schema, dict):
            return None
        if isinstance(key, int):
            schema = schema.get("items")
            continue
        properties = schema.get("properties")
        if not isinstance(properties, dict) or any(
            one in schema for one in ("anyOf", "oneOf", "allOf")
        ):
            return None
        if key not in properties:
            closed = (
                schema.get("additionalProperties") is False and "patternProperties" not in schema
            )
            return (str(key), properties) if closed else None
        schema = properties[key]
    return None
