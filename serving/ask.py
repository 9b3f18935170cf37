"""What is asked and what is answered, whatever the protocol: JSON, binary tensors and gRPC all end up here.

Everything that comes in is bounded and checked against what the versions in force take; what is wrong becomes a
BadInput that says where, and what was expected."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from serinus.errors import BadInput
from serinus.ids import event_ms_of
from serinus.records import Arm
from serinus.routes import RouteTable
from serinus.tasks import InputSpec
from serving.tensors import MAX_BODY_BYTES, MAX_NAMES, MAX_ROWS, Given, Tensor, absent, arrays, described, listed

__all__ = [
    "MAX_BODY_BYTES",
    "MAX_NAMES",
    "MAX_ROWS",
    "Answer",
    "Ask",
    "Caller",
    "Given",
    "Output",
    "Tensor",
    "absent",
    "check",
    "identify",
    "joined_id",
]


class Caller(msgspec.Struct):
    """What a request says of itself. `timeout_us`: how long its caller waits (Triton's unit, microseconds).

    `attributes`: values of slices that are no inputs."""

    id: str = ""
    entity: str = ""
    event_time_ms: int | None = None
    join_key: str = ""
    attributes: dict[str, str] = {}
    timeout_us: int | None = None


class Ask(msgspec.Struct):
    """One checked request. `inputs`: tensor name -> array of shape [n, *shape], every input that is known, always.

    `id`, `event_ms`: as the caller gave them, or as its join key gives them; `said`: the id it wants to read in the
    answer. `tasks`: () when all are wanted. `pinned`: the caller named the version, so that the answer is stable's and
    belongs to no rollout. In a ranking request an input has `rows` rows or, where it is the
    entity's, one."""

    id: uuid.UUID | None
    event_ms: int | None
    entity: str
    tasks: tuple[str, ...]
    rows: int
    inputs: dict[str, Tensor]
    said: str = ""
    attributes: dict[str, str] = {}
    timeout_us: int | None = None
    pinned: bool = False


class Output(msgspec.Struct):
    """One task's answer: float32 [n], or [n, classes]; the version that was meant to give it, what stood in for it."""

    task: str
    values: Tensor
    version: int
    fallback: str = ""


class Answer(msgspec.Struct):
    """What a front door says to one request."""

    identity: uuid.UUID
    said: str
    arm: Arm
    table: RouteTable
    outputs: list[Output]
    rows: int


def check(
    given: Sequence[Given],
    caller: Caller,
    asked: Iterable[str],
    specs: Mapping[str, InputSpec],
    tasks: Mapping[str, int],
    *,
    ranking: bool = False,
) -> Ask:
    """The request, checked against the known inputs and the tasks that can be asked. Raises BadInput.

    `ranking`: inputs may have one row while others have more."""
    if not given:
        raise BadInput(f"inputs is empty, expected {listed(specs)}")
    if len(given) > MAX_NAMES:
        raise BadInput(f"there are {len(given)} inputs, expected at most {MAX_NAMES}")
    counts = [tensor.shape[0] if len(tensor.shape) else 0 for tensor in given]
    rows = max(counts) if ranking else counts[0]
    if not 1 <= rows <= MAX_ROWS:
        raise BadInput(f"inputs[0].shape says {rows} rows, expected 1 to {MAX_ROWS}")
    tensors = arrays(given, [count if ranking and count == 1 else rows for count in counts], specs)
    for name, spec in specs.items():
        if name not in tensors:
            if spec.required:
                raise BadInput(f"input {name!r} is missing, expected {described(spec, rows)}")
            tensors[name] = absent(spec, 1 if ranking else rows)
    wanted = tuple(dict.fromkeys(asked))
    for task in wanted:
        if task not in tasks:
            raise BadInput(f"output {task!r} is unknown, expected some of {listed(tasks)}")
    identity, event_ms, said = identify(caller)
    if caller.timeout_us is not None and caller.timeout_us < 1:
        raise BadInput(f"parameters.timeout is {caller.timeout_us}, expected microseconds, at least 1")
    return Ask(
        id=identity,
        event_ms=event_ms,
        entity=caller.entity,
        tasks=wanted,
        rows=rows,
        inputs=tensors,
        said=said,
        attributes=caller.attributes,
        timeout_us=caller.timeout_us,
    )


def identify(caller: Caller) -> tuple[uuid.UUID | None, int | None, str]:
    """(Request id, event time in Unix ms, the id to be read in the answer). Raises BadInput.

    An id that is a UUIDv7 is the request's own and carries its event time. Any other text is only given back. A join
    key, with its event time, makes an id that whoever has the same two can make again: `joined_id`."""
    wanted = caller.event_time_ms
    if wanted is not None and not 0 <= wanted < 1 << 48:
        raise BadInput(f"parameters.event_time_ms is {wanted}, expected Unix milliseconds")
    if caller.join_key:
        if wanted is None:
            raise BadInput("parameters.join_key needs parameters.event_time_ms beside it")
        return joined_id(caller.join_key, wanted), wanted, caller.id
    try:
        identity = uuid.UUID(caller.id)
        carried = event_ms_of(identity)
    except ValueError:
        return None, wanted, caller.id
    if wanted is not None and wanted != carried:
        raise BadInput(
            f"id carries the event time {carried}, but parameters.event_time_ms is {wanted}; send one of them"
        )
    return identity, carried, ""


def joined_id(join_key: str, event_ms: int) -> uuid.UUID:
    """The UUIDv7 of a caller's own join key: its event time, then 74 bits of the key's BLAKE2b."""
    digest = hashlib.blake2b(join_key.encode(), digest_size=10, person=b"serinus-join-key").digest()
    number = int.from_bytes(event_ms.to_bytes(6, "big") + digest, "big")
    number = number & ~(0xF << 76) | 7 << 76
    return uuid.UUID(int=number & ~(0x3 << 62) | 2 << 62)
