"""What the operator is told from outside: environment variables, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from serinus.errors import BadInput

__all__ = ["Settings"]


@dataclass(frozen=True, slots=True)
class Settings:
    """`api`: URL of the controller, for pools as well. `namespace`: the one that is looked after. `name`: of this
    copy, unlike any other's. `host`, `port`: where it says that it is well; port 0: any."""

    api: str
    namespace: str
    name: str
    host: str = "0.0.0.0"  # noqa: S104 (it tells nothing but whether it is well)
    port: int = 8080

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Read SERINUS_API, SERINUS_OPERATOR_NAMESPACE, SERINUS_OPERATOR_NAME, SERINUS_OPERATOR_HOST and
        SERINUS_OPERATOR_PORT. Raises BadInput that names the variable."""
        told = {name: env.get(f"SERINUS_{name}", "") for name in ("API", "OPERATOR_NAMESPACE", "OPERATOR_NAME")}
        for name, value in told.items():
            if not value:
                raise BadInput(f"SERINUS_{name} is not set", "deploy/kubernetes/operator sets it")
        port = env.get("SERINUS_OPERATOR_PORT", "8080")
        if not port.isdecimal() or int(port) > 65_535:
            raise BadInput(f"SERINUS_OPERATOR_PORT is {port!r}, not a number within 0 to 65535")
        host = env.get("SERINUS_OPERATOR_HOST", "0.0.0.0")  # noqa: S104
        return cls(told["API"], told["OPERATOR_NAMESPACE"], told["OPERATOR_NAME"], host, int(port))
