"""What the controller is told from outside: environment variables, with their defaults."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.database_url import read_url
from serinus.errors import BadInput

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """`database_url_file`: where the URL came from, if from a file, which is read again for each login.

    `packages`: the package store, a folder or an fsspec URI; `incoming`: folder for work on uploads, where that is
    a URI. `tokens_file`: JSON [{"name", "role", "sha256"}], or None.

    `notify_file`: who is told of what (YAML), or None. `looks_days`: for so long all looks of a rollout are kept after
    its end; those that decided something stay. `garbage_every_s`: 0: only when somebody
    asks. `rate_per_s`, `rate_burst`: requests of one person's token; 0: all.
    `sources`: URIs of fsspec below which packages may be fetched from. `packages_by_api`: replicas and monitors read
    packages through the API."""

    database_url: str
    host: str
    port: int
    packages: str
    incoming: Path
    tokens_file: Path | None
    notify_file: Path | None = None
    looks_days: float = 365.0
    garbage_every_s: float = 3_600.0
    rate_per_s: float = 200.0
    rate_burst: float = 1000.0
    sources: tuple[str, ...] = ()
    packages_by_api: bool = False
    database_url_file: Path | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read SERINUS_HOME, SERINUS_DATABASE_URL or SERINUS_DATABASE_URL_FILE (a file that holds the URL, with
        its password), SERINUS_CONTROLLER_HOST, SERINUS_CONTROLLER_PORT, SERINUS_PACKAGES, SERINUS_INCOMING,
        SERINUS_TOKENS_FILE, SERINUS_NOTIFY_FILE, SERINUS_LOOKS_DAYS, SERINUS_GARBAGE_EVERY_S, SERINUS_RATE_PER_S,
        SERINUS_RATE_BURST, SERINUS_SOURCES (several with a comma between them) and SERINUS_PACKAGES_BY (store, api).

        Raises BadInput that names the variable."""
        home = Path(env.get("SERINUS_HOME", ".serinus")).absolute()
        port = env.get("SERINUS_CONTROLLER_PORT", "8642")
        if not port.isdecimal() or int(port) > 65_535:
            raise BadInput(f"SERINUS_CONTROLLER_PORT is {port!r}, not a number within 0 to 65535")
        tokens = env.get("SERINUS_TOKENS_FILE")
        return cls(
            database_url=_database_url(env) or f"sqlite:///{home / 'controller.db'}",
            host=env.get("SERINUS_CONTROLLER_HOST", "127.0.0.1"),
            port=int(port),
            packages=_store(env.get("SERINUS_PACKAGES") or str(home / "packages")),
            incoming=Path(env.get("SERINUS_INCOMING") or home / "incoming").absolute(),
            tokens_file=Path(tokens) if tokens else None,
            looks_days=_number("SERINUS_LOOKS_DAYS", env, "365", "days"),
            garbage_every_s=_number("SERINUS_GARBAGE_EVERY_S", env, "3600", "seconds"),
            rate_per_s=_number("SERINUS_RATE_PER_S", env, "200", "requests"),
            rate_burst=_number("SERINUS_RATE_BURST", env, "1000", "requests"),
            sources=tuple(part.strip() for part in env.get("SERINUS_SOURCES", "").split(",") if part.strip()),
            packages_by_api=_by_api(env.get("SERINUS_PACKAGES_BY") or "store"),
            database_url_file=Path(url) if (url := env.get("SERINUS_DATABASE_URL_FILE")) else None,
            notify_file=Path(notify) if (notify := env.get("SERINUS_NOTIFY_FILE")) else None,
        )

    @property
    def loopback(self) -> bool:
        """True when only this machine can reach the API."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"


def _database_url(env: Mapping[str, str]) -> str:
    told, file = env.get("SERINUS_DATABASE_URL", ""), env.get("SERINUS_DATABASE_URL_FILE", "")
    if told and file:
        raise BadInput("SERINUS_DATABASE_URL and SERINUS_DATABASE_URL_FILE are both set", "set one of them")
    return read_url(Path(file)) if file else told


def _number(name: str, env: Mapping[str, str], default: str, unit: str) -> float:
    told = env.get(name) or default
    if not told.isdecimal() or len(told) > 9:
        raise BadInput(f"{name} is {told!r}, not a whole number of {unit}")
    return float(told)


def _by_api(told: str) -> bool:
    if told not in ("store", "api"):
        raise BadInput(f"SERINUS_PACKAGES_BY is {told!r}, neither store nor api")
    return told == "api"


def _store(told: str) -> str:
    return told if "://" in told else str(Path(told).absolute())
