"""Traces of requests, as a real OTLP receiver gets them: in this process, and from a real pool."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from serinus.errors import BadInput, TimedOut
from serinus.routes import PackageRef
from serving import grpc_messages as messages
from serving.settings import Settings
from serving.timeline import Stretch, current
from serving.tracing import Tracing
from tests.pool.collector import Collector, Seen
from tests.pool.stack import Stack, free_port, request, wait_for

INFER = "POST /v2/models/{model}/infer"
CALLER, TRACE = "00f067aa0ba902b7", "4bf92f3577b34da6a3ce929d0e0e4736"
"""The ids of the example in the W3C's recommendation."""


def said(flags: str = "01", trace: str = TRACE) -> bytes:
    return f"00-{trace}-{CALLER}-{flags}".encode()


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.stop()


@pytest.fixture
def fresh(collector: Collector) -> Collector:
    collector.spans.clear()
    return collector


def one(tracing: Tracing, header: bytes = b"", error: Exception | None = None) -> bool:
    """Answer one request; whether it was traced."""
    with tracing.of(INFER, header, time.perf_counter_ns(), {"http.request.method": "POST"}):
        timeline = current.get()
        if timeline is not None:
            now = time.perf_counter_ns()
            timeline.stretches.append(Stretch("encoder", now, now + 1000))
            timeline.stretches.append(Stretch("head late", now + 1000, now + 3000, {"serinus.fallback": "overrun"}))
        if error is not None:
            raise error
    assert current.get() is None
    return timeline is not None


def test_the_caller_decides_and_a_share_of_the_others_is_drawn(fresh: Collector) -> None:
    never, always = Tracing(fresh.url, 0.0, "p"), Tracing(fresh.url, 1.0, "p")
    assert one(never, said("01"))
    assert not one(always, said("00"))
    assert not one(never)
    assert one(always)
    for broken in (b"", b"00-0-0-01", said(trace="0" * 32), b"\xff\xfe", b"0" * 5000):
        assert one(always, broken)
        assert not one(never, broken)
    assert not one(Tracing("", 1.0, "p"), said())
    never.close()
    always.close()
    assert len(fresh.named(INFER)) == 7


def test_a_trace_goes_on_under_its_caller(fresh: Collector) -> None:
    tracing = Tracing(fresh.url, 0.0, "eu")
    before = time.time_ns()
    one(tracing, said())
    tracing.close()
    (root,) = fresh.named(INFER)
    assert (root.trace, root.parent, root.failed) == (TRACE, CALLER, False)
    assert root.facts["http.response.status_code"] == 200
    assert {"service.name": "serinus", "serinus.pool": "eu"}.items() <= root.source.items()
    assert before <= root.began_ns <= root.ended_ns <= time.time_ns()
    (trunk,), (head,) = fresh.named("encoder"), fresh.named("head late")
    assert {trunk.parent, head.parent} == {root.id}
    assert (trunk.ended_ns - trunk.began_ns, head.began_ns - trunk.ended_ns) == (1000, 0)
    assert (trunk.failed, head.failed) == (False, True)


@pytest.mark.parametrize(
    ("error", "status", "failed"), [(BadInput("no"), 400, False), (TimedOut("late"), 504, True), (OSError(), 500, True)]
)
def test_what_goes_wrong_is_in_it(fresh: Collector, error: Exception, status: int, failed: bool) -> None:
    tracing = Tracing(fresh.url, 0.0, "p")
    with pytest.raises(type(error)):
        one(tracing, said(), error)
    tracing.close()
    (root,) = fresh.named(INFER)
    assert (root.facts["http.response.status_code"], root.failed) == (status, failed)
    assert root.facts["error.type"] == type(error).__name__


def test_a_collector_that_is_away_keeps_nobody(caplog: pytest.LogCaptureFixture) -> None:
    tracing = Tracing(f"http://127.0.0.1:{free_port()}", 1.0, "p")
    assert all(one(tracing) for _ in range(5000))
    tracing.close()
    assert len(caplog.records) <= 5  # not one for each span that is dropped


