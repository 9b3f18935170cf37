"""What one serving pool is told by its environment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from serinus.errors import BadInput
from serinus.tasks import NAME

REPLAY_DIGEST = r"^([0-9a-f]{64})?$"


@dataclass(frozen=True)
class Settings:
    """Settings of a pool; sent to every replica, so nothing secret is in it (`token_file` only names the file).

    `api`: base URL of the controller. `log`: folder of the logs. `routes_cache`: folder of the last route tables.
    `grpc_port`: 0 means no gRPC.
    `package_cache`: folder of the packages that were fetched, `package_cache_bytes` at most.
    `front_doors`, `candidates`: least and most replicas. `busy_target`: share of a CPU that each should take at most;
    when it takes more, or so little that fewer would do, for the times to scale, their number changes.
    `shadow_rps`: rows a second that one front door may have shadowed, 0: all. `shadow_cpu`: share of a CPU that shadow
    scoring takes at most. `memory_reserve_bytes`: memory that loading a package must leave free.
    `candidate_memory_bytes`: what a Candidate or Shadow may take beyond what it has at its start; 0: half of what is
    free then.
    `micro_batch`: rows that requests of one turn may share a run with; 0: each has its own.
    `cache_ms`, `cache_bytes`: of the outputs of cached parts, in each process; 0: none are kept.
    `spool_bytes`: memory of each front door for rows that wait for the disk.
    `compact_every_s`: closed hours of the logs become Parquet so often, 0: never; `compact_quiet_s`: without a write.
    `keep_days`: of predictions and labels; `keep_inputs_days`: of inputs.
    `settle_s`: a front door that starts waits so long at most until it answers every model.
    `metrics_port`: where Prometheus may ask, 0: nowhere; `metrics_token_file`: what it must show then.
    `metrics_here`: each replica opens that port itself, for it has a pod of its own.
    `traces_to`: base URL of an OpenTelemetry collector (OTLP over HTTP), "": no traces; `traces_share`: of the requests
    whose caller has not decided.
    `replay_token_sha256`: hex digest of the token whose bearer may use any event time; "" means nobody may."""

    home: Path
    api: str
    token_file: Path | None
    log: Path
    pool: str = "default"
    http_port: int = 8000
    grpc_port: int = 0
    front_doors: tuple[int, int] = (1, 1)
    candidates: tuple[int, int] = (1, 1)
    busy_target: float = 0.6
    scale_up_after_s: float = 10.0
    scale_down_after_s: float = 300.0
    replay_token_sha256: str = ""
    routes_cache: Path = Path("routes")
    package_cache: Path = Path("fetched")
    package_cache_bytes: int = 20 << 30
    memory_reserve_bytes: int = 256 << 20
    candidate_memory_bytes: int = 0
    candidate_deadline_s: float = 0.25
    candidate_in_flight: int = 16
    shadow_queue: int = 8192
    shadow_rps: int = 0
    shadow_cpu: float = 0.5
    mark_every_s: float = 0.25
    micro_batch: int = 0
    cache_ms: int = 100
    cache_bytes: int = 64 << 20
    spool_bytes: int = 16 << 20
    compact_every_s: int = 300
    compact_quiet_s: int = 900
    keep_days: int = 30
    keep_inputs_days: int = 14
    poll_s: float = 30.0
    settle_s: float = 0.0
    metrics_host: str = "127.0.0.1"
    metrics_port: int = 0
    metrics_token_file: Path | None = None
    metrics_here: bool = False
    traces_to: str = ""
    traces_share: float = 0.002

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read SERINUS_* variables. Raises BadInput that names the variable."""
        home = Path(env.get("SERINUS_HOME", ".serinus")).absolute()
        token = env.get("SERINUS_TOKEN_FILE")
        replay = env.get("SERINUS_REPLAY_TOKEN_SHA256", "").lower()
        if not re.fullmatch(REPLAY_DIGEST, replay):
            raise BadInput("SERINUS_REPLAY_TOKEN_SHA256 must be 64 hex digits: the SHA-256 of the replay token")
        pool = env.get("SERINUS_POOL", "default")
        if not re.fullmatch(NAME, pool):
            raise BadInput(f"SERINUS_POOL is {pool!r}, expected a name like {NAME}")
        return cls(
            home=home,
            api=_url(env, "SERINUS_API", "http://127.0.0.1:8100"),
            token_file=Path(token).absolute() if token else None,
            log=Path(env.get("SERINUS_LOG") or home / "log").absolute(),
            pool=pool,
            http_port=_whole(env, "SERINUS_HTTP_PORT", 8000, 1, 65_535),
            grpc_port=_whole(env, "SERINUS_GRPC_PORT", 0, 0, 65_535),
            front_doors=_range(env, "SERINUS_FRONT_DOORS", 64),
            candidates=_range(env, "SERINUS_CANDIDATES", 64),
            busy_target=_whole(env, "SERINUS_BUSY_TARGET_PCT", 60, 1, 100) / 100,
            scale_up_after_s=_whole(env, "SERINUS_SCALE_UP_AFTER_S", 10, 0, 86_400),
            scale_down_after_s=_whole(env, "SERINUS_SCALE_DOWN_AFTER_S", 300, 0, 86_400),
            shadow_rps=_whole(env, "SERINUS_SHADOW_RPS", 0, 0, 999_999),
            shadow_cpu=_whole(env, "SERINUS_SHADOW_CPU_PCT", 50, 1, 100) / 100,
            replay_token_sha256=replay,
            metrics_host=env.get("SERINUS_METRICS_HOST") or "127.0.0.1",
            metrics_port=_whole(env, "SERINUS_METRICS_PORT", 0, 0, 65_535),
            metrics_token_file=Path(shown).absolute() if (shown := env.get("SERINUS_METRICS_TOKEN_FILE")) else None,
            metrics_here=env.get("SERINUS_METRICS_HERE") == "1",
            traces_to=_url(env, "SERINUS_TRACES_TO", "http://127.0.0.1:4318") if env.get("SERINUS_TRACES_TO") else "",
            traces_share=_whole(env, "SERINUS_TRACES_SHARE_BP", 20, 0, 10_000) / 10_000,
            routes_cache=Path(env.get("SERINUS_ROUTES_CACHE") or home / "routes" / pool).absolute(),
            package_cache=Path(env.get("SERINUS_PACKAGE_CACHE") or home / "fetched" / pool).absolute(),
            package_cache_bytes=_whole(env, "SERINUS_PACKAGE_CACHE_MB", 20_480, 1, 999_999) << 20,
            memory_reserve_bytes=_whole(env, "SERINUS_MEMORY_RESERVE_MB", 256, 0, 999_999) << 20,
            candidate_memory_bytes=_whole(env, "SERINUS_CANDIDATE_MEMORY_MB", 0, 0, 999_999) << 20,
            micro_batch=_whole(env, "SERINUS_MICRO_BATCH", 0, 0, 1024),
            cache_ms=_whole(env, "SERINUS_CACHE_MS", 100, 0, 60_000),
            cache_bytes=_bytes(env, "SERINUS_CACHE_BYTES", 64 << 20),
            compact_every_s=_whole(env, "SERINUS_COMPACT_EVERY_S", 300, 0, 86_400),
            compact_quiet_s=_whole(env, "SERINUS_COMPACT_QUIET_S", 900, 1, 86_400),
            keep_days=_whole(env, "SERINUS_KEEP_DAYS", 30, 1, 9_999),
            keep_inputs_days=_whole(env, "SERINUS_KEEP_INPUTS_DAYS", 14, 1, 9_999),
            settle_s=_whole(env, "SERINUS_SETTLE_S", 5, 0, 600),
            spool_bytes=_whole(env, "SERINUS_SPOOL_MB", 16, 1, 4096) << 20,
            candidate_deadline_s=_whole(env, "SERINUS_CANDIDATE_DEADLINE_MS", 250, 1, 60_000) / 1000,
        )

    @property
    def metrics(self) -> Path:
        """The folder where the processes of this pool leave what they counted."""
        return self.home / "metrics" / self.pool

    def token(self) -> str:
        """The bearer token of this process; read again each time, so that it can be changed. Raises OSError."""
        return self.token_file.read_text().strip() if self.token_file else ""


def _whole(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = env.get(name, str(default))
    if not re.fullmatch(r"\d{1,6}", text) or not low <= int(text) <= high:
        raise BadInput(f"{name} is {text!r}, expected a whole number from {low} to {high}")
    return int(text)


def _bytes(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    if not re.fullmatch(r"\d{1,12}", text):
        raise BadInput(f"{name} is {text!r}, expected a number of bytes")
    return int(text)


def _range(env: Mapping[str, str], name: str, high: int) -> tuple[int, int]:
    """`3`, or `1:3` for a number that follows the load."""
    text = env.get(name, "1")
    words = text.split(":")
    numbers = [int(word) for word in words if re.fullmatch(r"\d{1,3}", word)]
    if len(words) not in (1, 2) or len(numbers) < len(words) or not 1 <= numbers[0] <= numbers[-1] <= high:
        raise BadInput(f"{name} is {text!r}, expected a whole number from 1 to {high}, or two like 1:4")
    return numbers[0], numbers[-1]


def _url(env: Mapping[str, str], name: str, default: str) -> str:
    text = env.get(name, default)
    if not re.match(r"^https?://[^/]", text):
        raise BadInput(f"{name} is {text!r}, expected a base URL, such as {default}")
    return text.rstrip("/")
