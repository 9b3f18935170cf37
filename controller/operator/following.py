"""The controller's events, so that what happens there is seen at once, not at the next look."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from serinus.client.aio.client import AsyncClient
from serinus.client.people import EventView
from serinus.errors import SerinusError

__all__ = ["following", "subject_of"]

log = logging.getLogger(__name__)
AGAIN_S = 5.0


async def following(client: Callable[[], AsyncClient], changed: Callable[[str], None]) -> None:
    """Call `changed` with the subject of each event, `models/NAME` or `rollouts/ID`; without end."""
    last = ""
    while True:
        try:
            async with client() as connected:
                async for event in connected.events(last_id=last):
                    last = event.id or last
                    changed(subject_of(event))
        except SerinusError as error:
            log.info("the controller's events broke off: %s", error.detail)
        await asyncio.sleep(AGAIN_S)


def subject_of(event: EventView) -> str:
    """Of a version or an alias: its model's."""
    return "/".join(str(event.data.get("subject", "")).split("/")[:2])
