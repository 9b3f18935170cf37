"""The registry as its callers meet it: cards, comparison, aliases, SLAs, uploads, bundles, deletion."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.api import create_app
from controller.database import Database
from controller.services import Services
from controller.store import PackageStore
from serinus.errors import BadInput
from serinus.lineage import Lineage, code_revision
from serinus.package import read_manifest
from serinus.signing import new_key, sign

with warnings.catch_warnings():  # it wants another HTTP client than the one that we have
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

SLA = {"model": "ads", "tasks": {"click": {"label_window_s": 60, "absent": "negative"}}}


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Packages are not run here: `test_store.py` looks at how they are inspected."""
    monkeypatch.setattr("controller.store.inspect", read_manifest)
    db = Database(f"sqlite:///{tmp_path / 'controller.db'}")
    db.migrate()
    made = Services(db, PackageStore(tmp_path / "packages"))
    made.clock = lambda: 1_700_000_000.0
    yield made
    db.close()


@pytest.fixture
def api(services: Services) -> TestClient:
    """Nobody has a token: everybody is admin."""
    client = TestClient(create_app(services))
    client.put("/v1/models/ads", json={"sla": SLA}).raise_for_status()
    return client


@pytest.fixture
def tar(tmp_path: Path, build: Callable[..., Path], tar_of: Callable[[Path], bytes]) -> Callable[..., bytes]:
    """tar(note, "click", "buy") -> a package."""

    def make(note: str, *tasks: str) -> bytes:
        folder = tmp_path / f"sent-{note}"
        return tar_of(folder if folder.exists() else build(folder, *(tasks or ("click",)), note=note))

    return make


def push(api: TestClient, content: bytes, model: str = "ads", **options: Any) -> Any:
    return api.post(f"/v1/models/{model}/versions", content=content, **options)


def audited(api: TestClient, services: Services) -> list[str]:
    from sqlalchemy import select

    from controller.tables import AuditRow

    with services.db.read() as session:
        return list(session.scalars(select(AuditRow.action).order_by(AuditRow.number)))


def test_a_card_tells_what_is_known_and_only_tags_and_notes_change(
    api: TestClient, services: Services, tar: Any
) -> None:
    push(api, tar("a")).raise_for_status()
    first = api.get("/v1/models/ads/versions/1")
    card, tag = first.json(), first.headers["etag"]
    assert card["metrics"]["click"]["overall"]["auc"] == 0.7
    assert card["lineage"]["created_by"] == "anybody"
    assert card["size_bytes"] > 0
    body = {"tags": ["blue", "blue", "fast"], "notes": "try this"}
    changed = api.patch("/v1/models/ads/versions/1", json=body, headers={"if-match": tag})
    assert changed.json() == {**card, "tags": ["blue", "fast"], "notes": "try this"}
    assert api.patch("/v1/models/ads/versions/1", json={"notes": ""}, headers={"if-match": tag}).status_code == 412
    assert api.patch("/v1/models/ads/versions/1", json={"digest": "0" * 64}).status_code == 400
    assert api.get("/v1/models/ads/versions/1").json()["notes"] == "try this"
    assert audited(api, services) == ["model.create", "version.push", "version.edit"]


def test_two_versions_are_compared(api: TestClient, tar: Any) -> None:
    for note, tasks in (("a", ("click",)), ("b", ("click", "buy"))):
        push(api, tar(note, *tasks)).raise_for_status()
    found = api.get("/v1/models/ads/diff", params={"old": 1, "new": 2}).json()
    assert [(c["what"], c["name"], c["change"]) for c in found["changes"]] == [
        ("task", "buy", "added"),
        ("part", "buy", "added"),
    ]
    numbers = {(n["task"], n["metric"]): (n["old"], n["new"], n["difference"]) for n in found["numbers"]}
    assert numbers == {("buy", "auc"): (None, 0.7, None), ("click", "auc"): (0.7, 0.7, 0.0)}
    assert found["size_bytes"]["difference"] > 0
    same = api.get("/v1/models/ads/diff", params={"old": 1, "new": 1}).json()
    assert same["changes"] == []
    assert api.get("/v1/models/ads/diff", params={"old": 1, "new": 9}).status_code == 404


