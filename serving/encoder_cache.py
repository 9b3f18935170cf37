"""Outputs of parts that other requests will need in a moment: a user's tower for the next items, an encoder for the
next task.

A request runs from its first look here to its last without another one in between (`Process.turn`), and only the
thread that runs it looks or keeps. So no two requests compute the same at the same time, and single flight needs
nothing more: whoever comes second finds what the first one kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from serving.ask import Tensor

MAX_BYTES, TTL_MS = 64 << 20, 100
ENTRY_BYTES, TEXT_BYTES = 600, 64
"""What Python's objects take beside the numbers, roughly: of an entry, and of a text."""
Key = tuple[Hashable, ...]


class EncoderCache:
    """key -> a part's outputs, for `ttl_ms`, the least recently used go first. Times are ns of any steady clock.

    The key has the package's digest, so that no version ever sees what another one computed."""

    def __init__(self, max_bytes: int = MAX_BYTES, ttl_ms: float = TTL_MS) -> None:
        self._kept: OrderedDict[Key, tuple[int, int, tuple[Tensor, ...]]] = OrderedDict()
        self.bytes = self.hits = self.misses = self.evicted = 0
        self.bound(max_bytes, ttl_ms)

    def bound(self, max_bytes: int, ttl_ms: float) -> None:
        """Set the bounds; either may be 0, then nothing is kept."""
        self._max_bytes, self._ttl_ns = max_bytes, int(ttl_ms * 1e6)
        self.enabled = bool(self._max_bytes and self._ttl_ns)
        self._shrink()

    def get(self, key: Key, now_ns: int) -> tuple[Tensor, ...] | None:
        found = self._kept.get(key)
        if found is None or found[0] <= now_ns:
            self.misses += 1
            return None
        self.hits += 1
        self._kept.move_to_end(key)
        return found[2]

    def keep(self, key: Key, outputs: Iterable[Tensor], now_ns: int) -> None:
        """Keep outputs, which nobody may write to from now on."""
        own = tuple(outputs)
        if any(tensor.dtype.hasobject for tensor in own):
            return  # texts can be of any size
        for tensor in own:
            tensor.flags.writeable = False
        size = ENTRY_BYTES + size_of(key) + sum(tensor.nbytes for tensor in own)
        self._drop(key)
        self._kept[key] = (now_ns + self._ttl_ns, size, own)
        self.bytes += size
        while self._kept and next(iter(self._kept.values()))[0] <= now_ns:
            self._drop(next(iter(self._kept)))
        self._shrink()

    def status(self) -> dict[str, int]:
        return {
            "entries": len(self._kept),
            "bytes": self.bytes,
            "hits": self.hits,
            "misses": self.misses,
            "evicted": self.evicted,
        }

    def _shrink(self) -> None:
        while self._kept and (self.bytes > self._max_bytes or not self.enabled):
            self._drop(next(iter(self._kept)))
            self.evicted += 1

    def _drop(self, key: Key) -> None:
        if found := self._kept.pop(key, None):
            self.bytes -= found[1]


def key_of(digest: str, part: str, raws: Iterable[str], inputs: Mapping[str, Tensor]) -> Key:
    """The raw inputs that reach a part, as they are: shapes, bytes, texts. Names and types are the package's own."""
    tensors = [inputs[name] for name in raws]
    texts = [tuple(tensor.ravel().tolist()) for tensor in tensors if tensor.dtype.hasobject]
    numbers: list[Any] = [tensor for tensor in tensors if not tensor.dtype.hasobject]
    try:
        joined = b"".join(numbers)
    except (BufferError, TypeError):  # not contiguous
        joined = b"".join([tensor.tobytes() for tensor in numbers])
    return (digest, part, tuple([tensor.shape for tensor in tensors]), joined, *texts)


def size_of(key: Key) -> int:
    """About how many bytes a key takes."""
    size = 0
    for item in key:
        if isinstance(item, bytes):
            size += len(item)
        elif isinstance(item, tuple):
            size += sum(TEXT_BYTES + 4 * len(text) if isinstance(text, str) else TEXT_BYTES for text in item)
    return size
