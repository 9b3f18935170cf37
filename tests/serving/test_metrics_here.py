"""In a pod of its own a replica opens the port for Prometheus itself, and another one that follows it there."""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from serinus.errors import BadInput
from serving.settings import Settings
from serving.telling import keep_leaving, show


def settings_of(settings: Settings, tmp_path: Path) -> Settings:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (tmp_path / "token").write_text("it-may-look\n")
    told = {"metrics_port": port, "metrics_here": True, "metrics_token_file": tmp_path / "token"}
    return dataclasses.replace(settings, **told)


def samples() -> dict[str, Any]:
    return {"counts": [["serinus_lost_rows_total", ["ads", "inputs"], 3]], "times": [], "gauges": []}


async def asked(port: int) -> str:
    """The page, once the port answers."""
    async with asyncio.timeout(20), httpx.AsyncClient() as client:
        while True:
            try:
                headers = {"authorization": "Bearer it-may-look"}
                answer = await client.get(f"http://127.0.0.1:{port}/metrics", headers=headers)
            except httpx.TransportError:
                await asyncio.sleep(0.02)
                continue
            assert answer.status_code == 200
            if 'serinus_lost_rows_total{model="ads",reason="inputs"}' in answer.text:
                return answer.text
            await asyncio.sleep(0.02)


def test_a_replica_tells_itself_and_gives_the_port_back(settings: Settings, tmp_path: Path) -> None:
    here = settings_of(settings, tmp_path)

    async def story() -> None:
        first = asyncio.create_task(keep_leaving(here, "front-1-a", samples))
        await asked(here.metrics_port)
        assert show(here) is None  # one that follows waits for it
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        second = asyncio.create_task(keep_leaving(here, "front-2-b", samples))
        await asked(here.metrics_port)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)

    asyncio.run(story())


def test_nothing_is_open_beyond_the_machine_without_a_token(settings: Settings, tmp_path: Path) -> None:
    told = {"metrics_host": "0.0.0.0", "metrics_token_file": None}
    with pytest.raises(BadInput, match="without a token"):
        show(dataclasses.replace(settings_of(settings, tmp_path), **told))
