"""MLServer's custom runtime: inputs by OIP v2, which it speaks itself."""

from __future__ import annotations

import onnx_package
from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput


class Runtime(MLModel):
    async def load(self) -> bool:
        self.package = onnx_package.OnnxPackage(onnx_package.packages()[self.name])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        package = self.package
        found = package.run({t.name: package.array(t.name, t.data.root) for t in payload.inputs})
        outputs = [ResponseOutput(name=t, datatype="FP32", shape=[len(p)], data=p.tolist()) for t, p in found.items()]
        return InferenceResponse(model_name=self.name, outputs=outputs)
