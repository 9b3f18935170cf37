"""BentoML: one service of one worker; a method for each model, for its routes are fixed when it is written."""

from __future__ import annotations

from typing import Any

import bentoml
import onnx_package


@bentoml.service(workers=1)
class Models:
    def __init__(self) -> None:
        self.models = onnx_package.load()

    def _answer(self, model: str, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        return {"model_name": model, "outputs": self.models[model].answer(inputs, plain=True)}

    @bentoml.api(route="/v2/models/flights/infer")
    async def flights(self, inputs: list[dict[str, Any]], parameters: dict[str, Any]) -> dict[str, Any]:
        return self._answer("flights", inputs)

    @bentoml.api(route="/v2/models/dense/infer")
    async def dense(self, inputs: list[dict[str, Any]], parameters: dict[str, Any]) -> dict[str, Any]:
        return self._answer("dense", inputs)

    @bentoml.api(route="/v2/models/towers/infer")
    async def towers(self, inputs: list[dict[str, Any]], parameters: dict[str, Any]) -> dict[str, Any]:
        return self._answer("towers", inputs)
