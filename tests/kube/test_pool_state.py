"""How a pool is, from what KubeRay tells of its RayService."""

from __future__ import annotations

from typing import Any

from controller.operator.pools import state_of


def told(ready: str = "True", **more: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "reason": "NonZeroServeEndpoints", "message": "it serves"}
    behind = {"rayClusterName": "default-1", "rayClusterStatus": {"readyWorkerReplicas": 3, "desiredWorkerReplicas": 4}}
    return {"conditions": [condition], "activeServiceStatus": behind, **more}


def pods(there: int = 4) -> dict[str, int]:
    return {"readyWorkerReplicas": there, "desiredWorkerReplicas": 4}


def test_it_is_ready_when_every_pod_is_and_stays_so_when_one_is_lost() -> None:
    assert not state_of({}, {}, was_ready=False).ready
    assert not state_of(told(), pods(2), was_ready=False).ready
    assert state_of(told(), pods(), was_ready=False).ready
    assert state_of(told(), pods(3), was_ready=True).ready
    assert not state_of(told("False"), pods(), was_ready=True).ready
    assert state_of(told(), pods(3), was_ready=True).pods == "3/4"
    assert state_of(told(), {}, was_ready=False).pods is None


def test_what_kuberay_refuses_is_told_in_its_own_words() -> None:
    refusal = {"type": "Ready", "status": "False", "reason": "ValidationFailed", "message": "the spec is invalid: x"}
    state = state_of({"conditions": [refusal]}, {}, was_ready=False)
    assert (state.refused, state.trouble) == (True, "the spec is invalid: x")


def test_what_an_application_says_is_told_of_the_cluster_that_comes_too() -> None:
    broken = {"serinus": {"status": "DEPLOY_FAILED", "message": "SERINUS_POOL is not set"}}
    state = state_of(told(pendingServiceStatus={"applicationStatuses": broken}), pods(), was_ready=True)
    assert (state.ready, state.refused) == (True, False)
    assert state.trouble == "application serinus is DEPLOY_FAILED: SERINUS_POOL is not set"
