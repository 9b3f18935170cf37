"""Ray Serve binds the gRPC port of every replica and proxy to all interfaces, and offers no setting for it."""

from __future__ import annotations

import os
from typing import Any

BIND = "SERINUS_GRPC_BIND"
"""The address that gRPC ports of replicas are bound to: 127.0.0.1, where HAProxy of the same machine finds them.

A cluster, whose HAProxy stands elsewhere, sets 0.0.0.0, and says by a network policy who may come."""


def keep_grpc_near() -> None:
    """From now on Ray Serve opens gRPC ports of this process on the address of `BIND` alone."""
    from ray.serve._private import default_impl  # noqa: PLC0415 (only processes of Ray come here)

    def add(server: Any, address: str) -> None:
        server.add_insecure_port(f"{os.environ.get(BIND, '127.0.0.1')}:{address.rpartition(':')[2]}")

    default_impl.add_grpc_address = add
