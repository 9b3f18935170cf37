"""Whether there is room left on the disks of a local stack."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from serinus.doctor.finding import Finding, runbook

__all__ = ["Room", "judge_disks", "rooms_on"]

FEW_BYTES, SCARCE_BYTES = 1 << 30, 10 << 30
SCARCE_RATIO = 0.05


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes of the disk that holds a folder, and how many of them are free."""

    folder: str
    free: int
    size: int


def rooms_on(folders: Iterable[Path]) -> list[Room]:
    """One for each disk; folders that are not there have none."""
    found: dict[int, Room] = {}
    for folder in folders:
        try:
            disk = os.statvfs(folder)
            key = folder.stat().st_dev
        except OSError:
            continue
        found.setdefault(key, Room(str(folder), disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize))
    return list(found.values())


def judge_disks(rooms: Iterable[Room]) -> list[Finding]:
    """Less than 1 GiB is wrong: rows of the log are lost soon. Less than a twentieth and than 10 GiB is to be seen."""
    found = []
    for room in rooms:
        few = room.free < FEW_BYTES
        if few or (room.free < SCARCE_BYTES and room.free < room.size * SCARCE_RATIO):
            text = f"{room.free / 2**30:.1f} GiB of {room.size / 2**30:.0f} are free where {room.folder} is"
            do = "make room: a full disk loses rows of the log and stops the database; `serinus gc --delete` helps"
            page = runbook("rows-lost")
            found.append(Finding(level="wrong" if few else "look", what="disk", text=text, do=do, runbook=page))
    return found
