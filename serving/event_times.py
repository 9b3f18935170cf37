"""Which event times are taken: those of the present, unless the caller holds the replay token."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

PAST_MS = 400 * 86_400_000
FUTURE_MS = 5 * 60_000


@dataclass(frozen=True, slots=True)
class EventTimes:
    """`now_ms`: wall time of the call, Unix milliseconds."""

    now_ms: int
    may_replay: bool

    def check(self, event_ms: int, what: str) -> None:
        """Raises ValueError when this event time may not be used."""
        if not 0 <= event_ms < 1 << 48:
            raise ValueError(f"{what}: {event_ms} is no Unix time in milliseconds")
        if not self.may_replay and not self.now_ms - PAST_MS <= event_ms <= self.now_ms + FUTURE_MS:
            raise ValueError(
                f"{what}: the event time {event_ms} is not within 400 days before now and 5 minutes after it"
                "; another needs the replay token"
            )


def holds_token(authorization: bytes, sha256_hex: str) -> bool:
    """Whether an Authorization header carries the token of this digest. An empty digest is nobody's."""
    scheme, _, token = authorization.partition(b" ")
    if not sha256_hex or scheme.lower() != b"bearer" or len(token) > 512:
        return False
    return hmac.compare_digest(hashlib.sha256(token.strip()).hexdigest(), sha256_hex)
