"""Who sees the candidate: sticky, monotone, and the same in every process. Pure."""

from __future__ import annotations

import hashlib

from serinus.records import Arm
from serinus.routes import BUCKETS, RouteTable


def bucket_of(salt: str, key: str) -> int:
    """Bucket of an entity, uniform over 0 ... 9,999: a 64-bit keyed hash (BLAKE2b) modulo 10,000.

    64 bits, so that the modulo's bias is below 1e-15."""
    return _bucket(salt, key.encode(), b"assignment")


def arm_of(bucket: int, canary_bp: int) -> Arm:
    """`canary` below the share; `control` in the range of equal size at the other end; else `stable`.

    Both grow from opposite ends, so raising the share up to one half moves nobody from an arm that was compared."""
    if bucket < canary_bp:
        return "canary"
    if bucket >= max(canary_bp, BUCKETS - canary_bp):
        return "control"
    return "stable"


def shadowed(salt: str, request_id: bytes, shadow_bp: int) -> bool:
    """Whether this request is copied to the shadow; independent of the arm."""
    if shadow_bp >= BUCKETS:
        return True
    return shadow_bp > 0 and _bucket(salt, request_id, b"shadow") < shadow_bp


def shares(table: RouteTable, now_s: float) -> tuple[int, int]:
    """(canary_bp, shadow_bp) in force at `now_s` (Unix seconds): both 0 once the table has expired."""
    if table.candidate is None or table.expires_at is None or now_s >= table.expires_at:
        return 0, 0
    return table.canary_bp, table.shadow_bp


def _bucket(salt: str, key: bytes, person: bytes) -> int:
    secret = salt.encode()
    if len(secret) > hashlib.blake2b.MAX_KEY_SIZE:
        secret = hashlib.sha256(secret).digest()
    digest = hashlib.blake2b(key, digest_size=8, key=secret, person=person).digest()
    return int.from_bytes(digest, "big") % BUCKETS
