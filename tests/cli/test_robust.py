"""Whatever is given and whatever breaks: one error, one hint, one exit code, and a traceback only when asked for."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from maestro_cli import main
from maestro_cli.groups import VerbEntry


def sh(words, home):
    """A command line of a shell, with `mc` in place of `$MC`."""
    script = words.replace("mc ", f"{sys.executable} -m maestro_cli ")
    return subprocess.run(
        ["/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={"MC_HOME": str(home)},
    )


@pytest.mark.parametrize("arguments", [(), ("executions",), ("token",)])
def test_no_verb_at_all_shows_the_help(cli, arguments):
    done = cli(*arguments)

    assert (done.code, done.stderr) == (0, "")
    assert done.stdout == cli(*arguments, "--help").stdout


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--endpoint", "http://[::1"), "--endpoint"),
        (("--endpoint", "http://127.0.0.1:99999"), "--endpoint"),
        (("--endpoint", "http://127.0.0.1:9", "--purpose", "a\nb"), "--purpose"),
        (("--endpoint", "http://127.0.0.1:9", "--purpose", "\u65e5"), "--purpose"),
        (("--endpoint", "http://127.0.0.1:9", "--token", "a\nb"), "--token"),
    ],
)
def test_what_no_request_can_carry_is_a_usage_error(cli, flags, named):
    done = cli("executions", "list", *flags, "-o", "json")

    error = json.loads(done.stderr)["error"]
    assert (done.code, error["code"]) == (2, "USAGE")
    assert named in error["message"]


def test_an_unexpected_exception_is_one_error_without_traceback(cli, monkeypatch):
    monkeypatch.setattr(main, "SECTIONS", {"": (VerbEntry("x", "nowhere:x", "x"),)})

    plain, document = cli("x"), cli("x", "-o", "json")

    assert plain.code == document.code == 1
    assert plain.stderr.startswith("error: ")
    assert "-vv" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert json.loads(document.stderr)["error"]["code"] == "INTERNAL"


def test_an_unexpected_exception_shows_its_traceback_with_vv(cli, monkeypatch):
    monkeypatch.setattr(main, "SECTIONS", {"": (VerbEntry("x", "nowhere:x", "x"),)})

    done = cli("-vv", "x")

    assert done.code == 1
    assert "Traceback" in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_behind_standard_output_is_one_line(home, unbuffered):
    done = sh(f"PYTHONUNBUFFERED={unbuffered} mc --help >/dev/full", home)

    assert done.returncode == 1
    assert done.stderr.startswith("error: Standard output can't be written: ")
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_failure(home, unbuffered):
    done = sh(f"(PYTHONUNBUFFERED={unbuffered} mc --help; echo $? >&2) | true", home)

    assert done.stderr == "0\n"


def test_closed_standard_streams_are_no_failure(home):
    done = sh("mc version >&- 2>&-", home)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("text", ["0", "0s", "-1", "nan", "inf", "1e300"])
def test_a_timeout_that_is_no_length_of_time_is_refused(cli, text):
    done = cli("executions", "list", "--timeout", text)

    assert done.code == 2
    assert "--timeout" in done.stderr


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--tenant", ""),
        ("--tenant", "a\nb"),
        ("--tenant", "a" * 129),
        ("--subject", ""),
        ("--subject", "\x00"),
        ("--ttl", "0s"),
    ],
)
def test_a_token_for_nobody_or_no_time_is_refused(cli, home, flag, value):
    words = {"--tenant": "t", "--subject": "s", "--ttl": "1h", "--role": "viewer", flag: value}

    done = cli("token", "create", *(word for pair in words.items() for word in pair))

    assert (done.code, done.stdout) == (2, "")
    assert flag in done.stderr


def test_a_token_from_a_folder_that_can_not_be_is_refused_with_the_way_out(
    cli, tmp_path, monkeypatch
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MC_HOME", str(tmp_path / "file" / "home"))

    done = cli("token", "create", "--tenant", "t", "--subject", "s", "--role", "viewer")

    assert (done.code, done.stdout) == (1, "")
    assert f"{tmp_path / 'file'} is a file; set MC_HOME to a folder" in done.stderr


GOOD = "name: {name}\nversion: 1.0.0\nsteps: [{{id: a, uses: core.noop@1}}]\n"


def test_validate_gives_one_object_a_line_or_only_names(cli, tmp_path):
    files = [tmp_path / f"{name}.yaml" for name in ("tea", "milk")]
    for file in files:
        file.write_text(GOOD.format(name=file.stem))
    names = [str(file) for file in files]

    lines, words = cli("validate", *names, "-o", "jsonl"), cli("validate", *names, "-o", "name")

    assert [json.loads(line)["name"] for line in lines.stdout.splitlines()] == ["tea", "milk"]
    assert words.stdout.split() == ["tea", "milk"]
    assert lines.stderr == ""


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--version", "1.x"), "1.x"),
        (("--priority", "9999999999"), "--priority"),
    ],
)
def test_a_flag_of_execute_that_can_mean_nothing_is_refused_before_asking(cli, flags, named):
    done = cli("execute", "tea", *flags, "--endpoint", "http://127.0.0.1:9")

    assert done.code == 2
    assert named in done.stderr


def test_a_version_that_is_none_is_refused_before_the_file_is_published(cli, tmp_path):
    file = tmp_path / "tea.yaml"
    file.write_text(GOOD.format(name="tea"))

    done = cli("publish", str(file), "--version", "1.x", "--endpoint", "http://127.0.0.1:9")

    assert done.code == 2
    assert "version '1.x'" in done.stderr


def test_two_missing_services_are_named_in_the_plural(cli):
    done = cli("worker")

    assert "MC_DATABASE_URL and MC_REDIS_URL are not set" in done.stderr


def test_a_connector_that_is_not_known_hints_at_import(cli, tmp_path):
    file = tmp_path / "tea.yaml"
    file.write_text(GOOD.format(name="tea").replace("core.noop@1", "tea.brew@1"))

    done = cli("validate", str(file))

    assert done.code == 4
    assert "--import" in done.stdout
