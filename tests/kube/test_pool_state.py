"""How a pool is, from what KubeRay tells of its RayService."""

from __future__ import annotations

from typing import Any

from controller.operator.pools import state_of


def told(ready: str = "True", there: int = 4, wanted: int = 4, **more: Any) -> dict[str, Any]:
    condition = {"type": "Ready", "status": ready, "reason": "NonZeroServeEndpoints", "message": "it serves"}
    cluster = {"readyWorkerReplicas": there, "desiredWorkerReplicas": wanted}
    return {"conditions": [condition], "activeServiceStatus": {"rayClusterStatus": cluster}, **more}


def test_it_is_ready_when_every_pod_is_and_stays_so_when_one_is_lost() -> None:
    assert not state_of({}, was_ready=False).ready
    assert not state_of(told(there=2), was_ready=False).ready
    assert state_of(told(), was_ready=False).ready
    assert state_of(told(there=3), was_ready=True).ready
    assert not state_of(told("False"), was_ready=True).ready
    assert (state_of(told(there=3), was_ready=True).pods, state_of({}, was_ready=False).pods) == ("3/4", None)


def test_what_kuberay_refuses_is_told_in_its_own_words() -> None:
    refusal = {"type": "Ready", "status": "False", "reason": "ValidationFailed", "message": "the spec is invalid: x"}
    state = state_of({"conditions": [refusal]}, was_ready=False)
    assert (state.refused, state.trouble) == (True, "the spec is invalid: x")


def test_what_an_application_says_is_told_of_the_cluster_that_comes_too() -> None:
    broken = {"serinus": {"status": "DEPLOY_FAILED", "message": "SERINUS_POOL is not set"}}
    state = state_of(told(pendingServiceStatus={"applicationStatuses": broken}), was_ready=True)
    assert (state.ready, state.refused) == (True, False)
    assert state.trouble == "application serinus is DEPLOY_FAILED: SERINUS_POOL is not set"
