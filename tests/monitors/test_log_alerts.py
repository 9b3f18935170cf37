"""Damaged files become alerts, each once, however many there are."""

from __future__ import annotations

from monitors.log_alerts import MOST, label_alerts, log_alerts
from monitors.watermark import Silence


def test_each_damaged_file_is_named_once() -> None:
    alerts = log_alerts("ads", ["labels/ads/h/w1.log", "labels/ads/h/w0.log", "labels/ads/h/w1.log"])
    assert [alert.key for alert in alerts] == ["log:ads:labels/ads/h/w0.log", "log:ads:labels/ads/h/w1.log"]
    assert all(alert.kind == "log" and "damaged" in alert.text for alert in alerts)
    assert log_alerts("ads", []) == ()


def test_a_broken_disk_does_not_flood() -> None:
    alerts = log_alerts("ads", [f"labels/ads/h/{at}.log" for at in range(500)])
    assert len(alerts) == MOST + 1
    assert "480 more" in alerts[-1].text


def test_a_silent_source_is_named_with_what_waits_for_it() -> None:
    (alert,) = label_alerts("ads", [Silence("crm", ("buy",), upto_ms=5_000, behind_ms=7_200_000)])
    assert (alert.key, alert.kind, alert.since_ms, alert.value) == ("labels:ads:crm", "labels", 5_000, 7_200.0)
    assert "crm" in alert.text
    assert "buy" in alert.text
