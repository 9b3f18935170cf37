"""A front door's end of the pipe to its label process: calls go in, answers come out, a broken one is replaced."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from pathlib import Path

import msgspec

from serinus.errors import BadInput, SerinusError, TooLarge, Unavailable
from serving.label_process import LENGTH, Call, Done

ROOMS = Path(__file__).resolve().parent.parent
AGAIN = "send the same labels again"
CHUNK = 1 << 18
END_S = 10.0


class LabelPipe:
    """Used from one event loop. The process is started when it is first needed, and again when it has ended."""

    def __init__(self, root: Path, writer: str) -> None:
        self._root, self._writer = root, writer
        self._numbers, self._starts = itertools.count(), itertools.count()
        self._process: Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: dict[int, asyncio.Future[Done]] = {}
        self._starting, self._sending = asyncio.Lock(), asyncio.Lock()
        self.pid: int | None = None

    async def ask(self, call: Call, body: Sequence[bytes]) -> Done:
        """Have the labels in `body` taken; what is accepted is on disk then. `call.number`, `.size` are filled in.

        Raises BadInput, TooLarge, or Unavailable: then some may be on disk, and all may be sent again."""
        process = await self._running()
        call.number, call.size = next(self._numbers), sum(map(len, body))
        waiter: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._waiting[call.number] = waiter
        try:
            await self._send(process, call, body)
            done = await waiter
        except OSError as error:
            raise Unavailable("the process that takes labels has ended", AGAIN) from error
        finally:
            self._waiting.pop(call.number, None)
        if done.fault:
            raise _error_of(done)
        return done

    async def close(self) -> None:
        """Let it finish what it has, and end it."""
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), END_S)
        except TimeoutError:
            self._process.kill()
        if self._reading is not None:
            await self._reading

    async def _running(self) -> Process:
        async with self._starting:
            if self._process is None or self._process.returncode is not None or self._reading is None:
                await self._start()
            assert self._process is not None
            return self._process

    async def _start(self) -> None:
        # each start writes files of its own: the last frame of one that was killed may be torn
        writer = f"{self._writer}-{next(self._starts)}"
        path = os.pathsep.join([str(ROOMS), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = (sys.executable, "-m", "serving.label_process", str(self._root), writer)
        try:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=PIPE, stdout=PIPE, env={**os.environ, "PYTHONPATH": path}
            )
        except OSError as error:
            raise Unavailable(f"the process that takes labels cannot be started: {error}", AGAIN) from error
        self.pid = self._process.pid
        self._reading = asyncio.create_task(self._read(self._process))

    async def _send(self, process: Process, call: Call, body: Sequence[bytes]) -> None:
        assert process.stdin is not None
        head = msgspec.msgpack.encode(call)
        # a caller that goes away must not leave half a call in the pipe
        await asyncio.shield(asyncio.ensure_future(self._write(process.stdin, LENGTH.pack(len(head)) + head, body)))

    async def _write(self, to: asyncio.StreamWriter, head: bytes, body: Sequence[bytes]) -> None:
        async with self._sending:
            to.write(head)
            for part in body:
                for start in range(0, len(part), CHUNK):
                    to.write(part[start : start + CHUNK])
                    await to.drain()

    async def _read(self, process: Process) -> None:
        """Hand out answers until the process ends; then nobody waits for it any longer."""
        assert process.stdout is not None
        decoder = msgspec.msgpack.Decoder(Done)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = await process.stdout.readexactly(LENGTH.size)
                done = decoder.decode(await process.stdout.readexactly(LENGTH.unpack(head)[0]))
                if (waiter := self._waiting.get(done.number)) is not None and not waiter.done():
                    waiter.set_result(done)
        await process.wait()
        self._reading = None
        for waiter in self._waiting.values():
            if not waiter.done():
                waiter.set_exception(OSError("the process has ended"))


def _error_of(done: Done) -> SerinusError:
    match done.fault:
        case "input":
            return BadInput(done.detail)
        case "size":
            return TooLarge(done.detail)
        case "disk":
            return Unavailable(f"labels cannot be written: {done.detail}", AGAIN)
    return SerinusError(f"labels could not be taken: {done.detail}", "the log of the serving pool has the rest")
