"""Every phase x every verdict x every command: what must happen, listed, with every other gate open."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from controller.actions import Alert, Promote, Refuse, Restore
from controller.decide import decide
from controller.rollouts import FOLLOWS, Ask
from serinus.errors import IllegalMove
from serinus.rollouts import ENDS, Phase
from serinus.transitions import COMMANDS, TRANSITIONS, TRIGGERS, allowed_in

VERDICTS = ("none", "satisfied", "inconclusive", "error", "violated", "stale")
PLACES = [phase.value for phase in Phase if phase is not Phase.PAUSED]
PLACES += [f"paused:{phase}" for phase in ("pending", "loading", "preflight", "shadow", "canary", "ramp", "bake")]

# Without a command: where each verdict leads. "violated" leads to rolled_back from every active phase.
GOES = {
    "queued": dict.fromkeys((*VERDICTS, "violated"), "pending"),  # whatever there is, it is not about this rollout
    "pending": dict.fromkeys(VERDICTS, "loading"),
    "loading": dict.fromkeys(VERDICTS, "shadow"),
    "shadow": {"satisfied": "canary", "inconclusive": "canary"},
    "canary": {"satisfied": "ramp"},
    "ramp": {"satisfied": "bake"},
    "bake": {"satisfied": "done", "inconclusive": "done"},
}
# With a command, whatever the verdict but "violated". What is not listed is illegal.
EARLY = {"pause": "paused", "abort": "aborted", "rollback": "rolled_back"}
OBEYS = {
    "queued": {"abort": "aborted"},
    "pending": EARLY,
    "loading": EARLY,
    "preflight": EARLY | {"approve": "shadow", "skip": "shadow", "promote": "bake"},
    "shadow": EARLY | {"skip": "canary", "promote": "bake"},
    "canary": EARLY | {"skip": "ramp", "promote": "bake"},
    "ramp": EARLY | {"promote": "bake"},
    "bake": {"pause": "paused", "rollback": "rolled_back", "promote": "done"},
    "awaiting_approval": {
        "approve": "bake", "promote": "bake", "abort": "aborted", "rollback": "rolled_back"
    },
    "paused:pending": {"resume": "pending", "abort": "aborted", "rollback": "rolled_back"},
    "paused:loading": {"resume": "loading", "abort": "aborted", "rollback": "rolled_back"},
    "paused:preflight": {
        "resume": "preflight", "approve": "shadow", "abort": "aborted", "rollback": "rolled_back", "promote": "bake"
    },
    "paused:shadow": {"resume": "shadow", "abort": "aborted", "rollback": "rolled_back", "promote": "bake"},
    "paused:canary": {"resume": "canary", "abort": "aborted", "rollback": "rolled_back", "promote": "bake"},
    "paused:ramp": {"resume": "ramp", "abort": "aborted", "rollback": "rolled_back", "promote": "bake"},
    "paused:bake": {"resume": "bake", "rollback": "rolled_back", "promote": "done"},
}  # fmt: skip


def case(make: Any, place: str, verdict: str, command: str | None) -> tuple[Any, Any]:
    phase, _, paused_from = place.partition(":")
    rollout = make.rollout(Phase(phase), Phase(paused_from) if paused_from else None)
    facts = {
        "none": lambda: make.facts(None),
        "stale": lambda: make.facts("satisfied", monitor_seen_at=make.NOW - 61),
    }.get(verdict, lambda: make.facts(verdict))()
    ask = Ask(command, "because", "ann") if command else None  # type: ignore[arg-type]
    return rollout, replace(facts, ask=ask, stable=1)


@pytest.mark.parametrize(("place", "verdict"), itertools.product(PLACES, VERDICTS))
def test_what_each_verdict_brings_about(make: Any, place: str, verdict: str) -> None:
    rollout, facts = case(make, place, verdict, None)
    after, actions = decide(rollout, facts, make.NOW)
    if rollout.phase in ENDS:
        assert (after, actions) == (rollout, ())
    elif verdict == "violated" and place != "queued":
        assert after.phase is Phase.ROLLED_BACK
        assert (after.canary_bp, after.shadow_bp, after.expires_at, after.promoted) == (0, 0, None, False)
        assert any(isinstance(action, Alert) for action in actions)
        assert (Restore(1, after.history[-1].why) in actions) == rollout.promoted
    else:
        assert after.phase == GOES.get(place, {}).get(verdict, rollout.phase)
        promoted = [action for action in actions if isinstance(action, Promote)]
        assert bool(promoted) == (after.phase is Phase.BAKE and rollout.phase is not Phase.BAKE)


@pytest.mark.parametrize(("place", "verdict", "command"), itertools.product(PLACES, VERDICTS, COMMANDS))
def test_what_each_command_brings_about(make: Any, place: str, verdict: str, command: str) -> None:
    rollout, facts = case(make, place, verdict, command)
    if verdict == "violated" and rollout.running:
        after, actions = decide(rollout, facts, make.NOW)
        assert after.phase is Phase.ROLLED_BACK
        assert after.history[-1].actor == "controller"
        assert any(isinstance(action, Refuse) for action in actions) == (command not in ("abort", "rollback"))
    elif command in OBEYS.get(place, {}):
        after, _ = decide(rollout, facts, make.NOW)
        assert after.phase == OBEYS[place][command]
        last = after.history[-1]
        assert (last.actor, last.start, last.to) == ("ann", rollout.phase, after.phase)
        assert "because" in last.why
    else:
        with pytest.raises(IllegalMove, match="the test"):  # the history tells what came before
            decide(rollout, facts, make.NOW)


def test_nothing_follows_an_end_and_every_phase_but_the_first_ones_follows_something() -> None:
    assert all(not FOLLOWS[end] for end in ENDS)
    assert set(FOLLOWS) == set(Phase)
    assert frozenset().union(*FOLLOWS.values()) == set(Phase) - {Phase.QUEUED}


def test_the_commands_of_a_phase_are_those_of_the_table() -> None:
    for place in PLACES:
        phase, _, paused_from = place.partition(":")
        can = allowed_in(Phase(phase), Phase(paused_from) if paused_from else None)
        wanted = set(OBEYS.get(place, {})) | ({"skip"} if place == "ramp" else set())  # the last step has none
        assert can == wanted, place


def test_the_table_has_no_row_twice_and_explains_every_trigger() -> None:
    assert len(TRANSITIONS) == len(set(TRANSITIONS))
    assert {row.trigger for row in TRANSITIONS} == set(TRIGGERS)
