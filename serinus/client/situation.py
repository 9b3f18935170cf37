"""What the controller's status says, for programs that judge it."""

from __future__ import annotations

from serinus.client.views import View
from serinus.evidence import HealthAlert
from serinus.rollouts import Move, Phase

__all__ = ["Alerted", "ModelNow", "MonitorNow", "NoticesNow", "ReplicaNow", "RolloutNow", "Situation"]


class ModelNow(View):
    """`epoch`: of its newest route table; None: it has none yet."""

    model: str
    pool: str = "default"
    aliases: dict[str, int] = {}
    epoch: int | None = None
    rollout: str | None = None
    watermark_ms: int | None = None


class RolloutNow(View):
    """One that has not ended. `history`: its last move. `look`: verdict of its evidence; `holds`: what that stops."""

    id: str
    model: str
    candidate: int
    baseline: int
    phase: Phase
    step: int = 0
    canary_bp: int = 0
    waiting_for: str = ""
    history: tuple[Move, ...] = ()
    look: str | None = None
    holds: tuple[str, ...] = ()


class ReplicaNow(View):
    """`applied`: model -> epoch. `failed`: digest -> why it could not be loaded. `seen_at`: Unix seconds."""

    replica: str
    pool: str = "default"
    role: str = ""
    applied: dict[str, int] = {}
    failed: dict[str, str] = {}
    seen_at: float = 0.0
    live: bool = False


class MonitorNow(View):
    monitor: str
    seen_at: float = 0.0
    live: bool = False


class Alerted(View):
    alert: HealthAlert
    raised_at: float = 0.0


class NoticesNow(View):
    """Notices that wait: how many, how many have failed, since when (Unix seconds), how one failed."""

    count: int = 0
    failing: int = 0
    oldest_at: float | None = None
    said: str = ""


class Situation(View):
    """`GET /v1/status`. `now`: the controller's clock (Unix seconds); 0: it is too old to say. `lease_until`: until
    when some controller may act."""

    models: tuple[ModelNow, ...] = ()
    rollouts: tuple[RolloutNow, ...] = ()
    replicas: tuple[ReplicaNow, ...] = ()
    monitors: tuple[MonitorNow, ...] = ()
    acting: bool = True
    you: str = ""
    now: float = 0.0
    lease_until: float | None = None
    alerts: tuple[Alerted, ...] = ()
    alerts_in_all: int = 0
    notices: NoticesNow = NoticesNow()
