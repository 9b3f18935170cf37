"""Runs the heads of one request, each within its budget.

Heads that are known to be quick run one after the other on the caller's thread, under the watchdog: that costs about
a microsecond each. Others run on threads of their own, side by side, and the caller waits for them until their budget
is over; then they are told to end and left behind. ONNX Runtime looks at that flag between the nodes of a graph: a
single long node keeps its thread until it is done, which is why a head may have two threads and no more, and why a
breaker stops to run it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import onnxruntime as ort

from serinus.routes import HeadPolicy
from serving.ask import Tensor
from serving.head import THREADS_EACH, OwnSteps, Reason
from serving.process import Process
from serving.steps import checked, repeated, run_steps
from serving.timeline import Fact, Stretch, Timeline
from serving.watchdog import ENOUGH, Watchdog

DEFAULT = HeadPolicy()


@dataclass(slots=True)
class Request:
    """One request on its way through the parts. `values`: task -> its answers; `fallen`: task -> why there are none.

    `mixed`: tensors may have one row where others have `rows`. `timeline`: who wants to know what took how long."""

    tensors: dict[str, Tensor]
    rows: int
    mixed: bool
    policy: Mapping[str, HeadPolicy]
    deadline_ns: int
    values: dict[str, Tensor] = field(default_factory=dict)
    fallen: dict[str, Reason] = field(default_factory=dict)
    timeline: Timeline | None = None

    def ran(self, began_ns: int, ended_ns: int, task: str = "") -> None:
        """The shared parts, or a task's head, have run from then to then."""
        if self.timeline is not None:
            facts: dict[str, Fact] = {"serinus.fallback": self.fallen[task]} if task in self.fallen else {}
            name = f"head {task}" if task else "encoder"
            self.timeline.stretches.append(Stretch(name, began_ns, ended_ns, facts))


class Job:
    """One run of a head on another thread; at the end it puts itself into `done`."""

    __slots__ = (
        "began_ns", "budget_ns", "clock", "cpu_ns", "done", "error", "found", "options", "own", "request", "tensors",
        "took_ns", "until_ns",
    )  # fmt: skip

    def __init__(self, own: OwnSteps, request: Request, began_ns: int, budget_ns: int, done: SimpleQueue[Job]) -> None:
        self.own, self.request, self.budget_ns, self.done = own, request, budget_ns, done
        self.began_ns = began_ns
        self.until_ns = min(began_ns + budget_ns, request.deadline_ns)
        self.clock: int | None = None
        self.tensors = {name: request.tensors[name] for name in own.reads}
        self.options: Any = ort.RunOptions()
        self.found: Tensor | None = None
        self.error: Exception | None = None
        self.took_ns = self.cpu_ns = 0

    def used(self) -> int:
        """CPU time since it began, ns."""
        return time.clock_gettime_ns(self.clock) - self.cpu_ns if self.clock is not None else 0

    def __call__(self) -> None:
        began, self.cpu_ns = time.perf_counter_ns(), time.thread_time_ns()
        self.clock = time.pthread_getcpuclockid(threading.get_ident())
        try:
            self.found = run_head(self.own, self.tensors, self.request, self.options)
        except Exception as error:  # ONNX Runtime raises classes of its own, without a common base
            self.error = error
        self.took_ns = time.perf_counter_ns() - began

    def ended(self) -> None:
        self.own.head.running.discard(self)
        self.done.put(self)


class Probe(Job):
    """A run that nobody waits for: it tells the breaker whether the head is well again."""

    __slots__ = ("watchdog", "well")

    def __init__(self, own: OwnSteps, request: Request, budget_ns: int, watchdog: Watchdog) -> None:
        super().__init__(own, request, 0, budget_ns, SimpleQueue())
        self.watchdog, self.well = watchdog, False

    def __call__(self) -> None:
        self.watchdog.later(self.options, time.perf_counter_ns() + self.budget_ns)
        super().__call__()
        self.watchdog.forget(self.options)
        self.well = self.error is None and min(self.took_ns, self.used()) <= self.budget_ns

    def ended(self) -> None:
        super().ended()
        self.own.head.breaker.probed(self.well, time.perf_counter_ns())


def run_head(own: OwnSteps, tensors: dict[str, Tensor], request: Request, options: Any) -> Tensor:
    """Answers, float32 [rows, *row_shape]; `tensors` has all that its parts gave. Raises what ONNX Runtime raises.

    ValueError when there come none of the task's kind."""
    rows = request.rows
    if request.mixed:
        rows = max([len(tensors[name]) for name in own.reads], default=rows)
    run_steps(own.steps, tensors, request.rows, request.mixed, options)
    return repeated(checked(tensors[own.output], rows, own.head.spec), request.rows)


def run_heads(heads: tuple[OwnSteps, ...], request: Request, process: Process) -> None:
    """Fill in `request.values` or `request.fallen` for each head, and what their parts gave. Raises nothing.

    `heads`: each after those that it needs. Its budget begins when these have given what it needs."""
    done: SimpleQueue[Job] = SimpleQueue()
    jobs: dict[str, Job] = {}
    todo = heads
    while True:
        waiting: dict[str, OwnSteps] = {}
        for own in todo:
            if own.needs and any(task in jobs or task in waiting for task in own.needs):
                waiting[own.head.spec.name] = own
            else:
                _start(own, request, process, jobs, done)
        if not jobs:
            return
        _await_one(request, jobs, done)
        todo = tuple(waiting.values())


