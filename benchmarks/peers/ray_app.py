"""Ray Serve as it comes: one replica, its own HTTP proxy, no setting touched but the port."""

from __future__ import annotations

import signal
import threading
from typing import Any

import onnx_package
import orjson
import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment
class Model:
    def __init__(self) -> None:
        self.models = onnx_package.load()

    async def __call__(self, request: Request) -> Response:
        model = request.url.path.split("/")[3]
        outputs = self.models[model].answer(orjson.loads(await request.body())["inputs"])
        answer = orjson.dumps({"model_name": model, "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(answer, media_type="application/json")


def main() -> None:
    stop = threading.Event()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=100 << 20)
    http: dict[str, Any] = {"host": "127.0.0.1", "port": onnx_package.port()}
    serve.start(http_options=http)
    serve.run(Model.bind(), route_prefix="/")  # type: ignore[attr-defined]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    stop.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
