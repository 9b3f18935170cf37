"""How many replicas there should be: by how busy each one's event loop is.

Requests in flight say little here: a replica computes on its event loop, so what waits does so in sockets; and most
requests are answered before Ray Serve counts them. Ray Serve calls `record_autoscaling_stats` of each replica, and
`wanted` in its controller; delays, bounds and draining are its own."""

from __future__ import annotations

import math
import time
from typing import Any

from serving.settings import Settings

BUSY = "busy"
"""Name of the figure: share of a CPU that the thread of the event loop takes, 0 to 1."""
FEWER_BELOW = 0.8
"""Of the target: fewer replicas must stay below it, so that a load beside the target does not go to and fro."""
LOOK_BACK_S = 10.0


class BusyMeter:
    """Made and asked on the event loop's own thread."""

    def __init__(self) -> None:
        self._cpu_s, self._wall_s = time.thread_time(), time.monotonic()

    def share(self) -> dict[str, float]:
        """How busy this thread was since the last call; what `record_autoscaling_stats` returns."""
        cpu_s, wall_s = time.thread_time(), time.monotonic()
        share = (cpu_s - self._cpu_s) / max(wall_s - self._wall_s, 1e-9)
        self._cpu_s, self._wall_s = cpu_s, wall_s
        return {BUSY: min(1.0, share)}


class BusyPolicy:
    """`policy(context)` -> replicas wanted, before delays and bounds. Ray Serve makes one for each deployment."""

    def __init__(self, target: float) -> None:
        self._target = target

    def __call__(self, context: Any) -> tuple[int, dict[str, Any]]:
        known = (context.aggregated_metrics or {}).get(BUSY, {})
        shares = [known[replica] for replica in context.running_replicas if replica in known]
        if not shares:
            return context.target_num_replicas, {}
        busy = sum(shares) / len(shares) * context.current_num_replicas  # who has not reported yet is like the others
        return replicas_for(busy, context.current_num_replicas, self._target), {}


def replicas_for(busy: float, now: int, target: float) -> int:
    """Replicas that keep each at `target` or below when all of them together are `busy`. Never 0."""
    more = max(1, math.ceil(busy / target - 1e-9))
    return max(more, min(now, math.ceil(busy / (FEWER_BELOW * target) - 1e-9)))


def options(settings: Settings, least: int, most: int) -> dict[str, Any]:
    """The options of a deployment that has `least` to `most` replicas."""
    if least == most:
        return {"num_replicas": least}
    from ray.serve.config import AutoscalingConfig, AutoscalingPolicy  # noqa: PLC0415 (slow; needed to deploy only)

    policy = AutoscalingPolicy(policy_function=BusyPolicy, policy_kwargs={"target": settings.busy_target})
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=least,
            max_replicas=most,
            policy=policy,
            look_back_period_s=LOOK_BACK_S,
            upscale_delay_s=settings.scale_up_after_s,
            downscale_delay_s=settings.scale_down_after_s,
        )
    }
