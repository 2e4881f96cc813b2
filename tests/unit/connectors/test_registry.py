"""What the registry finds, and what it says about packages that are not as they should be."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from runtime import registry as points
from runtime.connectors import registry as under_test
from runtime.connectors.registry import Registry
from runtime.model.errors import SetupError
from runtime.model.plan import ConnectorRef, Effect

Package = Callable[..., str]

STEP = """
from maestro import step

@step(name="{name}", version="{version}", effect="pure")
async def {function}(x: int = 0) -> int:
    return x
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Writes an importable package of some modules; forgets it afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, **modules: str) -> str:
        folder = tmp_path / name
        folder.mkdir()
        for module, text in {"__init__": "", **modules}.items():
            (folder / f"{module}.py").write_text(textwrap.dedent(text))
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def a_step(name: str = "mine.one", version: str = "1.0.0", function: str = "one") -> str:
    return STEP.format(name=name, version=version, function=function)


def test_ours_are_found_without_a_list():
    found = Registry.load().places()

    assert found["http.request@1.0.0"] == "runtime.connectors.http_request:HttpRequest"
    assert {"core.noop@1.0.0", "core.set@1.0.0", "core.sleep@1.0.0", "core.fail@1.0.0"} <= set(
        found
    )


def test_a_named_package_is_scanned_with_all_its_modules(package: Package):
    name = package("deep_steps", here=a_step(), there=a_step("mine.two", function="two"))

    places = Registry.load([name]).places()

    assert places["mine.one@1.0.0"] == "deep_steps.here:one"
    assert places["mine.two@1.0.0"] == "deep_steps.there:two"


def test_tests_inside_a_package_are_left_alone(package: Package):
    name = package("tested_steps", steps=a_step(), test_steps="raise RuntimeError")

    assert "mine.one@1.0.0" in Registry.load([name]).places()


def test_a_re_export_is_no_duplicate(package: Package):
    name = package("exporting", __init__="from exporting.steps import one", steps=a_step())

    assert Registry.load([name]).places()["mine.one@1.0.0"] == "exporting.steps:one"


def test_two_of_one_name_are_refused_with_both_places(package: Package):
    name = package("twice", left=a_step(), right=a_step())

    with pytest.raises(SetupError, match=r"mine\.one@1\.0\.0 .*twice\.left:one.*twice\.right:one"):
        Registry.load([name])


def test_ours_can_not_be_replaced_by_a_package(package: Package):
    name = package("greedy", steps=a_step("core.noop"))

    with pytest.raises(SetupError, match=r"core_noop:Noop and in greedy\.steps:one"):
        Registry.load([name])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nowhere_to_be_found", r"nowhere_to_be_found.*steps\.py, line 1"),
        ("x = 1\nx.y", r"AttributeError.*steps\.py, line 2"),
        ("def f(:", r"SyntaxError.*steps\.py, line 1"),
        (a_step(name="noGroup"), r"no name of a step"),
        (a_step(version="one"), r"not a version"),
        (
            "from maestro import step\n@step(name='a.b')\ndef f(x): ...",
            r"give the parameter 'x' a type",
        ),
    ],
)
def test_a_broken_package_is_named_with_the_place(package: Package, text: str, said: str):
    name = package("broken", steps=text)

    with pytest.raises(SetupError, match=r"(?s)broken\.steps.*" + said) as caught:
        Registry.load([name])
    assert caught.value.reason == "PACKAGE_BROKEN"


def test_a_missing_package_says_what_to_do():
    with pytest.raises(SetupError, match=r"no package 'not_here'.*Install it") as caught:
        Registry.load(["not_here"])
    assert caught.value.reason == "PACKAGE_NOT_FOUND"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def __init__(self, url): ...", "can't be made without arguments"),
        ("Input = None", "model without a JSON Schema"),
        ("inline = True", r"says inline = True and has no answer\(\)"),
        ("version = 'x'", "bad version"),
        # Compared with members, a word would count as a call that may be repeated.
        ("effect_class = 'at_most_once'", "write Effect.PURE, .*Effect.AT_MOST_ONCE or None"),
    ],
)
def test_a_broken_connector_is_named_with_the_place(package: Package, body: str, said: str):
    head = """
        from pydantic import BaseModel
        from maestro import Connector, StepContext
        class M(BaseModel): ...
        class Mine(Connector):
            name = "mine.connector"
            async def execute(self, context: StepContext, input: M) -> M: ...
            """
    name = package("bad_class", steps=head + body)

    with pytest.raises(SetupError, match=rf"mine\.connector \(bad_class\.steps:Mine\) .*{said}"):
        Registry.load([name])


