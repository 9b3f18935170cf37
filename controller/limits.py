"""Rate limits: a bucket of tokens for each caller, refilled steadily; and one for each address whose callers fail."""

from __future__ import annotations

import ipaddress
import math
import threading
from collections import OrderedDict

from serinus.errors import RateLimited

__all__ = ["Buckets", "origin"]


class Buckets:
    """At most `burst` at once and `per_s` a second in the long run, for each name. Thread-safe, bounded in size.

    They are this process's own: two controllers allow twice as much. `per_s` 0: no limit."""

    def __init__(self, per_s: float, burst: float, most: int = 10_000) -> None:
        self.per_s, self.burst, self.most = per_s, burst, most
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name -> (what is left, when)
        self._lock = threading.Lock()

    def take(self, name: str, now: float, what: str) -> None:
        """Take one. Raises RateLimited, with the seconds until there is one again. `now`: any steady clock, seconds."""
        if self.per_s <= 0:
            return
        with self._lock:
            left, at = self._held.pop(name, (self.burst, now))
            left = min(self.burst, left + max(0.0, now - at) * self.per_s)
            self._held[name] = (left - 1 if left >= 1 else left, now)
            if len(self._held) > self.most:
                self._held.popitem(last=False)  # who has not called for the longest time
        if left < 1:
            error = RateLimited(f"{what}: more than {self.per_s:g} a second")
            error.retry_after_s = float(math.ceil((1 - left) / self.per_s))
            raise error


def origin(host: str | None) -> str:
    """What stands for an address: an IPv6 network of /64 belongs to one sender."""
    try:
        address = ipaddress.ip_address(host or "")
    except ValueError:
        return host or "?"
    if isinstance(address, ipaddress.IPv6Address):
        return str(address.ipv4_mapped or ipaddress.ip_network((address, 64), strict=False))
    return str(address)
