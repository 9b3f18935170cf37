"""What all tables share: how words become columns, and how keys are named."""

from __future__ import annotations

import zlib
from functools import cache
from typing import Any

from pydantic import BaseModel, TypeAdapter
from sqlalchemy import BigInteger, Double, LargeBinary, MetaData, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

__all__ = ["AsJson", "AsPacked", "Base"]

LEVEL = 6


class AsJson(TypeDecorator[Any]):
    """A shared word (or a container of them) as JSON text, checked again whenever it is read."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: Any) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002 the base class's signature
        return None if value is None else _adapter(self.kind).dump_json(value).decode()

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 the base class's signature
        return None if value is None else _adapter(self.kind).validate_json(value)


class AsPacked(TypeDecorator[Any]):
    """A shared word as its canonical JSON, compressed; checked again whenever it is read."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, kind: type[BaseModel]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:  # noqa: ARG002 the base class's signature
        return None if value is None else zlib.compress(value.model_dump_json().encode(), LEVEL)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002 the base class's signature
        return None if value is None else self.kind.model_validate_json(zlib.decompress(value))


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Made once: making one costs more than using it."""
    return TypeAdapter(kind)


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {float: Double(), str: String(), int: BigInteger()}
