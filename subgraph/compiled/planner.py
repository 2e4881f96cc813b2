"""From an operation to its plan: the library collects the fields, this room writes the functions that read them.

What an object holds by itself becomes one expression per field, nested objects and lists included. What has to be
asked for (resolvers that take arguments, the request's info, or time) becomes a step: its objects are gathered over
the whole level, and their values go into answers that exist already, at the place that the document gave them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from keyword import iskeyword
from typing import Any, Final

from graphql import (
    FragmentDefinitionNode,
    GraphQLAbstractType,
    GraphQLLeafType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    OperationDefinitionNode,
    is_abstract_type,
    is_leaf_type,
    is_list_type,
)
from graphql.execution.collect_fields import (
    FieldDetails,
    FragmentDetails,
    collect_fields,
    collect_subfields,
)
from graphql.execution.values import VariableValues
from strawberry.schema import Schema
from strawberry.types.field import StrawberryField

from subgraph.compiled.arguments import given_of, resolver_of
from subgraph.compiled.declare import Column, Columns, RecordField
from subgraph.compiled.leaf import Short, long_way, short_way
from subgraph.compiled.objects import BACKREF, CAST, Admission, Dispatch, items, origin_of
from subgraph.compiled.plan import Plan, Resolver, Step
from subgraph.compiled.reasons import Reason, Unplanned
from subgraph.compiled.size import ENTRY
from subgraph.compiled.source import Source

_MOST_FIELDS: Final = 2_000
# What the functions take: an object or a value, where the steps' objects gather, and how large the answer is so far.
_OBJECT: Final = "s, later, size"
_VALUE: Final = "v, later, size"


class Planner:
    """Plans operations of one schema; what is true of all of them is found out once."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.graph = schema._schema  # noqa: SLF001 - Strawberry has no door to it.
        self._classes = _classes_of_scalars(schema)
        self._leaves: dict[str, Short | None] = {}

    def plan(
        self,
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: VariableValues,
    ) -> Plan:
        """The plan of an operation, for the switches that these variables set; raises Unplanned."""
        return _Writing(self, operation, fragments, variables).plan()

    def leaf(self, leaf: GraphQLLeafType) -> Short | None:
        """The short way of a leaf type."""
        if leaf.name not in self._leaves:
            self._leaves[leaf.name] = short_way(leaf, self._classes.get(leaf.name))
        return self._leaves[leaf.name]


