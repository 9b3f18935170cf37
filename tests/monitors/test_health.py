"""The health of what is stable, on simulated weeks: silent when well, raised on decay, resolved after, exact."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import expit

from monitors.health import Health
from monitors.health_checks import Finding
from monitors.health_counts import HOUR_MS, HealthCounts
from monitors.references import Reference
from monitors.rows import Scored
from monitors.watch import SET_ASIDE_TURNS, Watch
from serinus.baseline import Baseline
from serinus.evidence import HealthAlert, Watched
from serinus.ids import uuid7
from serinus.records import LabelRow, PredictionRow, Score
from serinus.routes import PackageRef
from serinus.sla import Sla
from serinus.training.baseline import baseline_of
from serinus.training.metrics import quality

T0 = 20_000 * 86_400_000
SLA = Sla.model_validate(
    {
        "model": "ads",
        "tasks": {"click": {"label_window_s": 3600, "absent": "negative"}},
        "slices": {"country": ["BR", "DE"]},
        "health": {"log_loss": None},
    }
)
Hour = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any], np.ndarray[Any, Any]]


def hour_of(rng: np.random.Generator, hour: int, *, noise: float = 0.0, rows: int = 400) -> Hour:
    """(Users, countries, labels, scores): daily cycles, a shock for every hour and day that the scores know in part.

    `noise`: how far the scores fall behind, half by one number for everybody they know nothing of."""
    day = 0.6 + 0.4 * np.sin(2 * np.pi * ((hour % 24) - 6) / 24)
    n = max(40, int(rows * day))
    user = rng.integers(0, 400, n)
    shock = np.random.default_rng(hour).normal(0, 0.15) + np.random.default_rng(hour // 24 + 10**7).normal(0, 0.1)
    known = -1.5 + np.random.default_rng(7).normal(size=400)[user] + rng.normal(size=n)
    y = (rng.random(n) < expit(known + shock)).astype(float)
    return user, user % 2, y, expit(known + noise * rng.normal(size=n))


@pytest.fixture(scope="module")
def reference() -> Reference:
    rng = np.random.default_rng(1)
    hours = [hour_of(rng, T0 // HOUR_MS - 24 * 14 + at) for at in range(24 * 14)]
    y, p = (np.concatenate([hour[at] for hour in hours]) for at in (2, 3))
    country = np.array(["BR", "DE"], object)[np.concatenate([hour[1] for hour in hours])]
    told = baseline_of([], {"x": y}, {"click": y}, {"click": p}, lambda _, labels, s: quality(labels, s).as_dict())
    for place in ("BR", "DE"):
        at = country == place
        told["tasks"]["click"]["slices"][f"country={place}"] = quality(y[at], p[at]).as_dict()
    return Reference(3, "digest", Baseline.of_json(json.dumps(told).encode()))


def run(reference: Reference, hours: int, noise: Callable[[int], float], seed: int, path: Path | None = None) -> list[
    tuple[int, frozenset[str]]
]:  # fmt: skip
    """(Hour, keys of the alerts) at each hour; with `path` the state is saved and loaded after each."""
    rng = np.random.default_rng(seed)
    health = begin(reference)
    looks = []
    for at in range(hours):
        user, country, y, p = hour_of(rng, T0 // HOUR_MS + at, noise=noise(at))
        event_ms = np.full(len(y), T0 + at * HOUR_MS)
        rows = Scored(event_ms, user.astype(np.uint64), y, p, country[:, None].astype(np.int64))
        health.tasks["click"].add(rows, rows, [2])
        until_ms = T0 + (at + 1) * HOUR_MS
        health.raised = health._quality(until_ms + HOUR_MS)
        health.at_ms = until_ms
        looks.append((at, frozenset(health.raised)))
        if path is not None:
            health.save(path)
            fresh = begin(reference)
            fresh.load(path)
            assert (fresh.raised, fresh.last_ms) == (health.raised, health.last_ms)
            health = fresh
    return looks


def begin(reference: Reference) -> Health:
    watched = Watched(model="ads", sla=SLA, stable=3, package=None)
    tasks = {"click": HealthCounts.empty(SLA, "click", reference.baseline)}
    reader: Any = None
    return Health(watched, SLA, reference, reader, T0, tasks, None)


def test_a_healthy_fortnight_is_silent(reference: Reference) -> None:
    assert {keys for _, keys in run(reference, 24 * 14, lambda _: 0.0, seed=2)} == {frozenset()}


def test_a_silent_decay_is_raised_once_kept_and_resolved(reference: Reference) -> None:
    """The scores lose most of what they knew from the fifth day to the eighth."""
    looks = run(reference, 24 * 18, lambda at: 3.0 if 96 <= at < 192 else 0.0, seed=3)
    day = [at for at, keys in looks if "click / overall / auc / 24 h" in keys]
    assert 96 <= day[0] < 96 + 24
    assert day == list(range(day[0], day[-1] + 1))  # raised once, kept without a gap
    assert 192 + 24 <= day[-1] < 192 + 48  # the day after the last hour that would have raised it
    assert looks[95][1] == frozenset()
    assert looks[-1][1] == frozenset()  # a week later it is forgotten
    assert any("country=BR" in key for _, keys in looks for key in keys)


def drifting(psi: float | None) -> Callable[..., Any]:
    """The look of one hour, whose only finding is the index of the scores; None: too few answers to say."""
    limit = 0.25

    def found(*_: Any) -> Any:
        if psi is not None:
            yield Finding("scores", 24, psi, psi, limit, psi > limit, psi <= limit, f"{psi}")

    return found


def alerted(reference: Reference, values: list[float | None], monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether the index of the scores is an alert after each hour."""
    health, looks = begin(reference), []
    for at, psi in enumerate(values):
        monkeypatch.setattr("monitors.health.findings", drifting(psi))
        health.raised = health._quality(T0 + at * HOUR_MS)
        looks.append("click / overall / scores / 24 h" in health.raised)
    return looks


