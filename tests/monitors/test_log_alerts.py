"""Damaged files become alerts, each once, however many there are."""

from __future__ import annotations

import pytest

from monitors.log_alerts import MOST, candidate_alerts, label_alerts, log_alerts
from monitors.watermark import Silence
from serinus.errors import InvalidSla
from serinus.evidence import InputEvidence, WorkItem
from serinus.sla import Sla


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


def test_words_that_only_the_candidate_does_not_know_are_an_alert(item: WorkItem) -> None:
    def check(version: int | None, name: str = "unknown", *, holds: bool = True) -> InputEvidence:
        told = {"input": "country", "check": name, "version": version, "rows": 900, "value": 0.3, "limit": 0.05}
        return InputEvidence.model_validate({**told, "holds": holds, "since_ms": 7, "why": "over 3 h"})

    told = (check(item.baseline), check(None, "missing"), check(item.candidate, holds=False), check(item.candidate))
    (alert,) = candidate_alerts(item, told)
    assert (alert.kind, alert.model, alert.input, alert.slice) == ("input", item.model, "country", "overall")
    assert (alert.value, alert.limit, alert.since_ms) == (0.3, 0.05, 7)
    assert f"version {item.candidate}" in alert.text
    assert "unknown 0.3, limit 0.05" in alert.text
    assert candidate_alerts(item, told[:3]) == ()


def test_early_labels_come_before_mature_ones() -> None:
    text = "model: ads\ntasks:\n  click: {label_window_s: 600, early_window_s: %d, absent: negative}\n"
    assert Sla.from_yaml(text % 600).tasks["click"].early_window_s == 600
    with pytest.raises(InvalidSla, match="early_window_s is 3600, longer than label_window_s, 600"):
        Sla.from_yaml(text % 3600)
