"""Pages: every item once, in order, whatever comes and goes; and ETags."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from fastapi import Response
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine, select
from sqlalchemy.orm import Session

from controller.database import Database
from controller.etags import etag, require, tell
from controller.paging import Key, Paging, page_of
from controller.tables import AuditRow
from serinus.errors import BadInput, Changed

KEYS = [Key(AuditRow.at, falling=True), Key(AuditRow.number)]


def add(session: Session, number: int, at: float) -> None:
    told = {"actor": "a", "action": "b", "subject": "c", "detail": {}, "seal": ""}
    session.add(AuditRow(number=number, at=at, **told))
    session.flush()


def walk(session: Session, limit: int) -> list[int]:
    found: list[int] = []
    cursor: str | None = None
    while True:
        page = page_of(session, select(AuditRow), KEYS, Paging(limit, cursor), lambda row: row.number)
        assert len(page.items) <= limit
        found += page.items
        if (cursor := page.next) is None:
            return found


@given(st.lists(st.sampled_from([0.1, 1.5, 2e9, 1_700_000_000.123456]), max_size=12), st.integers(1, 13))
def test_pages_are_the_list_whatever_their_size(times: list[float], limit: int) -> None:
    engine = create_engine("sqlite://")
    AuditRow.__table__.create(engine)  # type: ignore[attr-defined]
    with Session(engine) as session:
        for number, at in enumerate(times):
            add(session, number, at)
        assert walk(session, limit) == sorted(range(len(times)), key=lambda number: (-times[number], number))
    engine.dispose()


def test_what_comes_and_goes_meanwhile_moves_nothing(database: Database) -> None:
    with database.write() as session:
        for number in range(6):
            add(session, number, 1000.0 - number // 2)
        first = page_of(session, select(AuditRow), KEYS, Paging(3), lambda row: row.number)
        assert first.items == (0, 1, 2)
        add(session, 100, 2000.0)
        gone = session.get(AuditRow, 2)
        session.delete(gone)
        session.flush()
        rest = page_of(session, select(AuditRow), KEYS, Paging(9, first.next), lambda row: row.number)
        assert (rest.items, rest.next) == ((3, 4, 5), None)


@pytest.mark.parametrize(
    "values", [None, 1, [], [1], ["a", 1], [1.0, 1.5], [True, 1], [1, 2**63], [float("nan"), 1], [1, "a"], [1, 2, 3]]
)
def test_a_cursor_of_somewhere_else_is_refused(values: Any, database: Database) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps(values).encode()).decode()
    with database.read() as session, pytest.raises(BadInput, match="cursor"):
        page_of(session, select(AuditRow), KEYS, Paging(3, cursor), lambda row: row.number)


@given(st.text(max_size=40))
def test_no_text_breaks_a_list(cursor: str) -> None:
    engine = create_engine("sqlite://")
    AuditRow.__table__.create(engine)  # type: ignore[attr-defined]
    with Session(engine) as session, pytest.raises(BadInput):
        page_of(session, select(AuditRow), KEYS, Paging(3, cursor), lambda row: row.number)
    engine.dispose()


def test_a_write_is_let_through_for_what_was_read_only() -> None:
    response = Response()
    tell(response, "ads", {"b": 1, "a": 2})
    told = response.headers["etag"]
    assert told == etag("ads", {"a": 2, "b": 1}) != etag("ads", {"a": 2, "b": 3})
    for header in (None, "*", told, f'"x", {told}', f' {told} ,"y"'):
        require(header, "ads", {"a": 2, "b": 1})
    for header in ('"x"', f"W/{told}", f'W/{told}, "y"'):
        with pytest.raises(Changed):
            require(header, "ads", {"a": 2, "b": 1})
    for header in ("x", '"x', "", told[1:]):
        with pytest.raises(BadInput):
            require(header, "ads")
    with pytest.raises(Changed):
        require("*")
