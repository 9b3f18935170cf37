# Made by `python serinus/client/twin.py` from serinus/client/aio: edit there.
"""Who may do what, who did what, what is going on, and what just changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from serinus.client.blocking.base import Base
from serinus.client.people import AuditEntry, AuditVerdict, EventView, Me, TokenMade, TokenView

__all__ = ["Access"]


class Access(Base):
    def me(self) -> Me:
        """Whose token this client shows."""
        return Me.model_validate(self.api.read("/v1/me"))

    def status(self) -> dict[str, Any]:
        """Models, active rollouts, replicas and monitors, as the controller knows them."""
        status: dict[str, Any] = self.api.read("/v1/status") or {}
        return status

    def tokens(self) -> list[TokenView]:
        """Every token by name, role and end; never the token itself."""
        return [TokenView.model_validate(each) for each in self.api.pages("/v1/tokens")]

    def token_create(self, name: str, role: str, expires_s: float | None = None) -> TokenMade:
        """Make a token. It is in this answer and nowhere else. `expires_s`: seconds from now; None: never."""
        body: dict[str, Any] = {"name": name, "role": role}
        if expires_s is not None:
            body["expires_s"] = expires_s
        return TokenMade.model_validate(self.api.write("POST", "/v1/tokens", body))

    def token_revoke(self, name: str) -> None:
        """From now on the token opens nothing."""
        self.api.write("DELETE", f"/v1/tokens/{name}")

    def console_link(self) -> str:
        """A URL that logs a browser in to the console as this client's token: once, and within a minute."""
        made = self.api.write("POST", "/v1/console/login")
        return f"{self.api.url}{made['path']}"

    def audit(self, subject: str | None = None, actor: str | None = None) -> Iterator[AuditEntry]:
        """Who did what to what, the newest first."""
        for each in self.api.pages("/v1/audit", subject=subject, actor=actor):
            yield AuditEntry.model_validate(each)

    def audit_verify(self, kept: str | None = None) -> AuditVerdict:
        """Whether every entry of the audit log is as it was written, in its place.

        `kept`: NUMBER:SEAL of an entry that one has noted elsewhere: the log must still have it."""
        seen, after = 0, 0
        while True:
            found = AuditVerdict.model_validate(self.api.read("/v1/audit/verify", after=after, kept=kept))
            seen += found.entries
            if not found.ok or found.next is None:
                return found.model_copy(update={"entries": seen})
            after = found.next

    def events(self, model: str | None = None, last_id: str = "") -> Iterator[EventView]:
        """What changes, as it changes, without end; of one model or of all. `last_id`: go on after this event."""
        for event in self.api.events("/v1/events", last_id, model=model):
            yield EventView(id=event.id, kind=event.event, data=_object(event.data))

    def rollout_events(self, rollout: str, last_id: str = "") -> Iterator[EventView]:
        """What changes of one rollout, as it changes."""
        for event in self.api.events(f"/v1/rollouts/{rollout}/events", last_id):
            yield EventView(id=event.id, kind=event.event, data=_object(event.data))


def _object(data: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        found = data
    return found if isinstance(found, dict) else {"text": found}