class _Writing:
    """One plan while it is written."""

    def __init__(
        self,
        planner: Planner,
        operation: OperationDefinitionNode,
        fragments: Mapping[str, FragmentDefinitionNode],
        variables: VariableValues,
    ) -> None:
        self._planner = planner
        self._graph = planner.graph
        self._operation = operation
        self._fragments = fragments
        self._details = {name: FragmentDetails(each) for name, each in fragments.items()}
        self._variables = variables
        self._source = Source()
        self._made: dict[object, Any] = {}
        self._dispatches: list[Dispatch] = []
        self._size = 0

    def plan(self) -> Plan:
        root = self._graph.get_root_type(self._operation.operation)
        if root is None:
            raise Unplanned(Reason.RESOLVER, "root")
        fields = collect_fields(
            self._graph, self._details, self._variables, root, self._operation
        ).grouped_field_set
        steps: list[Step] = []
        body = self._body(root, fields, steps, is_root=True)
        self._source.function("begin", _OBJECT, _counted(body))
        get = self._source.compiled()
        for dispatch in self._dispatches:
            dispatch.link(get)
        _link(steps, get)
        return Plan(self._operation, self._fragments, get("begin"), steps, self._size)

    # --- objects -----------------------------------------------------------------------------------

    def _object(
        self, type_: GraphQLObjectType, details: list[FieldDetails], steps: list[Step]
    ) -> str:
        """The function that answers for one object of this type."""
        body = [*self._admission(type_, details), *self._selection(type_, details, steps)]
        name = self._source.name("o")
        self._source.function(name, _OBJECT, _counted(body))
        return name

    def _admission(self, type_: GraphQLObjectType, details: list[FieldDetails]) -> list[str]:
        """The lines that let only objects of the type pass."""
        origin = self._source.bind(origin_of(type_), "C")
        field_name = details[0].node.name.value
        admit = self._bound(
            ("admit", type_.name), "a", lambda: Admission(type_, (self._graph, field_name))
        )
        test = f"s.__class__ is not {origin}"
        if type_.is_type_of is not None:
            test += f" or hasattr(s, {CAST!r})"
        return [f"if {test}:", f"    s = {admit}(s)"]

    def _selection(
        self, type_: GraphQLObjectType, details: list[FieldDetails], steps: list[Step]
    ) -> list[str]:
        fields = collect_subfields(
            self._graph, self._details, self._variables, self._operation, type_, details
        ).grouped_field_set
        return self._body(type_, fields, steps)

    def _body(
        self,
        type_: GraphQLObjectType,
        fields: Mapping[str, list[FieldDetails]],
        steps: list[Step],
        *,
        is_root: bool = False,
    ) -> list[str]:
        """The lines that make `d`, the answer of the object `s`, and count what is in it."""
        behind: dict[str, str] = {}
        entries, waiting = [], []
        for key, details in fields.items():
            value = self._value(type_, key, details, steps, behind, is_root=is_root)
            if value is None:
                waiting.append(len(steps) - 1)
            entries.append(f"    {key!r}: {value},")
        return [
            *(f"{name} = s.{attribute}" for attribute, name in behind.items()),
            f"n += {sum(len(key) + ENTRY for key in fields)}",
            "d = {",
            *entries,
            "}",
            *(f"later[{place}].append((s, d))" for place in waiting),
        ]

    def _value(
        self,
        type_: GraphQLObjectType,
        key: str,
        details: list[FieldDetails],
        steps: list[Step],
        behind: dict[str, str],
        *,
        is_root: bool,
    ) -> str | None:
        """The expression of one field of `s`; None when a step, the last one, will fill it in."""
        self._size += 1
        if self._size > _MOST_FIELDS:
            raise Unplanned(Reason.SIZE)
        name = details[0].node.name.value
        if name == "__typename":
            return repr(type_.name)
        definition = None if name.startswith("__") else self._graph.get_field(type_, name)
        if definition is None:
            raise Unplanned(Reason.INTROSPECTION, name)
        field = definition.extensions.get(BACKREF)
        if not isinstance(field, StrawberryField):
            raise Unplanned(Reason.RESOLVER, name)
        if field.extensions:
            raise Unplanned(Reason.EXTENSION, name)
        if field.is_basic_field:
            read = self._read(field, behind)
            return self._complete(definition.type, details, steps, read)
        resolver = resolver_of(field, self._planner.schema)
        if resolver.is_inline and not is_root:
            return self._complete(definition.type, details, steps, self._called(resolver))
        step = Step(
            key=key,
            declared=field,
            definition=definition,
            nodes=[each.node for each in details],
            parent=type_,
            given=given_of(definition, details[0].node),
            resolver=resolver,
            is_list=_is_list(definition.type),
            is_root=is_root,
            is_nullable=not isinstance(definition.type, GraphQLNonNull),
            spares_items=_spares_items(definition.type),
            function=self._source.name("t"),
            columns=self._names_of_columns(definition.type, details),
        )
        completed = self._complete(definition.type, details, step.steps, "v")
        self._source.function(step.function, _VALUE, _returned(completed))
        steps.append(step)
        return None

    def _read(self, field: StrawberryField, behind: dict[str, str]) -> str:
        """The expression that reads a field which has no resolver."""
        if isinstance(field, RecordField):
            name = behind.setdefault(field.behind, f"r_{len(behind)}")
            attribute = field.read or field.python_name
            if isinstance(attribute, str) and _is_attribute(attribute):
                return f"{name}.{attribute}"
            return f"{self._source.bind(field.getter, 'g')}({name})"
        plain = type(field).get_result is StrawberryField.get_result
        if plain and field.default_resolver is getattr and _is_attribute(field.python_name):
            return f"s.{field.python_name}"
        return f"{self._source.bind(field.get_result, 'g')}(s, None, [], {{}})"

    def _called(self, resolver: Resolver) -> str:
        """The call of a resolver that needs nothing but the object."""
        given = [
            *(["s"] if resolver.takes_self else []),
            *(f"{name}=s" for name in resolver.sources),
        ]
        return f"{self._source.bind(resolver.function, 'f')}({', '.join(given)})"

    # --- values ------------------------------------------------------------------------------------

    def _complete(
        self, type_: GraphQLOutputType, details: list[FieldDetails], steps: list[Step], read: str
    ) -> str:
        """The expression that makes the answer's value of what `read` gives."""
        non_null = isinstance(type_, GraphQLNonNull)
        inner: Any = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
        if isinstance(inner, GraphQLList):
            return f"{self._list(inner, details, steps, non_null=non_null)}({read}, later, size)"
        if is_leaf_type(inner):
            return self._leaf(inner, read, non_null=non_null)
        if is_abstract_type(inner):
            function = self._abstract(inner, details, steps)
        else:
            function = self._object(inner, details, steps)
        if non_null:
            return f"{function}({read}, later, size)"
        return f"(None if {_first(read)} is None else {function}({_again(read)}, later, size))"

    def _leaf(self, leaf: GraphQLLeafType, read: str, *, non_null: bool) -> str:
        long = self._bound(
            ("leaf", leaf.name, non_null), "c", lambda: long_way(leaf, non_null=non_null)
        )
        short = self._planner.leaf(leaf)
        if short is None:
            return f"{long}({read})"
        names = {hint: self._source.bind(value, hint) for hint, value in short.names.items()}
        v = _again(read)
        written = short.written.format(v=v, **names)
        counting = f" and (n := n + {short.counted.format(v=v)})" if short.counted else ""
        if not non_null:
            test = short.test.format(v=v, **names) + counting
            return f"(None if {_first(read)} is None else {written} if {test} else {long}({v}))"
        head, _, tail = short.test.partition("{v}")
        test = head.format(**names) + _first(read) + tail.format(v=v, **names) + counting
        return f"({written} if {test} else {long}({v}))"

    def _list(
        self,
        type_: GraphQLList[Any],
        details: list[FieldDetails],
        steps: list[Step],
        *,
        non_null: bool,
    ) -> str:
        """The function that answers for a list: objects are read in its own loop."""
        name, item = self._source.name("m"), type_.of_type
        inner = item.of_type if isinstance(item, GraphQLNonNull) else item
        lines = [] if non_null else ["if v is None:", "    return None"]
        if isinstance(inner, GraphQLObjectType):
            lines += self._from_columns(inner, details)
        lines += [
            "if v.__class__ is not list and v.__class__ is not tuple:",
            f"    v = {self._source.bind(items, 'items')}(v)",
        ]
        if isinstance(inner, GraphQLObjectType):
            body = [*self._admission(inner, details), *self._selection(inner, details, steps)]
            if not isinstance(item, GraphQLNonNull):
                body = ["if s is None:", "    add(None)", "    continue", *body]
            lines += ["n = 0", "out = []", "add = out.append", "for s in v:"]
            lines += [f"    {line}" for line in [*body, "add(d)"]]
            lines += ["size.bytes += n + len(out)", "return out"]
        else:
            lines += _returned(f"[{self._complete(item, details, steps, 'x')} for x in v]")
        self._source.function(name, _VALUE, lines)
        return name

    def _columns(
        self, type_: GraphQLObjectType, details: list[FieldDetails]
    ) -> dict[str, Column | None] | None:
        """Each field's column, None for `__typename`; None when something else is read of the objects."""
        fields = collect_subfields(
            self._graph, self._details, self._variables, self._operation, type_, details
        ).grouped_field_set
        found: dict[str, Column | None] = {}
        for key, each in fields.items():
            name = each[0].node.name.value
            definition = None if name.startswith("__") else self._graph.get_field(type_, name)
            field = definition.extensions.get(BACKREF) if definition else None
            read = field.column if isinstance(field, RecordField) and not field.extensions else None
            if read is None and name != "__typename":
                return None
            found[key] = read
        return found if any(found.values()) else None

    def _names_of_columns(
        self, type_: GraphQLOutputType, details: list[FieldDetails]
    ) -> frozenset[str] | None:
        """What is read of the objects of a list, if it is read in columns."""
        given: Any = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
        item = given.of_type if isinstance(given, GraphQLList) else None
        inner = item.of_type if isinstance(item, GraphQLNonNull) else item
        found = self._columns(inner, details) if isinstance(inner, GraphQLObjectType) else None
        if found is None:
            return None
        return frozenset().union(*(each.names for each in found.values() if each is not None))

    def _from_columns(self, type_: GraphQLObjectType, details: list[FieldDetails]) -> list[str]:
        """The lines that answer for a list in columns, if only columns are read of its objects."""
        columns = self._columns(type_, details)
        if columns is None:
            return []
        names = {key: f"c_{place}" for place, key in enumerate(columns) if columns[key]}
        entries = (f"{key!r}: {names.get(key) or repr(type_.name)}" for key in columns)
        reads = (
            f"{self._source.bind(each.read, 'k')}(t)"
            for each in columns.values()
            if each is not None
        )
        rows = f"zip({', '.join(reads)}, strict=True)"
        return [
            f"if v.__class__ is {self._source.bind(Columns, 'K')}:",
            "    t = v.table",
            f"    v = [{{{', '.join(entries)}}} for {', '.join(names.values())}, in {rows}]",
            f"    size.bytes += len(v) * {sum(len(key) + ENTRY + 1 for key in columns)}",
            "    return v",
        ]

    def _abstract(
        self, type_: GraphQLAbstractType, details: list[FieldDetails], steps: list[Step]
    ) -> str:
        """The function that finds out what an object is and answers for it."""
        functions = {
            each.name: self._object(each, details, steps)
            for each in self._graph.get_possible_types(type_)
        }
        dispatch = Dispatch(type_, self._graph, details[0].node.name.value, functions)
        self._dispatches.append(dispatch)
        known, find = self._source.bind(dispatch.by_class, "K"), self._source.bind(dispatch, "x")
        name = self._source.name("x")
        lines = [
            f"f = {known}.get(s.__class__)",
            f"if f is None or hasattr(s, {CAST!r}):",
            f"    f = {find}(s)",
            "return f(s, later, size)",
        ]
        self._source.function(name, _OBJECT, lines)
        return name

    def _bound(self, key: object, hint: str, make: Callable[[], Any]) -> str:
        if key not in self._made:
            self._made[key] = make()
        return self._source.bind(self._made[key], hint)


