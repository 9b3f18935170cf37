"""Whether an address answers, and how: many asked at once, none waited for long."""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import httpx

__all__ = ["Asked", "ask_all"]

ANSWER_WITHIN_S = 4.0
MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Asked:
    """`refused`: nobody listens there; `silent`: somebody does, and says nothing in time; `broken`: anything else.

    `status`, `body`: of an HTTP answer. `took_s`: wall seconds. `said`: how it failed."""

    how: Literal["answered", "refused", "silent", "broken"]
    status: int = 0
    body: bytes = b""
    took_s: float = 0.0
    said: str = ""

    @property
    def well(self) -> bool:
        return self.how == "answered" and self.status in {0, 200}


def ask_all(urls: Mapping[str, str], token: str = "", within_s: float = ANSWER_WITHIN_S) -> dict[str, Asked]:
    """Name -> answer, for name -> URL; `tcp://HOST:PORT` is only connected to. `token`: sent to the http ones."""
    if not urls:
        return {}
    with ThreadPoolExecutor(max_workers=min(8, len(urls))) as pool:
        asked = {name: pool.submit(_ask, url, token, within_s) for name, url in urls.items()}
        return {name: each.result() for name, each in asked.items()}


def _ask(url: str, token: str, within_s: float) -> Asked:
    began = time.monotonic()
    try:
        if url.startswith("tcp://"):
            host, _, port = url.removeprefix("tcp://").rpartition(":")
            socket.create_connection((host, int(port)), within_s).close()
            return Asked("answered", took_s=time.monotonic() - began)
        headers = {"authorization": f"Bearer {token}"} if token else {}
        with httpx.stream("GET", url, headers=headers, timeout=within_s, trust_env=False) as answer:
            body = b""
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > MOST_BYTES or time.monotonic() > began + within_s:
                    break
            return Asked("answered", answer.status_code, body[:MOST_BYTES], time.monotonic() - began)
    except (httpx.ConnectError, ConnectionRefusedError) as error:
        return Asked("refused", said=str(error))
    except (httpx.TimeoutException, TimeoutError) as error:
        return Asked("silent", took_s=time.monotonic() - began, said=str(error) or "no answer in time")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        return Asked("broken", said=str(error) or type(error).__name__)
