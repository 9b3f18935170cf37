"""The wheel, installed with [server] into an empty environment, runs the whole stack from another folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploy.processes import marked
from serinus.home import Home
from serinus.package import write_manifest

REPOSITORY = Path(__file__).parents[2]
ROOMS = ("controller", "deploy", "monitors", "serving")

SLA = """
format: 1
model: ads
tasks: {click: {label_window_s: 60, absent: negative}}
tick_s: 60
rollout: {shadow_hold_s: 60, cycle_s: 60, bake_s: 60, steps: [{canary_bp: 100, hold_s: 60}]}
"""

TRAFFIC = """
import json, sys, time
from serinus.client import Client, Label

with Client() as client:
    deadline = time.monotonic() + 60
    while (answer := client.infer("ads", {"age": [20.0, 60.0]}, entity="u1")).versions != {"click": 1}:
        assert time.monotonic() < deadline, answer
    labels = client.labels("ads", [Label(answer.id, "click", 1, index=at) for at in range(2)])
    again = client.labels("ads", [Label(answer.id, "click", 1), Label(answer.id, "clack", 1)])
print(json.dumps([answer.model_dump(), labels.model_dump(), again.model_dump()]))
"""


class Installed:
    """An environment with nothing but the wheel, and a home for its stack; every command runs in `cwd`."""

    def __init__(self, venv: Path, folder: Path) -> None:
        self.bin, self.cwd, self.home = venv / "bin", folder / "elsewhere", Home(folder / "home")
        self.cwd.mkdir()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SERINUS_", "PYTHON"))}
        self.env = {**kept, "SERINUS_HOME": str(self.home.path)}

    def run(self, program: str, *words: str, ends: int = 0) -> str:
        process = subprocess.run(
            [str(self.bin / program), *words],
            check=False,
            cwd=self.cwd,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert process.returncode == ends, f"{program} {words}: {process.stdout}\n{process.stderr}\n{self.logs()}"
        return process.stdout

    def logs(self) -> str:
        files = self.home.logs.glob("*.log") if self.home.logs.is_dir() else ()
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-3000:]}" for file in files)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*command, str(REPOSITORY)], check=True, timeout=200)
    (found,) = folder.glob("serinus-*.whl")
    return found


@pytest.fixture(scope="module")
def venv(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=200)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-warn-script-location"]
    subprocess.run([*pip, f"{wheel}[server]", "-c", str(REPOSITORY / "constraints.txt")], check=True, timeout=800)
    return folder


@pytest.fixture
def installed(venv: Path, tmp_path: Path) -> Iterator[Installed]:
    """The environment; its stack is stopped whatever happens, and nothing of it may be left."""
    made = Installed(venv, tmp_path)
    yield made
    made.run("serinus", "down")
    state = made.home.state()
    left = marked(state.stack) if state is not None else []
    for process in left:
        process.kill()
    assert not left


def score(age: Any, weight: float) -> Any:
    return 1 / (1 + np.exp(-(np.asarray(age) - 40) * weight))


def make_package(folder: Path, weight: float) -> Path:
    """Clicks by age: p = sigmoid((age - 40) * weight)."""
    import onnx
    from onnx import TensorProto, helper

    (folder / "parts").mkdir(parents=True)
    floats = {name: helper.make_tensor(name, TensorProto.FLOAT, [], [v]) for name, v in (("w", weight), ("m", 40.0))}
    nodes = [
        helper.make_node("Sub", ["age", "m"], ["centred"]),
        helper.make_node("Mul", ["centred", "w"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["click_p"]),
    ]
    sides = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"])] for name in ("age", "click_p")]
    graph = helper.make_graph(nodes, "head", *sides, initializer=list(floats.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "parts" / "head.onnx")
    ages = [20.0, 40.0, 60.0]
    sample = {"inputs": {"age": ages}, "outputs": {"click": score(ages, weight).tolist()}}
    (folder / "sample.json").write_text(json.dumps(sample))
    (folder / "baseline.json").write_text(json.dumps({"tasks": {"click": {"auc": 0.7}}}))
    part = {"name": "head", "role": "head", "file": "parts/head.onnx", "inputs": ["age"], "outputs": ["click_p"]}
    manifest = {
        "inputs": [{"name": "age", "datatype": "FP32"}],
        "parts": [part],
        "tasks": [{"name": "click", "kind": "binary", "output": "click_p", "base_rate": 0.5}],
    }
    write_manifest(folder, manifest)
    return folder


def test_the_wheel_carries_the_rooms_as_data_and_nothing_else_by_such_names(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"serinus"}
    assert {name.split("/")[2] for name in names if name.startswith("serinus/_rooms/")} == set(ROOMS)
    assert any(name.startswith("serinus/_rooms/controller/migrations/") for name in names)


@pytest.mark.e2e
def test_plain_python_there_sees_serinus_and_none_of_its_rooms(installed: Installed) -> None:
    for room in (*ROOMS, "torch"):
        found = "import importlib.util; print(importlib.util.find_spec({!r}) is not None)"
        assert installed.run("python", "-c", found.format(room)).strip() == "False", room
    assert "serinus/_rooms" in installed.run("python", "-c", "import serinus.rooms; print(serinus.rooms.rooms_path())")


@pytest.mark.e2e
@pytest.mark.timeout(1200)
def test_the_whole_stack_runs_from_the_wheel(installed: Installed, tmp_path: Path) -> None:
    def serinus(*words: str, ends: int = 0) -> str:
        return installed.run("serinus", *words, ends=ends)

    assert "ready" in serinus("up", "--controller-port", "0", "--serving-port", "0", "--front-doors", "1")
    (installed.cwd / "sla.yaml").write_text(SLA)
    serinus("apply", "-f", "sla.yaml")
    for number, weight in ((1, 0.05), (2, 0.06)):
        pushed = serinus("push", "ads", str(make_package(tmp_path / f"package{number}", weight)), "--json")
        assert json.loads(pushed)["version"] == number
    serinus("promote", "ads", "1", "--initial")
    answer, labels, again = json.loads(installed.run("python", "-c", TRAFFIC))
    assert answer["outputs"]["click"] == pytest.approx(score([20.0, 60.0], 0.05), abs=1e-5)
    assert (labels["accepted"], labels["refused"]) == (2, [])
    assert again["accepted"] == 1
    assert [each["row"] for each in again["refused"]] == [1]
    serinus("rollout", "start", "ads", "2")
    deadline = time.monotonic() + 120
    while (rollout := json.loads(serinus("rollout", "show", "ads", "--json")))["phase"] != "shadow":
        assert time.monotonic() < deadline, f"{rollout}\n{installed.logs()}"
    status = json.loads(serinus("status", "--json"))
    assert [each["state"] for each in status["processes"]["processes"]] == ["ready"] * 3
    assert [each["restarts"] for each in status["processes"]["processes"]] == [0] * 3
    serinus("rollout", "abort", "ads", "-m", "seen enough")
    serinus("rollout", "watch", "ads", ends=4)
    serinus("down")
    state = installed.home.state()
    assert state is not None
    assert marked(state.stack) == []
    serinus("versions", "ads", ends=1)
