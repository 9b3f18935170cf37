"""FastAPI on uvicorn. `/v2/...`: the body is a pydantic model, as FastAPI's guide has it; `/raw/...`: read by orjson.
Both answer by orjson and run ONNX Runtime on the event loop, which is the fastest that FastAPI allows."""

from __future__ import annotations

from typing import Any

import onnx_package
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

MODELS = onnx_package.load()
app = FastAPI()


class Tensor(BaseModel):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class InferRequest(BaseModel):
    id: str | None = None
    inputs: list[Tensor]
    parameters: dict[str, Any] = {}


def respond(model: str, outputs: list[dict[str, Any]]) -> Response:
    answer = orjson.dumps({"model_name": model, "outputs": outputs}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(answer, media_type="application/json")


@app.post("/v2/models/{model}/infer")
async def infer(model: str, request: InferRequest) -> Response:
    package = MODELS[model]
    found = package.run({tensor.name: package.array(tensor.name, tensor.data) for tensor in request.inputs})
    outputs = [{"name": task, "datatype": "FP32", "shape": [len(p)], "data": p} for task, p in found.items()]
    return respond(model, outputs)


@app.post("/raw/models/{model}/infer")
async def infer_raw(model: str, request: Request) -> Response:
    return respond(model, MODELS[model].answer(orjson.loads(await request.body())["inputs"]))


if __name__ == "__main__":
    quiet: dict[str, Any] = {"log_level": "warning", "access_log": False}
    uvicorn.run(app, host="127.0.0.1", port=onnx_package.port(), loop="uvloop", http="httptools", **quiet)
