"""What the tests of the recorder share: a process that records as a front door does, its spools, its rows."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil

from serinus.records import LabelRow, Mark, encode_row, read_rows

EVENT_MS = 1_365_000_000_000
DOOR = """
import asyncio, sys, os
from pathlib import Path
from serinus.records import LabelRow, encode_row
from serving.marks import Marks
from serving.recording import Recorder

async def main(root, name, pause):
    recorder = Recorder(Path(root), name, 1 << 20)
    marks = Marks(recorder, name, 0.02)
    recorder.start()
    tasks = [asyncio.create_task(recorder.run()), asyncio.create_task(marks.keep_writing())]
    number = 0
    while True:
        row = encode_row(LabelRow(name[:16].encode().ljust(16), number, "t" * (number % 900), 1.0, 0))
        before = recorder.status()["lost"]
        recorder.append("predictions", marks.of("m"), "m", 1_365_000_000_000 + number % 3 * 3_600_000, [row])
        if recorder.status()["lost"] == before:
            os.write(1, b"%d\\n" % number)
        number += 1
        if number % 8 == 0:
            await asyncio.sleep(pause)

asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
"""


def frame(index: int, size: int = 0) -> bytes:
    return encode_row(LabelRow(b"i" * 16, index, "t" * size, 1.0, 0))


def rows_in(root: Path) -> list[int]:
    """Indexes of all rows, in the order of the files."""
    return [
        msgspec.msgpack.decode(payload, type=LabelRow).index
        for path in sorted(root.glob("predictions/m/*/*.log"))
        for _end, payload in read_rows(path.read_bytes())
    ]


def mark_in(root: Path, name: str) -> Mark | None:
    path = root / "marks" / "m" / f"{name}.json"
    return msgspec.json.decode(path.read_bytes(), type=Mark) if path.exists() else None


def wait_for(holds: Callable[[], Any], within_s: float = 30.0) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := holds()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def spools(root: Path) -> list[psutil.Process]:
    """Living processes that are, or become, spools of this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
            if "serving.spool" in line and str(root) in line and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def ended(root: Path) -> bool:
    """Whether there is none, looked at twice: one may be forking while all processes are gone through."""
    return not spools(root) and not spools(root)


def at_work(root: Path) -> list[psutil.Process]:
    """Spools that have left their front door's session."""
    found = []
    for spool in spools(root):
        with contextlib.suppress(ProcessLookupError):
            if os.getsid(spool.pid) == spool.pid:
                found.append(spool)
    return found


class FrontDoor:
    """A process that records rows as a front door does, and says the number of each that was taken."""

    def __init__(self, root: Path, name: str) -> None:
        command = [sys.executable, "-c", DOOR, str(root), name, "0.001"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
        self.said: list[int] = []
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self.said.append(int(line))

    def goes_on(self, rows: int) -> None:
        """Wait until it has said so many more."""
        wanted = len(self.said) + rows
        wait_for(lambda: len(self.said) >= wanted)

    def is_quiet(self) -> bool:
        before = len(self.said)
        time.sleep(0.5)
        return len(self.said) == before

    def kill(self) -> set[int]:
        """Everything it said before it was killed, just now."""
        self.process.kill()
        self.process.wait()
        self._listening.join()
        return set(self.said)
