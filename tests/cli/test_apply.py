"""Resources without a cluster: applied to a real controller, shown, and applied again as they were shown."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest
import yaml

from serinus.cli import main
from serinus.client import Client

Run = Callable[..., tuple[int, str, str]]
GRAPH = """<ir_version: 8, opset_import: ["" : 17]>
model (float[n,1] Age) => (float[n,1] p) <float lift = {{{lift}}}> {{ scaled = Mul(Age, lift)  p = Sigmoid(scaled) }}"""
SLA = {"tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}


@pytest.fixture
def run(controller: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "token").write_text(controller.token)
    monkeypatch.setenv("SERINUS_API", controller.url)
    monkeypatch.setenv("SERINUS_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str, text: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def ok(ended: tuple[int, str, str]) -> str:
    assert ended[0] == 0, ended
    return ended[1]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def resource(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "serinus.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def written(folder: Path, *bodies: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    for body in bodies:
        (folder / f"{body['metadata']['name']}.yaml").write_text(yaml.safe_dump(body))
    return folder


@pytest.fixture
def packages(run: Run, tmp_path: Path) -> list[Path]:
    """Two packages of a model."""
    (tmp_path / "sample.json").write_text(json.dumps({"age": [0.1, 0.5, 2.0]}))
    made = []
    for lift in (1.0, 2.0):
        onnx.save(onnx.parser.parse_model(GRAPH.format(lift=lift)), tmp_path / "model.onnx")
        files = ("--onnx", tmp_path / "model.onnx", "--sample", tmp_path / "sample.json")
        made.append(tmp_path / f"package-{lift}")
        ok(run("package", *files, "--task", "click=binary:p", "-o", made[-1]))
    return made


def test_a_folder_of_resources_is_brought_about_once(run: Run, packages: list[Path], tmp_path: Path) -> None:
    ok(run("apply", "-f", written(tmp_path / "first", resource("MultiTaskModel", "ads", sla=SLA))))
    digests = [json.loads(ok(run("push", "ads", each, "--json")))["digest"] for each in packages]
    pool = resource("ServingPool", "default", image="serinus:1")
    model = resource("MultiTaskModel", "ads", sla=SLA, package={"digest": digests[0]}, weights={"click": 2.0})
    rollout = resource("Rollout", "a-second", model="ads", package={"digest": digests[1]}, reason="more lift")
    folder = written(tmp_path / "all", pool, rollout, model)

    would = json.loads(ok(run("apply", "-f", folder, "--dry-run", "--json")))
    assert [(each["kind"], len(each["would"])) for each in would] == [
        ("ServingPool", 0),
        ("MultiTaskModel", 2),
        ("Rollout", 1),
    ]
    assert json.loads(ok(run("get", "rollouts", "ads", "--json"))) == []

    code, out, err = run("apply", "-f", folder)
    assert code == 0, err
    assert "MultiTaskModel ads: Promoted: version 1 is stable" in out
    assert "Rollout a-second: Started: rollout" in out
    assert "ServingPool default: not changed" in err
    again = json.loads(ok(run("apply", "-f", folder, "--json")))
    assert [each["kind"] for each in again] == ["MultiTaskModel", "Rollout"]
    assert again[0]["told"] == []
    would = json.loads(ok(run("apply", "-f", folder, "--dry-run", "--json")))
    assert [each["would"] for each in would] == [[], [], []]
    (known,) = json.loads(ok(run("rollout", "list", "ads", "--json")))
    assert known["id"] == again[1]["status"]["id"]

    other = resource("Rollout", "a-third", model="ads", version=2)
    code, _, err = run("apply", "-f", "-", text=yaml.safe_dump(other))
    assert (code, "AlreadyActive" in err) == (1, True)
    assert "nothing" in ok(run("apply", "-f", "-", "--dry-run", text=yaml.safe_dump(other)))

    ok(run("rollout", "abort", known["id"], "-m", "enough"))
    code, out, _ = run("apply", "-f", folder, "--wait")
    assert (code, "aborted" in out) == (4, True)
    assert len(json.loads(ok(run("rollout", "list", "ads", "--json")))) == 1


def test_what_is_shown_may_be_applied_again_and_changes_nothing(
    run: Run, packages: list[Path], controller: Any, tmp_path: Path
) -> None:
    guards = [{"task": "click", "metric": "auc", "margin": 0.02}]
    model = resource("MultiTaskModel", "shown", sla={**SLA, "guards": guards, "inputs": {"age": {"psi": None}}})
    ok(run("apply", "-f", written(tmp_path / "model", model)))
    digest = json.loads(ok(run("push", "shown", packages[0], "--json")))["digest"]
    ok(run("push", "shown", packages[1]))
    model["spec"]["package"] = {"digest": digest}
    rollout = resource("Rollout", "shown-2", model="shown", version=2, plan={"bake_s": 7})
    ok(run("apply", "-f", written(tmp_path / "all", model, rollout)))
    listed = ok(run("get", "models", "shown")) + ok(run("get", "rollouts", "shown", "-o", "wide"))
    for word in ("pool", "stable", "verdict", "waiting for", "default", "0 %"):
        assert word in listed, listed
    assert "default" in ok(run("get", "pools"))
    code, _, err = run("get", "pools", "elsewhere")
    assert (code, "no pool 'elsewhere'" in err) == (1, True)

    with Client(api=controller.url, token=controller.token) as client:
        until(lambda: client.rollouts("shown")[0].phase == "loading")  # where it stays: nobody serves here
        before = client.model("shown"), client.rollouts("shown"), len(list(client.audit()))
        text = ok(run("get", "models", "shown", "-o", "yaml")) + "---\n"
        text += ok(run("get", "rollouts", "shown", "-o", "yaml"))
        ok(run("apply", "-f", "-", text=text))
        assert (client.model("shown"), client.rollouts("shown"), len(list(client.audit()))) == before
        assert client.rollouts("shown")[0].plan.bake_s == 7


def test_what_is_wrong_is_named_with_its_line_before_anything_is_sent(run: Run, tmp_path: Path) -> None:
    good, wrong = resource("MultiTaskModel", "never", sla=SLA), resource("Rollout", "it", model="never", versoin=2)
    folder = written(tmp_path / "all", good, wrong)
    code, _, err = run("apply", "-f", folder)
    assert (code, "it.yaml, line" in err, "did you mean 'version'" in err) == (1, True, True), err
    assert run("get", "models", "never")[0] == 1
    code, _, err = run("apply", "-f", written(tmp_path / "good", good), "--pool", "eu")
    assert (code, "go with an SLA" in err) == (1, True)
    code, _, err = run("apply", "-f", tmp_path / "nowhere.yaml")
    assert code == 2
    (tmp_path / "empty").mkdir()
    assert run("apply", "-f", tmp_path / "empty")[0] == 1


def test_an_sla_is_previewed_too(run: Run) -> None:
    sla = yaml.safe_dump({"model": "later", **SLA})
    assert "would create the model in pool eu: 1 tasks" in ok(
        run("apply", "-f", "-", "--dry-run", "--pool", "eu", text=sla)
    )
    assert "1 tasks" in ok(run("apply", "-f", "-", text=sla))
    assert "later: nothing" in ok(run("apply", "-f", "-", "--dry-run", text=sla))
    changed = sla.replace("60", "70")
    assert "would change the SLA (tasks)" in ok(run("apply", "-f", "-", "--dry-run", text=changed))
