"""Run by KServe's own Python: its REST client, unchanged, against BASE_URL. Prints as JSON what it was told."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig


def inputs(binary: bool) -> list[Any]:
    columns = (
        ("origin", "BYTES", np.array(["EWR", "nowhere"], dtype=object)),
        ("delay", "FP32", np.array([3.0, -4.0], dtype=np.float32)),
        ("hour", "FP32", np.array([7.0, 23.0], dtype=np.float32)),
    )
    made = []
    for name, kind, values in columns:
        made.append(InferInput(name, [2], kind))
        made[-1].set_data_from_numpy(values, binary_data=binary)
    return made


async def main(base: str) -> dict[str, Any]:
    client = InferenceRESTClient(RESTConfig(protocol="v2"))
    said: dict[str, Any] = {
        "live": await client.is_server_live(base),
        "ready": await client.is_server_ready(base),
        "model": await client.is_model_ready(base, "flights"),
    }
    for binary in (False, True):
        asked = InferRequest(
            "flights", inputs(binary), request_id="k", parameters={"entity": "e", "binary_data_output": binary}
        )
        answer = await client.infer(base, asked, model_name="flights")
        said[f"binary {binary}"] = {output.name: output.as_numpy().tolist() for output in answer.outputs}
        said["id"] = answer.id
    try:
        await client.infer(base, InferRequest("ships", inputs(False)), model_name="ships")
    except Exception as error:
        said["error"] = str(error)
    await client.close()
    return said


print(json.dumps(asyncio.run(main(sys.argv[1]))))
