"""Result tables as Parquet files, written and read without pandas, which takes longer to load than many a run."""

from __future__ import annotations

from pathlib import Path

from pimsim.records.schema import COUNT, REAL, TABLES, TEXT
from pimsim.records.tables import Columns


def write_table(table: str, plain: Columns, path: Path) -> None:
    """Write one table with the documented columns and types, also when it is empty; NaN stays NaN."""
    import pyarrow
    from pyarrow import parquet

    kinds = {TEXT: pyarrow.string(), COUNT: pyarrow.int64(), REAL: pyarrow.float64()}
    schema = pyarrow.schema([(column.name, kinds[column.dtype]) for column in TABLES[table]])
    parquet.write_table(pyarrow.Table.from_pydict(plain, schema), path)


def read_table(table: str, path: Path) -> Columns:
    """The rows of one table by column, in the documented order."""
    from pyarrow import parquet

    found: Columns = parquet.read_table(path, columns=[column.name for column in TABLES[table]]).to_pydict()
    return found
