"""The loop: ask the controller what is wanted, follow the logs, post what was found.

One exchange does both. Evidence stays here until the controller has answered for it, and only then is a checkpoint
written: whatever is killed in between is computed again from the logs, to the same bytes.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
from pydantic import ValidationError

from monitors.counting import Counting
from monitors.follower import Follower
from monitors.jobs import JobDesk
from monitors.log_alerts import candidate_alerts, label_alerts, log_alerts, stuck_alert
from monitors.settings import Settings
from monitors.shards import RayShards, Shards
from monitors.token_file import TokenFile
from monitors.watch import Watch
from monitors.watermark import Watermark, read_marks
from serinus.errors import SerinusError, Unavailable, from_problem
from serinus.evidence import Evidence, HealthAlert, MonitorReport, MonitorWork

_log = logging.getLogger(__name__)

LOOKS_PER_EXCHANGE = 24
BUSY_S, PROGRESS_S, IDLE_S = 0.0, 0.1, 0.5
"""Pauses between exchanges: more is ready already; something came; nothing came."""
FIRST_BACK_OFF_S, LAST_BACK_OFF_S = 0.2, 5.0
SAVE_EVERY_S = 5.0
TIMEOUT_S = 30.0
SET_ASIDE_S = 30.0


@dataclass(slots=True)
class Monitor:
    """`pending`: looks that the controller has not answered for; `clock`: wall time, Unix seconds.

    `aside`: rollouts that could not be followed, and until when (wall time) they are left alone: without evidence their
    rollout holds, and the others go on. `stuck`: rollout -> what is told of it until a look at it goes well. `desk`:
    long work, done by another process meanwhile. `watch`: health of what is stable."""

    settings: Settings
    http: httpx.Client
    clock: Callable[[], float] = time.time
    followers: dict[str, Follower] = field(default_factory=dict)
    watermarks: dict[str, Watermark] = field(default_factory=dict)
    pending: list[Evidence] = field(default_factory=list)
    aside: dict[str, float] = field(default_factory=dict)
    stuck: dict[str, HealthAlert] = field(default_factory=dict)
    desk: JobDesk = field(init=False)
    watch: Watch = field(init=False)
    shards: Shards | None = None
    counting: Counting = field(init=False)
    _saved_at: float = 0.0

    def __post_init__(self) -> None:
        self.desk = JobDesk(self.settings.log, self.settings.state)
        self.watch = Watch(self.settings.log, self.settings.state)
        self.counting = Counting(lambda: (self.watermarks, self.followers))

    @classmethod
    def of(cls, settings: Settings) -> Monitor:
        auth = TokenFile(settings.token_file)
        http = httpx.Client(base_url=settings.api, auth=auth, timeout=TIMEOUT_S, trust_env=False)
        shards = RayShards(settings.log, settings.shards, settings.ray) if settings.shards > 1 else None
        return cls(settings, http, shards=shards)

    def run(self, stopped: Callable[[float], bool]) -> None:
        """Go on until `stopped(seconds)`, which waits that long unless it is told to stop, says True."""
        back_off = FIRST_BACK_OFF_S
        pause = BUSY_S
        while not stopped(pause):
            try:
                looks = self.turn()
            except SerinusError as error:
                _log.warning("%s; again in %.1f s", error.detail, back_off)
                pause, back_off = back_off, min(2 * back_off, LAST_BACK_OFF_S)
                continue
            back_off = FIRST_BACK_OFF_S
            pause = BUSY_S if looks >= LOOKS_PER_EXCHANGE else PROGRESS_S if looks else IDLE_S
        self.save()
        self.desk.close()
        if self.shards is not None:
            self.shards.close()

    def turn(self) -> int:
        """One exchange, and then up to LOOKS_PER_EXCHANGE looks. Returns how many were made.

        Raises SerinusError when the controller cannot be reached or refuses; nothing is lost by that."""
        self._measure()
        marks = {name: mark.value_ms for name, mark in self.watermarks.items() if mark.value_ms is not None}
        report = MonitorReport(
            monitor=self.settings.name,
            watermarks_ms=marks,
            evidence=tuple(self.pending),
            alerts=self._alerts(),
            jobs=self.desk.reports(),
            free=self.desk.free,
        )
        work = self._exchange(report)
        self.desk.take_on(work.jobs)
        for evidence in self.pending:
            if follower := self.followers.get(evidence.rollout):
                follower.posted_ms = evidence.tick_ms
        self.pending = []
        if self.clock() - self._saved_at >= SAVE_EVERY_S:
            self.save()
        self._take_on(work)
        self.watch.take_on(work.watched)
        looks = self._look(LOOKS_PER_EXCHANGE)
        marks = {name: mark.value_ms for name, mark in self.watermarks.items() if mark.value_ms is not None}
        self.watch.look(marks)
        return looks

    def _alerts(self) -> tuple[HealthAlert, ...] | None:
        """All that are raised now; None as long as nobody could look."""
        found = self.watch.alerts()
        if found is None:
            return None
        silent = [label_alerts(model, mark.silences) for model, mark in self.watermarks.items()]
        corrupt: dict[str, set[str]] = {}
        for follower in self.followers.values():
            corrupt.setdefault(follower.item.model, set()).update(follower.assessor.whole.corrupt)
        damaged = [log_alerts(model, names) for model, names in corrupt.items()]
        strange = [candidate_alerts(follower.item, follower.checks) for follower in self.followers.values()]
        return (*found, *self.stuck.values(), *itertools.chain.from_iterable((*silent, *damaged, *strange)))

    def save(self) -> None:
        """Write the checkpoint of every rollout whose looks have all arrived."""
        waiting = {evidence.rollout for evidence in self.pending}
        for rollout, follower in self.followers.items():
            if rollout not in waiting:
                try:
                    follower.save()
                except OSError as error:  # what it would have saved is computed again after a restart
                    _log.error("the checkpoint of rollout %s cannot be written: %s", rollout, error)
        self.watch.save()
        self._saved_at = self.clock()

    def _take_on(self, work: MonitorWork) -> None:
        wanted = {item.rollout: item for item in work.rollouts}
        for gone in self.followers.keys() - wanted.keys():
            self.followers.pop(gone).path.unlink(missing_ok=True)
        self.aside = {rollout: until for rollout, until in self.aside.items() if until > self.clock()}
        self.stuck = {rollout: alert for rollout, alert in self.stuck.items() if rollout in wanted}
        for rollout, item in wanted.items():
            if rollout not in self.followers and rollout not in self.aside:
                started = Follower.start(item, self.settings.log, self.settings.state, self.shards)
                self.followers[rollout] = started
        models = {*work.models, *(item.model for item in work.rollouts)}
        self.watermarks = {model: self.watermarks.get(model, Watermark()) for model in sorted(models)}
        for item in work.rollouts:
            self.watermarks[item.model].promise(item.sla)

    def _measure(self) -> None:
        now_ms = int(self.clock() * 1000)
        for model, watermark in self.watermarks.items():
            watermark.update(read_marks(self.settings.log, model), now_ms)

    def _look(self, most: int) -> int:
        """Looks at each rollout in turn, until nothing is due or `most` were made."""
        self._measure()
        looks = 0
        for rollout, follower in list(self.followers.items()):
            try:
                looks += self._look_at(follower, most - looks)
                self.stuck.pop(rollout, None)
            except Exception as error:  # whatever is wrong with one rollout, the others want their evidence
                _log.exception("rollout %s cannot be followed; again in %.0f s", rollout, SET_ASIDE_S)
                self.counting.failed(follower.item.model)
                self.stuck[rollout] = stuck_alert(follower.item.model, f"rollout {rollout}", error)
                self.aside[rollout] = self.clock() + SET_ASIDE_S
                del self.followers[rollout]
        return looks

    def _look_at(self, follower: Follower, most: int) -> int:
        watermark, looks = self.watermarks[follower.item.model], 0
        due, held, holds = watermark.value_ms, watermark.held, tuple(each.text for each in watermark.silences)
        began = time.perf_counter()
        while due is not None and looks < most and (evidence := follower.look(due, held, holds)) is not None:
            looks += 1
            now = time.perf_counter()
            self.counting.looked(evidence, now - began)
            began = now
            if follower.is_news(evidence):
                self.pending.append(evidence)
        return looks

    def _exchange(self, report: MonitorReport) -> MonitorWork:
        content = report.model_dump_json().encode()
        try:
            answer = self.http.post(
                "/v1/monitor/exchange", content=content, headers={"Content-Type": "application/json"}
            )
        except httpx.HTTPError as error:
            raise Unavailable(f"the controller does not answer: {error}") from error
        if answer.is_error:
            raise _refusal(answer)
        try:
            return MonitorWork.model_validate_json(answer.content)
        except ValidationError as error:
            raise Unavailable(f"the controller's answer is not what was expected: {error}") from error


def _refusal(answer: httpx.Response) -> SerinusError:
    try:
        return from_problem(answer.json())
    except (ValueError, AttributeError):
        return Unavailable(f"the controller answered {answer.status_code}")
