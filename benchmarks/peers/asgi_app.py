"""Bare uvicorn: a raw ASGI application, orjson, ONNX Runtime on the event loop. As little as a server can do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import onnx_package
import orjson
import uvicorn

MODELS = onnx_package.load()


async def app(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    model = scope["path"].split("/")[3]
    outputs = MODELS[model].answer(orjson.loads(body)["inputs"])
    answer = orjson.dumps({"model_name": model, "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    quiet: dict[str, Any] = {"log_level": "warning", "access_log": False}
    uvicorn.run(app, host="127.0.0.1", port=onnx_package.port(), loop="uvloop", http="httptools", **quiet)
