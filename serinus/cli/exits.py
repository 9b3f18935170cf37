"""Exit codes, for scripts. 1: an error; 2: wrong usage; the rest says how something that was watched ended."""

from __future__ import annotations

from serinus.rollouts import Phase

__all__ = ["ABORTED", "AWAITS_APPROVAL", "ENDED", "INTERRUPTED", "ROLLED_BACK", "SUPERSEDED", "TIMED_OUT"]

ROLLED_BACK, ABORTED, SUPERSEDED, AWAITS_APPROVAL, TIMED_OUT, INTERRUPTED = 3, 4, 5, 6, 7, 130

ENDED: dict[Phase, int] = {
    Phase.DONE: 0,
    Phase.ROLLED_BACK: ROLLED_BACK,
    Phase.ABORTED: ABORTED,
    Phase.SUPERSEDED: SUPERSEDED,
    Phase.AWAITING_APPROVAL: AWAITS_APPROVAL,
}
"""How `rollout watch` ends at this phase."""
