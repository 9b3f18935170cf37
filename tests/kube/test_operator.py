"""The operator against a real API server and a real controller: what is asked for comes about, whatever happens."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.database import Database
from controller.services import Services
from controller.store import PackageStore
from serinus.package import digest_of, read_manifest
from tests.controller.conftest import DAY_MS, T0, World
from tests.controller.served import give_tokens, serve
from tests.kube.operated import KUBERAY, Operated, operated

COUNT = itertools.count()
PLAN = {"shadow_hold_s": 0, "steps": [{"canary_bp": 100, "hold_s": 0}], "cycle_s": 0, "bake_s": 0}
API = "serinus.dev/v1alpha1"
AS_A_NAMESPACE_GOES = ("--as=system:serviceaccount:kube-system:namespace-controller", "--as-group=system:masters")
"""Whom the rule against a slip lets delete a model that serves."""


@pytest.fixture
def it(api_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Operated]:
    """Packages are not run here."""
    monkeypatch.setattr("controller.store.inspect", read_manifest)
    database = Database(f"sqlite:///{tmp_path / 'controller.db'}")
    database.migrate()
    services = Services(database, PackageStore(tmp_path / "packages"), sources=(tmp_path.as_uri(),))
    give_tokens(services.db)
    (tmp_path / "operators").mkdir()
    with (
        serve(services) as http,
        operated(api_server, f"operated-{next(COUNT)}", tmp_path / "operators", services, http) as found,
    ):
        yield found
    services.door.last_used.stop()
    database.close()


@pytest.fixture
def packages(tmp_path: Path, build: Callable[..., Path]) -> list[Path]:
    return [build(tmp_path / note, "click", note=note) for note in ("first", "second")]


def model_of(package: Path, window_s: int = 60, **metadata: Any) -> dict[str, Any]:
    sla = {"tasks": {"click": {"label_window_s": window_s, "absent": "negative"}}, "rollout": PLAN}
    spec = {"sla": sla, "package": {"uri": package.as_uri()}}
    return {"apiVersion": API, "kind": "MultiTaskModel", "metadata": {"name": "ads", **metadata}, "spec": spec}


def rollout_of(package: Path, name: str = "ads-second", **more: Any) -> dict[str, Any]:
    spec = {"model": "ads", "package": {"uri": package.as_uri()}, **more}
    return {"apiVersion": API, "kind": "Rollout", "metadata": {"name": name}, "spec": spec}


def lead_to_its_end(it: Operated, packages: list[Path], rollout: str, verdict: str = "satisfied") -> Callable[[], bool]:
    """A condition that brings evidence about version 2 until the rollout has ended, in the controller."""
    world = World(it.services.db, it.services.clock(), dict(enumerate(map(digest_of, packages), 1)))
    ticks = itertools.count(T0 + DAY_MS, DAY_MS)

    def ended() -> bool:
        world.now = it.services.clock()
        world.replicas(1, 2)
        world.look(rollout, verdict, at_ms=next(ticks))
        return it.http.get(f"/v1/rollouts/{rollout}").json()["phase"] in ("done", "rolled_back")

    return ended


def serving(it: Operated, packages: list[Path]) -> None:
    it.apply(model_of(packages[0]))
    it.until(lambda: it.state("mtm", "ads").get("Ready") == "True Serves", "the model to serve")


def begun(it: Operated, name: str = "ads-second") -> str:
    return str(it.until(lambda: it.status("ro", name).get("id"), "the rollout to begin"))


def test_a_model_and_its_rollout_from_yaml_to_the_end(it: Operated, packages: list[Path]) -> None:
    it.apply(model_of(packages[0]), rollout_of(packages[1]))  # in whatever order they are seen
    it.start()
    rollout = begun(it)
    status = it.status("mtm", "ads")
    assert (status["stable"], status["observedGeneration"]) == (
        it.http.get("/v1/models/ads").json()["aliases"]["stable"],
        it.get("mtm", "ads")["metadata"]["generation"],
    )
    world = {number: each["digest"] for number, each in ((v["version"], v) for v in versions(it))}
    candidate = it.status("ro", "ads-second")["model_version"]
    assert world[candidate] == digest_of(packages[1])
    assert it.http.get(f"/v1/rollouts/{rollout}").json()["key"] == it.get("ro", "ads-second")["metadata"]["uid"]

    it.apply(model_of(packages[0], window_s=90))
    it.until(lambda: sla(it)["tasks"]["click"]["label_window_s"] == 90, "the changed SLA")

    it.kubectl("delete", "ro", "ads-second", "--timeout=60s")
    assert it.http.get(f"/v1/rollouts/{rollout}").json()["phase"] == "aborted"
    assert "Started" in it.events("ads-second")


def versions(it: Operated) -> list[dict[str, Any]]:
    return list(it.http.get("/v1/models/ads/versions").json()["items"])


def sla(it: Operated) -> dict[str, Any]:
    return dict(it.http.get("/v1/models/ads").json()["sla"])


def test_a_promoted_one_starts_nothing_again(it: Operated, packages: list[Path]) -> None:
    it.start()
    serving(it, packages)
    it.apply(rollout_of(packages[1]))
    rollout = begun(it)
    it.until(lead_to_its_end(it, packages, rollout), "the end of the rollout")
    it.until(lambda: it.status("ro", "ads-second").get("phase") == "done", "its end to be told")
    assert it.state("ro", "ads-second")["Ready"] == "True Promoted"
    told = it.kubectl("get", "ro").stdout
    assert all(word in told for word in ("ads-second", "done", "satisfied", "PHASE", "CANARY")), told
    it.until(lambda: it.status("mtm", "ads").get("stable") == 2, "the model to tell its stable version")
    before = it.get("ro", "ads-second")["metadata"]["resourceVersion"]
    it.apply(rollout_of(packages[1]))
    assert it.get("ro", "ads-second")["metadata"]["resourceVersion"] == before
    assert len(it.http.get("/v1/rollouts").json()["items"]) == 1
    assert [it.events("ads-second").count(each) for each in ("Started", "Promoted")] == [1, 1]


def test_a_bad_one_is_rolled_back_and_names_the_cell(it: Operated, packages: list[Path]) -> None:
    it.start()
    serving(it, packages)
    it.apply(rollout_of(packages[1]))
    it.until(lead_to_its_end(it, packages, begun(it), "violated"), "the rollback")
    it.until(lambda: it.status("ro", "ads-second").get("phase") == "rolled_back", "it to be told")
    assert it.status("ro", "ads-second")["violated"] == ["click / overall / auc"]
    assert it.state("ro", "ads-second")["Degraded"] == "True RolledBack"
    assert it.status("mtm", "ads")["stable"] == 1
    assert "RolledBack" in it.events("ads-second")


def test_one_that_is_killed_in_the_middle_is_followed_by_another_that_goes_on(
    it: Operated, packages: list[Path]
) -> None:
    first = it.start()
    serving(it, packages)
    second = it.start()
    it.until(lambda: "ready" in it.log(), "the second copy")
    holder = it.holder()
    it.apply(rollout_of(packages[1]))
    rollout = begun(it)
    it.stop(first, kill=True)
    it.until(lead_to_its_end(it, packages, rollout), "the end of the rollout")
    it.until(lambda: it.status("ro", "ads-second").get("phase") == "done", "its end to be told by the other")
    assert it.holder() not in ("", holder)
    assert len(it.http.get("/v1/rollouts").json()["items"]) == 1
    assert it.stop(second) == 0
    assert it.holder() == ""  # given back, for the next one to act at once


def test_the_api_server_is_gone_for_half_a_minute_and_watches_expire(it: Operated, packages: list[Path]) -> None:
    process = it.start()
    serving(it, packages)
    it.apply(rollout_of(packages[1]))
    rollout = begun(it)
    it.until(it.proxy.expire, "open watches")
    it.until(lambda: it.proxy.expired, "a watch that was told that it is too old")
    it.apply(model_of(packages[0], window_s=120))
    it.until(lambda: sla(it)["tasks"]["click"]["label_window_s"] == 120, "a change seen after that")
    it.proxy.gone = True
    since = it.services.clock()
    it.until(lead_to_its_end(it, packages, rollout), "the end of the rollout meanwhile")
    it.until(lambda: it.services.clock() - since > 30, "half a minute")
    assert it.status("ro", "ads-second")["phase"] != "done"
    it.proxy.gone = False
    it.until(lambda: it.status("ro", "ads-second").get("phase") == "done", "the end to be told")
    assert process.poll() is None


def test_deleting_a_model_that_serves_waits_for_somebodys_word(it: Operated, packages: list[Path]) -> None:
    it.start()
    serving(it, packages)
    it.kubectl("delete", "mtm", "ads", "--wait=false", *AS_A_NAMESPACE_GOES)
    it.until(lambda: it.state("mtm", "ads").get("Degraded") == "True DeletionRefused", "the refusal")
    assert "DeletionRefused" in it.events("ads")
    assert it.http.get("/v1/models/ads").status_code == 200
    it.kubectl("annotate", "mtm", "ads", "serinus.dev/retire=true")
    it.until(lambda: not it.there("mtm", "ads"), "the model to go")
    assert it.http.get("/v1/models/ads").status_code == 404


def test_what_settled_is_written_no_more(it: Operated, packages: list[Path]) -> None:
    it.start()
    serving(it, packages)
    it.apply(rollout_of(packages[1]))
    it.until(lead_to_its_end(it, packages, begun(it)), "the end of the rollout")
    it.until(lambda: it.status("ro", "ads-second").get("phase") == "done", "its end to be told")
    it.until(lambda: it.status("mtm", "ads").get("stable") == 2, "the model to tell it")
    it.proxy.writes.clear()
    for _ in range(2):  # every object comes anew with a new watch
        seen = it.proxy.expired
        it.until(it.proxy.expire, "open watches")
        it.until(lambda seen=seen: it.proxy.expired > seen, "a new watch")  # type: ignore[misc]
    it.apply(model_of(packages[0], window_s=75))  # what comes later has been seen, so what came before has been
    it.until(lambda: sla(it)["tasks"]["click"]["label_window_s"] == 75, "the change")
    written = {(method, path) for method, path in it.proxy.writes if "/leases/" not in path and "/events" not in path}
    assert {path.rsplit("/", 2)[1] for _, path in written} <= {"ads"}, written


def test_a_database_that_was_lost_is_not_guessed(it: Operated, packages: list[Path]) -> None:
    operator = it.start()
    serving(it, packages)
    it.apply(rollout_of(packages[1]))
    rollout = begun(it)
    it.stop(operator)
    it.http.post(f"/v1/rollouts/{rollout}/commands", json={"command": "abort", "reason": "x"}).raise_for_status()
    with it.services.db.write() as session:
        session.connection().exec_driver_sql("update rollouts set key = null")  # as if this were another database
    it.start()
    it.until(lambda: it.state("ro", "ads-second").get("Ready") == "False Lost", "it to be told")
    (ready,) = [each for each in it.status("ro", "ads-second")["conditions"] if each["type"] == "Ready"]
    assert "restore it" in ready["message"]
    assert len(it.http.get("/v1/rollouts").json()["items"]) == 1


@pytest.mark.skipif(not KUBERAY.is_file(), reason="KubeRay's definitions are not beside the checkout")
def test_a_pool_is_a_ray_service_that_no_model_moves(it: Operated, packages: list[Path]) -> None:
    it.start()
    pool = {"apiVersion": API, "kind": "ServingPool", "metadata": {"name": "default"}, "spec": {"image": "serinus:1"}}
    it.apply(pool)
    it.until(lambda: it.there("rayservice", "default") and it.there("service", "default-serinus"), "its objects")
    made = it.get("rayservice", "default")
    assert made["metadata"]["ownerReferences"][0]["uid"] == it.get("pool", "default")["metadata"]["uid"]
    it.until(lambda: it.state("pool", "default").get("Ready") == "False Starts", "its status")
    serving(it, packages)
    it.kubectl("delete", "pool", "default", "--wait=false")
    it.until(lambda: it.state("pool", "default").get("Degraded") == "True DeletionRefused", "the refusal")
    assert it.get("rayservice", "default")["metadata"]["generation"] == made["metadata"]["generation"]
    it.apply(
        {
            "apiVersion": "ray.io/v1",
            "kind": "RayCluster",
            "metadata": {"name": "default-1", "labels": {"ray.io/originated-from-cr-name": "default"}},
            "spec": {"headGroupSpec": {"rayStartParams": {}, "template": {"spec": {"containers": []}}}},
        }
    )
    it.kubectl("annotate", "pool", "default", "serinus.dev/retire=true")
    it.until(lambda: not it.there("rayservice", "default"), "its RayService to go")
    it.until(lambda: it.state("pool", "default").get("Progressing") == "True Ends", "its word that it waits")
    it.kubectl("delete", "raycluster", "default-1")
    it.until(lambda: not it.there("pool", "default"), "the pool to go")


def test_what_the_schema_cannot_see_is_told(it: Operated, packages: list[Path]) -> None:
    it.start()
    wrong = model_of(packages[0])
    wrong["spec"]["sla"]["guards"] = [
        {"task": "click", "metric": each, "margin": 0.01, "weight": 0.7} for each in ("auc", "log_loss")
    ]
    it.apply(wrong)
    it.until(lambda: it.state("mtm", "ads").get("Degraded") == "True BadInput", "the mistake to be told")
    (ready,) = [each for each in it.status("mtm", "ads")["conditions"] if each["type"] == "Ready"]
    assert "the weights add up to 1.4" in ready["message"]
    serving(it, packages)
    assert it.state("mtm", "ads")["Degraded"] == "False Well"
