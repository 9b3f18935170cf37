"""What `GET /v1/status` says: all that goes on, in one answer."""

from __future__ import annotations

from controller.auth import Role
from serinus.evidence import HealthAlert
from serinus.rollouts import Move, Phase
from serinus.tasks import Name, Word

__all__ = [
    "AlertLine",
    "ModelLine",
    "MonitorView",
    "ReplicaView",
    "RolloutLine",
    "Status",
    "Undelivered",
]


class ModelLine(Word):
    model: Name
    pool: Name
    aliases: dict[str, int]
    epoch: int | None
    rollout: str | None
    watermark_ms: int | None


class RolloutLine(Word):
    """A rollout that has not ended. `history`: its last move alone. `look`: the verdict of the evidence that counts
    now; `holds`: what of that evidence stops the ramp."""

    id: str
    model: Name
    candidate: int
    baseline: int
    phase: Phase
    step: int
    canary_bp: int
    verdict: str | None
    waiting_for: str
    history: tuple[Move, ...] = ()
    look: str | None = None
    holds: tuple[str, ...] = ()


class ReplicaView(Word):
    """`applied`: model -> epoch. `loaded`, `fetched`, `failed`: by digest. `live`: counts for what waits for replicas.

    `resident_bytes`: memory of its process; `free_bytes`: what it may still take; None: not known."""

    pool: str
    replica: str
    role: str
    applied: dict[str, int]
    loaded: tuple[str, ...]
    fetched: tuple[str, ...]
    failed: dict[str, str]
    resident_bytes: int | None
    free_bytes: int | None
    seen_at: float
    live: bool


class MonitorView(Word):
    monitor: str
    seen_at: float
    live: bool


class AlertLine(Word):
    """An alert that lasts. `raised_at`: Unix seconds."""

    alert: HealthAlert
    raised_at: float


class Undelivered(Word):
    """Notices that wait for their target. `oldest_at`: when the oldest was said, Unix seconds; null: none waits.

    `failing`: how many have failed once at least; `said`: how one of them did."""

    count: int = 0
    failing: int = 0
    oldest_at: float | None = None
    said: str = ""


class Status(Word):
    """Everything that `serinus status` and `serinus doctor` show. `acting`: this process holds the reconciler's lease.

    `now`: this controller's clock, Unix seconds. `lease_until`: until when some controller may act, by the clock of the
    one that does; null: none ever did. `alerts`: the newest that last; `alerts_in_all`: how many do."""

    models: tuple[ModelLine, ...]
    rollouts: tuple[RolloutLine, ...]
    replicas: tuple[ReplicaView, ...]
    monitors: tuple[MonitorView, ...]
    acting: bool
    you: Role
    now: float = 0.0
    lease_until: float | None = None
    alerts: tuple[AlertLine, ...] = ()
    alerts_in_all: int = 0
    notices: Undelivered = Undelivered()
