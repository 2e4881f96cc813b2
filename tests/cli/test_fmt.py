"""`mc fmt` and `mc convert`: offline, in place or printed, with the exit codes that scripts rely on."""

from __future__ import annotations

import pytest

MESSY = "name:   tea # why\nsteps:\n- {id: boil,uses: core.noop@1}\n"
NEAT = "name: tea # why\nsteps:\n  - {id: boil, uses: core.noop@1}\n"
MANIFEST = """\
apiVersion: composer/v1
kind: Workflow
metadata:
  name: tea # why
spec:
  tasks:
    - {id: boil, uses: core.noop@1}
"""


@pytest.fixture
def file(cli, tmp_path):
    path = tmp_path / "tea.yaml"
    path.write_text(MESSY)
    return path


def test_a_file_is_formatted_in_place_once(cli, file):
    first, again = cli("fmt", "tea.yaml"), cli("fmt", "tea.yaml", "--check")

    assert (first.code, again.code) == (0, 0)
    assert file.read_text() == NEAT
    assert first.stderr == "tea.yaml: changed\n"


@pytest.mark.parametrize("flag", ["--check", "--diff"])
def test_looking_changes_nothing_and_says_so_by_its_exit_code(cli, file, flag):
    done = cli("fmt", "tea.yaml", flag)

    assert done.code == 1
    assert file.read_text() == MESSY
    if flag == "--diff":
        assert "-name:   tea # why\n+name: tea # why\n" in done.stdout


def test_the_other_spelling_is_printed_or_written(cli, file):
    printed = cli("convert", "tea.yaml", "--to", "manifest")
    written = cli("convert", "tea.yaml", "--to", "manifest", "--write")

    assert (printed.code, printed.stdout) == (0, MANIFEST)
    assert written.code == 0
    assert file.read_text() == MANIFEST
    assert cli("convert", "tea.yaml", "--to", "flat").stdout == NEAT


@pytest.mark.parametrize("verb", [("fmt",), ("convert", "--to", "flat")])
def test_what_can_not_be_read_is_left_alone_with_its_place(cli, file, verb):
    file.write_text("name: tea\nsteps: [\n")

    done = cli(*verb, "tea.yaml")

    assert done.code == 4
    assert "tea.yaml:3:1" in done.stderr
    assert file.read_text() == "name: tea\nsteps: [\n"


def test_only_a_good_form_is_converted(cli, file):
    file.write_text("name: tea\nsteps: [{id: boil, uses: core.noop@1, timeot: 1s}]\n")

    done = cli("convert", "tea.yaml", "--to", "manifest")

    assert done.code == 4
    assert "did you mean 'timeout'?" in done.stderr
