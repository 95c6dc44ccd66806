"""Columns that are declared once: for the file's types, and for the card that explains them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Type = Literal["conversation", "float", "integer", "boolean", "text"]
Row = dict[str, Any]


@dataclass(frozen=True)
class Column:
    """One column of a table: its name, what it holds, and what that means."""

    name: str
    type: Type
    meaning: str


def to_parquet(columns: Sequence[Column], rows: Sequence[Row]) -> bytes:
    """The rows as a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    turn = pa.struct([("role", pa.string()), ("content", pa.string())])
    types = {
        "conversation": pa.list_(turn),
        "float": pa.float64(),
        "integer": pa.int64(),
        "boolean": pa.bool_(),
        "text": pa.string(),
    }
    schema = pa.schema([(column.name, types[column.type]) for column in columns])
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), sink)
    return bytes(sink.getvalue().to_pybytes())
