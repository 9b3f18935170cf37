"""Ranking weights: numbered, kept, in the route table; and heard of by every replica of a real pool within a second."""

from __future__ import annotations

from typing import Any

import pytest

from controller.routes import publish
from controller.rows import model_of
from controller.tables import Route
from controller.weights import current_weights, put_weights, weights_history
from serinus.errors import BadInput, NotFound


def put(world: Any, reason: str = "", **weights: float) -> int:
    """Sets the weights; gives the epoch of the route table."""
    with world.db.write() as session:
        model = put_weights(session, "ads", weights, reason=reason, actor="ann", now=world.now)
        publish(session, model, world.uri)
    with world.db.read() as session:
        return int(session.get(Route, "ads").epoch)


def test_weights_are_numbered_kept_and_in_the_route_table(world: Any) -> None:
    first = put(world, "sales", click=0.5)
    assert put(world, "the same", click=0.5) == first
    assert put(world) == first + 1
    with world.db.read() as session:
        told = [(row.number, row.weights, row.reason, row.actor) for row in weights_history(session, "ads", 10)]
        assert session.get(Route, "ads").body.weights == {}
    assert told == [(2, {}, "", "ann"), (1, {"click": 0.5}, "sales", "ann")]
    assert put(world, click=2.0) == first + 2
    with world.db.read() as session:
        assert session.get(Route, "ads").body.weights == current_weights(session, "ads") == {"click": 2.0}


def test_a_later_table_keeps_the_weights(world: Any) -> None:
    put(world, click=0.5)
    with world.db.write() as session:
        model = model_of(session, "ads")
        model.sla = model.sla.model_copy(update={"slices": {"country": ("BR",)}})
        assert publish(session, model, world.uri)
    with world.db.read() as session:
        assert session.get(Route, "ads").body.weights == {"click": 0.5}


def test_a_weight_of_a_task_that_no_version_has_is_refused(world: Any) -> None:
    with world.db.write() as session, pytest.raises(BadInput, match="'clik'"):
        put_weights(session, "ads", {"clik": 1.0}, reason="", actor="ann", now=1.0)
    with world.db.write() as session, pytest.raises(NotFound):
        put_weights(session, "nope", {}, reason="", actor="ann", now=1.0)
    with world.db.read() as session:
        assert weights_history(session, "ads", 10) == []
