"""`mc settings` against a running `mc dev`: shown, set by whoever has the scope, refused to who has not."""

from __future__ import annotations

import json
import uuid


async def test_it_is_shown_and_set_and_taken_away(dev):
    words = ("--tenant", f"t-{uuid.uuid4().hex[:8]}", "--subject", "ann", "--role", "admin")
    made = await dev.run("token", "create", *words, "--scope", "settings:write")
    given = ("--token", made.stdout.strip())

    denied = await dev.run("settings", "set", "--max-running", "5")
    done = await dev.run(
        "settings", "set", "--max-running", "5", "--retention-days", "9", "--reason", "busy", *given
    )
    shown = await dev.run("settings", "show", "-o", "json", *given)
    gone = await dev.run(
        "settings", "set", "--unset", "max-running", "--unset", "retention-days", *given
    )
    nobodys = await dev.run("settings", "show", "--workflow", "wf_nobodys", *given)

    assert (denied.code, "settings:write" in denied.stderr) == (5, True)
    assert "maxRunning      5" in done.stdout
    assert json.loads(shown.stdout)["retentionDays"] == 9
    assert (gone.code, [line.split() for line in gone.stdout.splitlines()]) == (
        0,
        [["maxRunning", "-"], ["maxQueued", "-"], ["dispatchWeight", "-"], ["retentionDays", "-"]],
    )
    assert nobodys.code == 3
