"""Client and commands against a real controller process."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import pytest

from serinus.cli import main
from serinus.client import AsyncClient, Client
from serinus.client.archive import Archive
from serinus.errors import Changed, InvalidPackage, NotFound, Stale, Unauthenticated
from serinus.sla import Sla

Run = Callable[..., tuple[int, str, str]]
SLA = "model: {}\ntasks: {{click: {{label_window_s: 60, absent: negative}}}}\n"
GRAPH = """model (float[n,1] Age) => (float[n,1] p) <float lift = {{{lift}}}> {{
    scaled = Mul(Age, lift)  p = Sigmoid(scaled) }}"""


@pytest.fixture
def client(controller: Any) -> Any:
    with Client(api=controller.url, token=controller.token) as client:
        yield client


@pytest.fixture
def run(controller: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    (tmp_path / "token").write_text(controller.token)
    monkeypatch.setenv("SERINUS_API", controller.url)
    monkeypatch.setenv("SERINUS_TOKEN_FILE", str(tmp_path / "token"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def ok(ended: tuple[int, str, str]) -> str:
    assert ended[0] == 0, ended
    return ended[1]


@pytest.fixture
def make(run: Run, tmp_path: Path) -> Callable[..., Path]:
    """A package, made by the command from a graph of its own, and a model of that name."""

    def make(model: str, lift: float = 1.0) -> Path:
        header = '<ir_version: 8, opset_import: ["" : 17]>\n'
        onnx.save(onnx.parser.parse_model(header + GRAPH.format(lift=lift)), tmp_path / "model.onnx")
        (tmp_path / "sample.json").write_text(json.dumps({"age": [0.1, 0.5, 2.0]}))
        (tmp_path / "sla.yaml").write_text(SLA.format(model))
        files = ("--onnx", tmp_path / "model.onnx", "--sample", tmp_path / "sample.json")
        out = tmp_path / f"{model}-{lift}"
        ok(run("package", *files, "--task", "click=binary:p", "-o", out))
        ok(run("apply", "-f", tmp_path / "sla.yaml"))
        return out

    return make


def test_a_week_of_versions(run: Run, make: Any, tmp_path: Path) -> None:
    pushed = json.loads(ok(run("push", "ads", make("ads"), "--json")))
    assert pushed["version"] == 1
    ok(run("push", "ads", make("ads", 2.0)))
    ok(run("promote", "ads", "1", "--initial"))
    listed = json.loads(ok(run("versions", "ads", "--json")))
    assert ([each["version"] for each in listed["versions"]], listed["aliases"]) == ([1, 2], {"stable": 1})
    ok(run("versions", "tag", "ads", "2", "approved", "team=ads"))
    ok(run("versions", "tag", "ads", "2", "approved", "--remove"))
    ok(run("versions", "note", "ads", "2", "the one with more lift"))
    shown = ok(run("versions", "show", "ads", "2"))
    assert "team=ads" in shown
    assert "approved" not in shown
    assert "the one with more lift" in shown
    assert "MB" in ok(run("diff", "ads", "1", "2"))
    ok(run("alias", "set", "ads", "best", "2", "-m", "it is"))
    assert json.loads(ok(run("alias", "list", "ads", "--json"))) == {"best": 2, "stable": 1}
    code, _, err = run("versions", "delete", "ads", "2", "--yes")
    assert (code, "best" in err) == (1, True)
    moves = json.loads(ok(run("alias", "history", "ads", "--json")))
    assert [(each["alias"], each["version"]) for each in moves] == [("best", 2), ("stable", 1)]
    ok(run("alias", "delete", "ads", "best"))
    ok(run("export", "ads", "2", "-o", tmp_path / "two.tar"))
    assert run("export", "ads", "2", "-o", tmp_path / "two.tar")[0] == 1
    ok(run("versions", "delete", "ads", "2", "--yes"))
    said = json.loads(ok(run("import", "there", tmp_path / "two.tar", "--json")))
    assert said["version"] == 1
    assert "ads" in ok(run("status"))
    assert isinstance(json.loads(ok(run("gc", "--json"))), dict)


def test_keys_and_signatures(run: Run, make: Any, tmp_path: Path) -> None:
    package = make("signed")
    public = ok(run("keys", "new", tmp_path / "private.pem"))
    assert (tmp_path / "private.pem").stat().st_mode & 0o777 == 0o600
    (tmp_path / "public.pem").write_text(public)
    ok(run("keys", "add", "ann", tmp_path / "public.pem"))
    assert run("keys", "add", "eve", tmp_path / "private.pem")[0] == 1
    ok(run("push", "signed", package))
    ok(run("sign", "signed", "1", "-k", tmp_path / "private.pem", "--folder", package))
    assert "signed by   ann" in ok(run("versions", "show", "signed", "1"))
    ok(run("apply", "-f", tmp_path / "sla.yaml", "--signed-by", "ann"))
    ok(run("push", "signed", make("signed", 2.0), "-k", tmp_path / "private.pem"))
    assert "signed by   ann" in ok(run("versions", "show", "signed", "2"))
    ok(run("keys", "remove", "ann"))


def test_tokens_and_the_audit_log(run: Run, controller: Any, tmp_path: Path) -> None:
    token = ok(run("token", "create", "vic", "--role", "viewer", "--days", "1")).strip()
    with Client(api=controller.url, token=token) as viewer:
        assert (viewer.me().name, viewer.me().role) == ("vic", "viewer")
    made = ok(run("token", "create", "hidden", "--role", "viewer", "-o", tmp_path / "hidden.token"))
    assert (tmp_path / "hidden.token").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "hidden.token").read_text().strip() not in made
    assert {"root", "vic", "hidden"} <= {each["name"] for each in json.loads(ok(run("token", "list", "--json")))}
    ok(run("token", "revoke", "vic"))
    with Client(api=controller.url, token=token) as viewer, pytest.raises(Unauthenticated):
        viewer.me()
    entries = json.loads(ok(run("audit", "list", "--actor", "root", "--json")))
    assert "token" in entries[0]["action"]
    assert token not in json.dumps(entries)
    assert "each as it was written" in ok(run("audit", "verify"))


def test_an_entry_that_somebody_edited_breaks_the_chain(run: Run, controller: Any) -> None:
    ok(run("token", "create", "eve", "--role", "viewer"))

    def edit(actor: str) -> int:
        with closing(sqlite3.connect(controller.database)) as database, database:
            (number,) = database.execute("SELECT max(number) FROM audit").fetchone()
            database.execute("UPDATE audit SET actor = ? WHERE number = ?", (actor, number))
        return int(number)

    number = edit("nobody")
    try:
        code, out, err = run("audit", "verify")
        assert (code, out) == (1, "")
        assert f"the chain breaks at entry {number}" in err
        code, out, _ = run("audit", "verify", "--json")
        assert (code, json.loads(out)["ok"], json.loads(out)["broken_at"]) == (1, False, number)
    finally:
        edit("root")
    ok(run("audit", "verify"))


def test_somebody_elses_change_is_not_overwritten(client: Client) -> None:
    seen = client.apply(Sla.from_yaml(SLA.format("shared")))
    client.apply(Sla.from_yaml(SLA.format("shared").replace("60", "70")), if_match=seen.etag)
    with pytest.raises(Changed):
        client.apply(Sla.from_yaml(SLA.format("shared").replace("60", "80")), if_match=seen.etag)
    assert client.sla("shared").sla.tasks["click"].label_window_s == 70
    assert [line.number for line in client.sla_history("shared")] == [2, 1]


def test_an_upload_goes_on_where_it_stands(client: Client, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    archive, told = Archive.of(make("large")), list[tuple[int, int]]()
    begun = client.upload_start("large", archive)
    assert client.upload_piece(begun.id, 0, archive.read(0, 1_000)).offset == 1_000
    with pytest.raises(Stale, match="stands at 1000"):
        client.upload_piece(begun.id, 2_000, b"x")
    monkeypatch.setattr("serinus.client.blocking.uploads.PIECE_BYTES", 2_048)
    assert client.upload("large", archive, lambda done, total: told.append((done, total))).version == 1
    assert told[0] == (3_048, archive.size_bytes)
    assert told[-1] == (archive.size_bytes, archive.size_bytes)


def test_a_package_that_is_wrong_is_refused_by_the_server_too(client: Client, make: Any) -> None:
    folder = make("wrong")
    (folder / "sample.json").write_text("{}")
    with pytest.raises(InvalidPackage):
        client.push("wrong", folder)


def test_events_come_as_things_change_and_go_on_after_the_last_seen(client: Client, run: Run, make: Any) -> None:
    folder = make("watched")
    client.push("watched", folder)
    first = list(islice(client.events("watched", last_id="0"), 2))
    (again,) = islice(client.events("watched", last_id=first[0].id), 1)
    assert again == first[1]
    (line,) = ok(run("events", "watched", "--after", first[0].id, "-n", "1", "--json")).splitlines()
    assert json.loads(line)["id"] == again.id


def test_the_client_that_awaits_does_the_same(controller: Any, make: Any) -> None:
    folder = make("awaited")

    async def week() -> None:
        async with AsyncClient(api=controller.url, token=controller.token) as client:
            assert (await client.push("awaited", folder)).version == 1
            assert (await client.version("awaited", 1)).tasks == ("click",)
            event = await anext(client.events("awaited", last_id="0"))
            assert event.data["subject"].startswith("models/awaited")
            assert "awaited" in {each.model for each in await client.models()}
            with pytest.raises(NotFound):
                await client.version("awaited", 2)

    asyncio.run(week())


def test_a_rollout_is_queued_watched_and_ended_with_a_code_that_tells_how(run: Run, make: Any) -> None:
    for lift in (1.0, 2.0, 3.0):
        ok(run("push", "rolled", make("rolled", lift)))
    ok(run("promote", "rolled", "1", "--initial"))
    first = json.loads(ok(run("rollout", "start", "rolled", "2", "--json")))
    assert run("rollout", "start", "rolled", "3")[0] == 1
    second = json.loads(ok(run("rollout", "start", "rolled", "3", "--queue", "--json")))
    assert second["queued_behind"] == [first["id"]]
    assert run("rollout", "start", "rolled", "3", "--queue", "--skip-preflight")[0] == 1
    assert run("rollout", "watch", first["id"], "--timeout-s", "0.2")[0] == 7
    screen = ok(run("status"))
    assert "Needs you" in screen
    assert "no monitor" in screen
    ok(run("rollout", "abort", first["id"], "-m", "enough"))
    code, out, _ = run("rollout", "watch", first["id"])
    assert code == 4
    assert "enough" in out
    assert "2 against 1" not in ok(run("status"))
