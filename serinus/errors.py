"""Every error that a person or a program may meet: its code, its HTTP status, what the reader can do."""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AlreadyActive",
    "BadInput",
    "BadSignature",
    "Changed",
    "IllegalMove",
    "InUse",
    "InvalidPackage",
    "InvalidSla",
    "JobFailed",
    "KeyReused",
    "NotAllowed",
    "NotFound",
    "Overloaded",
    "RateLimited",
    "SerinusError",
    "Stale",
    "TimedOut",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "Unsigned",
    "Unsupported",
    "WrongMethod",
    "from_problem",
]


class SerinusError(Exception):
    """Base of all errors. `status` is the HTTP status, `hint` says what the reader can do."""

    status: ClassVar[int] = 500
    hint: ClassVar[str] = "the log of the controller has the rest"
    retry_after_s: float = 0.0
    """What a server asked for with Retry-After, in seconds."""

    def __init__(self, detail: str, hint: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.advice = hint or self.hint

    @property
    def code(self) -> str:
        """The class's name, stable: clients may match on it."""
        return type(self).__name__

    def problem(self) -> dict[str, Any]:
        """The error as RFC 9457 problem details."""
        return {
            "type": f"https://serinus.dev/errors/{self.code}",
            "title": self.code,
            "status": self.status,
            "detail": self.detail,
            "hint": self.advice,
        }


class BadInput(SerinusError):
    status, hint = 400, "compare the request with what was expected"


class InvalidSla(SerinusError):
    status, hint = 422, "mend the named field of the SLA and apply it again"


class InvalidPackage(SerinusError):
    status, hint = 422, "export the package again, do not edit its files; nothing was registered"


class NotFound(SerinusError):
    status, hint = 404, "`serinus status` and `serinus versions MODEL` list what there is"


class WrongMethod(SerinusError):
    status, hint = 405, "use the method that the message names"
    allow = ""


class TimedOut(SerinusError):
    status, hint = 504, "give it more time (`timeout`, up to what the SLA allows), or send it again with the same id"


class Unsupported(SerinusError):
    status, hint = 415, "send the body in a form that the message names"


class Unauthenticated(SerinusError):
    status, hint = 401, "send `Authorization: Bearer TOKEN` with a token that the server knows (`serinus token`)"


class TooLarge(SerinusError):
    status, hint = 413, "send less at a time; the message names the limit"


class NotAllowed(SerinusError):
    status, hint = 403, "use a token whose role may do this (`serinus token`)"


class AlreadyActive(SerinusError):
    status, hint = 409, "wait for the rollout that is active, or `serinus rollout abort` it"


class IllegalMove(SerinusError):
    status, hint = 409, "`serinus explain` tells what came before"


class JobFailed(SerinusError):
    status, hint = 409, "`serinus jobs show` has all that is known of it"


class InUse(SerinusError):
    status, hint = 409, "end what the message names first, then repeat"


class BadSignature(SerinusError):
    status, hint = 422, "sign the package's digest with a key that the registry knows"


class Unsigned(SerinusError):
    status, hint = 409, "sign the version with one of the keys that the message names"


class Stale(SerinusError):
    status, hint = 409, "somebody else changed it in the meantime: read it again, then repeat"


class Changed(SerinusError):
    status, hint = 412, "somebody else changed it since you read it: read it again, then repeat with its new ETag"


class KeyReused(SerinusError):
    status, hint = 422, "an Idempotency-Key belongs to one request: make a new one for another request"


class RateLimited(SerinusError):
    status, hint = 429, "wait as long as the header Retry-After says, then send it again"


class Overloaded(SerinusError):
    status, hint = 503, "retry after a second, with the same request id"


class Unavailable(SerinusError):
    status, hint = 503, "`serinus status` says which process is down"


def _all(base: type[SerinusError] = SerinusError) -> dict[str, type[SerinusError]]:
    found = {base.__name__: base}
    for sub in base.__subclasses__():
        found |= _all(sub)
    return found


def from_problem(problem: dict[str, Any]) -> SerinusError:
    """The error that a server's problem details stand for (an unknown code becomes SerinusError)."""
    kind = _all().get(str(problem.get("title")), SerinusError)
    return kind(str(problem.get("detail", "no detail")), problem.get("hint"))
