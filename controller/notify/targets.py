"""Where notices go: a YAML file, read anew whenever it changes, so that secrets rotate without a restart."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from serinus.errors import BadInput
from serinus.notices import Notice, Severity
from serinus.tasks import Name, Word

__all__ = ["Settings", "Target", "read_settings"]

MOST_TARGETS = 32
RANK: dict[Severity, int] = {"info": 0, "warning": 1, "critical": 2}


class Target(Word):
    """One place. `models`: shell patterns. `least`: nothing less severe is sent.

    `token_file`: a bearer token. `secret_file`: what the body is signed with (HMAC-SHA256). `url_file`: in place
    of `url`, for addresses that are secrets themselves, as those of Slack are."""

    name: Name
    kind: Literal["webhook", "slack", "alertmanager"]
    url: str | None = None
    url_file: Path | None = None
    token_file: Path | None = None
    secret_file: Path | None = None
    models: tuple[str, ...] = ("*",)
    least: Severity = "info"

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("https://", "http://")):
            raise ValueError("expected an address that begins with https:// or http://")
        return url

    def wants(self, notice: Notice) -> bool:
        meant = any(fnmatchcase(notice.model, pattern) for pattern in self.models)
        return meant and RANK[notice.severity] >= RANK[self.least]

    def address(self) -> str:
        """Raises BadInput when there is none."""
        url = self.url or (_secret(self.url_file) if self.url_file else None)
        if url is None or not url.startswith(("https://", "http://")):
            raise BadInput(f"target {self.name} has no address", "give it `url` or `url_file`")
        return url

    @property
    def token(self) -> str | None:
        return _secret(self.token_file) if self.token_file else None

    @property
    def secret(self) -> bytes | None:
        return _secret(self.secret_file).encode() if self.secret_file else None


class Settings(Word):
    """`console_url`: what links begin with; None: there are no links."""

    console_url: str | None = None
    targets: Annotated[tuple[Target, ...], Field(max_length=MOST_TARGETS)] = ()

    @field_validator("targets")
    @classmethod
    def _named_once(cls, targets: tuple[Target, ...]) -> tuple[Target, ...]:
        if len({target.name for target in targets}) < len(targets):
            raise ValueError("two targets have the same name")
        return targets


def read_settings(path: Path) -> Settings:
    """Raises BadInput that names the file and the field."""
    try:
        return Settings.model_validate(yaml.safe_load(path.read_bytes()) or {})
    except (OSError, yaml.YAMLError) as error:
        raise BadInput(f"SERINUS_NOTIFY_FILE {path}: {str(error).splitlines()[0]}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        raise BadInput(f"SERINUS_NOTIFY_FILE {path}: {where}: {first['msg']}") from error


def _secret(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
