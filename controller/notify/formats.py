"""A notice as each kind of target wants it: pure."""

from __future__ import annotations

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any, assert_never

from controller.notify.targets import Target
from serinus.notices import GuardNumbers, Notice

__all__ = ["Post", "link_of", "post"]

Post = tuple[str, dict[str, str], bytes]
"""Address, headers, body."""
LASTS_S = 7 * 86_400
"""For so long Alertmanager shows what nobody says is over."""
EVENT_S = 3_600
"""For so long it shows what happened once."""
LASTING = frozenset({"awaiting_approval", "held", "health"})
ICONS = {"info": ":large_blue_circle:", "warning": ":warning:", "critical": ":rotating_light:"}


def post(target: Target, notice: Notice, number: int, console_url: str | None) -> Post:
    """What to send. `number`: the notice's, by which a receiver knows one that came twice. Raises BadInput."""
    url, link = target.address(), link_of(notice, console_url)
    headers = {"content-type": "application/json", "serinus-notice": str(number)}
    if token := target.token:
        headers["authorization"] = f"Bearer {token}"
    match target.kind:
        case "webhook":
            told: Any = {"format": 1, "number": number, "link": link, **notice.model_dump(mode="json")}
        case "slack":
            told = _slack(notice, link)
        case "alertmanager":
            url, told = f"{url.rstrip('/')}/api/v2/alerts", [_alert(notice, link)]
        case _:
            assert_never(target.kind)
    body = json.dumps(told, ensure_ascii=False).encode()
    if secret := target.secret:
        headers["serinus-signature"] = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return url, headers, body


def link_of(notice: Notice, console_url: str | None) -> str | None:
    """Where the console shows it."""
    if not console_url:
        return None
    place = f"rollouts/{notice.rollout}" if notice.rollout else f"models/{notice.model}"
    return f"{console_url.rstrip('/')}/console/{place}"


def _line(guard: GuardNumbers) -> str:
    """A guard in one line: what it lost, between what and what, and what it may lose."""
    if guard.estimate is None:
        return f"{guard.guard}: {guard.verdict}, {guard.labels} labels"
    between = f" [{guard.low:+.4g}, {guard.high:+.4g}]" if guard.low is not None and guard.high is not None else ""
    return (
        f"{guard.guard}: {guard.estimate:+.4g}{between} against {guard.margin:.4g}, E {guard.e:.3g}, "
        f"{guard.labels} labels"
    )


def _slack(notice: Notice, link: str | None) -> dict[str, Any]:
    """Slack's message with `text`, which Mattermost, Rocket.Chat and others take as well."""
    icon = ":white_check_mark:" if notice.resolved else ICONS[notice.severity]
    over = "Resolved: " if notice.resolved else ""
    lines = [f"{icon} *{over}{_escaped(notice.title)}*"]
    lines += [_escaped(notice.text)] if notice.text else []
    lines += [f"• {_escaped(_line(guard))}" for guard in notice.guards]
    lines += [f"<{link}|Open in Serinus>"] if link else []
    return {"text": "\n".join(lines)}


def _escaped(text: str) -> str:
    """The three characters that Slack gives a meaning: else `<!channel>` in a reason would wake everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _alert(notice: Notice, link: str | None) -> dict[str, Any]:
    """An alert of Alertmanager's API v2; what is over ends with the labels that it began with."""
    name = "Serinus" + "".join(word.capitalize() for word in notice.kind.split("_"))
    labels = {"alertname": name, "model": notice.model, "severity": notice.severity, "key": notice.key}
    if notice.rollout:
        labels["rollout"] = notice.rollout
    text = "\n".join([notice.text, *map(_line, notice.guards)]).strip()
    alert: dict[str, Any] = {"labels": labels, "annotations": {"summary": notice.title, "description": text}}
    if link:
        alert["generatorURL"] = link
    ends = notice.at if notice.resolved else notice.at + (LASTS_S if notice.kind in LASTING else EVENT_S)
    if not notice.resolved:
        alert["startsAt"] = _rfc3339(notice.at)
    return {**alert, "endsAt": _rfc3339(ends)}


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
