"""The link that bootstrap makes, in folders and locales as people have them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from scripts.bootstrap import path_line


@pytest.mark.parametrize("name", ["plain", "with space", "clöne 日本"])
def test_the_link_works_in_any_folder_whatever_the_locale(tmp_path, name):
    folder = tmp_path / name
    folder.mkdir()
    (folder / "linked.py").write_text("")
    site = tmp_path / "site"
    site.mkdir()
    (site / "maestro_composer.pth").write_text(path_line(folder), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-c", f"import site; site.addsitedir({os.fspath(site)!r}); import linked"],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
    )

    assert (done.returncode, done.stderr) == (0, "")
