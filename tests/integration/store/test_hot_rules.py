"""Every hot function keeps the rules that let one text run on PostgreSQL and on Citus, and names one shard (I15)."""

from __future__ import annotations

import re
from dataclasses import dataclass

import asyncpg
import pytest

from runtime.entropy import SystemEntropy
from runtime.model.ids import shard_of
from runtime.store.statements import nouns, statements

SHARDED = (
    "workflow_executions|step_executions|execution_events|execution_inbox|execution_labels|step_logs"
    "|idempotency_keys|dead_letters|blob_refs|workers|shards|map_chunks|human_tasks|human_task_events|human_task_people|outbox|event_feed|event_cursors"
)
# Its callers carry the settings; a set of its own would cost each of them time.
WITHOUT_SETTINGS = {"mc_feed"}
NOT_FENCED = {
    "mc_beat",
    "mc_register",
    "mc_leave",
    "mc_leave_2",
    "mc_bury",
    "mc_beat_2",
    "mc_beat_3",
    "mc_beat_4",
    "mc_next_due",
    "mc_bury_2",
    "mc_gone",
}
# Whoever accepts may offer a worker, or none: the fence comes after the shard's row, and before anything is written.
FENCED_IF_ASKED = {"mc_enqueue_2"}
# Duties over whole days, and an assignment on which nothing rests.
NOT_OF_ONE_SHARD = {"make_partitions", "drop_logs", "serving"}


@dataclass(frozen=True)
class Hot:
    """A function whose first argument is the shard."""

    name: str
    arguments: tuple[str, ...]
    settings: tuple[str, ...]
    body: str


@pytest.fixture(scope="module")
def functions(ground_run, databases):
    """All hot functions of a migrated database, comments taken out."""

    url = databases.clone()

    async def read() -> list[Hot]:
        connection = await asyncpg.connect(url)
        rows = await connection.fetch(
            "select p.proname, p.proargnames, p.proconfig, p.prosrc from pg_proc p"
            " join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'maestro'"
            " and p.proname like 'mc\\_%' and p.proargnames[1] = 'p_shard' order by 1"
        )
        await connection.close()
        return [
            Hot(
                row["proname"],
                tuple(row["proargnames"]),
                tuple(row["proconfig"] or ()),
                re.sub(r"--[^\n]*", "", row["prosrc"]).lower().replace("maestro.", ""),
            )
            for row in rows
        ]

    found = ground_run(read())
    assert {"mc_enqueue", "mc_claim_2", "mc_flush_2", "mc_due", "mc_takeover_3", "mc_beat_3"} <= {
        one.name for one in found
    }
    return found


def broken(functions, rule) -> dict[str, object]:
    """The functions that break a rule, and how."""
    return {one.name: what for one in functions if (what := rule(one))}


def test_each_table_is_read_and_changed_in_one_shard(functions):
    def unbound(hot: Hot) -> list[str]:
        found = re.findall(
            rf"(?:from|join|update|using|,)\s+({SHARDED})\s+(?:as\s+)?(\w+)", hot.body
        )
        return [
            f"{table} {alias}"
            for table, alias in found
            if not re.search(
                rf"\b{alias}\.shard = (p_shard|\w+\.shard)|\w+\.shard = {alias}\.shard", hot.body
            )
        ]

    assert broken(functions, unbound) == {}
    assert not broken(
        functions,
        lambda hot: re.findall(rf"(?:from|join|update) ({SHARDED})\s*(?:where|;|$)", hot.body),
    )


def test_an_insert_takes_its_shard_from_a_row_of_that_shard(functions):
    def wrong(hot: Hot) -> list[str]:
        found = []
        pattern = r"insert into (\w+) as \w+ \(([^)]*)\)\s+select\s+(.*?)\sfrom\s"
        for table, columns, values in re.findall(pattern, hot.body, re.DOTALL):
            place = [name.strip() for name in columns.split(",")].index("shard")
            if parts(values)[place] not in {"s.shard", "w.shard"}:
                found.append(f"{table}: {parts(values)[place]}")
        return found

    assert broken(functions, wrong) == {}
    assert not broken(
        functions, lambda hot: re.findall(r"insert into \w+ (?!as )[^\n]*", hot.body)
    ), "an insert aliases its target"


