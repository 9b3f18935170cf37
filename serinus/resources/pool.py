"""ServingPool: pods that serve whatever versions the route tables name."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from serinus.resources.metadata import Resource
from serinus.tasks import Word

__all__ = ["Entrance", "HaProxy", "Log", "Pods", "PoolSpec", "Ray", "Redis", "ServingPool", "Size", "Sizes"]

SecretName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
Quantity = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$", max_length=20)]


class Pods(Word):
    """How many pods there are at least and at most."""

    min: Annotated[int, Field(ge=1, le=500)]
    max: Annotated[int, Field(ge=1, le=500)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min}, more than max, {self.max}")
        return self


class Size(Word):
    """What one container asks for, as Kubernetes writes it: `cpu: 500m`, `memory: 1Gi`."""

    cpu: Quantity
    memory: Quantity


class Sizes(Word):
    """Of a pod of each role; `head` is Ray's own."""

    front_door: Size = Size(cpu="500m", memory="1536Mi")
    candidate: Size = Size(cpu="250m", memory="1Gi")
    shadow: Size = Size(cpu="250m", memory="1Gi")
    head: Size = Size(cpu="500m", memory="2Gi")


class Redis(Word):
    """Where Ray's head keeps what must outlive it. `address`: HOST:PORT; the Secret has the key `password`."""

    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]+:[0-9]{1,5}$")]
    password_secret: SecretName


class Ray(Word):
    """`token_secret`: a Secret with the key `auth_token`. Without `redis`, a head lost for 60 s is a lost pool."""

    token_secret: SecretName = "serinus-ray-token"  # noqa: S105 (the name of a Secret)
    redis: Redis | None = None


class HaProxy(Word):
    """`max_connections`: that one pod's proxy holds open."""

    max_connections: Annotated[int, Field(ge=10, le=100_000)] = 2_000


class Entrance(Word):
    """The Service that clients ask. `node_port`: only of type NodePort; else Kubernetes picks one."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    node_port: Annotated[int, Field(ge=1, le=65_535)] | None = None

    @model_validator(mode="after")
    def _of_its_type(self) -> Self:
        if self.node_port is not None and self.type != "NodePort":
            raise ValueError("node_port is there only for type NodePort")
        return self


class Log(Word):
    """`claim`: a PersistentVolumeClaim that the pool's pods and the monitor may write together."""

    claim: SecretName = "serinus-log"


class PoolSpec(Word):
    """`image`: of Serinus, for all its pods. `api`: URL of the controller, None: that of the operator.

    `settings`: of serving, by their names without SERINUS_ and in lower case: `cache_ms: 100`, `precision: int8`.
    `token_secret`: the pool's own token for the controller, key `token`. `metrics_secret`: what Prometheus must show,
    key `token`."""

    image: Annotated[str, Field(min_length=1, max_length=500)]
    api: Annotated[str, Field(pattern=r"^https?://[^\s]{1,250}$")] | None = None
    front_doors: Pods = Pods(min=2, max=2)
    candidates: Pods = Pods(min=1, max=1)
    resources: Sizes = Sizes()
    settings: Annotated[dict[str, int | str], Field(max_length=64)] = {}
    grpc: bool = False
    ray: Ray = Ray()
    haproxy: HaProxy = HaProxy()
    service: Entrance = Entrance()
    log: Log = Log()
    token_secret: SecretName = "serinus-replica-token"  # noqa: S105 (the name of a Secret)
    metrics_secret: SecretName = "serinus-viewer-token"  # noqa: S105 (the name of a Secret)


class ServingPool(Resource):
    """Its name is the pool's name."""

    kind: Literal["ServingPool"]
    spec: PoolSpec
