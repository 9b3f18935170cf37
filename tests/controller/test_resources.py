"""Resources brought about: against a real controller, again and again, in any order, broken off anywhere."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.database import Database
from controller.services import Services
from controller.store import PackageStore
from serinus.client.aio.client import AsyncClient
from serinus.errors import IllegalMove, InvalidSla, NotFound
from serinus.package import digest_of, read_manifest
from serinus.resources.manifests import read_manifests
from serinus.resources.model import MultiTaskModel
from serinus.resources.models import apply_model, delete_model
from serinus.resources.outcome import Outcome
from serinus.resources.rollout import Rollout
from serinus.resources.rollouts import apply_rollout, delete_rollout, key_of
from serinus.rollouts import Phase
from tests.controller.conftest import DAY_MS, T0, World
from tests.controller.served import give_tokens, serve, until

MODEL = """
apiVersion: serinus.dev/v1alpha1
kind: MultiTaskModel
metadata: {name: ads}
spec:
  sla:
    tasks:
      click: {label_window_s: 60, absent: negative}
    rollout: {shadow_hold_s: 0, steps: [{canary_bp: 100, hold_s: 0}], cycle_s: 0, bake_s: 0}
  package: {uri: URI}
"""
ROLLOUT = """
apiVersion: serinus.dev/v1alpha1
kind: Rollout
metadata: {name: ads-second, uid: 7d9f1c2e}
spec: {model: ads, package: {uri: URI}}
"""


@pytest.fixture
def services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    """Packages are not run here."""
    monkeypatch.setattr("controller.store.inspect", read_manifest)
    database = Database(f"sqlite:///{tmp_path / 'controller.db'}")
    database.migrate()
    made = Services(database, PackageStore(tmp_path / "packages"), sources=(tmp_path.as_uri(),))
    give_tokens(made.db)
    yield made
    made.door.last_used.stop()
    database.close()


@pytest.fixture
def ask(services: Services) -> Iterator[Callable[[Callable[[AsyncClient], Awaitable[Any]]], Any]]:
    """Ask the controller something, by the client that awaits."""
    with serve(services) as http:
        url = str(http.base_url)

        def asked(what: Callable[[AsyncClient], Awaitable[Any]]) -> Any:
            async def run() -> Any:
                async with AsyncClient(url, token="admin-token") as client:
                    return await what(client)

            return asyncio.run(run())

        yield asked


@pytest.fixture
def packages(tmp_path: Path, build: Callable[..., Path]) -> list[Path]:
    return [build(tmp_path / note, "click", note=note) for note in ("first", "second")]


def model_of(package: Path, text: str = MODEL, **metadata: Any) -> MultiTaskModel:
    (found,) = read_manifests(text.replace("URI", package.as_uri()), "model.yaml")
    assert isinstance(found, MultiTaskModel)
    return found.model_copy(update={"metadata": found.metadata.model_copy(update=metadata)})


def rollout_of(package: Path, **status: Any) -> Rollout:
    (found,) = read_manifests(ROLLOUT.replace("URI", package.as_uri()), "rollout.yaml")
    assert isinstance(found, Rollout)
    return found.model_copy(update={"status": status})


def reasons(outcome: Outcome) -> list[str]:
    return [each.reason for each in outcome.told]


def digests(packages: list[Path]) -> dict[int, str]:
    """By a number of our own: replicas hold them by their digest."""
    return {number: digest_of(package) for number, package in enumerate(packages, 1)}


def states(outcome: Outcome) -> dict[str, str]:
    return {each.type: f"{each.status} {each.reason}" for each in outcome.conditions}


def test_a_model_is_made_once_and_changed_when_it_changes(ask: Any, packages: list[Path]) -> None:
    model = model_of(packages[0])
    made = ask(lambda client: apply_model(client, model))
    assert reasons(made) == ["Created", "Promoted"]
    assert made.status["stable"] == 1
    assert made.status["digest"] == digest_of(packages[0])
    assert states(made) == {"Ready": "True Serves", "Progressing": "False Settled", "Degraded": "False Well"}
    assert reasons(ask(lambda client: apply_model(client, model))) == []
    other = model_of(packages[0], MODEL.replace("label_window_s: 60", "label_window_s: 90"))
    assert reasons(ask(lambda client: apply_model(client, other))) == ["Changed"]
    assert ask(lambda client: client.model("ads")).sla.tasks["click"].label_window_s == 90
    later = model_of(packages[1])  # a model that serves gets another version by a rollout alone
    assert ask(lambda client: apply_model(client, later)).status["stable"] == 1
    weighted = model_of(packages[0], MODEL + "  weights: {click: 2}\n")
    assert reasons(ask(lambda client: apply_model(client, weighted))) == ["WeightsSet"]
    assert ask(lambda client: client.weights("ads")).weights == {"click": 2.0}


def test_a_model_that_cannot_be_is_refused_by_name(ask: Any, packages: list[Path]) -> None:
    ask(lambda client: apply_model(client, model_of(packages[0])))
    more = model_of(
        packages[0], MODEL.replace("    rollout:", "      buy: {label_window_s: 60, absent: negative}\n    rollout:")
    )
    with pytest.raises(InvalidSla, match="buy"):
        ask(lambda client: apply_model(client, more))
    nobody = MODEL.replace("name: ads", "name: shop").replace("{uri: URI}", "{digest: " + "a" * 64 + "}")
    with pytest.raises(NotFound, match="no version of shop"):
        ask(lambda client: apply_model(client, model_of(packages[0], nobody)))


def test_a_rollout_is_begun_once_and_told_to_its_end(ask: Any, services: Services, packages: list[Path]) -> None:
    rollout = rollout_of(packages[1])
    with pytest.raises(NotFound):
        ask(lambda client: apply_rollout(client, rollout))
    ask(lambda client: apply_model(client, model_of(packages[0], MODEL[: MODEL.index("  package")])))
    with pytest.raises(IllegalMove, match="no stable version"):
        ask(lambda client: apply_rollout(client, rollout))
    ask(lambda client: apply_model(client, model_of(packages[0])))
    begun = ask(lambda client: apply_rollout(client, rollout))
    assert reasons(begun)[0] == "Started"
    assert begun.status["model_version"] == 1  # which the attempts before have registered
    assert not begun.settled
    again = ask(lambda client: apply_rollout(client, rollout_of(packages[1], **begun.status)))
    assert again.status["id"] == begun.status["id"]
    assert "Started" not in reasons(again)
    world = World(services.db, services.clock(), digests(packages))

    ticks = itertools.count(T0 + DAY_MS, DAY_MS)

    def ended() -> Outcome | None:
        world.now = services.clock()
        world.replicas(1, 2)
        world.look(begun.status["id"], at_ms=next(ticks), baseline=2, candidate=1)
        outcome: Outcome = ask(lambda client: apply_rollout(client, rollout_of(packages[1], **begun.status)))
        return outcome if outcome.settled else None

    over = until(ended, "the rollout to end")
    assert over.status["phase"] == "done"
    assert states(over) == {"Ready": "True Promoted", "Progressing": "False Promoted", "Degraded": "False Promoted"}
    assert over.status["ended_at"] >= over.status["started_at"]
    assert ask(lambda client: apply_rollout(client, rollout)).status["id"] == begun.status["id"]  # nothing starts again
    assert len(ask(lambda client: client.rollouts("ads"))) == 1
    told = ask(lambda client: apply_rollout(client, rollout_of(packages[1], **over.status)))
    assert told.told == ()


def test_a_violated_one_names_the_cells(ask: Any, services: Services, packages: list[Path]) -> None:
    ask(lambda client: apply_model(client, model_of(packages[0])))
    rollout = rollout_of(packages[1])
    begun = ask(lambda client: apply_rollout(client, rollout))
    world = World(services.db, services.clock(), digests(packages))

    def ended() -> Outcome | None:
        world.now = services.clock()
        world.replicas(1, 2)
        world.look(begun.status["id"], "violated")
        outcome: Outcome = ask(lambda client: apply_rollout(client, rollout_of(packages[1], **begun.status)))
        return outcome if outcome.settled else None

    over = until(ended, "the rollback")
    assert over.status["phase"] == "rolled_back"
    assert over.status["violated"] == ["click / overall / auc"]
    assert states(over)["Degraded"] == "True RolledBack"
    assert [(each.type, each.reason) for each in over.told][-1] == ("Warning", "RolledBack")


def test_another_one_that_is_not_to_be_queued_is_refused_for_good(
    ask: Any, packages: list[Path], build: Any, tmp_path: Path
) -> None:
    ask(lambda client: apply_model(client, model_of(packages[0])))
    first = ask(lambda client: apply_rollout(client, rollout_of(packages[1])))
    third = rollout_of(build(tmp_path / "third", "click", note="third"))
    third = third.model_copy(update={"metadata": third.metadata.model_copy(update={"uid": "another"})})
    refused = ask(lambda client: apply_rollout(client, third))
    assert (refused.status["phase"], refused.settled) == ("refused", True)
    assert states(refused)["Ready"] == "False AlreadyActive"
    ask(lambda client: client.command(first.status["id"], "abort", "x"))
    third = third.model_copy(update={"status": refused.status})
    assert ask(lambda client: apply_rollout(client, third)).status["phase"] == "refused"
    assert len(ask(lambda client: client.rollouts("ads"))) == 1


def test_what_a_lost_database_knew_is_not_begun_again(ask: Any, packages: list[Path]) -> None:
    ask(lambda client: apply_model(client, model_of(packages[0])))
    lost = ask(lambda client: apply_rollout(client, rollout_of(packages[1], id="0" * 32, phase="canary", moves=3)))
    assert states(lost) == {"Ready": "False Lost", "Progressing": "False Lost", "Degraded": "True Lost"}
    assert ask(lambda client: client.rollouts("ads")) == []


def test_deleting(ask: Any, packages: list[Path]) -> None:
    model, rollout = model_of(packages[0]), rollout_of(packages[1])
    assert ask(lambda client: delete_rollout(client, key_of(rollout))).gone
    assert ask(lambda client: delete_model(client, model.metadata)).gone
    ask(lambda client: apply_model(client, model))
    begun = ask(lambda client: apply_rollout(client, rollout))
    kept = ask(lambda client: delete_model(client, model.metadata))
    assert (kept.gone, reasons(kept)) == (False, ["DeletionRefused"])
    ended = ask(lambda client: delete_rollout(client, key_of(rollout)))
    assert (ended.gone, reasons(ended)) == (True, ["Aborted"])
    assert ask(lambda client: client.rollout(begun.status["id"])).phase is Phase.ABORTED
    assert ask(lambda client: delete_rollout(client, key_of(rollout))).told == ()
    retired = model_of(packages[0], annotations={"serinus.dev/retire": "true"})
    assert ask(lambda client: delete_model(client, retired.metadata)).gone
    with pytest.raises(NotFound):
        ask(lambda client: client.model("ads"))


def test_the_key_of_a_rollout_outside_a_cluster_is_what_it_asks_for(packages: list[Path]) -> None:
    plain = rollout_of(packages[1])
    plain = plain.model_copy(update={"metadata": plain.metadata.model_copy(update={"uid": ""})})
    other = plain.model_copy(update={"spec": plain.spec.model_copy(update={"reason": "another"})})
    assert key_of(rollout_of(packages[1])) == "7d9f1c2e"
    assert key_of(plain) == key_of(plain.model_copy(update={"status": {"id": "x"}}))
    assert key_of(plain) != key_of(other)
