"""Resources as Kubernetes gives them: what a newer definition says besides is left out, what is wrong is not."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from pydantic import ValidationError

from serinus.errors import BadInput, Unavailable
from serinus.resources.manifests import resource_of
from serinus.resources.outcome import failed

ROLLOUT: dict[str, Any] = {
    "apiVersion": "serinus.dev/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "ads-2", "uid": "u1", "managedFields": [{"manager": "kubectl"}]},
    "spec": {"model": "ads", "version": 2, "plan": {"steps": [{"canary_bp": 100, "hold_s": 0}]}},
    "status": {"phase": "canary", "conditions": [{"type": "Ready", "status": "Unknown"}]},
}


def test_fields_that_only_a_newer_definition_knows_are_left_out() -> None:
    newer = deepcopy(ROLLOUT)
    newer["spec"]["colour"] = "blue"
    newer["spec"]["plan"]["steps"][0]["speed"] = 3
    newer["spec"]["plan"]["music"] = {"loud": True}
    assert resource_of(newer) == resource_of(ROLLOUT)


def test_a_controller_that_is_away_makes_nothing_unready() -> None:
    ready = {
        type(error).__name__: failed(error, {}).conditions[0].status for error in (Unavailable("x"), BadInput("x"))
    }
    assert ready == {"Unavailable": "Unknown", "BadInput": "False"}


def test_what_is_wrong_is_told_all_the_same() -> None:
    wrong = deepcopy(ROLLOUT)
    wrong["spec"] |= {"colour": "blue", "version": 0}
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        resource_of(wrong)
