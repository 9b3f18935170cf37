"""Who is measured: how each server is started with the same packages, and on which path it answers."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import NotThere, Server, free_port

HERE = Path(__file__).resolve().parent
PEERS = HERE / "peers"
ENVIRONMENTS = HERE / ".peers"
OWN = {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
INSTALLED = ("mlserver", "kserve", "litserve", "bentoml")
"""Peers in an environment of their own; the others run in ours."""


@dataclass(frozen=True)
class Contestant:
    """One row of the tables. `program`: rows of the same program share its process."""

    name: str
    program: str
    infer: str = "/v2/models/{model}/infer"


PEER_LIST = (
    Contestant("raw ASGI on uvicorn", "asgi"),
    Contestant("FastAPI, body by orjson", "fastapi", "/raw/models/{model}/infer"),
    Contestant("FastAPI, body by pydantic", "fastapi"),
    Contestant("Ray Serve stock", "ray"),
    Contestant("MLServer", "mlserver"),
    Contestant("KServe", "kserve"),
    Contestant("LitServe", "litserve"),
    Contestant("BentoML", "bentoml"),
)


def python_of(peer: str) -> str:
    """The interpreter of a peer's own environment, made now when there is none. Raises NotThere when pip fails."""
    folder = ENVIRONMENTS / peer
    python = folder / "bin" / "python"
    pins = PEERS / f"constraints-{peer}.txt"
    done = folder / ".installed"
    if not done.is_file() or done.read_text() != pins.read_text():
        print(f"installing {peer} ...", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-q", "-r", str(pins)]
        said = subprocess.run(install, capture_output=True, text=True, check=False)
        if said.returncode:
            why = [line for line in said.stderr.splitlines() if "ERROR" in line]
            raise NotThere(f"pip cannot install {peer}: {' '.join(why)[:300]}")
        done.write_text(pins.read_text())
    return str(python)


def start(program: str, models: Mapping[str, Path]) -> Server:
    """Start a peer that serves these packages. Raises NotThere."""
    port = free_port()
    env = {**OWN, "BENCH_PORT": str(port), "BENCH_MODELS": json.dumps({n: str(f) for n, f in models.items()})}
    return STARTS[program](port, env, models)


def _script(program: str, python: str) -> Callable[[int, dict[str, str], Mapping[str, Path]], Server]:
    def go(port: int, env: dict[str, str], _models: Mapping[str, Path]) -> Server:
        interpreter = python or python_of(program)
        script = PEERS / f"{ {'litserve': 'lit'}.get(program, program) }_app.py"
        return Server(program, [interpreter, str(script)], env, port)

    return go


def _ray(port: int, env: dict[str, str], models: Mapping[str, Path]) -> Server:
    # What Serinus sets for its own Ray Serve must not reach the stock one; nor do the two share a session.
    path = {"PYTHONPATH": str(PEERS), "RAY_USAGE_STATS_ENABLED": "0"}
    return _script("ray", sys.executable)(port, {**env, **path}, models)


def _mlserver(port: int, env: dict[str, str], models: Mapping[str, Path]) -> Server:
    """`parallel_workers: 0` runs the model in the process that answers, as all others do; it is the faster setting."""
    python = python_of("mlserver")
    server_port, metrics_port = free_port(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="serinus-bench-mlserver-"))
    settings = {"http_port": port, "grpc_port": server_port, "metrics_port": metrics_port, "host": "127.0.0.1"}
    (folder / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0, "debug": False}))
    for model in models:
        (folder / model).mkdir()
        described = {"name": model, "implementation": "ml_app.Runtime"}
        (folder / model / "model-settings.json").write_text(json.dumps(described))
    command = [str(Path(python).with_name("mlserver")), "start", str(folder)]
    return Server("mlserver", command, {**env, "PYTHONPATH": str(PEERS)}, port, folder)


def _bentoml(port: int, env: dict[str, str], _models: Mapping[str, Path]) -> Server:
    bentoml = str(Path(python_of("bentoml")).with_name("bentoml"))
    where = ["--working-dir", str(PEERS), "--host", "127.0.0.1", "--port", str(port)]
    return Server("bentoml", [bentoml, "serve", "bento_app:Models", *where], {**env, "BENTOML_DO_NOT_TRACK": "1"}, port)


STARTS: dict[str, Callable[[int, dict[str, str], Mapping[str, Path]], Server]] = {
    "asgi": _script("asgi", sys.executable),
    "fastapi": _script("fastapi", sys.executable),
    "ray": _ray,
    "mlserver": _mlserver,
    "kserve": _script("kserve", ""),
    "litserve": _script("litserve", ""),
    "bentoml": _bentoml,
}
