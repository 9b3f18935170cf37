"""OpenTelemetry traces of requests: one span for each, below it one for each part of the way to its answer.

A caller that sends W3C `traceparent` has decided whether its request is traced; of the others a small share is drawn.
What is not traced costs the draw. Spans leave by OTLP over HTTP, in a thread of the SDK, and are dropped where the
collector does not keep up. The SDK reads the `OTEL_*` variables for everything that is not said here."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from serinus import __version__
from serinus.errors import BadInput, SerinusError
from serving.timeline import Fact, Timeline, current

__all__ = ["Tracing"]

NOT_TRACED: AbstractContextManager[None] = nullcontext()
LONGEST_HEADER = 512
CLOSING_WITHIN_S = 2.0


class Tracing:
    """The traces of one process. `to`: base URL of a collector that takes OTLP over HTTP, "": nothing is traced.

    `share`: of requests that come without a decision."""

    def __init__(self, to: str, share: float, pool: str) -> None:
        """Raises BadInput where the SDK is not installed."""
        self._share = share
        self._sdk = _Sdk(to, pool) if to else None

    def of(
        self, name: str, traceparent: bytes, arrived_ns: int, facts: dict[str, Fact]
    ) -> AbstractContextManager[None]:
        """Around the work on one request. `name`, `facts`: of its span; `arrived_ns`: time.perf_counter_ns."""
        if self._sdk is None:
            return NOT_TRACED
        if not traceparent:
            return self._sdk.span(name, None, arrived_ns, facts) if random.random() < self._share else NOT_TRACED
        parent = self._sdk.parent(traceparent)
        if parent is None:
            return self.of(name, b"", arrived_ns, facts)
        return self._sdk.span(name, parent[0], arrived_ns, facts) if parent[1] else NOT_TRACED

    def close(self) -> None:
        """Send what waits, within two seconds."""
        if self._sdk is not None:
            self._sdk.close()


class _Sdk:
    def __init__(self, to: str, pool: str) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415 (tens of megabytes, and an extra)
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
            from opentelemetry.sdk.trace.sampling import ALWAYS_ON  # noqa: PLC0415
            from opentelemetry.trace.propagation import tracecontext  # noqa: PLC0415
        except ImportError as error:
            advice = "pip install 'serinus[tracing]', or leave SERINUS_TRACES_TO out"
            raise BadInput(f"traces need OpenTelemetry's SDK: {error}", advice) from error
        logging.getLogger("opentelemetry").setLevel(logging.ERROR)  # else a line for each span that is dropped
        self._api = trace
        self._parents = tracecontext.TraceContextTextMapPropagator()
        told = {"service.name": "serinus", "service.version": __version__, "serinus.pool": pool}
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{to}/v1/traces"))
        provider = TracerProvider(ALWAYS_ON, Resource.create(told), shutdown_on_exit=False)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("serinus.serving", __version__)

    def parent(self, traceparent: bytes) -> tuple[Any, bool] | None:
        """(Context, whether it is to be traced) of a header; None when it says nothing that can be understood."""
        if len(traceparent) > LONGEST_HEADER:
            return None
        context = self._parents.extract({"traceparent": traceparent.decode("latin-1")})
        said = self._api.get_current_span(context).get_span_context()
        return (context, said.trace_flags.sampled) if said.is_valid else None

    @contextmanager
    def span(self, name: str, parent: Any, arrived_ns: int, facts: dict[str, Fact]) -> Iterator[None]:
        since = time.time_ns() - time.perf_counter_ns()
        root = self._tracer.start_span(
            name, parent, self._api.SpanKind.SERVER, attributes=facts, start_time=since + arrived_ns
        )
        timeline = Timeline(self._api.format_trace_id(root.get_span_context().trace_id))
        held, status = current.set(timeline), 200
        try:
            yield
        except Exception as error:
            status = error.status if isinstance(error, SerinusError) else 500
            timeline.facts["error.type"] = type(error).__name__
            if status >= 500:  # the convention for servers: what a caller did wrong is no error of ours
                root.set_status(self._api.StatusCode.ERROR)
            raise
        finally:
            current.reset(held)
            if "http.request.method" in facts:
                timeline.facts["http.response.status_code"] = status
            self._end(root, timeline, since)

    def _end(self, root: Any, timeline: Timeline, since: int) -> None:
        within = self._api.set_span_in_context(root)
        for stretch in timeline.stretches:
            span = self._tracer.start_span(
                stretch.name, within, attributes=stretch.facts, start_time=since + stretch.began_ns
            )
            if "serinus.fallback" in stretch.facts:
                span.set_status(self._api.StatusCode.ERROR)
            span.end(since + stretch.ended_ns)
        root.set_attributes(timeline.facts)
        root.end(since + time.perf_counter_ns())

    def close(self) -> None:
        closing = threading.Thread(target=self._processor.shutdown, name="last traces", daemon=True)
        closing.start()
        closing.join(CLOSING_WITHIN_S)
