"""Calls of /v1/labels: what form they have, how many are let in, what they are answered."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec

from serinus.errors import BadInput, Overloaded, TooLarge, Unavailable
from serving.applied import Applied
from serving.event_times import EventTimes
from serving.label_formats import Form
from serving.label_pipe import LabelPipe
from serving.label_process import Call, Done
from serving.labels import MAX_LABELS, CompleteTo, parse_labels, values_of
from serving.marks import Marks
from serving.tally import Tally

FORMS: dict[str, Form] = {
    "": "json",
    "application/json": "json",
    "application/x-ndjson": "ndjson",
    "application/vnd.apache.parquet": "parquet",
    "application/vnd.apache.arrow.stream": "arrow",
}
MAX_BYTES: dict[Form, int] = {"json": 2 << 20, "ndjson": 256 << 20, "parquet": 32 << 20, "arrow": 32 << 20}
MAX_CALLS = 64
MAX_HELD_BYTES = 64 << 20
SOME_BYTES = 1 << 20
"""NDJSON is handed on in parts of this size; no line may be longer."""
SILENCE_S = 20.0
Chunks = AsyncIterator[bytes]


class LabelCalls:
    """The label calls of one front door. `applied`: what is in force for a model, or raises NotFound."""

    def __init__(self, root: Path, writer: str, applied: Callable[[str], Applied], marks: Marks, tally: Tally) -> None:
        self.pipe = LabelPipe(root, writer)
        self._applied, self._marks, self._tally = applied, marks, tally
        self._calls = self._held = 0

    async def take(self, content_type: bytes, query: bytes, chunks: Chunks, times: EventTimes) -> bytes:
        """Take labels; what is accepted, and `complete_to`, is on disk before this returns. Raises SerinusError."""
        form = FORMS.get(content_type.partition(b";")[0].strip().lower().decode("latin-1"))
        if form is None:
            raise BadInput(f"labels come as {content_type[:64]!r}, expected one of {', '.join(filter(None, FORMS))}")
        with self._admitted() as held:
            if form == "json":
                done = await self._json(held, chunks, times)
            else:
                model = _model_of(query)
                call = self._call(form, model, times)
                take = self._lines if form == "ndjson" else self._whole
                done = await take(held, chunks, call)
                self._count(model, done)
        more = {"more_refused": done.more_refused} if done.more_refused else {}
        return msgspec.json.encode({"accepted": done.accepted, "refused": done.refused, **more})

    async def _json(self, held: _Held, chunks: Chunks, times: EventTimes) -> Done:
        said = parse_labels(b"".join(await _all("json", held, chunks)))
        call = self._call("json", said.model, times)
        if said.complete_to is not None:
            _bounded(times, said.complete_to.event_ms)
        labels = bytes(said.labels)
        done = Done(0) if labels == b"[]" else await self.pipe.ask(call, [labels])
        self._count(said.model, done)
        if said.complete_to is not None:
            await self._complete(said.model, said.complete_to)
        return done

    def _count(self, model: str, done: Done) -> None:
        self._tally.add("serinus_labels_total", (model, "accepted"), done.accepted)
        self._tally.add("serinus_labels_total", (model, "refused"), len(done.refused) + done.more_refused)

    async def _whole(self, held: _Held, chunks: Chunks, call: Call) -> Done:
        return await self.pipe.ask(call, await _all(call.form, held, chunks))

    async def _lines(self, held: _Held, chunks: Chunks, call: Call) -> Done:
        """NDJSON, handed on at ends of lines as it comes; a failure midway leaves what was handed on, as ever."""
        total, rest, size = Done(0), b"", 0
        async for chunk in _timely(chunks):
            size += len(chunk)
            if size > MAX_BYTES["ndjson"]:
                raise TooLarge(f"the body has more than {MAX_BYTES['ndjson']} bytes, send it in several calls")
            rest += chunk
            if len(rest) < SOME_BYTES:
                held.now(len(rest))
                continue
            lines, found, rest = rest.rpartition(b"\n")
            if not found:
                raise BadInput(f"line {call.first_row} is longer than {SOME_BYTES} bytes")
            await self._some(total, call, lines + found)
            held.now(len(rest))
        if rest:
            await self._some(total, call, rest)
        return total

    async def _some(self, total: Done, call: Call, lines: bytes) -> None:
        done = await self.pipe.ask(call, [lines])
        call.first_row += lines.count(b"\n")
        total.accepted += done.accepted
        room = MAX_LABELS - len(total.refused)
        total.refused = total.refused + done.refused[:room]
        total.more_refused += done.more_refused + max(0, len(done.refused) - room)

    def _call(self, form: Form, model: str, times: EventTimes) -> Call:
        applied = self._applied(model)
        tasks = values_of(applied.manifests.values())
        sampled = applied.table.serving.log_share < 1
        return Call(0, form, model, tasks, times.now_ms, times.may_replay, 0, 0, sampled)

    async def _complete(self, model: str, said: CompleteTo) -> None:
        if odd := sorted(set(said.tasks) - set(values_of(self._applied(model).manifests.values()))):
            raise BadInput(f"complete_to.tasks has {odd[0]!r}, which is no task of {model}")
        self._marks.of(model).complete(said.source, said.event_ms, time.time_ns() // 1_000_000, said.tasks)
        try:
            await self._marks.write(model, durable=True)
        except OSError as error:
            raise Unavailable(f"complete_to cannot be written: {error}", "send the same call again") from error

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[_Held]:
        """One more call, or Overloaded: what waits here is bounded, and what is sent away may be sent again."""
        if self._calls >= MAX_CALLS or self._held >= MAX_HELD_BYTES:
            raise Overloaded(f"{self._calls} calls with labels are on their way here", "send the same labels later")
        self._calls += 1
        held = _Held(self)
        try:
            yield held
        finally:
            self._calls -= 1
            held.now(0)

    def hold(self, more: int) -> None:
        """Count bytes that wait. Raises Overloaded when all calls together would hold too many."""
        if more > 0 and self._held + more > MAX_HELD_BYTES:
            raise Overloaded("calls with labels hold too many bytes here", "send the same labels later")
        self._held += more


class _Held:
    """The bytes that one call holds."""

    def __init__(self, calls: LabelCalls) -> None:
        self._calls, self._size = calls, 0

    def now(self, size: int) -> None:
        self._calls.hold(size - self._size)
        self._size = size


async def _all(form: Form, held: _Held, chunks: Chunks) -> list[bytes]:
    parts: list[bytes] = []
    size = 0
    async for chunk in _timely(chunks):
        size += len(chunk)
        if size > MAX_BYTES[form]:
            advice = "; NDJSON has no such limit" if form == "json" else ""
            raise TooLarge(f"the body has more than {MAX_BYTES[form]} bytes, expected at most that{advice}")
        held.now(size)
        parts.append(chunk)
    return parts


async def _timely(chunks: Chunks) -> Chunks:
    """The same chunks. Raises BadInput when one does not come: a slow sender must not keep others out."""
    while True:
        try:
            chunk = await asyncio.wait_for(anext(chunks), SILENCE_S)
        except StopAsyncIteration:
            return
        except TimeoutError as error:
            raise BadInput(f"nothing of the body came for {SILENCE_S:g} s") from error
        yield chunk


async def body_of(receive: Callable[[], Awaitable[dict[str, Any]]]) -> Chunks:
    """The body of an ASGI request as it comes. Raises BadInput when the client goes away."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadInput("the client went away before its body was read")
        if chunk := message.get("body", b""):
            yield chunk
        if not message.get("more_body"):
            return


def _model_of(query: bytes) -> str:
    found = parse_qs(query.decode("latin-1")).get("model", [])
    if len(found) != 1:
        raise BadInput("the query names no model, expected /v1/labels?model=NAME")
    return found[0]


def _bounded(times: EventTimes, event_ms: int) -> None:
    try:
        times.check(event_ms, "complete_to.event_ms")
    except ValueError as error:
        raise BadInput(str(error)) from error
