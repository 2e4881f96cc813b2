"""The SDL: what is committed is what the code says, and what gateways are told holds."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import yaml
from graphql import (
    DirectiveNode,
    DocumentNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLObjectType,
    ListTypeNode,
    ObjectTypeDefinitionNode,
    TypeDefinitionNode,
    build_ast_schema,
    get_named_type,
    is_list_type,
    is_non_null_type,
    is_required_argument,
    parse,
    print_ast,
)
from strawberry.utils.str_converters import to_camel_case

from subgraph import print_schema
from subgraph.directives import ACCESS, AUDIENCE, ROOTS, Rule
from subgraph.schema.build import build_schema
from subgraph.schema.sdl import write_sdl

ROOT = Path(__file__).parents[2]
TEXT = write_sdl(build_schema())
DOCUMENT = parse(TEXT)
SCHEMA = build_ast_schema(DOCUMENT, assume_valid=True, assume_valid_sdl=True)
TABLED = {"authenticated", "requiresScopes", "tag", "cost", "listSize"}
MAKERS = {"Authenticated", "RequiresScopes", "Tag", "Cost", "ListSize"}


def directives(name: str) -> dict[str, tuple[DirectiveNode, ...]]:
    """The directives of an object type's fields."""
    for node in DOCUMENT.definitions:
        if isinstance(node, ObjectTypeDefinitionNode) and node.name.value == name:
            return {field.name.value: tuple(field.directives or ()) for field in node.fields or ()}
    raise AssertionError(name)


def named(types: tuple[type, ...]) -> list[GraphQLNamedType]:
    return [
        type_
        for name, type_ in SCHEMA.type_map.items()
        if isinstance(type_, types) and not name.startswith("_")
    ]


def test_the_committed_schema_is_the_codes() -> None:
    assert (ROOT / "schema.graphql").read_text(encoding="utf-8") == TEXT


def test_writing_it_twice_gives_the_same_text() -> None:
    assert write_sdl(build_schema()) == TEXT


def test_a_stale_file_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    for name in print_schema.TARGETS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    stale = tmp_path / "schema.graphql"
    stale.write_text(TEXT.replace("PageInfo", "PageData"), encoding="utf-8")
    monkeypatch.setattr(print_schema, "ROOT", tmp_path)

    assert print_schema.main(["--check"]) == 1
    assert "+type PageInfo" in capsys.readouterr().out
    assert print_schema.main([]) == 0
    assert print_schema.main(["--check"]) == 0


def test_everything_is_described() -> None:
    missing = [type_.name for type_ in SCHEMA.type_map.values() if not type_.description]
    for type_ in named((GraphQLObjectType, GraphQLInterfaceType, GraphQLInputObjectType)):
        for name, field in type_.fields.items():  # type: ignore[attr-defined] # by the line above
            missing += [] if field.description else [f"{type_.name}.{name}"]
            arguments = getattr(field, "args", {})
            missing += [
                f"{name}({word})" for word, each in arguments.items() if not each.description
            ]

    assert [name for name in missing if not name.startswith("_")] == []


def test_it_is_federation_2_9() -> None:
    assert 'extend schema @link(url: "https://specs.apollo.dev/federation/v2.9"' in TEXT
    assert "_entities" not in TEXT
    assert "_service" not in TEXT


@pytest.mark.parametrize(
    ("entity", "keys"),
    [
        ("Workflow", ["id", "name"]),
        ("WorkflowVersion", ["id"]),
        ("Execution", ["id"]),
        ("StepExecution", ["id"]),
        ("DeadLetter", ["id"]),
        ("BulkOperation", ["id"]),
    ],
)
def test_entities_have_their_keys(entity: str, keys: list[str]) -> None:
    line = re.search(rf"^type {entity} .*$", TEXT, re.MULTILINE)

    assert line
    assert re.findall(r'@key\(fields: "(\w+)"\)', line[0]) == keys
    assert "@authenticated" in line[0]


def test_page_info_is_shared_with_other_subgraphs() -> None:
    assert "type PageInfo @shareable {" in TEXT


