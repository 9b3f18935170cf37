"""Alerts: raised once, kept while they are reported, resolved after; shown by the API."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import select

from controller.alerts import KEPT_S, read_alerts
from controller.database import Database
from controller.exchange import keep
from controller.gates import FRESH_S
from controller.registry import put_model
from controller.tables import AlertRow, NoticeRow
from serinus.evidence import HealthAlert, MonitorReport
from tests.controller.conftest import NOW, SLA


def alert(key: str = "click / overall / auc / 24 h", model: str = "ads", value: float = 0.6) -> HealthAlert:
    return HealthAlert(key=key, model=model, kind="health", text=f"{key} is bad", value=value, limit=0.05, since_ms=5)


def report(database: Database, at: float, *alerts: HealthAlert, monitor: str = "m0", looked: bool = True) -> None:
    with database.write() as session:
        keep(session, MonitorReport(monitor=monitor, alerts=alerts if looked else None), at)


@pytest.fixture
def ads(database: Database) -> Database:
    with database.write() as session:
        put_model(session, SLA, "default", NOW)
    return database


def shown(database: Database) -> list[tuple[str, float, float | None, float | None]]:
    with database.read() as session:
        rows = read_alerts(session, "ads")
        return [(row.body.key, row.raised_at, row.resolved_at, row.body.value) for row in rows]


def test_an_alert_is_raised_once_kept_and_resolved(ads: Database, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "controller.alerts")
    report(ads, NOW, alert("a"), alert("b"))
    report(ads, NOW + 1, alert("a", value=0.5), alert("b"))
    report(ads, NOW + 2, looked=False)
    assert sorted(shown(ads)) == [("a", NOW, None, 0.5), ("b", NOW, None, 0.6)]
    report(ads, NOW + 3, alert("b"))
    assert shown(ads) == [("b", NOW, None, 0.6), ("a", NOW, NOW + 3, 0.5)]
    report(ads, NOW + 4, alert("a"), alert("b"))
    assert len(shown(ads)) == 3
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        "ads: raised: a is bad",
        "ads: raised: b is bad",
        "ads: resolved: a is bad",
        "ads: raised: a is bad",
    ]
    with ads.read() as session:
        told = [row.body for row in session.scalars(select(NoticeRow).order_by(NoticeRow.number))]
    assert [(notice.key, notice.resolved) for notice in told] == [
        ("ads a", False),
        ("ads b", False),
        ("ads a", True),
        ("ads a", False),
    ]


def test_another_monitor_resolves_only_what_a_silent_one_left(ads: Database) -> None:
    report(ads, NOW, alert("a"), monitor="m0")
    report(ads, NOW + 1, monitor="m1")
    assert shown(ads)[0][2] is None
    report(ads, NOW + 2 * FRESH_S, monitor="m1")
    assert shown(ads)[0][2] == NOW + 2 * FRESH_S


def test_alerts_of_unknown_models_and_doubles_are_ignored_and_old_ones_go(ads: Database) -> None:
    report(ads, NOW, alert("a", model="gone"), alert("b"), alert("b"))
    assert len(shown(ads)) == 1
    report(ads, NOW + 1)
    report(ads, NOW + 2 + KEPT_S)
    with ads.read() as session:
        assert session.scalars(select(AlertRow)).all() == []