def test_own_aliases_have_a_history_and_the_others_are_not_moved_by_hand(
    api: TestClient, services: Services, tar: Any
) -> None:
    for note in ("a", "b"):
        push(api, tar(note)).raise_for_status()
    for version in (1, 2, 2):
        api.put("/v1/models/ads/aliases/golden", json={"version": version, "reason": f"r{version}"}).raise_for_status()
    assert api.put("/v1/models/ads/aliases/stable", json={"version": 1}).status_code == 403
    assert api.put("/v1/models/ads/aliases/golden", json={"version": 9}).status_code == 404
    assert api.get("/v1/models/ads/aliases").json()["aliases"] == {"golden": 2}
    assert api.delete("/v1/models/ads/versions/2").json()["detail"] == "version 2 of ads is used by alias 'golden'"
    page = api.get("/v1/models/ads/aliases/history", params={"limit": 1}).json()
    rest = api.get("/v1/models/ads/aliases/history", params={"cursor": page["next"]}).json()
    moves = [(m["was"], m["version"], m["reason"], m["actor"]) for m in (*page["items"], *rest["items"])]
    assert moves == [(1, 2, "r2", "anybody"), (None, 1, "r1", "anybody")]
    assert api.delete("/v1/models/ads/aliases/golden", params={"reason": "done"}).status_code == 204
    assert api.delete("/v1/models/ads/aliases/golden").status_code == 404
    assert audited(api, services)[-3:] == ["alias.set", "alias.set", "alias.delete"]


def test_every_sla_is_kept_and_a_stale_change_is_refused(api: TestClient) -> None:
    tag = api.get("/v1/models/ads/sla").headers["etag"]
    other = {**SLA, "tasks": {"click": {"label_window_s": 90, "absent": "negative"}}}
    body = {"sla": other, "reason": "labels come later"}
    assert api.put("/v1/models/ads", json=body, headers={"if-match": tag}).json()["sla"] == 2
    assert api.put("/v1/models/ads", json={"sla": SLA}, headers={"if-match": tag}).status_code == 412
    assert api.put("/v1/models/ads", json=body).json()["sla"] == 2  # the same again is no new one
    lines = api.get("/v1/models/ads/sla/history").json()["items"]
    assert [(line["number"], line["reason"]) for line in lines] == [(2, "labels come later"), (1, "")]
    assert lines[1]["sla"]["tasks"]["click"]["label_window_s"] == 60


def test_weights_are_audited_and_guarded_against_lost_updates(api: TestClient, services: Services, tar: Any) -> None:
    push(api, tar("a")).raise_for_status()
    tag = api.get("/v1/models/ads/weights").headers["etag"]
    for status, weight in ((200, 2.0), (412, 3.0)):
        body = {"weights": {"click": weight}, "reason": "sale"}
        assert api.put("/v1/models/ads/weights", json=body, headers={"if-match": tag}).status_code == status
    assert api.get("/v1/models/ads/weights").json()["weights"] == {"click": 2.0}
    assert audited(api, services).count("weights.set") == 1


def test_a_deleted_version_is_gone_but_its_number_and_history_stay(api: TestClient, tar: Any) -> None:
    for note in ("a", "b"):
        push(api, tar(note)).raise_for_status()
    api.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).raise_for_status()
    answer = api.delete("/v1/models/ads/versions/1")
    assert (answer.status_code, answer.json()["title"]) == (409, "InUse")
    assert api.delete("/v1/models/ads/versions/2").status_code == 204
    assert api.get("/v1/models/ads/versions/2").status_code == 404
    assert api.post("/v1/models/ads/promote", json={"version": 2, "reason": "x"}).status_code == 404
    assert [v["version"] for v in api.get("/v1/models/ads/versions").json()["items"]] == [1]
    assert push(api, tar("c")).json()["version"] == 3
    back = push(api, tar("b")).json()
    assert (back["version"], back["created"]) == (2, True)


