"""Numbers, times and states as people read them. Pure."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

__all__ = ["ago", "bytes_of", "count", "humane", "number", "phase_kind", "share", "short", "signed", "span", "utc"]

UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
KINDS = {
    "violated": "bad",
    "rolled_back": "bad",
    "failed": "bad",
    "critical": "bad",
    "error": "warn",
    "awaiting_approval": "warn",
    "paused": "warn",
    "warning": "warn",
    "aborted": "mute",
    "superseded": "mute",
    "cancelled": "mute",
    "queued": "mute",
    "info": "mute",
    "satisfied": "good",
    "done": "good",
    "live": "good",
}


def phase_kind(word: str) -> str:
    """good, bad, warn, mute, or `busy`: how a phase, a verdict or a state is coloured, beside its word and shape."""
    return KINDS.get(word, "busy")


def utc(seconds: float | None) -> str:
    """Unix seconds as "2024-05-01 12:30 UTC"."""
    if seconds is None:
        return "–"
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        return "?"


def span(seconds: float) -> str:
    """A duration by its two largest units: "2 d 3 h"."""
    left, parts = max(0, int(seconds)), []
    for size, unit in UNITS:
        if left >= size:
            parts.append(f"{left // size} {unit}")
            left %= size
    return " ".join(parts[:2]) or "0 s"


def ago(seconds: float | None, now: float) -> str:
    """How long ago, by the largest unit."""
    if seconds is None:
        return "never"
    apart = now - seconds
    if abs(apart) < 2:
        return "just now"
    size, unit = next((size, unit) for size, unit in UNITS if abs(apart) >= size)
    return f"{int(apart // size)} {unit} ago" if apart > 0 else f"in {int(-apart // size)} {unit}"


def number(value: float | None) -> str:
    """Three significant digits; "–" where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value and (abs(value) >= 1e6 or abs(value) < 1e-4):
        return f"{value:.2e}".replace("-", "−")
    text = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return text.replace("-", "−")


def signed(value: float | None) -> str:
    text = number(value)
    return f"+{text}" if value is not None and value > 0 and text != "–" else text


def count(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def share(bp: int) -> str:
    """1/10,000 as percent: 100 is "1 %"."""
    return f"{bp / 100:g} %"


def short(value: float | None) -> str:
    """Two significant digits: the ends of an interval are no more certain than that."""
    if value is None or not math.isfinite(value) or abs(value) >= 100 or abs(value) < 1e-4:
        return number(value)
    return f"{value:.2g}".replace("-", "−")


def humane(text: str) -> str:
    """What the controller says for people and scripts, for people: long seconds as days or hours, no marks of code."""
    told = re.sub(r"\b(\d{3,9}) s\b", lambda found: span(float(found[1])), text)
    return told.replace("`", "")


def bytes_of(size: float | None) -> str:
    if size is None:
        return "–"
    for unit in ("bytes", "KiB", "MiB"):
        if abs(size) < 1024:
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} GiB"
