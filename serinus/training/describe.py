"""What somebody says of a model that is to be packaged, and the rows that show it at work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from serinus.errors import BadInput, Unavailable
from serinus.package import Precision
from serinus.tasks import Name, TaskKind, Word

__all__ = ["Description", "InputSaid", "TaskSaid", "rows_of"]

MAX_ROWS, MAX_FILE_BYTES = 1_000_000, 1 << 30


class InputSaid(Word):
    """What a graph does not say of its raw input."""

    nullable: bool = False
    required: bool = True


class TaskSaid(Word):
    """A task. `output`: the tensor that answers it; left out where there is but one to choose.

    `activation`: what makes answers of what the graph gives; `column`: of an output [n, k] for a binary or regression
    task (a classifier's probabilities: 1). `base_rate`: left out: of the labels, else of the sample's answers."""

    kind: TaskKind = "binary"
    output: str | None = None
    activation: Literal["none", "sigmoid", "softmax"] = "none"
    column: Annotated[int, Field(ge=0)] | None = None
    classes: tuple[str, ...] = ()
    unit: str = ""
    base_rate: float | tuple[float, ...] | None = None


class Description(Word):
    """`package.yaml`. Format 1. Either `onnx`, one graph with named outputs, or `encoder` and `heads`.

    `preprocess`: a graph before them, whose outputs they read by name. Files: relative to the description's folder.
    `sample`: some rows of raw inputs. `validation`: rows with a column of labels named as each task."""

    format: Literal[1] = 1
    onnx: str | None = None
    preprocess: str | None = None
    encoder: str | None = None
    heads: dict[Name, str] = {}
    tasks: Annotated[dict[Name, TaskSaid], Field(min_length=1)]
    inputs: dict[Name, InputSaid] = {}
    sample: str | None = None
    validation: str | None = None
    precision: Precision = "fp32"
    provenance: dict[str, str] = {}

    def model_post_init(self, _context: Any, /) -> None:
        if (self.onnx is None) == (self.encoder is None and not self.heads):
            raise ValueError("expected either onnx, one graph with named outputs, or encoder and heads")
        if self.onnx is None and self.heads.keys() != self.tasks.keys():
            raise ValueError(f"heads: expected one for each task, {sorted(self.tasks)}; there are {sorted(self.heads)}")


def rows_of(path: Path) -> dict[str, list[Any]]:
    """Columns of a file: .parquet, .json ({"inputs": {...}}, {name: [...]} or [{...}]), else a JSON object a line.

    Raises BadInput that says where it is wrong."""
    if not path.is_file() or path.stat().st_size > MAX_FILE_BYTES:
        raise BadInput(f"{path} is no file, or larger than {MAX_FILE_BYTES} bytes")
    if path.suffix == ".parquet":
        return _parquet(path)
    try:
        if path.suffix == ".json":
            found = json.loads(path.read_bytes())
            found = found.get("inputs", found) if isinstance(found, dict) else found
        else:
            found = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path} is not JSON: {error}") from error
    if isinstance(found, list) and all(isinstance(row, dict) for row in found):
        names = dict.fromkeys(name for row in found for name in row)
        found = {name: [row.get(name) for row in found] for name in names}
    lists = isinstance(found, dict) and all(isinstance(column, list) for column in found.values())
    if not lists or len({len(column) for column in found.values()}) != 1:
        raise BadInput(f"{path}: expected columns of equal length, or rows", 'such as {"age": [31, null]}')
    columns: dict[str, list[Any]] = found
    if not 0 < len(next(iter(columns.values()))) <= MAX_ROWS:
        raise BadInput(f"{path}: expected 1 to {MAX_ROWS} rows")
    return columns


def _parquet(path: Path) -> dict[str, list[Any]]:
    try:
        import pyarrow as pa  # noqa: PLC0415 (not a dependency of everybody)
        import pyarrow.parquet as pq  # noqa: PLC0415
    except ImportError as error:
        raise Unavailable("pyarrow is not installed", "pip install pyarrow, or give the rows as JSON") from error
    try:
        table = pq.read_table(path)
    except pa.ArrowException as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    if not 0 < table.num_rows <= MAX_ROWS:
        raise BadInput(f"{path}: expected 1 to {MAX_ROWS} rows, there are {table.num_rows}")
    columns: dict[str, list[Any]] = table.to_pydict()
    return columns