def test_a_model_that_serves_is_deleted_only_when_it_is_retired(api: TestClient, tar: Any) -> None:
    push(api, tar("a")).raise_for_status()
    api.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).raise_for_status()
    assert "version 1 is stable" in api.delete("/v1/models/ads").json()["detail"]
    assert api.delete("/v1/models/ads", params={"retire": True, "reason": "over"}).status_code == 204
    assert api.get("/v1/models/ads").status_code == 404
    assert api.get("/v1/models").json()["items"] == []
    assert api.get("/v1/status").json()["models"] == []
    watch = {"report": {"replica": "front-1", "role": "front"}, "known": {"ads": 1}, "wait_s": 0}
    assert api.post("/v1/pools/default/watch", json=watch).json() == {"tables": [], "models": []}
    api.put("/v1/models/ads", json={"sla": SLA}).raise_for_status()
    assert api.get("/v1/models/ads").json()["aliases"] == {}
    assert push(api, tar("b")).json()["version"] == 2


def test_an_upload_goes_on_where_it_stands_and_is_finished_once(api: TestClient, tar: Any) -> None:
    content = tar("a")
    body = {"digest": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
    begun = api.post("/v1/models/ads/uploads", json=body).json()
    assert api.post("/v1/models/ads/uploads", json=body).json() == begun
    where, half = f"/v1/uploads/{begun['id']}", len(content) // 2
    assert api.patch(where, content=content[:half], headers={"upload-offset": "0"}).json()["offset"] == half
    for wrong in (0, half - 1, half + 1, len(content)):
        answer = api.patch(where, content=b"x", headers={"upload-offset": str(wrong)})
        assert (answer.status_code, answer.headers["upload-offset"], answer.json()["offset"]) == (409, str(half), half)
    assert api.post(f"{where}/finish").status_code == 409
    beyond = api.patch(where, content=content[half:] + b"x", headers={"upload-offset": str(half)})
    assert beyond.status_code == 400
    assert api.get(where).json()["offset"] == half
    assert api.patch(where, content=content[half:], headers={"upload-offset": str(half)}).status_code == 200
    first, again = api.post(f"{where}/finish"), api.post(f"{where}/finish")
    assert (first.json()["created"], again.json()["created"]) == (True, False)
    assert first.json()["digest"] == again.json()["digest"] == push(api, content).json()["digest"]
    assert len(api.get("/v1/models/ads/versions").json()["items"]) == 1


def test_an_upload_of_other_bytes_than_announced_is_thrown_away(api: TestClient, tar: Any) -> None:
    content = tar("a")
    begun = api.post("/v1/models/ads/uploads", json={"digest": "0" * 64, "size_bytes": len(content)}).json()
    where = f"/v1/uploads/{begun['id']}"
    api.patch(where, content=content, headers={"upload-offset": "0"}).raise_for_status()
    assert api.post(f"{where}/finish").status_code == 422
    assert api.get(where).json()["offset"] == 0
    for upload in ("0" * 32, "..", "%2e%2e%2fx", "a" * 500):
        assert api.get(f"/v1/uploads/{upload}").status_code in (400, 404)
    huge = {"digest": "0" * 64, "size_bytes": 1 << 40}
    assert api.post("/v1/models/ads/uploads", json=huge).status_code == 413


def signed_by(api: TestClient, tmp_path: Path) -> bytes:
    public = new_key(tmp_path / "key")
    assert api.put("/v1/keys/release", json={"public_key": public}).status_code == 201
    api.put("/v1/models/ads", json={"sla": SLA, "signed_by": ["release"]}).raise_for_status()
    return (tmp_path / "key").read_bytes()


def test_a_model_takes_only_packages_that_are_signed(api: TestClient, tar: Any, tmp_path: Path) -> None:
    digest = push(api, tar("a")).json()["digest"]
    key = signed_by(api, tmp_path)
    assert push(api, tar("b")).json()["title"] == "Unsigned"
    assert api.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).json()["title"] == "Unsigned"
    signature = sign(digest, key)
    wrong = {"serinus-signature": signature.model_dump_json()}
    assert push(api, tar("b"), headers=wrong).json()["title"] == "BadSignature"
    card = api.post("/v1/models/ads/versions/1/signatures", json=signature.model_dump()).json()
    assert [(s["key"], s["good"]) for s in card["signatures"]] == [("release", True)]
    api.post("/v1/models/ads/promote", json={"version": 1, "initial": True}).raise_for_status()
    api.put("/v1/models/ads", json={"sla": SLA}).raise_for_status()  # says nothing of the rule: it stays
    assert api.get("/v1/models/ads").json()["signed_by"] == ["release"]
    assert api.delete("/v1/keys/release").status_code == 204
    assert not api.get("/v1/models/ads/versions/1").json()["signatures"][0]["good"]


