"""Has the logs of a pool compacted and cleared, again and again, each time by a process of its own.

So the memory that a round takes is given back, and whatever ends a round, serving goes on."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import serinus
import serving
from serving.settings import Settings

log = logging.getLogger(__name__)


class Upkeep:
    """One round every `settings.compact_every_s`; 0: never."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._round: subprocess.Popen[bytes] | None = None
        self._next = time.monotonic() + settings.compact_every_s

    def step(self) -> None:
        """Begin a round when it is time; to be called now and then. One that cannot be started is logged."""
        if self._round is not None and self._round.poll() is not None:
            self._round = None
        if self._settings.compact_every_s and self._round is None and time.monotonic() >= self._next:
            self._next = time.monotonic() + self._settings.compact_every_s
            try:
                self._round = subprocess.Popen(self._command(), env=_environment(), stdin=subprocess.DEVNULL)
            except OSError as error:
                log.error("the logs cannot be compacted: %s", error)

    def stop(self) -> None:
        """End the round that runs: the next one takes away what it leaves."""
        if self._round is not None:
            self._round.kill()
            self._round.wait()
            self._round = None

    def _command(self) -> list[str]:
        settings = self._settings
        days = {"predictions": settings.keep_days, "labels": settings.keep_days, "inputs": settings.keep_inputs_days}
        keep = [word for kind, kept in days.items() for word in (f"--keep-{kind}-days", str(kept))]
        quiet = ["--quiet-s", str(settings.compact_quiet_s)]
        return [sys.executable, "-m", "serving.compact", str(settings.log), *quiet, *keep]


def _environment() -> dict[str, str]:
    """With the folders of the rooms on the path, whoever started us."""
    folders = dict.fromkeys(str(Path(str(room.__file__)).parents[1]) for room in (serving, serinus))
    path = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, "ARROW_DEFAULT_MEMORY_POOL": "system"}