def test_what_crosses_its_limit_every_day_is_one_alert(reference: Reference, monkeypatch: pytest.MonkeyPatch) -> None:
    week: list[float | None] = [0.3 if at % 24 in (9, 10, 11) else 0.2 for at in range(24 * 7)]
    looks = alerted(reference, [*week, *[0.2] * 48], monkeypatch)
    last = 24 * 6 + 11
    assert looks == [9 <= at < last + 24 for at in range(len(looks))]


def test_hours_that_say_nothing_neither_raise_an_alert_nor_end_one(
    reference: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = alerted(reference, [None, 0.3, *[None] * 48, 0.2, None], monkeypatch)
    assert looks == [False, *[True] * 49, False, False]


def test_a_restart_at_every_hour_changes_nothing(reference: Reference, tmp_path: Path) -> None:
    noise = lambda at: 3.0 if at > 30 else 0.0  # noqa: E731
    straight = run(reference, 60, noise, seed=4)
    stopped = run(reference, 60, noise, seed=4, path=tmp_path / "ads.state")
    assert straight == stopped
    assert straight[-1][1]
    data = bytearray((tmp_path / "ads.state").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "ads.state").write_bytes(bytes(data))
    with pytest.raises(ValueError, match="damaged"):
        begin(reference).load(tmp_path / "ads.state")


def test_few_labels_raise_nothing(reference: Reference) -> None:
    rng = np.random.default_rng(5)
    health = begin(reference)
    n = 90
    rows = Scored(
        np.full(n, T0), np.arange(n).astype(np.uint64), rng.permutation(np.arange(n) % 2).astype(float),
        rng.random(n), np.zeros((n, 1), np.int64),
    )  # fmt: skip
    health.tasks["click"].add(rows, rows, [2])
    assert health._quality(T0 + 2 * HOUR_MS) == {}


def test_counts_are_of_the_rows_whatever_their_order(reference: Reference) -> None:
    rng = np.random.default_rng(6)
    user, country, y, p = hour_of(rng, T0 // HOUR_MS)
    event_ms = T0 + rng.integers(0, 3 * HOUR_MS, len(y))
    rows = Scored(event_ms, user.astype(np.uint64), y, p, country[:, None].astype(np.int64))
    one, two = (HealthCounts.empty(SLA, "click", reference.baseline) for _ in range(2))
    one.add(rows, rows, [2])
    order = rng.permutation(len(y))
    for part in np.array_split(order, 3):
        two.add(rows.take(part), rows.take(part), [2])
    assert all(one.state()[name].tobytes() == array.tobytes() for name, array in two.state().items())
    assert sum(int(each[0].sum()) for each in one.hist.values()) == len(y)


def test_the_logs_are_looked_at_whichever_arm_answered(tmp_path: Path, write_log: Callable[..., None]) -> None:
    rng = np.random.default_rng(7)
    rows: list[PredictionRow | LabelRow] = []
    for at in range(300):
        identity = uuid7(T0 + at * 10_000, rng.bytes(10)).bytes
        arm = ("stable", "control", "shadow", "canary")[at % 4]
        version = 4 if arm == "canary" else 3
        score = Score("click", 0.5, version, "stable" if at == 5 else "")
        rows.append(PredictionRow(identity, 0, arm, "u", "r", 1, [score], {"country": "BR"}, 1))  # type: ignore[arg-type]
        rows.append(LabelRow(identity, 0, "click", float(at % 3 == 0), T0 + at * 10_000 + 1_000))
    write_log(tmp_path / "log", "ads", rows)
    watch = Watch(tmp_path / "log", tmp_path / "state")
    watched = Watched(model="ads", sla=SLA, stable=3, package=PackageRef(digest="d", uri="file:///nowhere"))
    watch.take_on([watched])
    assert watch.alerts() is None  # nothing was looked at yet
    assert watch.look({"ads": T0 + 3 * HOUR_MS}, most=500) == 24 * 7
    counts = watch.models["ads"].tasks["click"]
    mine = [at for at in range(300) if at % 4 != 3 and at != 5]
    assert counts.sums[T0 // HOUR_MS][0, :2].tolist() == [len(mine), sum(at % 3 == 0 for at in mine)]
    assert watch.alerts() == ()
    watch.save()
    again = Watch(tmp_path / "log", tmp_path / "state")
    again.take_on([watched])
    assert again.look({"ads": T0 + 4 * HOUR_MS}, most=500) == 1
    other = watched.model_copy(update={"stable": 4})
    again.take_on([other])
    assert again.look({"ads": T0 + 4 * HOUR_MS}, most=500) == 24 * 7


def test_a_model_that_cannot_be_looked_at_is_told_and_what_was_raised_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(tmp_path / "log", tmp_path / "state")
    watch.take_on([Watched(model=name, sla=SLA, stable=3) for name in ("ads", "bids")])
    marks = {"ads": T0, "bids": T0}
    watch.look(marks, most=500)
    known = HealthAlert(key="k", model="ads", kind="health", text="t")
    watch.models["ads"].raised["k"] = known
    healthy = Health.look

    def look(health: Health, watermark_ms: int) -> bool:
        if health.watched.model == "ads":
            raise PermissionError(13, "Permission denied", "/log/ads")
        return healthy(health, watermark_ms)

    monkeypatch.setattr(Health, "look", look)
    for _ in range(2 * SET_ASIDE_TURNS + 2):
        watch.look(marks)
        alerts = watch.alerts()
        assert alerts is not None
        assert [each.key for each in alerts] == ["k", "log:ads:looks: the stable version"]
        assert "Permission denied: '/log/ads'" in alerts[1].text
    monkeypatch.undo()
    for _ in range(SET_ASIDE_TURNS):
        watch.look(marks, most=500)
    assert watch.alerts() == ()
