"""Request ids that carry their event time (UUIDv7, RFC 9562, section 5.7)."""

from __future__ import annotations

import os
import uuid

__all__ = ["event_ms_of", "uuid7"]


def uuid7(event_ms: int, random: bytes | None = None) -> uuid.UUID:
    """A UUIDv7 of `event_ms` (Unix milliseconds, event time). `random`: 10 bytes; drawn when None."""
    if not 0 <= event_ms < 1 << 48:
        raise ValueError(f"event_ms is {event_ms}, not within 0 to 2**48 - 1")
    noise = int.from_bytes(random if random is not None else os.urandom(10), "big")
    value = (event_ms << 80) | (noise & ((1 << 80) - 1))
    value = value & ~(0xF << 76) | (7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return uuid.UUID(int=value)


def event_ms_of(request_id: uuid.UUID | bytes) -> int:
    """The event time in Unix milliseconds that a request id carries.

    Raises ValueError when it is not a UUIDv7."""
    value = int.from_bytes(request_id if isinstance(request_id, bytes) else request_id.bytes, "big")
    if (value >> 76) & 0xF != 7:
        raise ValueError("the request id is not a UUIDv7, so it does not carry an event time")
    return value >> 80
