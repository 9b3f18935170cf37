"""`python -m deploy.first_tokens`: make the Secrets that a first installation on Kubernetes needs, inside the cluster.

Each token is made once and lies in a Secret of its own, so that a pod mounts no more than its own. Last comes the
list of hashes that the controller knows them by. A run that broke off is completed by the next one; what is there
already stays.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

__all__ = ["HASHES", "ROLES", "ensure_secrets", "main"]

ROLES = {"admin": "admin", "operator": "admin", "monitor": "monitor", "replica": "replica", "viewer": "viewer"}
"""Tokens that the controller knows, with their roles, each in Secret `serinus-NAME-token`, key `token`.

The operator's may delete models, as whoever may delete their resources. The viewer's is what Prometheus shows, to the
monitor as well."""
OTHERS: Mapping[str, tuple[str, str]] = {
    "replay": ("serinus-replay-token", "token"),
    "ray": ("serinus-ray-token", "auth_token"),
}
"""Tokens that it need not know: to send events of the past, and Ray's own. Secret and key."""
HASHES = "serinus-controller-tokens"
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
TRIES = 30


def ensure_secrets(api: client.CoreV1Api, namespace: str) -> list[str]:
    """Make what is missing; the names of the Secrets that were made or changed. Raises ApiException."""
    changed: list[str] = []
    tokens = {name: _token(api, namespace, f"serinus-{name}-token", "token", changed) for name in ROLES}
    for name, key in OTHERS.values():
        _token(api, namespace, name, key, changed)
    known = [{"name": f"first-{name}", "role": ROLES[name], "sha256": _sha256(token)} for name, token in tokens.items()]
    listed = json.dumps(known, indent=1) + "\n"
    if not _create(api, namespace, HASHES, {"tokens.json": listed}):
        if _read(api, namespace, HASHES).get("tokens.json") == listed:
            return changed
        api.patch_namespaced_secret(HASHES, namespace, {"stringData": {"tokens.json": listed}})
    return [*changed, HASHES]


def _token(api: client.CoreV1Api, namespace: str, name: str, key: str, changed: list[str]) -> str:
    """The token of this Secret, made if it is not there."""
    token = secrets.token_urlsafe(32)
    if _create(api, namespace, name, {key: token}):
        changed.append(name)
        return token
    return _read(api, namespace, name)[key].strip()


def _create(api: client.CoreV1Api, namespace: str, name: str, content: dict[str, str]) -> bool:
    """Whether it was made now; False when there is one already."""
    labels = {"app.kubernetes.io/name": "serinus"}
    body = client.V1Secret(metadata=client.V1ObjectMeta(name=name, labels=labels), string_data=content)
    try:
        api.create_namespaced_secret(namespace, body)
    except ApiException as error:
        if error.status == 409:
            return False
        raise
    return True


def _read(api: client.CoreV1Api, namespace: str, name: str) -> dict[str, str]:
    found: Any = api.read_namespaced_secret(name, namespace)
    return {key: base64.b64decode(value).decode() for key, value in (found.data or {}).items()}


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def main() -> int:
    """0 when all are there; 1 when the API server did not let us, after `TRIES` tries a second apart."""
    config.load_incluster_config()  # type: ignore[no-untyped-call]
    api, namespace = client.CoreV1Api(), NAMESPACE.read_text().strip()
    for left in reversed(range(TRIES)):
        try:
            changed = ensure_secrets(api, namespace)
        except Exception as error:  # an API server that starts refuses in many ways
            why = f"{error.status} {error.reason}" if isinstance(error, ApiException) else type(error).__name__
            print(f"first tokens: {why}", file=sys.stderr, flush=True)
            if left:
                time.sleep(1)
            continue
        print(f"first tokens: made {', '.join(changed) or 'nothing, all are there'}", flush=True)
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
