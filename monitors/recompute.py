"""A look made again from the state that it was made from."""

from __future__ import annotations

from monitors.assess import Assessor
from monitors.statefile import unpack
from serinus.evidence import Evidence, WorkItem


def recompute(item: WorkItem, state: bytes) -> Evidence:
    """The evidence of `Assessor.state_bytes`, bit for bit that of the look after which they were taken.

    Raises ValueError when the bytes are no such state, of another rollout, or of a method that is not known here."""
    try:
        return Assessor.of_state(item, unpack(state)).look()
    except KeyError as error:
        raise ValueError(f"the state lacks {error}") from error
