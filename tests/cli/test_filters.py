"""The filter language of lists."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from maestro_cli.errors import CliError
from maestro_cli.filters import parse_filter, parse_order

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("status:failed,running", {"status": ["FAILED", "RUNNING"]}),
        ("workflow:billing", {"workflowName": ["billing"]}),
        ("workflow:billing@2.0.0", {"workflowName": ["billing"], "version": "2.0.0"}),
        ("trigger:api", {"trigger": ["API"]}),
        (
            "tag:team=pay tag:tier=1",
            {"labels": [{"key": "team", "value": "pay"}, {"key": "tier", "value": "1"}]},
        ),
        ("key:order-17", {"idempotencyKey": "order-17"}),
        ("namespace:a,b", {"namespace": ["a", "b"]}),
        ("created:>24h", {"created": {"from": "2026-03-01T12:00:00+00:00"}}),
        ("finished:<2026-03-01T00:00:00+00:00", {"finished": {"to": "2026-03-01T00:00:00+00:00"}}),
        (
            "created:>2d created:<1d",
            {"created": {"from": "2026-02-28T12:00:00+00:00", "to": "2026-03-01T12:00:00+00:00"}},
        ),
        ('text:"card declined"', {"search": "card declined"}),
        ('tag:"owner=the team"', {"labels": [{"key": "owner", "value": "the team"}]}),
    ],
)
def test_words_become_the_graphs_filter(text, expected):
    assert parse_filter([text], NOW) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("statu:failed", "did you mean status"),
        ("status:fialed", "did you mean failed"),
        ("failed", "word:value"),
        ("created:24h", "needs > or <"),
        ("created:>soon", "neither a duration"),
        ("tag:team", "name=value"),
        ("duration:>5m", "no filter word 'duration'"),
    ],
)
def test_what_it_can_not_filter_by_is_refused(text, says):
    with pytest.raises(CliError) as caught:
        parse_filter([text], NOW)

    assert caught.value.exit_code == 2
    assert says in f"{caught.value.message} {caught.value.hint}"


def test_an_order_is_a_field_and_a_direction():
    assert parse_order("created") == {"direction": "DESC"}
    assert parse_order("created:asc") == {"direction": "ASC"}
    assert parse_order("finished") == {"field": "FINISHED_AT", "direction": "DESC"}
    assert parse_order("priority:asc") == {"field": "PRIORITY", "direction": "ASC"}
    for wrong in ("finish", "created:up", "created:"):
        with pytest.raises(CliError) as caught:
            parse_order(wrong)
        assert caught.value.exit_code == 2