def said() -> dict[str, set[str]]:
    """What the SDL says to gateways: of each type, field and input's field the directives of the access table."""
    found: dict[str, set[str]] = {}
    for node in DOCUMENT.definitions:
        if not isinstance(node, TypeDefinitionNode):
            continue
        name = node.name.value
        parts = {
            name: node,
            **{f"{name}.{f.name.value}": f for f in getattr(node, "fields", ()) or ()},
            **{
                f"{name}.{f.name.value}.{argument.name.value}": argument
                for f in getattr(node, "fields", ()) or ()
                for argument in getattr(f, "arguments", ()) or ()
            },
        }
        for place, part in parts.items():
            words = {print_ast(word) for word in part.directives or () if word.name.value in TABLED}
            if words:
                found[place] = words
    return found


def expected(place: str, rule: Rule) -> set[str]:
    """The same of one row, written out by hand."""
    words = set()
    if rule.scope:
        words.add(f'@requiresScopes(scopes: [["{rule.scope}"]])')
        if rule.scope in AUDIENCE:
            words.add(f'@tag(name: "{AUDIENCE[rule.scope]}")')
    elif "." not in place or re.fullmatch(r"(Query|Mutation|Subscription)\.\w+", place):
        words.add("@authenticated")
    if rule.cost is not None:
        words.add(f"@cost(weight: {rule.cost})")
    if rule.length is not None:
        words.add(f"@listSize(assumedSize: {rule.length})")
    if rule.slices:
        names = ", ".join(f'"{name}"' for name in rule.slices)
        words.add(
            f'@listSize(slicingArguments: [{names}], sizedFields: ["edges"], requireOneSlicingArgument: false)'
        )
    return words


def test_the_sdl_says_what_the_access_table_says_and_nothing_else() -> None:
    rows = {place: expected(place, rule) for place, rule in ACCESS.items()}

    assert said() == {place: words for place, words in rows.items() if words}


def test_every_root_field_has_a_row() -> None:
    fields = {f"{root}.{name}" for root in ROOTS for name in directives(root)}
    rows = {".".join(place.split(".")[:2]) for place in ACCESS}

    assert {row for row in rows if row.startswith(("Query", "Mut", "Sub"))} == fields


def test_what_needs_a_scope_to_be_seen_names_it() -> None:
    hidden = {place: rule.sees for place, rule in ACCESS.items() if rule.sees}

    assert hidden == dict.fromkeys(("ExecutionError.stack", "LogLine.stack"), "executions:debug")
    for place, scope in hidden.items():
        kind, _, name = place.partition(".")
        field = SCHEMA.type_map[kind].fields[name]  # type: ignore[attr-defined] # an object type
        assert f"`{scope}`" in field.description
        assert not is_non_null_type(field.type)


