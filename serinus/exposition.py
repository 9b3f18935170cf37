"""Declared metrics as prometheus-client's collectors, and a small port that shows them. Needs the extra `server`."""

from __future__ import annotations

import hmac
import ipaddress
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import accumulate
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, choose_encoder, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

from serinus.errors import BadInput, Unavailable
from serinus.metrics import ALL, Declared

__all__ = [
    "CONTENT_TYPE_LATEST",
    "Page",
    "Port",
    "Scraped",
    "counter",
    "gauge",
    "generate_latest",
    "histogram",
    "log_e",
]

_KNOWN = {each.name: each for each in ALL}
LONGEST_TOKEN = 4_096
Example = tuple[str, float, float, str]
Times = tuple[list[int], float, Mapping[int, Example]]


def counter(name: str, registry: CollectorRegistry) -> Counter:
    told = _declared(name, "counter")
    return Counter(told.name, told.help, told.labels, registry=registry)


def gauge(name: str, registry: CollectorRegistry) -> Gauge:
    told = _declared(name, "gauge")
    return Gauge(told.name, told.help, told.labels, registry=registry)


def histogram(name: str, registry: CollectorRegistry) -> Histogram:
    told = _declared(name, "histogram")
    return Histogram(told.name, told.help, told.labels, registry=registry, buckets=told.buckets)


def _declared(name: str, kind: str) -> Declared:
    told = _KNOWN[name]
    if told.kind != kind:
        raise TypeError(f"{name} is a {told.kind}, not a {kind}")
    return told


class Page:
    """Values that are known at the moment of a scrape, by family. Of two values of one series the later counts."""

    def __init__(self) -> None:
        self._values: dict[str, dict[tuple[str, ...], float]] = {}
        self._times: dict[str, dict[tuple[str, ...], Times]] = {}

    def put(self, name: str, value: float | None, *labels: object) -> None:
        """None: there is no such number now, so the series is left out."""
        told = _KNOWN[name]
        if len(labels) != len(told.labels):
            raise TypeError(f"{name} has the labels {told.labels}, not {labels}")
        if value is not None:
            self._values.setdefault(name, {})[tuple(str(label) for label in labels)] = float(value)

    def add(
        self,
        name: str,
        labels: tuple[str, ...],
        counts: list[int],
        seconds: float,
        examples: Mapping[int, Example] | None = None,
    ) -> None:
        """A histogram: how many took at most each bound (and more than the one before), how many longer; their sum.

        `examples`: place in `counts` -> a request there: id, seconds, Unix seconds, id of its trace or "". OpenMetrics
        shows them."""
        self._times.setdefault(name, {})[labels] = counts, seconds, examples or {}

    def take(self, other: Page) -> None:
        """All that the other has."""
        for name, values in other._values.items():
            self._values.setdefault(name, {}).update(values)
        for name, times in other._times.items():
            self._times.setdefault(name, {}).update(times)

    def families(self) -> Iterator[Metric]:
        for name, values in self._values.items():
            told = _KNOWN[name]
            kind = CounterMetricFamily if told.kind == "counter" else GaugeMetricFamily
            family = kind(told.name, told.help, labels=told.labels)
            for labels, value in values.items():
                family.add_metric(labels, value)
            yield family
        for name, times in self._times.items():
            told = _KNOWN[name]
            shown = HistogramMetricFamily(told.name, told.help, labels=told.labels)
            bounds = [*map(str, told.buckets), "+Inf"]
            for labels, (counts, seconds, examples) in times.items():
                shown.add_metric(labels, _buckets(bounds, counts, examples), seconds)
            yield shown


Bucket = tuple[str, float] | tuple[str, float, Exemplar]


def _buckets(bounds: list[str], counts: list[int], examples: Mapping[int, Example]) -> list[Bucket]:
    found = list[Bucket]()
    for at, (bound, total) in enumerate(zip(bounds, accumulate(counts), strict=True)):
        if (example := examples.get(at)) is None:
            found.append((bound, total))
        else:
            request, took_s, when, trace = example
            known = {"request_id": request, "trace_id": trace} if trace else {"request_id": request}
            found.append((bound, total, Exemplar(known, took_s, when)))
    return found


def log_e(value: float) -> float:
    """The natural logarithm of an e-value; -Inf of none at all."""
    return math.log(value) if value > 0 else -math.inf


class Scraped(Collector):
    """Asks `fill` for a page at each scrape."""

    def __init__(self, fill: Callable[[Page], None]) -> None:
        self.fill = fill

    def collect(self) -> Iterable[Metric]:
        page = Page()
        self.fill(page)
        return page.families()

    def describe(self) -> Iterable[Metric]:
        return ()


class Port:
    """`GET /metrics` on a port of its own, in a thread. `token_file`: what a scraper must show, read at each scrape."""

    def __init__(self, registry: CollectorRegistry, host: str, port: int, token_file: Path | None = None) -> None:
        """Port 0: any. Raises Unavailable; BadInput where other machines could ask without a token."""
        if token_file is None and not _loopback(host):
            advice = "set SERINUS_METRICS_TOKEN_FILE, or listen on 127.0.0.1"
            raise BadInput(f"SERINUS_METRICS_HOST {host} is reachable from other machines, without a token", advice)

        class Handler(_Handler):
            shown, secret = registry, token_file

        try:
            self._server = ThreadingHTTPServer((host, port), Handler)
        except OSError as error:
            advice = "choose another SERINUS_METRICS_PORT"
            raise Unavailable(f"cannot listen on {host}:{port}: {error.strerror or error}", advice) from error
        self._server.daemon_threads = True
        self.url = f"http://{host}:{self._server.server_address[1]}/metrics"
        threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _encoder(accept: str) -> tuple[Callable[[CollectorRegistry], bytes], str]:
    """OpenMetrics, which has exemplars, for who asks for it; else the plain text."""
    return choose_encoder(accept) if "openmetrics" in accept else (generate_latest, CONTENT_TYPE_LATEST)


class _Handler(BaseHTTPRequestHandler):
    shown: CollectorRegistry
    secret: Path | None
    timeout = 10

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/metrics":
            self._answer(404, b"there is only /metrics\n", "text/plain")
        elif not self._allowed():
            self._answer(401, b"expected the header Authorization: Bearer TOKEN\n", "text/plain")
        else:
            encode, kind = _encoder(self.headers.get("accept") or "")
            self._answer(200, encode(self.shown), kind)

    def _allowed(self) -> bool:
        if self.secret is None:
            return True
        try:
            token = self.secret.read_bytes()[:LONGEST_TOKEN].strip()
        except OSError:
            return False
        given = (self.headers.get("authorization") or "").encode("latin-1", "replace")
        return bool(token) and hmac.compare_digest(given, b"Bearer " + token)

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """A scrape every few seconds is nothing to write down."""