def _link(steps: list[Step], get: Callable[[str], Callable[..., Any]]) -> None:
    for step in steps:
        step.complete = get(step.function)
        _link(step.steps, get)


def _counted(body: list[str]) -> list[str]:
    """The lines of a function that gives an object, and counts in `n` what that adds to the answer."""
    return ["n = 1", *body, "size.bytes += n", "return d"]


def _returned(value: str) -> list[str]:
    """The lines that give back what an expression comes to, counted where it counts: `n` is never 0, for its test."""
    if "(n := " not in value:
        return [f"return {value}"]
    return ["n = 1", f"d = {value}", "size.bytes += n - 1", "return d"]


def _first(read: str) -> str:
    """What is read, kept in `v` unless it has a name already."""
    return read if read.isidentifier() else f"(v := {read})"


def _again(read: str) -> str:
    return read if read.isidentifier() else "v"


def _is_attribute(name: str) -> bool:
    return name.isidentifier() and not iskeyword(name)


def _is_list(type_: GraphQLOutputType) -> bool:
    return is_list_type(type_.of_type if isinstance(type_, GraphQLNonNull) else type_)


def _spares_items(type_: GraphQLOutputType) -> bool:
    """Whether it is a list whose items may be null."""
    inner = type_.of_type if isinstance(type_, GraphQLNonNull) else type_
    return isinstance(inner, GraphQLList) and not isinstance(inner.of_type, GraphQLNonNull)


def _classes_of_scalars(schema: Schema) -> dict[str, type]:
    """The classes that scalars are declared for, by the scalars' names."""
    registry: dict[object, Any] = dict(schema.schema_converter.scalar_registry)
    named = schema.config.name_converter.from_type
    return {
        named(getattr(definition, "_scalar_definition", definition)): kind
        for kind, definition in registry.items()
        if isinstance(kind, type)
    }