def test_settings_are_checked() -> None:
    assert Settings.from_env({}).traces_to == ""
    told = Settings.from_env({"SERINUS_TRACES_TO": "http://collector:4318/", "SERINUS_TRACES_SHARE_BP": "250"})
    assert (told.traces_to, told.traces_share) == ("http://collector:4318", 0.025)
    with pytest.raises(BadInput, match="SERINUS_TRACES_TO is 'collector:4318', expected a base URL"):
        Settings.from_env({"SERINUS_TRACES_TO": "collector:4318"})


@pytest.fixture(scope="module")
def traced(
    tmp_path_factory: pytest.TempPathFactory, packages: dict[int, PackageRef], collector: Collector
) -> Iterator[Stack]:
    told = {"SERINUS_TRACES_TO": collector.url, "SERINUS_TRACES_SHARE_BP": "0", "OTEL_BSP_SCHEDULE_DELAY": "100"}
    pool = Stack(tmp_path_factory.mktemp("traced"), packages, **told)
    try:
        pool.route(candidate={"late": 2}, rollout="r1", canary_bp=500, expires_at=time.time() + 600)
        yield pool
    finally:
        pool.stop()


def trace_of(pool: Stack, collector: Collector, entity: str) -> tuple[dict[str, Any], dict[str, Seen]]:
    """(The answer, its trace's spans by name) of a request whose caller wants it traced."""
    trace = uuid.uuid4().hex
    body = request(["EWR"], [3.0], [7.0], entity=entity)
    header = {"traceparent": said(trace=trace).decode()}
    answer = pool.http.post("/v2/models/flights/infer", json=body, headers=header)
    assert answer.status_code == 200, answer.text
    wait_for(lambda: any(span.trace == trace and span.parent == CALLER for span in list(collector.spans)))
    return answer.json(), {span.name: span for span in collector.spans if span.trace == trace}


def test_a_pool_tells_what_took_how_long(traced: Stack, fresh: Collector) -> None:
    arms: dict[str, dict[str, Seen]] = {}
    traced.infer()  # not traced
    for number in range(200):
        answer, spans = trace_of(traced, fresh, f"e{number}")
        arms.setdefault(answer["parameters"]["arm"], spans)
        assert spans[INFER].facts["serinus.request_id"] == answer["id"]
        assert spans[INFER].facts["serinus.rollout"] == "r1"
        if len(arms) == 2:
            break
    stable, canary = arms["stable"], arms["canary"]
    assert stable.keys() == {INFER, "wait", "encoder", "head late", "head cancelled"}
    assert canary.keys() == {INFER, "wait", "candidate", "encoder", "head cancelled"}
    assert (stable[INFER].facts["serinus.versions"], canary[INFER].facts["serinus.versions"]) == ("1", "1,2")
    for spans in arms.values():
        root = spans[INFER]
        assert all(root.began_ns <= span.began_ns <= span.ended_ns <= root.ended_ns for span in spans.values())
    assert len({span.trace for span in fresh.spans}) == len(fresh.named(INFER))


def test_by_grpc_too(traced: Stack, fresh: Collector) -> None:
    trace = uuid.uuid4().hex
    asked = messages.ModelInferRequest(model_name="nobody")
    with grpc.insecure_channel(traced.ready["grpc"]) as channel:
        call = channel.unary_unary(f"/{messages.SERVICE}/ModelInfer")
        with pytest.raises(grpc.RpcError):
            call(asked.SerializeToString(), metadata=[("traceparent", said(trace=trace).decode())], timeout=10)
    wait_for(lambda: fresh.named(f"{messages.SERVICE}/ModelInfer"))
    (span,) = fresh.named(f"{messages.SERVICE}/ModelInfer")
    assert (span.trace, span.facts["error.type"]) == (trace, "NotFound")
