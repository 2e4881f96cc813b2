"""The whole workflow, on a real engine that lives as long as this test."""

from pathlib import Path

from maestro.testing.workflow import run_workflow

DISPATCH = Path(__file__).parents[1] / "dispatch.yaml"


def test_an_order_is_picked_priced_and_labelled():
    order = {"order_id": "4711", "lines": [{"sku": "book", "quantity": 2}]}

    result = run_workflow(DISPATCH, order, imports=["warehouse"])

    assert result.ok
    assert result.steps["pick"].output == {"order": "4711", "articles": 2, "grams": 840}
    assert result.output["cents"] == 649
    assert "Picked." in result.logs
