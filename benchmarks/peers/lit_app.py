"""LitServe: one worker on the CPU for each model, as it runs by default."""

from typing import Any

import litserve
import onnx_package
from fastapi import Request


class Api(litserve.LitAPI):
    def __init__(self, model: str) -> None:
        super().__init__(api_path=f"/v2/models/{model}/infer")
        self.model = model

    def setup(self, device: str) -> None:
        self.package = onnx_package.OnnxPackage(onnx_package.packages()[self.model])

    def decode_request(self, request: Request) -> list[dict[str, Any]]:  # LitServe hands over its parsed JSON
        return list(request["inputs"])

    def predict(self, x: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.package.answer(x, plain=True)

    def encode_response(self, output: list[dict[str, Any]]) -> dict[str, Any]:
        return {"model_name": self.model, "outputs": output}


if __name__ == "__main__":
    apis = [Api(model) for model in onnx_package.packages()]
    server = litserve.LitServer(apis, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=onnx_package.port(), generate_client_file=False, log_level="warning")
