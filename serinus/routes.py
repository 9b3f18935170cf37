"""The route table: which version answers which task, and which share of traffic sees the candidate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serinus.tasks import Name, Word

__all__ = [
    "BUCKETS",
    "NEAR_ABOVE_BP",
    "Basis",
    "HeadPolicy",
    "PackageRef",
    "ReplicaReport",
    "ReplicaRole",
    "RouteTable",
    "ServingPolicy",
    "WatchRequest",
    "Watched",
    "Weights",
]

BUCKETS = 10_000
NEAR_ABOVE_BP = 1_000
"""Above this canary share a front door runs the candidate in its own process; up to it, `Candidate` is asked."""
Basis = Annotated[int, Field(ge=0, le=BUCKETS)]
"""A share in basis points, 1/10,000."""
Weights = dict[Name, Annotated[float, Field(ge=-100, le=100)]]
"""Task -> exponent of its probability in a ranking score. {}: every task counts once."""
ReplicaRole = Literal["front", "candidate", "shadow"]


class PackageRef(Word):
    """Where the files of a version lie (fsspec URI of the folder) and their digest."""

    digest: str
    uri: str


class HeadPolicy(Word):
    """What a head may take and what stands in for it when it takes longer, raises or gives no numbers.

    `budget_ms`: wall time of the head's own parts; parts that several heads share (the encoder) are not in it.
    `fallback`: the task's base rate, the entity's last good answer (else the base rate), or a constant."""

    budget_ms: Annotated[float, Field(gt=0, le=60_000)] = 2.0
    fallback: Literal["base_rate", "last_known_good"] | Annotated[float, Field(allow_inf_nan=False)] = "base_rate"


class ServingPolicy(Word):
    """How a model is answered and recorded.

    `timeout_ms`: of a request, and the longest one that a caller may ask for. `log_share`: share of the entities
    whose answers are recorded. `inputs_share`: share of the entities whose inputs are recorded beside them.
    `inputs_exclude`: raw inputs that never reach the disk."""

    timeout_ms: Annotated[int, Field(ge=1, le=60_000)] = 1_000
    log_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    inputs_share: Annotated[float, Field(ge=0, le=1)] = 0.0
    inputs_exclude: tuple[str, ...] = ()


class RouteTable(Word):
    """Routing of one model; small, immutable, numbered. Format 1.

    `stable`, `candidate`: task -> version. The canary arm is answered by `candidate`; `shadow_bp` of the requests
    are scored again by the version that did not answer them: `candidate`, or `stable` for the canary arm.
    During the bake `candidate` is the version that was stable before, with canary_bp = 0.
    `expires_at` (Unix seconds, wall time): after it, canary_bp and shadow_bp count as 0. `warm`: versions that front
    doors keep loaded. `slices`: names of raw inputs, or of attributes that callers give, whose values go into the log.
    `salt`: of the rollout, for the assignment.
    `weights`: of rankings. `heads`: task -> its policy, where it is not
    the default one."""

    format: Literal[1] = 1
    model: Name
    epoch: Annotated[int, Field(ge=1)]
    stable: dict[Name, int]
    candidate: dict[Name, int] | None = None
    canary_bp: Basis = 0
    shadow_bp: Basis = 0
    rollout: str | None = None
    salt: str = ""
    expires_at: float | None = None
    warm: tuple[int, ...] = ()
    packages: dict[int, PackageRef]
    slices: tuple[str, ...] = ()
    weights: Weights = {}
    heads: dict[Name, HeadPolicy] = {}
    serving: ServingPolicy = ServingPolicy()

    def versions(self) -> set[int]:
        """Every version that the table names."""
        return {*self.stable.values(), *(self.candidate or {}).values(), *self.warm}

    def needed(self, role: ReplicaRole) -> set[int]:
        """The versions that a replica of this role loads to apply the table; of the others it knows the manifest.

        A front door keeps a candidate out of its process while its share is small: what it does there hurts nobody.
        `Candidate` is asked for candidates only. `Shadow` scores what the other side has answered: both, or nothing
        when there is nothing to compare."""
        stable, candidate = {*self.stable.values()}, {*(self.candidate or {}).values()}
        match role:
            case "front":
                return stable | {*self.warm} | (candidate if self.canary_bp > NEAR_ABOVE_BP else set())
            case "candidate":
                return candidate
            case "shadow":
                return stable | candidate if candidate else set()

    def model_post_init(self, _context: object, /) -> None:
        if missing := self.versions() - self.packages.keys():
            raise ValueError(f"no package is given for version {min(missing)}")
        if (self.canary_bp or self.shadow_bp) and (self.candidate is None or self.expires_at is None):
            raise ValueError("a canary or shadow share needs a candidate and an expiry")


class ReplicaReport(Word):
    """What one replica of a pool says of itself with every poll: epochs applied, digests it holds, what failed.

    `number` rises with every report of the replica: one that was overtaken by a later one says nothing new.
    `loaded`: digests that it can answer with. `fetched`: digests whose files lie whole on its disk, loaded or not.
    `resident_bytes`: memory of its process; `free_bytes`: what it may still take; None: not known."""

    replica: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.#-]{1,128}$")]
    role: ReplicaRole
    number: Annotated[int, Field(ge=0)] = 0
    applied: dict[Name, int] = {}
    loaded: tuple[str, ...] = ()
    fetched: tuple[str, ...] = ()
    resident_bytes: Annotated[int, Field(ge=0)] | None = None
    free_bytes: Annotated[int, Field(ge=0)] | None = None
    failed: dict[str, str] = {}
    """digest -> why it cannot be routed to (its own sample failed, a file was altered, ...)."""


class WatchRequest(Word):
    """`POST /v1/pools/{pool}/watch`: answers at once when a table of another epoch than `known` exists or a model of
    `known` is gone, else when one appears, at the latest after `wait_s`."""

    report: ReplicaReport
    known: dict[Name, int] = {}
    wait_s: Annotated[float, Field(ge=0, le=60)] = 25.0


class Watched(Word):
    """The answer: the tables whose epoch is not the one known, and every model that the pool serves."""

    tables: tuple[RouteTable, ...]
    models: tuple[Name, ...]
