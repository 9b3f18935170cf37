"""`python -m serving.label_process LOG WRITER`: the process beside a front door that takes its labels.

Parsing a million labels costs seconds of CPU, and holds Python's lock: in a process of its own it delays no answer,
and memory that a forged file asks for is refused to it alone. Calls come in on stdin, answers go to stdout; it ends
when stdin does."""

from __future__ import annotations

import contextlib
import os
import queue
import resource
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec

from serinus.errors import SerinusError
from serving.event_times import EventTimes
from serving.label_formats import Form, batches
from serving.labels import Job, LabelDesk, Refused, Values

MAX_MEMORY_BYTES = 4 << 30
"""Of addresses, not of memory in use: Arrow's libraries take more than 1 GB of them."""
UNSURE_S, PAUSE_S = 0.5, 0.01
"""A label whose request is not in the log yet is looked at again for so long, every so often."""
NICENESS = 5
LENGTH = struct.Struct("<I")


class Call(msgspec.Struct):
    """Some labels to take; `size` bytes follow it. `first_row`: number of the first one in what the caller sent.

    `sampled`: not every answer of the model is recorded, so a label may be of one that is not."""

    number: int
    form: Form
    model: str
    tasks: dict[str, Values]
    now_ms: int
    may_replay: bool
    first_row: int
    size: int
    sampled: bool = False


class Done(msgspec.Struct):
    """What became of a call. `fault`: why it was not taken as a whole, with words in `detail`."""

    number: int
    accepted: int = 0
    refused: list[Refused] = []
    more_refused: int = 0
    fault: Literal["", "input", "size", "disk", "other"] = ""
    detail: str = ""


@dataclass(slots=True)
class _Active:
    call: Call
    job: Job
    rest: Iterator[list[Any]]
    row: int
    until: float
    done: Done | None = None


class Loop:
    """Takes a batch of every call in turn, so that a small one does not wait for a large one; one fsync serves all."""

    def __init__(self, desk: LabelDesk) -> None:
        self._desk = desk
        self.active: list[_Active] = []

    def begin(self, call: Call, body: bytes) -> None:
        job = Job(call.model, call.tasks, EventTimes(call.now_ms, call.may_replay), call.sampled)
        self.active.append(_Active(call, job, batches(call.form, body), call.first_row, time.monotonic() + UNSURE_S))

    def turn(self) -> list[Done]:
        """One batch of each call, then one fsync. Returns the calls that are over."""
        for each in self.active:
            self._step(each)
        try:
            self._desk.sync()
        except OSError as error:
            for each in self.active:
                each.done = Done(each.call.number, fault="disk", detail=str(error))
        over = [each.done for each in self.active if each.done is not None]
        self.active = [each for each in self.active if each.done is None]
        return over

    @property
    def idle(self) -> bool:
        """Whether all that there is to do is to wait for requests to come into the log."""
        return all(each.job.unsure for each in self.active)

    def _step(self, each: _Active) -> None:
        number = each.call.number
        try:
            labels = next(each.rest, None)
            if labels is None and each.job.unsure:
                self._desk.look_again(each.job, wait=time.monotonic() < each.until)
            elif labels is None:
                job = each.job
                each.done = Done(number, job.accepted, sorted(job.refused, key=_row), job.more_refused)
            else:
                self._desk.write(each.job, each.row, labels)
                each.row += len(labels)
        except SerinusError as error:
            each.done = Done(number, fault="size" if error.status == 413 else "input", detail=error.detail)
        except MemoryError:
            each.done = Done(number, fault="size", detail="these labels take more memory to read than they may")
        except OSError as error:
            each.done = Done(number, fault="disk", detail=str(error))
        except Exception as error:  # one call must not end the others
            each.done = Done(number, fault="other", detail=f"{type(error).__name__}: {error}")


def _row(refused: Refused) -> int:
    return refused.row


def main() -> None:
    root, writer = Path(sys.argv[1]), sys.argv[2]
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    os.nice(NICENESS)
    loop, out = Loop(LabelDesk(root, writer)), sys.stdout.buffer
    came: queue.SimpleQueue[tuple[Call, bytes] | None] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, came), daemon=True).start()
    ending = False
    while not ending or loop.active:
        ending = _take(came, loop) or ending
        for done in loop.turn():
            frame = msgspec.msgpack.encode(done)
            out.write(LENGTH.pack(len(frame)) + frame)
        out.flush()


def _take(came: queue.SimpleQueue[tuple[Call, bytes] | None], loop: Loop) -> bool:
    """Begin every call that has come; waits for one when there is nothing to do. True when no more will come."""
    timeout = PAUSE_S if loop.active else None
    if not loop.idle:
        timeout = 0.0
    with contextlib.suppress(queue.Empty):
        while True:
            if (item := came.get(timeout=timeout)) is None:
                return True
            loop.begin(*item)
            timeout = 0.0
    return False


def _listen(source: BinaryIO, came: queue.SimpleQueue[tuple[Call, bytes] | None]) -> None:
    decoder = msgspec.msgpack.Decoder(Call)
    while head := source.read(LENGTH.size):
        call = decoder.decode(source.read(LENGTH.unpack(head)[0]))
        body = source.read(call.size)
        if len(body) < call.size:
            break
        came.put((call, body))
    came.put(None)


if __name__ == "__main__":
    main()
