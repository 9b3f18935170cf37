"""A candidate meets last week's requests before it meets a user: on the real stack, with inputs logged."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.flights import data, models
from examples.flights.hours import hours
from examples.flights.replay import Hour, Replay
from serinus.client import Client
from serinus.rollouts import Phase, Preflight, RolloutView
from serinus.sla import Sla
from serinus.training import Dataset
from tests.e2e.conftest import Running
from tests.e2e.test_weights import until

MODEL, START, DAYS = "flights", datetime(2013, 4, 1, tzinfo=UTC), 14
ARRIVALS = "arr_late"


@pytest.fixture
def shuffled(tmp_path: Path) -> Path:
    """Version 2, but for one task: it was trained on labels that belong to other flights."""
    flights = models.prepare(data.load())
    labels = dict(flights.rows.labels)
    known = np.flatnonzero(np.isfinite(labels[ARRIVALS]))
    labels[ARRIVALS] = labels[ARRIVALS].copy()
    labels[ARRIVALS][known] = np.random.default_rng(0).permutation(labels[ARRIVALS][known])
    return models.train(2, replace(flights, rows=Dataset(flights.rows.raw, labels)), tmp_path / "shuffled")


def said(running: Running, *words: str) -> Any:
    """What the command line answers, with `--json`."""
    command = [sys.executable, "-m", "serinus.cli", *words, "--json", "--home", str(running.home.path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return json.loads(done.stdout)


def left_preflight(client: Client, rollout: str) -> RolloutView:
    def gone() -> RolloutView | None:
        view = client.rollout(rollout)
        return None if view.phase in (Phase.PENDING, Phase.LOADING, Phase.PREFLIGHT) else view

    found: RolloutView = until(gone, 600)
    return found


async def _on(_: Hour) -> bool:
    return True


@pytest.mark.e2e
@pytest.mark.timeout(2400)
def test_a_preflight_rejects_what_no_user_ever_meets(
    up: Callable[..., Running], trained: Callable[[int], Path], shuffled: Path, sla: Sla
) -> None:
    running = up()
    client, preflight = running.client, Preflight(window_s=DAYS * 86_400, max_rows=20_000, alpha_share=0.5)
    plan = sla.rollout.model_copy(update={"preflight": preflight})
    client.apply(sla.model_copy(update={"serving": sla.serving.model_copy(update={"inputs_share": 1.0})}))
    client.promote(MODEL, client.push(MODEL, trained(1)).version, reason="first", initial=True)
    replay = Replay(running.stack.serving, MODEL, running.replay_token)
    tally = asyncio.run(replay.run(islice(hours(data.load(), START, sla), DAYS * 24), _on))
    assert (tally.failed, tally.refused) == (0, 0), tally.errors

    bad = client.rollout_start(MODEL, client.push(MODEL, shuffled).version, plan, "one head is wrong").id
    view = left_preflight(client, bad)
    assert view.phase == Phase.ROLLED_BACK, view
    assert [move.to for move in view.history] == [Phase.LOADING, Phase.PREFLIGHT, Phase.ROLLED_BACK]
    assert f"{ARRIVALS} / overall / auc" in view.history[-1].why
    (look,) = client.evidence(bad)
    assert {cell.stream for cell in look.cells} == {"replay"}
    assert all(ARRIVALS in name for name in look.culprits)
    assert look.limit == pytest.approx(1 / (plan.alpha * preflight.alpha_share))

    good = client.rollout_start(MODEL, client.push(MODEL, trained(2)).version, plan, "a better one").id
    view = left_preflight(client, good)
    assert [move.to for move in view.history] == [Phase.LOADING, Phase.PREFLIGHT, Phase.SHADOW]
    assert "requests" in view.history[-1].why
    assert {job["kind"] for job in said(running, "jobs", "list")} == {"preflight"}
    assert said(running, "plan", MODEL)["guards"]
