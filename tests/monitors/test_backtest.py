"""Past weeks, written as the serving writes them, replayed by today's guards."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom
from sklearn.metrics import roc_auc_score

from monitors import backtest
from monitors.backtest import false_bound, run
from monitors.columns import CANARY, CONTROL, SHADOW
from monitors.injection import damages_of, parse
from monitors.log import LogReader
from monitors.rehearsal import BASELINE, CANDIDATE, DAY_MS, Cast, Damage, Past, Rehearsal
from monitors.survey import auc_of, closed, survey
from serinus.errors import BadInput
from serinus.ids import uuid7
from serinus.jobs import Job
from serinus.records import LabelRow, PredictionRow, Score
from serinus.sla import Sla

START = 400 * DAY_MS
DAYS, PER_DAY = 14, 1_600
END = START + DAYS * DAY_MS
SLA = {
    "model": "ads",
    "tasks": {"click": {"label_window_s": 3600, "absent": "negative"}},
    "slices": {"country": "auto"},
    "tick_s": 21_600,
    "freeze_scores": 500,
}


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two weeks of one model; in the second one a version 2, no better and no worse, is shadowed by rollout r0."""
    from serinus.records import MAGIC, encode_row, hour_of, log_folder

    root, pick = tmp_path_factory.mktemp("log"), random.Random(5)
    files: dict[Path, list[bytes]] = {}
    for number in range(DAYS * PER_DAY):
        event_ms = START + number * DAY_MS // PER_DAY
        at, taste = uuid7(event_ms, number.to_bytes(10, "big")).bytes, pick.gauss(0, 1)
        truth = 1.3 * taste - 1.2
        rest: dict[str, Any] = {"entity": f"u{pick.randrange(900)}", "epoch": 1, "latency_us": 5}
        rest |= {"slices": {"country": pick.choice(["BR", "DE"])}, "index": 0, "id": at}
        p, q = (1 / (1 + math.exp(-truth - pick.gauss(0, 0.3))) for _ in range(2))
        second = event_ms >= START + 7 * DAY_MS
        rows: list[Any] = [PredictionRow(arm="stable", rollout="r0" * second, scores=[Score("click", p, 1)], **rest)]
        if second:
            rows.append(PredictionRow(arm="shadow", rollout="r0", scores=[Score("click", q, 2)], **rest))
        if pick.random() < 1 / (1 + math.exp(-truth)):
            rows.append(LabelRow(at, 0, "click", 1.0, event_ms + 600_000))
        for row in rows:
            kind = "labels" if isinstance(row, LabelRow) else "predictions"
            path = log_folder(root, kind, "ads", hour_of(event_ms)) / "w0.log"  # type: ignore[arg-type]
            files.setdefault(path, [MAGIC]).append(encode_row(row))
    for path, frames in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(frames))
    return root


def job_of(**params: Any) -> Job:
    told = {"sla": SLA, "watermark_ms": END, "weeks": 2, "days": 7, "starts": 2, "repeats": 1, **params}
    return Job(id="b", kind="backtest", model="ads", params=told)


def quiet(_done: float, _said: str) -> None:
    return


def line(result: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in result["scenarios"] if each["name"] == name)


def test_what_is_no_worse_stays_and_what_is_worse_is_found_in_its_slice(log: Path, tmp_path: Path) -> None:
    past = {"id": "r0", "baseline": 1, "candidate": 2, "start_ms": START + 7 * DAY_MS}
    told: list[float] = []
    result = run(
        job_of(rollouts=[past], inject=["auc:0.15", "calibration:1.8@click", "failures:0.2", "auc:0.2@country=BR"]),
        log,
        tmp_path,
        lambda done, _: told.append(done),
    )
    assert told == sorted(told)
    assert [(each["name"], each["null"]) for each in result["scenarios"][:2]] == [("twin", True), ("swap", True)]
    assert (line(result, "twin")["judged"], line(result, "twin")["rolled_back"]) == (2, 0)
    assert (line(result, "swap")["judged"], line(result, "swap")["rolled_back"]) == (1, 0)  # one start has its rows
    false = result["false_rollbacks"]
    assert (false["count"], false["of"]) == (0, 3)
    for name, culprit in (
        ("auc:0.15", "click / overall / auc"),
        ("calibration:1.8@click", "click / overall / calibration"),
        ("failures:0.2", "click / overall / failures"),
        ("auc:0.2@country=BR", "click / country=BR / auc"),
    ):
        found = line(result, name)
        assert (found["judged"], found["rolled_back"]) == (2, 2), name
        assert culprit in found["culprits"], name
        assert 0 < found["days"][0] <= found["days"][1] <= found["days"][2] < 7
        assert 0 < found["labels"] <= 7 * PER_DAY


