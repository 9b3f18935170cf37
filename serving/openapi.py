"""What the serving side speaks, as OpenAPI 3.1; served at /openapi.json."""

from __future__ import annotations

from typing import Any

import orjson

from serinus import __version__

Schema = dict[str, Any]
TEXT: Schema = {"type": "string", "minLength": 1, "maxLength": 256}
TENSOR: Schema = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": TEXT,
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 8},
        "datatype": {"enum": ["FP32", "FP64", "INT32", "INT64", "BOOL", "BYTES"]},
        "data": {"type": "array"},
        "parameters": {"type": "object", "properties": {"binary_data_size": {"type": "integer", "minimum": 0}}},
    },
}
PARAMETERS: Schema = {
    "type": "object",
    "properties": {
        "entity": TEXT,
        "event_time_ms": {"type": "integer", "minimum": 0},
        "join_key": TEXT,
        "attributes": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 256}},
        "timeout": {"type": "integer", "minimum": 1, "description": "microseconds; at most what the SLA allows"},
        "binary_data_output": {"type": "boolean"},
    },
}
OUTPUT: Schema = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": TEXT,
        "parameters": {"type": "object", "properties": {"binary_data": {"type": "boolean"}}},
    },
}
REQUEST: Schema = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string", "maxLength": 256},
        "inputs": {"type": "array", "items": TENSOR, "minItems": 1, "maxItems": 4096},
        "outputs": {"type": "array", "items": OUTPUT, "maxItems": 256},
        "parameters": PARAMETERS,
    },
}
RANKING: Schema = {
    **REQUEST,
    "properties": {
        **REQUEST["properties"],
        "items": {"type": "array", "items": {"type": "string", "maxLength": 256}, "maxItems": 1024},
        "top": {"type": "integer", "minimum": 1, "maximum": 1024},
    },
}
LABELS: Schema = {
    "type": "object",
    "required": ["model"],
    "properties": {"model": {"type": "string"}, "labels": {"type": "array"}, "complete_to": {"type": "object"}},
}
PROBLEM: Schema = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "hint", "error"],
    "properties": {"status": {"type": "integer"}, "title": {"type": "string"}, "detail": {"type": "string"}},
}
WRONG = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def _operation(summary: str, *names: str, body: Schema | None = None, statuses: tuple[int, ...] = (404,)) -> Schema:
    said: Schema = {
        "summary": summary,
        "responses": {
            "200": {"description": "the answer", "content": {"application/json": {"schema": {"type": "object"}}}},
            **{str(status): {"description": "why not", "content": WRONG} for status in statuses},
        },
    }
    if names:
        said["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
            for name in names
        ]
    if body is not None:
        said["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return said


ASKED = (400, 404, 413, 415, 503, 504)
DESCRIPTION = orjson.dumps(
    {
        "openapi": "3.1.0",
        "info": {
            "title": "Serinus serving",
            "version": __version__,
            "description": "Open Inference Protocol v2 with binary tensors and compression; rankings; labels.",
        },
        "paths": {
            "/v2": {"get": _operation("Metadata of the server", statuses=())},
            "/v2/health/live": {"get": _operation("Whether it runs", statuses=())},
            "/v2/health/ready": {"get": _operation("Whether it can answer", statuses=(503,))},
            "/v2/models/{model}": {"get": _operation("Metadata of a model", "model")},
            "/v2/models/{model}/ready": {"get": _operation("Whether it answers", "model", statuses=(404, 503))},
            "/v2/models/{model}/infer": {
                "post": _operation("Ask a model", "model", body=REQUEST, statuses=ASKED),
            },
            "/v2/models/{model}/rank": {
                "post": _operation("Rank candidates for an entity", "model", body=RANKING, statuses=ASKED),
            },
            "/v2/models/{model}/versions/{version}": {
                "get": _operation("Metadata of a version", "model", "version"),
            },
            "/v2/models/{model}/versions/{version}/ready": {
                "get": _operation("Whether it is stable", "model", "version", statuses=(404, 503)),
            },
            "/v2/models/{model}/versions/{version}/infer": {
                "post": _operation(
                    "Ask a stable version by its number", "model", "version", body=REQUEST, statuses=ASKED
                ),
            },
            "/v1/labels": {"post": _operation("Send labels", body=LABELS, statuses=(400, 404, 413, 503))},
        },
        "components": {"schemas": {"Problem": PROBLEM}},
    }
)