def test_a_bundle_carries_a_version_to_another_registry(
    api: TestClient, tar: Any, tmp_path: Path, build: Callable[..., Path]
) -> None:
    digest = push(api, tar("a")).json()["digest"]
    key = signed_by(api, tmp_path)
    api.post("/v1/models/ads/versions/1/signatures", json=sign(digest, key).model_dump()).raise_for_status()
    api.patch("/v1/models/ads/versions/1", json={"notes": "good"}).raise_for_status()
    bundle = api.get("/v1/models/ads/versions/1/bundle").content
    db = Database(f"sqlite:///{tmp_path / 'other.db'}")
    db.migrate()
    other = TestClient(create_app(Services(db, PackageStore(tmp_path / "other"))))
    public = api.get("/v1/keys/release").json()["public"]
    other.put("/v1/keys/partner", json={"public_key": public}).raise_for_status()
    first = other.post("/v1/models/shop/bundles", content=bundle).json()
    assert (first["version"], first["digest"], first["created"], first["sla"]) == (1, digest, True, "created")
    again = other.post("/v1/models/shop/bundles", content=bundle).json()
    assert (again["version"], again["created"], again["sla"]) == (1, False, "same")
    card = other.get("/v1/models/shop/versions/1").json()
    assert (card["imported_from"]["model"], card["imported_from"]["version"]) == ("ads", 1)
    assert [s["key"] for s in card["signatures"]] == ["partner"]
    assert other.get("/v1/models/shop/versions/1/imported").json()["card"]["notes"] == "good"
    db.close()


def members(bundle: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(bundle)) as archive:
        return {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]


def packed(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return held.getvalue()


def test_a_bundle_that_was_tampered_with_is_refused(api: TestClient, tar: Any, tmp_path: Path) -> None:
    push(api, tar("a")).raise_for_status()
    good = members(api.get("/v1/models/ads/versions/1/bundle").content)
    before = {path for path in tmp_path.rglob("*") if ".incoming" not in path.parts}
    head = json.loads(good["bundle.json"])
    swapped = {**head, "digest": "0" * 64}
    cases = {
        "altered": good | {"package/sample.json": b"{}"},
        "unlisted": good | {"package/parts/more.onnx": b""},
        "missing": {name: text for name, text in good.items() if name != "sla.json"},
        "another package": good | {"bundle.json": json.dumps(swapped).encode()},
        "no head": {name: text for name, text in good.items() if name != "bundle.json"},
        "escape": good | {"../evil": b"x"},
        "deep": good | {"package/parts/../../../evil": b"x"},
        "absolute": good | {"/tmp/evil": b"x"},
        "elsewhere": good | {"signatures/evil.json": b"{}"},
    }
    for what, files in cases.items():
        answer = api.post("/v1/models/shop/bundles", content=packed(files))
        assert answer.status_code == 422, (what, answer.text)
    assert api.get("/v1/models/shop").status_code == 404
    assert {path for path in tmp_path.rglob("*") if ".incoming" not in path.parts} == before


def test_lineage_is_read_from_what_the_maker_told(tmp_path: Path) -> None:
    told = Lineage(code_revision="abc", data_window="2013-01-01/2013-10-01", parent="0" * 64)
    assert Lineage.of({**told.provenance(), "seed": "1"}) == told
    assert Lineage.of({"parent": "../../x", "code_revision": "y" * 900}).parent is None
    with pytest.raises(BadInput):
        code_revision(tmp_path)
