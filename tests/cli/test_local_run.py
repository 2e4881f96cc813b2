"""What a run in this process takes of the user's settings, and what not."""

from __future__ import annotations

from maestro_cli.local.once import _settings


def test_everything_that_is_stored_goes_to_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MC_BLOB_URL", (tmp_path / "of-the-team").as_uri())
    monkeypatch.setenv("MC_DATABASE_URL", "postgresql://team/db")
    monkeypatch.setenv("MC_REDIS_URL", "redis://team")

    found = _settings(tmp_path / "scratch", ())

    assert (found.database_url, found.databases, found.redis_url) == (None, None, None)
    assert found.blob.url == (tmp_path / "scratch" / "blobs").as_uri()