def parts(text: str) -> list[str]:
    """A select list, divided at the commas outside of brackets."""
    found, depth = [""], 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return [one.strip() for one in found]


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"with\s+\w+\s+as\s*\(\s*insert", "an insert inside a CTE"),
        (r"clock_timestamp|statement_timestamp|current_timestamp", "a clock that is not now()"),
        (r"(?<!pg_catalog\.)(?<!\w)now\(\)", "now() of whatever the search path names"),
        (r"coalesce\(e\.started_at", "least(started_at, now()) is the same and runs on Citus"),
        (r"nextval|generated", "a sequence"),
        (r"\blisten\b|\bnotify\b", "heard only on the node where it was sent"),
    ],
)
def test_what_no_body_may_hold(functions, pattern, why):
    assert broken(functions, lambda hot: re.findall(pattern, hot.body)) == {}, why


def test_no_plan_scans_a_table(functions):
    def scans(hot: Hot) -> bool:
        return hot.name not in WITHOUT_SETTINGS and "enable_seqscan=off" not in hot.settings

    assert broken(functions, scans) == {}


def test_an_update_joined_to_arrays_names_the_ids_too(functions):
    def bare(hot: Hot) -> list[str]:
        updates = re.findall(r"update workflow_executions.*?;", hot.body, re.DOTALL)
        return [one for one in updates if "unnest(" in one and "= any (" not in one]

    assert broken(functions, bare) == {}


def test_who_claims_or_commits_is_fenced_first(functions):
    def unfenced(hot: Hot) -> bool:
        begin = re.split(r"\bbegin\b", hot.body, maxsplit=1)[-1].strip()
        fence = (
            "perform 1 from workers w where w.shard = p_shard and w.id = p_me and w.epoch = p_epoch "
            "for key share"
        )
        is_owner = {"p_me", "p_epoch"} <= set(hot.arguments)
        if hot.name in FENCED_IF_ASKED:
            return fence not in re.split(r"\b(?:insert|update|delete)\b", begin, maxsplit=1)[0]
        return is_owner and hot.name not in NOT_FENCED and not begin.startswith(fence)

    assert broken(functions, unfenced) == {}


# As soon as the planner makes it the inner side of a nested loop, such a subquery is run once for each row outside.
TAKEN_AGAIN = (
    r"\b(?:update \w+ \w+ set[^;]*?\bfrom|delete from[^;]*?\busing)\s*\(\s*select[^;]*?\bfor update"
)


def test_what_takes_so_many_rows_takes_them_once(functions):
    """PostgreSQL's manual, SELECT, The Locking Clause: rows are locked as they are fetched; a CTE is fetched once."""
    found = broken(functions, lambda hot: re.findall(TAKEN_AGAIN, hot.body))
    assert found == {}
    for noun in nouns():
        for name, text in statements(noun).items():
            assert not re.search(TAKEN_AGAIN, text.lower()), f"{noun}.{name}"


def test_each_statement_that_calls_a_hot_function_names_its_shard_first(functions):
    names = {one.name for one in functions}
    called = set()
    for noun in nouns():
        for name, text in statements(noun).items():
            for function, first in re.findall(r"\b(mc_\w+)\(([^,)]*)", text):
                if function in names:
                    called.add(function)
                    assert first == "$1", f"{noun}.{name}"
    assert {"mc_enqueue_2", "mc_beat_4", "mc_send_3", "mc_chunk_take"} <= called


def test_each_statement_of_an_engine_names_one_shard():
    for noun in ("execution", "enqueue", "checkpoint", "map_chunk"):
        for name, text in statements(noun).items():
            if name in NOT_OF_ONE_SHARD or re.search(r"\bmc_\w+\(\$1", text):
                continue
            for table, alias in re.findall(rf"\b({SHARDED}) (\w+)", text):
                assert f"{alias}.shard = $1" in text, f"{noun}.{name}: {table}"


async def test_slot_and_shard_of_an_id_are_the_same_in_python_and_in_sql(database_url):
    entropy = SystemEntropy()
    ids = [entropy.uuid7(1_700_000_000_000 + n, entropy.bits(12)) for n in range(500)]
    connection = await asyncpg.connect(database_url)
    for total in (1, 2, 4, 8, 64, 4096):
        rows = await connection.fetch(
            "select maestro.mc_shard(x, $2) as shard from unnest($1::uuid[]) x", ids, total
        )
        assert [row["shard"] for row in rows] == [shard_of(one, total) for one in ids]
    await connection.close()
