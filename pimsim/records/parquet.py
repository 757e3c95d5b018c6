"""Result tables as Parquet files, written and read without pandas, which takes longer to load than many a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pimsim.records.schema import COUNT, REAL, TABLES, TEXT
from pimsim.records.tables import Columns


def write_table(table: str, plain: Columns, path: Path) -> None:
    """Write one table with the documented columns and types, also when it is empty; NaN stays NaN."""
    import pyarrow
    from pyarrow import parquet

    arrays = [_array(plain[column.name], column.dtype) for column in TABLES[table]]
    parquet.write_table(pyarrow.Table.from_arrays(arrays, [column.name for column in TABLES[table]]), path)


def _array(values: list[Any], dtype: str) -> Any:
    """A column of Arrow, from its buffers: `pyarrow.array` would load pandas to look whether it is given a Series."""
    import pyarrow

    if dtype == TEXT:
        encoded = [value.encode() for value in values]
        ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
        buffers = pyarrow.py_buffer(ends), pyarrow.py_buffer(b"".join(encoded))
        return pyarrow.StringArray.from_buffers(len(values), *buffers)
    kind = {COUNT: pyarrow.int64(), REAL: pyarrow.float64()}[dtype]
    return pyarrow.Array.from_buffers(kind, len(values), [None, pyarrow.py_buffer(np.array(values, dtype=dtype))])


def read_table(table: str, path: Path) -> Columns:
    """The rows of one table by column, in the documented order."""
    from pyarrow import parquet

    found: Columns = parquet.read_table(path, columns=[column.name for column in TABLES[table]]).to_pydict()
    return found