def told(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Where code gives directives to a type or a field, and by which words."""
    for cls in ast.walk(tree):
        if not isinstance(cls, ast.ClassDef):
            continue
        yield from ((cls.name, word) for word in _directives_of(cls.decorator_list))
        for part in cls.body:
            if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef):
                name, calls = part.name, part.decorator_list
            elif isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name):
                name, calls = part.target.id, [part.value] if part.value else []
            else:
                continue
            place = f"{cls.name}.{to_camel_case(name)}"
            yield from ((place, word) for word in _directives_of(calls))
            for given in (
                part.args.args if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef) else ()
            ):
                words = _directives_of(list(ast.walk(given.annotation)) if given.annotation else [])
                yield from ((f"{place}.{to_camel_case(given.arg)}", word) for word in words)


def _directives_of(calls: Sequence[ast.AST]) -> list[str]:
    return [
        ast.unparse(word.value)
        for call in calls
        if isinstance(call, ast.Call)
        for word in call.keywords
        if word.arg == "directives"
    ]


def test_no_field_declares_what_the_access_table_is_for() -> None:
    """Each names its own row; nobody else makes such a directive."""
    found: dict[str, str] = {}
    makers = set()
    for file in sorted((ROOT / "subgraph").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found |= told(tree)
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        if MAKERS & {ast.unparse(call.func).rpartition(".")[2] for call in calls}:
            makers.add(file.relative_to(ROOT).as_posix())

    assert found == {place: f"access({place!r})" for place in ACCESS}
    assert makers == {"subgraph/directives.py"}


def test_a_field_that_declares_its_own_would_be_found() -> None:
    loose = """
@strawberry.type(directives=[Authenticated()])
class A:
    a_b: int = strawberry.field(directives=[Cost(weight=3)])

    @strawberry.field(directives=access("A.b"))
    def c(self): ...
"""

    assert dict(told(ast.parse(loose))) == {
        "A": "[Authenticated()]",
        "A.aB": "[Cost(weight=3)]",
        "A.c": "access('A.b')",
    }


def test_every_audience_is_one_of_a_scope_of_the_table() -> None:
    assert set(AUDIENCE) <= {rule.scope for rule in ACCESS.values()}


def test_every_connection_has_a_size() -> None:
    for node in DOCUMENT.definitions:
        if not isinstance(node, ObjectTypeDefinitionNode):
            continue
        for field in node.fields or ():
            kind = getattr(field.type, "type", field.type)
            if getattr(getattr(kind, "name", None), "value", "").endswith("Connection"):
                words = {directive.name.value for directive in field.directives or ()}
                assert "listSize" in words, f"{node.name.value}.{field.name.value}"


def test_every_mutation_takes_one_input_and_answers_with_errors() -> None:
    mutation = SCHEMA.mutation_type
    assert mutation

    for name, field in mutation.fields.items():
        payload = field.type.of_type
        assert list(field.args) == ["input"], name
        assert str(payload.fields["errors"].type) == "[UserError!]!", name


def test_what_a_mutation_changed_is_null_when_it_was_refused() -> None:
    mutation = SCHEMA.mutation_type
    assert mutation

    for name, field in mutation.fields.items():
        for key, found in field.type.of_type.fields.items():
            kind = get_named_type(found.type)
            is_changed = (
                isinstance(kind, GraphQLObjectType) and SCHEMA.type_map["Node"] in kind.interfaces
            )
            assert not (is_changed and is_non_null_type(found.type)) or is_list_type(
                found.type.of_type
            ), f"{name}.{key}"


def test_what_is_called_an_id_is_an_id() -> None:
    loose = [
        f"{type_.name}.{name}"
        for type_ in named((GraphQLObjectType, GraphQLInterfaceType, GraphQLInputObjectType))
        for name, field in type_.fields.items()  # type: ignore[attr-defined] # by the line above
        if (name in {"id", "ids"} or name.endswith(("Id", "Ids")))
        and get_named_type(field.type).name != "ID"
    ]

    # These name nothing that the graph could be asked for.
    assert {each.partition(".")[2] for each in loose} == {"traceId", "workerId", "eventId"}


def test_every_page_has_a_size_that_can_be_left_out() -> None:
    for type_ in named((GraphQLObjectType, GraphQLInterfaceType)):
        for name, field in type_.fields.items():  # type: ignore[attr-defined] # by the line above
            if get_named_type(field.type).name.endswith("Connection"):
                first = field.args["first"]
                assert "1 to 100" in str(first.description), f"{type_.name}.{name}"
                assert not is_required_argument(first), f"{type_.name}.{name}"


def undated(document: DocumentNode) -> list[str]:
    """Deprecations that do not say since when, and what to use."""
    found = re.findall(
        r"@deprecated(?:\(reason: (\"[^\"]*\"|\"\"\".*?\"\"\")\))?", print_ast(document)
    )
    return [each for each in found if not re.match(r'"+Since \d{4}-\d\d-\d\d: \w+ .+', each)]


def test_a_deprecation_says_since_when_and_what_to_use() -> None:
    loose = """type A { a: Int @deprecated b: Int @deprecated(reason: "Use c.")
      c: Int @deprecated(reason: "Since 2026-11-29: use `d`.") }"""

    assert undated(parse(loose)) == ["", '"Use c."']
    assert undated(DOCUMENT) == []


def test_lists_of_lists_and_nulls_in_lists_are_nowhere_but_in_nodes() -> None:
    loose = [
        f"{node.name.value}.{field.name.value}"
        for node in DOCUMENT.definitions
        if isinstance(node, ObjectTypeDefinitionNode)
        for field in node.fields or ()
        if isinstance(inner := getattr(field.type, "type", field.type), ListTypeNode)
        and inner.type.kind != "non_null_type"
    ]

    assert loose == ["Query.nodes"]


def test_enum_values_are_capitals() -> None:
    for type_ in named((GraphQLEnumType,)):
        for value in type_.values:  # type: ignore[attr-defined] # by the line above
            assert re.fullmatch(r"[A-Z][A-Z0-9_]*", value)


def test_the_supergraph_is_in_rovers_format() -> None:
    found = yaml.safe_load((ROOT / "supergraph.yaml").read_text(encoding="utf-8"))

    assert re.fullmatch(r"=2\.9\.\d+", found["federation_version"])
    for subgraph in found["subgraphs"].values():
        assert subgraph["routing_url"].endswith("/graphql")
        assert (ROOT / subgraph["schema"]["file"]).is_file()
