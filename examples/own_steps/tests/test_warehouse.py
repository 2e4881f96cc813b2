"""The steps of the warehouse, run one by one as a worker runs them, without a server."""

from warehouse.carrier import Carrier
from warehouse.labels import label
from warehouse.picking import Order, pick

from maestro.testing import make_context, run_step

ORDER = {"id": "4711", "lines": [{"sku": "book", "quantity": 2}, {"sku": "lamp", "quantity": 1}]}


def test_picking_adds_up_the_weight_and_shows_its_progress():
    result = run_step(pick, ORDER)

    assert result.unwrap() == {"order": "4711", "articles": 3, "grams": 2_740}
    assert result.heartbeats == ({"line": 1, "of": 2}, {"line": 2, "of": 2})
    assert result.logs[0].message == "Picked."


def test_an_order_without_lines_never_reaches_the_step():
    result = run_step(pick, {"id": "4711", "lines": []})

    assert result.error is not None
    assert result.error.type == "input.invalid"
    assert "lines" in result.error.message


def test_an_unknown_article_is_not_tried_again():
    result = run_step(pick, {"id": "4711", "lines": [{"sku": "cat", "quantity": 1}]})

    assert result.error is not None
    assert result.error.type == "UnknownArticle"
    assert result.error.kind == "permanent"


def test_picking_stops_when_the_execution_is_cancelled():
    result = run_step(pick, ORDER | {"seconds_per_line": 60}, cancel_after=0.1)

    assert result.error is not None
    assert result.error.kind == "cancelled"


def test_a_repeated_attempt_makes_the_same_label():
    first = run_step(label, {"order": "4711", "grams": 10}, attempt=1)
    second = run_step(label, {"order": "4711", "grams": 10}, attempt=2)

    assert first.unwrap() == second.unwrap()


def test_the_carrier_knows_its_prices():
    assert run_step(Carrier, {"grams": 2_740}).unwrap() == {"product": "parcel", "cents": 649}
    assert run_step(Carrier, {"grams": 999_999}).error.type == "TooHeavy"


def test_a_decorated_function_is_still_a_function():
    order = Order(id="1", lines=[{"sku": "book", "quantity": 1}], seconds_per_line=0)

    assert pick(order, make_context()).grams == 420
