"""A version carried from one controller to another, as typed: what comes with it, and what is said when it cannot."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import onnx
import onnx.parser
import pytest

from serinus.cli import main

Run = Callable[..., tuple[int, str, str]]
SLA = "model: {}\ntasks: {{click: {{label_window_s: {}, absent: negative}}}}\n"
GRAPH = """<ir_version: 8, opset_import: ["" : 17]>
model (float[n,1] Age) => (float[n,1] p) <float lift = {{{lift}}}> {{
    scaled = Mul(Age, lift)  p = Sigmoid(scaled) }}"""


@pytest.fixture
def at(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Run]:
    """at(controller)("push", ...): a command at that controller."""
    monkeypatch.setenv("COLUMNS", "200")

    def at(controller: Any) -> Run:
        (tmp_path / "token").write_text(controller.token)

        def run(*words: Any) -> tuple[int, str, str]:
            monkeypatch.setenv("SERINUS_API", controller.url)
            monkeypatch.setenv("SERINUS_TOKEN_FILE", str(tmp_path / "token"))
            with pytest.raises(SystemExit) as ended:
                main([str(word) for word in words])
            said = capsys.readouterr()
            return int(ended.value.code or 0), said.out, said.err

        return run

    return at


def ok(ended: tuple[int, str, str]) -> str:
    assert ended[0] == 0, ended
    return ended[1]


def pushed(run: Run, folder: Path, model: str, lift: float, key: Path) -> None:
    onnx.save(onnx.parser.parse_model(GRAPH.format(lift=lift)), folder / "model.onnx")
    (folder / "sample.json").write_text(json.dumps({"age": [0.1, 0.5, 2.0]}))
    out = folder / f"package-{model}-{lift}"
    files = ("--onnx", folder / "model.onnx", "--sample", folder / "sample.json")
    ok(run("package", *files, "--task", "click=binary:p", "-o", out))
    ok(run("push", model, out, "-k", key))


def bundle_of(run: Run, controller: Any, folder: Path, look: dict[str, Any], model: str, lift: float = 1.0) -> Path:
    """Two versions, signed; a rollout of the second that has a look; the second as a bundle."""
    (folder / "public.pem").write_text(ok(run("keys", "new", folder / f"{model}.pem")))
    ok(run("keys", "add", f"release-{model}", folder / "public.pem"))
    (folder / "sla.yaml").write_text(SLA.format(model, 60))
    ok(run("apply", "-f", folder / "sla.yaml"))
    for each in (lift, lift + 1):
        pushed(run, folder, model, each, folder / f"{model}.pem")
    ok(run("promote", model, "1", "--initial"))
    ok(run("versions", "note", model, "2", "better by far"))
    rollout = json.loads(ok(run("rollout", "start", model, "2", "--json")))["id"]
    told = {**look, "rollout": rollout, "model": model, "verdict": "satisfied"}
    headers = {"authorization": f"Bearer {controller.token}"}
    report = {"monitor": "m", "watermarks_ms": {model: look["tick_ms"]}, "evidence": [told]}
    httpx.post(f"{controller.url}/v1/monitor/exchange", json=report, headers=headers).raise_for_status()
    ok(run("rollout", "abort", rollout, "-m", "goes elsewhere first"))
    file = folder / f"{model}.tar"
    said = ok(run("export", model, "2", "-o", file))
    assert f"serinus import {model}" in said
    return file


def test_sla_signature_and_evidence_come_with_a_version(
    at: Any, controller: Any, elsewhere: Any, tmp_path: Path, looks: Any
) -> None:
    here, there = at(controller), at(elsewhere)
    look = looks(7_200_000)["evidence"][0]
    file = bundle_of(here, controller, tmp_path, look, "ads")
    ok(there("keys", "add", "partner", tmp_path / "public.pem"))
    said = ok(there("import", "shop", file))
    assert "shop version 1 " in said
    assert "the model was made with it" in said
    assert "signed by: partner" in said
    assert "version 2 of ads, by root" in said
    again = json.loads(ok(there("import", "shop", file, "--json")))
    assert (again["version"], again["created"], again["sla"], again["signatures"]) == (1, False, "same", ["partner"])
    assert "signed by   partner" in ok(there("versions", "show", "shop", "1"))
    headers = {"authorization": f"Bearer {elsewhere.token}"}
    told = httpx.get(f"{elsewhere.url}/v1/models/shop/versions/1/imported", headers=headers).json()
    assert told["card"]["notes"] == "better by far"
    assert told["sla"]["tasks"]["click"]["label_window_s"] == 60
    assert told["rollout"]["phase"] == "aborted"
    assert told["rollout"]["history"][-1]["why"].endswith("goes elsewhere first")
    assert [(each["verdict"], each["tick_ms"]) for each in told["evidence"]] == [("satisfied", 7_200_000)]
    ok(there("promote", "shop", "1", "--initial"))


def test_what_stands_over_there_stays(at: Any, controller: Any, elsewhere: Any, tmp_path: Path, looks: Any) -> None:
    file = bundle_of(at(controller), controller, tmp_path, looks(3_600_000)["evidence"][0], "bids", 3.0)
    there = at(elsewhere)
    (tmp_path / "ours.yaml").write_text(SLA.format("bids", 90))
    ok(there("apply", "-f", tmp_path / "ours.yaml"))
    said = ok(there("import", "bids", file))
    assert "the one in force here; the bundle's is another one" in said
    assert "nobody whose key is known here (`serinus keys add`)" in said


def test_an_import_that_fails_says_why_and_registers_nothing(at: Any, elsewhere: Any, tmp_path: Path) -> None:
    there = at(elsewhere)
    (tmp_path / "noise.tar").write_bytes(b"no tar at all" * 100)
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        archive.add(tmp_path / "noise.tar", "bundle.json")
    with tarfile.open(tmp_path / "package.tar", "w") as archive:
        archive.add(tmp_path / "noise.tar", "manifest.json")
    bundle = "a bundle, which `serinus export` writes"
    for name, words in (("noise.tar", bundle), ("other.tar", "bundle.json"), ("package.tar", bundle)):
        code, out, err = there("import", "none", tmp_path / name)
        assert (code, out.strip()) == (1, ""), err
        assert words in err
        assert "->" in err
        assert "Traceback" not in err
    assert there("import", "none", tmp_path / "absent.tar")[0] == 2
    assert there("export", "none", "1", "-o", tmp_path / "out.tar")[0] == 1
    assert not (tmp_path / "out.tar").exists()
    assert there("versions", "list", "none")[0] == 1
