"""The messages of the Open Inference Protocol v2 in gRPC, described here by their published names and numbers.

They live in a descriptor pool of their own: a process may also import a client that brings the same names."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
METHODS = ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer")

_TENSOR = "name:string=1 datatype:string=2 shape:int64*=3"
_VALUES = {
    "bool": 1, "int32": 2, "int64": 3, "uint32": 4, "uint64": 5, "float": 6, "double": 7, "bytes": 8,
}  # fmt: skip
_NAMES = {"int32": "int", "uint32": "uint", "float": "fp32", "double": "fp64"}
_CONTENTS = " ".join(f"{_NAMES.get(kind, kind)}_contents:{kind}*={number}" for kind, number in _VALUES.items())

MESSAGES: dict[str, str] = {
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live:bool=1",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready:bool=1",
    "ModelReadyRequest": "name:string=1 version:string=2",
    "ModelReadyResponse": "ready:bool=1",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name:string=1 version:string=2 extensions:string*=3",
    "ModelMetadataRequest": "name:string=1 version:string=2",
    "TensorMetadata": _TENSOR,
    "ModelMetadataResponse": (
        "name:string=1 versions:string*=2 platform:string=3 inputs:TensorMetadata*=4 outputs:TensorMetadata*=5"
    ),
    "InferParameter": (
        "bool_param:bool=1? int64_param:int64=2? string_param:string=3? double_param:double=4? uint64_param:uint64=5?"
    ),
    "InferTensorContents": _CONTENTS,
    "InferInputTensor": f"{_TENSOR} parameters:map=4 contents:InferTensorContents=5",
    "InferRequestedOutputTensor": "name:string=1 parameters:map=2",
    "InferOutputTensor": f"{_TENSOR} parameters:map=4 contents:InferTensorContents=5",
    "ModelInferRequest": (
        "model_name:string=1 model_version:string=2 id:string=3 parameters:map=4 inputs:InferInputTensor*=5 "
        "outputs:InferRequestedOutputTensor*=6 raw_input_contents:bytes*=7"
    ),
    "ModelInferResponse": (
        "model_name:string=1 model_version:string=2 id:string=3 parameters:map=4 outputs:InferOutputTensor*=5 "
        "raw_output_contents:bytes*=6"
    ),
}
"""Message -> its fields, each `name:type=number`. `*`: repeated; `?`: one of them; `map`: text to InferParameter."""


def _field(word: str) -> descriptor_pb2.FieldDescriptorProto:
    name, rest = word.split(":")
    kind, number = rest.rstrip("?").split("=")
    field = descriptor_pb2.FieldDescriptorProto(name=name, number=int(number))
    field.label = field.LABEL_REPEATED if kind.endswith("*") or kind == "map" else field.LABEL_OPTIONAL
    kind = kind.rstrip("*")
    if kind in MESSAGES:
        field.type, field.type_name = field.TYPE_MESSAGE, f".{PACKAGE}.{kind}"
    elif kind != "map":
        field.type = getattr(field, f"TYPE_{kind.upper()}")
    return field


def _message(name: str, fields: str) -> descriptor_pb2.DescriptorProto:
    made = descriptor_pb2.DescriptorProto(name=name)
    for word in fields.split():
        field = made.field.add()
        field.CopyFrom(_field(word))
        if word.endswith("?"):
            if not made.oneof_decl:
                made.oneof_decl.add(name="parameter_choice")
            field.oneof_index = 0
        if ":map=" in word:
            entry = made.nested_type.add(name="ParametersEntry")
            entry.options.map_entry = True
            entry.field.add().CopyFrom(_field("key:string=1"))
            entry.field.add().CopyFrom(_field("value:InferParameter=2"))
            field.type, field.type_name = field.TYPE_MESSAGE, f".{PACKAGE}.{name}.ParametersEntry"
    return made


def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="serinus/open_inference.proto", package=PACKAGE, syntax="proto3")
    file.message_type.extend(_message(name, fields) for name, fields in MESSAGES.items())
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in MESSAGES}


_made = _classes()
ServerLiveResponse = _made["ServerLiveResponse"]
ServerReadyResponse = _made["ServerReadyResponse"]
ModelReadyRequest = _made["ModelReadyRequest"]
ModelReadyResponse = _made["ModelReadyResponse"]
ServerMetadataResponse = _made["ServerMetadataResponse"]
ModelMetadataRequest = _made["ModelMetadataRequest"]
ModelMetadataResponse = _made["ModelMetadataResponse"]
ModelInferRequest = _made["ModelInferRequest"]
ModelInferResponse = _made["ModelInferResponse"]