def test_a_backtest_that_was_ended_goes_on_where_it_was(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[str] = []
    real = backtest.play

    def play(sla: Any, scenario: Any, span: Any, reader: Any) -> Any:
        if len(played) == 2:
            raise SystemExit(143)
        played.append(scenario.name)
        return real(sla, scenario, span, reader)

    monkeypatch.setattr(backtest, "play", play)
    job = job_of(inject=["auc:0.15"], weeks=1, days=2)
    with pytest.raises(SystemExit):
        run(job, log, tmp_path, quiet)
    assert played == ["twin", "twin"]
    monkeypatch.setattr(backtest, "play", lambda sla, scenario, *rest: played.append("") or real(sla, scenario, *rest))
    resumed = run(job, log, tmp_path, quiet)
    assert len(played) == 4
    (tmp_path / "anew").mkdir()
    assert run(job, log, tmp_path / "anew", quiet) == resumed


@pytest.fixture
def reader(log: Path) -> LogReader:
    return LogReader(log, "ads", ("country",))


def test_a_rehearsal_is_the_same_however_it_is_cut(reader: LogReader) -> None:
    cast = Cast(3, canary_bp=2_000, noise={"click": 0.4}, binary=frozenset({"click"}))
    rehearsal = Rehearsal(reader, cast)
    whole, _ = rehearsal.predictions(START, START + DAY_MS)
    parts = [rehearsal.predictions(START + at, START + at + DAY_MS // 4)[0] for at in range(0, DAY_MS, DAY_MS // 4)]

    def seen(rows: Any) -> set[tuple[Any, ...]]:
        return set(
            zip(*(getattr(rows, name).tolist() for name in ("high", "low", "version", "arm", "value")), strict=True)
        )

    assert seen(whole) == set().union(*map(seen, parts))
    assert len(whole) == 2 * PER_DAY
    a, b = whole.take(whole.version == BASELINE), whole.take(whole.version == CANDIDATE)
    assert np.isin(b.arm, (CANARY, SHADOW)).all()
    share = (b.arm == CANARY).mean(), (a.arm == CONTROL).mean(), (a.arm == SHADOW).mean()
    assert share == pytest.approx((0.2, 0.2, 0.2), abs=0.06)
    assert set(a.entity[a.arm == CONTROL]).isdisjoint(b.entity[b.arm == CANARY])
    since, _ = Rehearsal(reader, cast, START + DAY_MS // 2).predictions(START, START + DAY_MS)
    assert since.event_ms.min() >= START + DAY_MS // 2


def test_the_damage_is_as_large_as_it_was_asked_for(reader: LogReader) -> None:
    sla = closed(Sla.model_validate(SLA), reader, END)
    seen = survey(reader, sla, (START, END), (), quiet)
    task = seen.tasks["click"]
    assert task.auc == pytest.approx(roc_auc_score(task.y, task.p))
    assert seen.answers == pytest.approx(PER_DAY, rel=0.02)
    assert task.slices["overall"].labels == pytest.approx(PER_DAY, rel=0.02)
    halves = task.slices["country=BR"].labels + task.slices["country=DE"].labels
    assert halves == pytest.approx(task.slices["overall"].labels)
    (damage,) = damages_of(parse("auc:0.1", sla), seen, sla)
    rehearsal = Rehearsal(reader, Cast(damages=(damage,)))
    rows, _ = rehearsal.predictions(START, END)
    labels, _ = reader.labels(START, END)
    positive = set(zip(labels.high.tolist(), labels.low.tolist(), strict=True))
    aucs = []
    for version in (BASELINE, CANDIDATE):
        mine = rows.take(rows.version == version)
        y = np.array([key in positive for key in zip(mine.high.tolist(), mine.low.tolist(), strict=True)], float)
        aucs.append(auc_of(mine.value, y))
    assert aucs[0] - aucs[1] == pytest.approx(0.1, abs=0.012)  # three standard errors of 22,400 rows
    scaled, _ = Rehearsal(reader, Cast(damages=(Damage(scale=1.3),))).predictions(START, START + DAY_MS)
    ratio = scaled.value[scaled.version == CANDIDATE].sum() / scaled.value[scaled.version == BASELINE].sum()
    assert ratio == pytest.approx(1.3, rel=0.03)  # a few were 1 already


def test_names_are_swapped_by_the_day_and_nothing_else_changes(reader: LogReader) -> None:
    pasts = (Past("r0", 1, 2),)
    versions = set()
    for seed in range(6):
        rows, _ = Rehearsal(reader, Cast(seed, "swap", pasts=pasts)).predictions(START, END)
        assert len(rows) == 2 * 7 * PER_DAY
        day = rows.event_ms // DAY_MS
        stable = rows.arm != SHADOW
        for each in np.unique(day):
            names = np.unique(rows.version[stable & (day == each)])
            assert len(names) == 1
            versions.add((int(each), int(names[0])))
    assert len(versions) > 10  # both names on most of the 7 days


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("auc", "no regression"),
        ("auc:-1", "no regression"),
        ("nonsense:1", "no regression"),
        ("auc:0.1@buy", "neither a task nor"),
        ("auc:0.1@country=XX", "neither a task nor"),
        ("auc:0.45@click", "cannot fall"),
        ("loss:0.1", "no task"),
    ],
)
def test_an_injection_that_cannot_be_is_refused_by_what_is_wrong(
    log: Path, tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        run(job_of(inject=[text], weeks=1), log, tmp_path, quiet)


def test_without_logs_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no mature label"):
        run(job_of(), tmp_path, tmp_path, quiet)
    with pytest.raises(BadInput, match="nobody has said"):
        run(job_of(watermark_ms=None), tmp_path, tmp_path, quiet)
    with pytest.raises(BadInput, match="weeks"):
        run(job_of(weeks=-1), tmp_path, tmp_path, quiet)


@pytest.mark.parametrize(("count", "of"), [(0, 3), (0, 60), (1, 40), (7, 9)])
def test_the_bound_is_where_so_few_become_unlikely(count: int, of: int) -> None:
    assert binom.cdf(count, of, false_bound(count, of)) == pytest.approx(0.05)
    assert false_bound(of, of) == 1.0


def test_a_regression_task_is_replayed_as_well(tmp_path: Path, write_log: Callable[..., None]) -> None:
    pick, rows = random.Random(8), []
    for number in range(8 * 400):
        event_ms = START + number * DAY_MS // 400
        at, truth = uuid7(event_ms, number.to_bytes(10, "big")).bytes, pick.gauss(20, 5)
        score = Score("minutes", truth + pick.gauss(0, 2), 1)
        rest: dict[str, Any] = {"entity": f"u{pick.randrange(300)}", "rollout": "", "epoch": 1, "latency_us": 5}
        rows.append(PredictionRow(id=at, index=0, arm="stable", scores=[score], slices={}, **rest))
        rows.append(LabelRow(at, 0, "minutes", truth, event_ms + 1))
    write_log(tmp_path, "eta", rows)
    task = {"kind": "regression", "label_window_s": 60, "absent": "unlabelled"}
    told = {
        "sla": {"model": "eta", "tasks": {"minutes": task}, "tick_s": 21_600, "freeze_scores": 400},
        "watermark_ms": START + 8 * DAY_MS,
    }
    told |= {"weeks": 8 / 7, "days": 8, "repeats": 2, "inject": ["loss:0.5"]}
    result = run(Job(id="b", kind="backtest", model="eta", params=told), tmp_path, tmp_path, quiet)
    assert (line(result, "twin")["judged"], line(result, "twin")["rolled_back"]) == (2, 0)
    assert (line(result, "loss:0.5")["judged"], line(result, "loss:0.5")["rolled_back"]) == (1, 1)
    assert "minutes / overall / loss" in line(result, "loss:0.5")["culprits"]


def test_a_multiclass_task_that_is_right_less_often_is_found(tmp_path: Path, write_log: Callable[..., None]) -> None:
    pick, rows = random.Random(9), []
    for number in range(8 * 300):
        event_ms = START + number * DAY_MS // 300
        at, truth = uuid7(event_ms, number.to_bytes(10, "big")).bytes, pick.randrange(4)
        said = truth if pick.random() < 0.8 else pick.randrange(4)
        classes = np.where(np.arange(4) == said, 0.7, 0.1).astype("<f4").tobytes()
        rest: dict[str, Any] = {"entity": f"u{pick.randrange(300)}", "rollout": "", "epoch": 1, "latency_us": 5}
        score = Score("colour", 0.7, 1, "", classes)
        rows.append(PredictionRow(id=at, index=0, arm="stable", scores=[score], slices={}, **rest))
        rows.append(LabelRow(at, 0, "colour", float(truth), event_ms + 1))
    write_log(tmp_path, "paint", rows)
    task = {"kind": "multiclass", "label_window_s": 60, "absent": "unlabelled"}
    told = {
        "sla": {"model": "paint", "tasks": {"colour": task}, "tick_s": 21_600, "freeze_scores": 400},
        "watermark_ms": START + 8 * DAY_MS,
    }
    told |= {"weeks": 8 / 7, "days": 8, "repeats": 2, "inject": ["top1:0.4"]}
    result = run(Job(id="b", kind="backtest", model="paint", params=told), tmp_path, tmp_path, quiet)
    assert (line(result, "twin")["judged"], line(result, "twin")["rolled_back"]) == (2, 0)
    assert (line(result, "top1:0.4")["judged"], line(result, "top1:0.4")["rolled_back"]) == (1, 1)
    assert any("colour / overall" in each for each in line(result, "top1:0.4")["culprits"])
