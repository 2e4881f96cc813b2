"""The secrets file: who may read it, what it may hold, and what is said when it is not so."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runtime.model.errors import SetupError, StepErrorKind, StepFailed
from runtime.secrets.file import FileSecrets, SecretNotFound


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "secrets.yaml"
    write(path, "API_KEY: first-value\nOTHER: 'two words'\n")
    return path


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def test_a_secret_is_looked_up_by_name(path: Path):
    secrets = FileSecrets(path)

    assert secrets.lookup("API_KEY") == secrets["API_KEY"] == "first-value"
    assert secrets.names() == tuple(secrets) == ("API_KEY", "OTHER")
    assert ("API_KEY" in secrets, "NONE" in secrets, len(secrets)) == (True, False, 2)


def test_an_unknown_secret_names_itself_and_the_file(path: Path):
    with pytest.raises(SecretNotFound) as caught:
        FileSecrets(path).lookup("NONE")

    assert caught.value.kind is StepErrorKind.PERMANENT
    assert caught.value.type == "secret.not_found"
    assert "no secret NONE" in caught.value.message
    assert str(path) in caught.value.message


def test_a_missing_file_holds_no_secrets(tmp_path: Path):
    secrets = FileSecrets(tmp_path / "none.yaml")

    assert secrets.names() == ()
    with pytest.raises(SecretNotFound):
        secrets.lookup("API_KEY")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620])
def test_a_file_that_others_may_open_is_refused_by_name(path: Path, mode: int):
    path.chmod(mode)

    with pytest.raises(StepFailed, match=rf"mode {mode:04o}.*chmod 600 {path}") as caught:
        FileSecrets(path).lookup("API_KEY")
    assert caught.value.type == "secret.refused"
    with pytest.raises(SetupError, match="chmod 600"):
        FileSecrets(path).names()


def test_an_empty_file_may_have_any_mode(path: Path):
    write(path, "\n", 0o644)

    assert FileSecrets(path).names() == ()


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_the_owners_own_modes_are_fine(path: Path, mode: int):
    path.chmod(mode)

    assert FileSecrets(path).lookup("OTHER") == "two words"


def test_a_changed_file_is_read_again_and_old_values_stay_masked(path: Path):
    secrets = FileSecrets(path)
    assert secrets.lookup("API_KEY") == "first-value"

    write(path, "API_KEY: second-one\n")

    assert secrets.lookup("API_KEY") == "second-one"
    assert secrets.mask("first-value second-one") == "*** ***"


def test_a_changed_file_of_the_same_size_and_time_is_read_again(path: Path):
    secrets = FileSecrets(path)
    before = path.stat()
    assert secrets.lookup("API_KEY") == "first-value"

    write(path, "API_KEY: other-value\nOTHER: 'two words'\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert secrets.lookup("API_KEY") == "other-value"


def test_a_file_that_is_opened_to_others_later_is_refused_then(path: Path):
    secrets = FileSecrets(path)
    secrets.lookup("API_KEY")

    path.chmod(0o644)

    with pytest.raises(StepFailed, match="chmod 600"):
        secrets.lookup("API_KEY")


def test_a_removed_file_holds_no_secrets_any_more(path: Path):
    secrets = FileSecrets(path)
    secrets.lookup("API_KEY")

    path.unlink()

    assert secrets.names() == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n- b", "must hold lines of the form"),
        ("just text", "must hold lines of the form"),
        ("PIN: 1234", "PIN with a value that is no text"),
        ("A: {b: c}", "A with a value that is no text"),
        ("my key: canary", "'my key', which is no name"),
        ("1: canary", "1, which is no name"),
        ("A: canary\nB: [canary", r"is no YAML \(line 2\)"),
        ("A: 'canary\nB: \tcanary", "is no YAML"),
    ],
)
def test_what_is_no_list_of_names_and_texts_is_refused_without_quoting_it(
    path: Path, text: str, said: str
):
    write(path, text)

    with pytest.raises(SetupError, match=said) as caught:
        FileSecrets(path).names()
    assert "canary" not in caught.value.message
    assert caught.value.__cause__ is None
