"""To wait, in both kinds of client."""

from __future__ import annotations

import asyncio
import time

__all__ = ["asleep", "sleep"]


async def asleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


def sleep(seconds: float) -> None:
    time.sleep(seconds)