def _start(own: OwnSteps, request: Request, process: Process, jobs: dict[str, Job], done: SimpleQueue[Job]) -> None:
    """Run it here, or begin to run it elsewhere, or not at all."""
    head, task = own.head, own.head.spec.name
    budget_ns = int(request.policy.get(task, DEFAULT).budget_ms * 1e6)
    now = time.perf_counter_ns()
    if own.needs and any(need in request.fallen for need in own.needs):
        _fall(own, request, "upstream")
    elif not head.breaker.closed:
        if head.breaker.wants_probe(now):
            _probe(own, request, process, budget_ns)
        _fall(own, request, "breaker")
    elif now >= request.deadline_ns:
        _fall(own, request, "deadline")
    elif head.inline(request.rows, budget_ns):
        _inline(own, request, process.watchdog, now, budget_ns)
    elif len(head.running) >= THREADS_EACH:
        head.breaker.failed(now)
        _fall(own, request, "busy")
    else:
        job = Job(own, request, now, budget_ns, done)
        head.running.add(job)
        if process.workers.start(job):
            jobs[task] = job
        else:
            head.running.discard(job)
            _fall(own, request, "busy")


def _inline(own: OwnSteps, request: Request, watchdog: Watchdog, began: int, budget_ns: int) -> None:
    head = own.head
    error: Exception | None = None
    watchdog.watch(head.options, began, request.deadline_ns, budget_ns)
    try:
        values = run_head(own, request.tensors, request, head.options)
    except Exception as raised:  # as in Job
        error = raised
    finally:
        ended = watchdog.release()
        if ended:
            head.options.terminate = False
    took = time.perf_counter_ns() - began
    head.times.took(took)
    overran = took > budget_ns and watchdog.used(began) >= ENOUGH * budget_ns
    if overran:
        head.demote()
    if error is None:  # also when it is late: a good answer that is there is better than another
        _succeeded(own, request, values, late=overran)
    else:
        _failed(own, request, error, ended=ended, at_fault=overran or not ended)
    request.ran(began, began + took, head.spec.name)


def _await_one(request: Request, jobs: dict[str, Job], done: SimpleQueue[Job]) -> None:
    """Wait until a job has ended or the time of one is over."""
    until = min(job.until_ns for job in jobs.values())
    try:
        job = done.get(timeout=max(0, until - time.perf_counter_ns()) / 1e9)
    except Empty:
        now = time.perf_counter_ns()
        for task, job in list(jobs.items()):
            if job.until_ns <= now:
                del jobs[task]
                _abandon(job, now)
        return
    task = job.own.head.spec.name
    if jobs.get(task) is not job:
        return  # given up meanwhile
    del jobs[task]
    head = job.own.head
    head.times.took(job.took_ns)
    budget_ns = int(request.policy.get(task, DEFAULT).budget_ms * 1e6)
    if job.error is None and job.found is not None:
        request.tensors.update(job.tensors)
        head.was_quick(request.rows, job.took_ns, budget_ns)
        _succeeded(job.own, request, job.found)
    else:
        _failed(job.own, request, job.error or ValueError("it gave nothing"), ended=False, at_fault=True)
    request.ran(job.began_ns, job.began_ns + job.took_ns, task)


def _abandon(job: Job, now: int) -> None:
    """Leave a run behind that takes too long. It ends at its next node."""
    job.options.terminate = True
    head = job.own.head
    head.abandoned += 1
    if job.until_ns < job.request.deadline_ns:
        if job.used() < ENOUGH * job.budget_ns / 2:
            head.breaker.starved(now)
        else:
            head.breaker.failed(now)
        _fall(job.own, job.request, "overrun")
    else:
        _fall(job.own, job.request, "deadline")
    job.request.ran(job.began_ns, now, head.spec.name)


def _probe(own: OwnSteps, request: Request, process: Process, budget_ns: int) -> None:
    """Run it on another thread, for the breaker only."""
    head = own.head
    if all(name in request.tensors for name in own.reads) and len(head.running) < THREADS_EACH:
        probe = Probe(own, request, budget_ns, process.watchdog)
        head.running.add(probe)
        if process.workers.start(probe):
            return
        head.running.discard(probe)
    head.breaker.probed(False, time.perf_counter_ns())


def _succeeded(own: OwnSteps, request: Request, values: Tensor, *, late: bool = False) -> None:
    request.values[own.head.spec.name] = values
    if late:
        own.head.breaker.failed(time.perf_counter_ns())
    else:
        own.head.breaker.succeeded()


def _failed(own: OwnSteps, request: Request, error: Exception, *, ended: bool, at_fault: bool) -> None:
    """`ended`: it was told to end. `at_fault`: it had its whole budget, or failed by itself."""
    if at_fault:
        own.head.breaker.failed(time.perf_counter_ns())
    reason: Reason = "overrun" if ended else "invalid" if isinstance(error, ValueError) else "raised"
    _fall(own, request, reason if at_fault else "deadline", error)


def _fall(own: OwnSteps, request: Request, reason: Reason, error: Exception | None = None) -> None:
    request.fallen[own.head.spec.name] = reason
    own.head.fell(reason, error)
