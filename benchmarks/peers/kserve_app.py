"""KServe's model server with custom models: inputs by OIP v2, which it speaks itself."""

from __future__ import annotations

from typing import Any

import onnx_package
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Served(Model):  # type: ignore[misc]
    def __init__(self, name: str, package: onnx_package.OnnxPackage) -> None:
        super().__init__(name)
        self.package = package
        self.ready = True

    async def predict(self, payload: InferRequest, headers: Any = None, response_headers: Any = None) -> InferResponse:
        package = self.package
        found = package.run({tensor.name: package.array(tensor.name, tensor.data) for tensor in payload.inputs})
        outputs = [InferOutput(task, [len(p)], "FP32", p.tolist()) for task, p in found.items()]
        return InferResponse(payload.id or "-", self.name, outputs)


if __name__ == "__main__":
    models = [Served(name, package) for name, package in onnx_package.load().items()]
    ModelServer(http_port=onnx_package.port(), workers=1, enable_grpc=False).start(models)
