"""Small real packages, a stand-in controller that speaks the watch protocol, and one real Ray Serve stack."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper, numpy_helper

from serinus.package import digest_of, write_manifest
from serinus.records import LabelRow, Mark, PredictionRow, read_rows
from serinus.routes import PackageRef, ReplicaReport, RouteTable, Watched, WatchRequest
from serving.settings import Settings

ORIGINS = ["EWR", "JFK", "LGA"]
ROOT = Path(__file__).resolve().parents[2]


def wait_for(condition: Callable[[], Any], within_s: float = 20.0) -> Any:
    """The first true value of `condition()`; fails when there is none in time."""
    deadline = time.monotonic() + within_s
    while True:
        if found := condition():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s} s")
        time.sleep(0.02)


def weights(seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    shapes = {"encoder": (3, 4), "late": (4, 1), "cancelled": (4, 1)}
    return {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def expected(seed: int, task: str, origin: str, delay: float | None, hour: float) -> float:
    """What version `seed` answers, by numpy: the oracle of the graphs below."""
    codes = {"EWR": 1.0, "JFK": 2.0, "LGA": 3.0}
    features = np.array([codes.get(origin, -1.0), -5.0 if delay is None else delay, hour], dtype=np.float64)
    own = weights(seed)
    logit = np.tanh(features @ own["encoder"]) @ own[task]
    return float(1 / (1 + np.exp(-logit[0])))


def _graph(name: str, nodes: list[Any], inputs: list[Any], outputs: list[Any], constants: dict[str, Any]) -> bytes:
    initializers = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, inputs, outputs, initializers)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def _preprocess() -> bytes:
    def value(name: str, kind: int) -> Any:
        return helper.make_tensor_value_info(name, kind, ["n"])

    nodes = [
        helper.make_node(
            "LabelEncoder", ["origin"], ["code"], domain="ai.onnx.ml",
            keys_strings=ORIGINS, values_floats=[1.0, 2.0, 3.0], default_float=-1.0,
        ),
        helper.make_node("IsNaN", ["delay"], ["gone"]),
        helper.make_node("Where", ["gone", "fill", "delay"], ["known"]),
        *(helper.make_node("Unsqueeze", [name, "axis"], [f"{name}_1"]) for name in ("code", "known", "hour")),
        helper.make_node("Concat", ["code_1", "known_1", "hour_1"], ["features"], axis=1),
    ]  # fmt: skip
    inputs = [value("origin", TensorProto.STRING), value("delay", TensorProto.FLOAT), value("hour", TensorProto.FLOAT)]
    output = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])
    constants = {"fill": np.array(-5.0, dtype=np.float32), "axis": np.array([1], dtype=np.int64)}
    return _graph("preprocess", nodes, inputs, [output], constants)


def _encoder(matrix: np.ndarray) -> bytes:
    nodes = [helper.make_node("MatMul", ["features", "w"], ["raw"]), helper.make_node("Tanh", ["raw"], ["shared"])]
    source = helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3])
    output = helper.make_tensor_value_info("shared", TensorProto.FLOAT, ["n", 4])
    return _graph("encoder", nodes, [source], [output], {"w": matrix})


def _head(task: str, matrix: np.ndarray) -> bytes:
    nodes = [
        helper.make_node("MatMul", ["shared", "w"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Squeeze", ["p", "axis"], [task]),
    ]
    source = helper.make_tensor_value_info("shared", TensorProto.FLOAT, ["n", 4])
    output = helper.make_tensor_value_info(task, TensorProto.FLOAT, ["n"])
    return _graph(task, nodes, [source], [output], {"w": matrix, "axis": np.array([1], dtype=np.int64)})


def write_package(folder: Path, seed: int, spoil_sample: bool = False) -> PackageRef:
    """A package of version `seed`: origin (text), delay (nullable), hour; tasks late and cancelled."""
    own = weights(seed)
    (folder / "parts").mkdir(parents=True)
    (folder / "parts" / "preprocess.onnx").write_bytes(_preprocess())
    (folder / "parts" / "encoder.onnx").write_bytes(_encoder(own["encoder"]))
    rows: list[tuple[str, float | None, float]] = [("EWR", 3.0, 7.0), ("LGA", None, 12.0), ("", -4.0, 23.0)]
    outputs = {t: [expected(seed, t, *row) + spoil_sample for row in rows] for t in ("late", "cancelled")}
    inputs = {"origin": [r[0] for r in rows], "delay": [r[1] for r in rows], "hour": [r[2] for r in rows]}
    (folder / "sample.json").write_text(json.dumps({"inputs": inputs, "outputs": outputs}))
    (folder / "baseline.json").write_text("{}")
    parts = [
        {"name": "preprocess", "role": "preprocess", "inputs": ["origin", "delay", "hour"], "outputs": ["features"]},
        {"name": "encoder", "role": "encoder", "inputs": ["features"], "outputs": ["shared"]},
    ]
    for task in ("late", "cancelled"):
        (folder / "parts" / f"{task}.onnx").write_bytes(_head(task, own[task]))
        parts.append({"name": task, "role": "head", "inputs": ["shared"], "outputs": [task]})
    write_manifest(
        folder,
        {
            "inputs": [
                {"name": "origin", "datatype": "BYTES", "nullable": True},
                {"name": "delay", "datatype": "FP32", "nullable": True, "required": False},
                {"name": "hour", "datatype": "FP32"},
            ],
            "parts": [{**part, "file": f"parts/{part['name']}.onnx"} for part in parts],
            "tasks": [{"name": t, "kind": "binary", "output": t, "base_rate": 0.2} for t in ("late", "cancelled")],
        },
    )
    return PackageRef(digest=digest_of(folder), uri=folder.as_uri())


class StandInController:
    """A real HTTP server that answers `watch` as the brief of the protocol says. `port` survives stop and start."""

    def __init__(self) -> None:
        self.tables: dict[str, RouteTable] = {}
        self.reports: dict[str, ReplicaReport] = {}
        self.tokens: set[str] = set()
        self._changed = threading.Condition()
        self.port = 0
        self._running = False
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        standin = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                standin.tokens.add(self.headers.get("authorization", ""))
                answer = standin.watch(WatchRequest.model_validate_json(body)).model_dump_json().encode()
                with contextlib.suppress(OSError):
                    self.send_response(200)
                    self.send_header("content-length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: Any) -> None:
                pass

        self._running = True
        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        with self._changed:
            self._running = False
            self._changed.notify_all()
        self._server.shutdown()
        self._server.server_close()

    def watch(self, request: WatchRequest) -> Watched:
        def fresh() -> tuple[RouteTable, ...]:
            return tuple(t for t in self.tables.values() if request.known.get(t.model) != t.epoch)

        with self._changed:
            known = self.reports.get(request.report.replica)
            if known is None or request.report.number >= known.number:
                self.reports[request.report.replica] = request.report
            self._changed.wait_for(
                lambda: fresh() or set(request.known) - set(self.tables) or not self._running, request.wait_s
            )
            return Watched(tables=fresh(), models=tuple(self.tables))

    def put(self, table: RouteTable) -> None:
        with self._changed:
            self.tables[table.model] = table
            self._changed.notify_all()

    def remove(self, model: str) -> None:
        with self._changed:
            del self.tables[model]
            self._changed.notify_all()


class Stack:
    """`python -m serving` as a process, and what a client and an operator see of it."""

    def __init__(self, folder: Path, packages: dict[int, PackageRef]) -> None:
        self.packages, self.folder, self.log = packages, folder, folder / "log"
        self.controller = StandInController()
        self.epoch = 0
        self.port = free_port()
        (folder / "token").write_text("replica-token")
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SERINUS_HOME": str(folder / "home"),
            "SERINUS_API": self.controller.url,
            "SERINUS_TOKEN_FILE": str(folder / "token"),
            "SERINUS_LOG": str(self.log),
            "SERINUS_HTTP_PORT": str(self.port),
            "SERINUS_FRONT_DOORS": "2",
            "SERINUS_REPLAY_TOKEN_SHA256": "ac203c9843b5bd8c883e07039ff82820c94422010be6108bb82403ca25376a22",
        }
        self._errors = (folder / "stderr.txt").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving"], env=env, cwd=folder, stdout=subprocess.PIPE, stderr=self._errors
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.controller.stop()
            raise AssertionError((folder / "stderr.txt").read_text()[-3000:])
        self.ready = json.loads(line)["ready"]
        self.http = httpx.Client(base_url=self.ready["url"], timeout=20.0, trust_env=False)

    def route(self, within_s: float = 30.0, **fields: Any) -> RouteTable:
        """Put a new table of model flights; returns once every replica has applied it."""
        self.epoch += 1
        both = {"stable": {"late": 1, "cancelled": 1}, "packages": self.packages, "salt": "s", "slices": ("origin",)}
        table = RouteTable.model_validate({"model": "flights", "epoch": self.epoch, **both, **fields})
        self.controller.put(table)
        wait_for(lambda: self.applied_by("front") == [self.epoch] * 2, within_s)
        wait_for(lambda: self.epoch in self.applied_by("candidate"), within_s)
        wait_for(lambda: self.epoch in self.applied_by("shadow"), within_s)
        return table

    def applied_by(self, role: str) -> list[int]:
        """Epochs of the replicas of that role that are alive."""
        alive = {str(process.pid) for process in self.replicas()}
        return [
            report.applied.get("flights", 0)
            for report in list(self.controller.reports.values())
            if report.role == role and report.replica.split("-")[1] in alive
        ]

    def replicas(self, name: str = "") -> list[psutil.Process]:
        found = []
        for process in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if f"ray::ServeReplica:serinus:{name}" in " ".join(process.cmdline()):
                    found.append(process)
        return found

    def infer(self, origin: str = "EWR", delay: float | None = 3.0, hour: float = 7.0, **more: Any) -> dict[str, Any]:
        answer = self.http.post("/v2/models/flights/infer", json=request([origin], [delay], [hour], **more))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def predictions(self) -> list[PredictionRow]:
        return read_log(self.log, "predictions", PredictionRow)

    def labels(self) -> list[LabelRow]:
        return read_log(self.log, "labels", LabelRow)

    def marks(self) -> list[Mark]:
        return [msgspec.json.decode(p.read_bytes(), type=Mark) for p in self.log.glob("marks/flights/*.json")]

    def stop(self) -> int:
        """Ask it to stop; returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.http.close()
        self.controller.stop()
        self._errors.close()
        return code


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def request(origins: list[Any], delays: list[Any], hours: list[Any], **more: Any) -> dict[str, Any]:
    """An inference request. `id`, `outputs`: as in the protocol; entity and event_time_ms become parameters."""
    parameters = {key: more.pop(key) for key in ("entity", "event_time_ms") if key in more}
    rows = len(origins)
    return {
        "inputs": [
            {"name": "origin", "shape": [rows], "datatype": "BYTES", "data": origins},
            {"name": "delay", "shape": [rows], "datatype": "FP32", "data": delays},
            {"name": "hour", "shape": [rows], "datatype": "FP32", "data": hours},
        ],
        **({"parameters": parameters} if parameters else {}),
        **more,
    }


