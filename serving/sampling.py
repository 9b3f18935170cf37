"""Which entities are recorded, where a model's load is too great to record them all."""

from __future__ import annotations

from hashlib import blake2b

WHOLE = float(1 << 64)


def sampled(entity: str, share: float) -> bool:
    """Whether an entity is among this share of all; always the same ones, and those of a smaller share are of them.

    The hash is no other's: it says nothing about the arm, the shadow, or the groups of the statistics."""
    if share >= 1:
        return True
    digest = blake2b(entity.encode(), digest_size=8, person=b"serinus-sample").digest()
    return int.from_bytes(digest, "big") < share * WHOLE
