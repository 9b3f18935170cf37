"""However somebody stops the demo, it stops what it has started."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "finished", "stoppable"]

UP_S = 150.0
"""Wall seconds that a command may take to stop what it has begun."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, which is to end things as Ctrl-C does."""


@contextmanager
def stoppable() -> Iterator[None]:
    """In here the first SIGTERM raises Terminated; those that follow change nothing. For the main thread."""

    def terminated(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminated)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def finished(command: Sequence[str]) -> int:
    """Run a command to its end: its exit code. When we are stopped meanwhile, it is told so and may clear up first."""
    process = subprocess.Popen(command)
    try:
        while (code := process.poll()) is None:
            time.sleep(0.05)  # wait() without an end was seen to miss Ctrl-C while a stack came up
        return code
    except BaseException:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            process.wait(UP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