def test_a_class_that_lacks_parts_is_told_which(package: Package):
    name = package("half", steps="class Half:\n  name = 'half.one'\n  def execute(self): ...")

    with pytest.raises(SetupError, match="lacks version, summary, Input, Output, effect"):
        Registry.load([name])


def test_an_abstract_class_is_no_connector(package: Package):
    text = "from maestro import Connector\nclass Base(Connector):\n  name = 'a.b'"

    assert "a.b@1.0.0" not in Registry.load([package("abstract", steps=text)]).places()


@pytest.mark.parametrize(
    ("ref", "version"),
    [
        (ConnectorRef("mine.one", 1), "1.10.0"),
        (ConnectorRef("mine.one", 1, 2), "1.2.3"),
        (ConnectorRef("mine.one", 1, 2, 0), "1.2.0"),
        (ConnectorRef("mine.one", 2), "2.0.0-rc.1"),
    ],
)
def test_a_reference_gets_the_newest_version_it_allows(
    package: Package, ref: ConnectorRef, version: str
):
    versions = ["1.2.0", "1.2.3", "1.10.0", "1.11.0-beta", "2.0.0-rc.1"]
    modules = {f"m{n}": a_step(version=one) for n, one in enumerate(versions)}

    found = Registry.load([package("versions", **modules)]).resolve(ref)

    assert found is not None
    assert found.version == version


@pytest.mark.parametrize("ref", [ConnectorRef("core.noop", 2), ConnectorRef("core.none", 1)])
def test_a_reference_that_nothing_answers_resolves_to_none(ref: ConnectorRef):
    assert Registry.load().resolve(ref) is None


def test_the_catalogue_holds_schemas_and_effects():
    catalog = Registry.load().catalog()

    (sleep,) = catalog["core.sleep"]
    assert sleep.input_schema["required"] == ["duration"]
    assert sleep.effect is Effect.PURE
    assert catalog["http.request"][0].effect is None


def entry_point(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint(name="mine", value=value, group=under_test.GROUP)
    monkeypatch.setattr(points, "entry_points", lambda group: [point])


@pytest.mark.parametrize("value", ["pointed", "pointed.steps", "pointed.steps:one"])
def test_an_entry_point_names_a_package_a_module_or_one_connector(
    package: Package, monkeypatch: pytest.MonkeyPatch, value: str
):
    package("pointed", steps=a_step())
    entry_point(monkeypatch, value)

    assert Registry.load().places()["mine.one@1.0.0"] == "pointed.steps:one"


def test_a_package_by_entry_point_and_by_name_counts_once(
    package: Package, monkeypatch: pytest.MonkeyPatch
):
    package("both_ways", steps=a_step())
    entry_point(monkeypatch, "both_ways")

    assert "mine.one@1.0.0" in Registry.load(["both_ways"]).places()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("not_installed_at_all", "entry point 'mine', but: There is no package"),
        ("pointed.steps:two", "'pointed.steps' has no 'two'"),
    ],
)
def test_a_broken_entry_point_is_named(
    package: Package, monkeypatch: pytest.MonkeyPatch, value: str, said: str
):
    package("pointed", steps=a_step())
    entry_point(monkeypatch, value)

    with pytest.raises(SetupError, match=said):
        Registry.load()


HOLDER = """
from pydantic import BaseModel
from maestro import Connector, StepContext
class M(BaseModel): ...
class {name}(Connector):
    name = "hold.{name}"
    async def open(self) -> None:
        {on_open}
        {name}.is_open = True
    async def close(self) -> None:
        {name}.is_open = False
    async def execute(self, context: StepContext, input: M) -> M: ...
"""


async def test_connectors_that_hold_something_are_opened_and_closed(package: Package):
    name = package("holders", one=HOLDER.format(name="One", on_open="pass"))
    registry = Registry.load([name])
    held = registry.resolve(ConnectorRef("hold.One", 1))

    await registry.open()
    assert held.is_open is True  # type: ignore[union-attr]  # made by the text above
    await registry.close()
    assert held.is_open is False  # type: ignore[union-attr]  # made by the text above


async def test_when_one_can_not_open_the_others_are_closed_again(package: Package):
    one, two = (
        HOLDER.format(name="One", on_open="pass"),
        HOLDER.format(name="Two", on_open="raise OSError('no disk')"),
    )
    registry = Registry.load([package("half_open", one=one, two=two)])

    with pytest.raises(SetupError, match=r"hold\.Two .*no disk"):
        await registry.open()
    assert registry.resolve(ConnectorRef("hold.One", 1)).is_open is False  # type: ignore[union-attr]  # made by the text above