def read_log(root: Path, kind: str, row: type[Any]) -> list[Any]:
    return [
        msgspec.msgpack.decode(payload, type=row)
        for path in sorted(root.glob(f"{kind}/*/*/*.log"))
        for _end, payload in read_rows(path.read_bytes())
    ]


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, PackageRef]:
    """Versions 1 and 2, which answer differently."""
    folder = tmp_path_factory.mktemp("packages")
    return {seed: write_package(folder / str(seed), seed) for seed in (1, 2)}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, packages: dict[int, PackageRef]) -> Iterator[Stack]:
    started = Stack(tmp_path_factory.mktemp("stack"), packages)
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture
def controller() -> Iterator[StandInController]:
    standin = StandInController()
    yield standin
    standin.stop()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "token").write_text("replica-token")
    env = {
        "SERINUS_HOME": str(tmp_path / "home"),
        "SERINUS_LOG": str(tmp_path / "log"),
        "SERINUS_TOKEN_FILE": str(tmp_path / "token"),
    }
    return Settings.from_env(env)


@pytest.fixture(scope="session")
def tools() -> Any:
    """Functions of this file that tests call (test modules cannot import it)."""

    class Tools:
        wait_for = staticmethod(wait_for)
        expected = staticmethod(expected)
        request = staticmethod(request)
        read_log = staticmethod(read_log)
        write_package = staticmethod(write_package)
        free_port = staticmethod(free_port)
        new_id = staticmethod(lambda: str(uuid.uuid4()))

    return Tools
