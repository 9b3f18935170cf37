"""What a ServingPool asks for, as far as pods are concerned. Nothing of a model, a version or a rollout is in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Size:
    """Of one container, in Kubernetes' words: `cpu` such as "500m", `memory` such as "1Gi"."""

    cpu: str
    memory: str


@dataclass(frozen=True)
class Redis:
    """Where Ray's head keeps what must outlive it. `password_secret`: a Secret with the key `password`."""

    address: str
    password_secret: str


@dataclass(frozen=True)
class Pool:
    """`front_doors`, `candidates`: least and most pods. `settings`: SERINUS_* names without the prefix, lower case.

    `ray_secret`: a Secret with the key `auth_token`; `token_secret`: the pool's own token for the controller, key
    `token`. `log_claim`: a claim that many pods may write. `metrics_secret`: what Prometheus must show, key `token`.
    `redis` None: a head lost for 60 s ends the pool's pods."""

    name: str
    namespace: str
    image: str
    api: str
    log_claim: str
    front_doors: tuple[int, int] = (2, 2)
    candidates: tuple[int, int] = (1, 1)
    settings: Mapping[str, int | str] = field(default_factory=dict)
    grpc: bool = False
    front_door: Size = Size("500m", "1536Mi")
    candidate: Size = Size("250m", "1Gi")
    shadow: Size = Size("250m", "1Gi")
    head: Size = Size("500m", "2Gi")
    ray_secret: str = "serinus-ray-token"  # noqa: S105 (the name of a Secret)
    token_secret: str = "serinus-replica-token"  # noqa: S105 (the name of a Secret)
    metrics_secret: str = "serinus-viewer-token"  # noqa: S105 (the name of a Secret)
    redis: Redis | None = None
    max_connections: int = 2000
    service_type: str = "ClusterIP"
    node_port: int | None = None
