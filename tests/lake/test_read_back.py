"""What was written is read back before it is published."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_cloudlock.exceptions import CloudlockDataError
from tests.lake.test_parquet import rows, written


def test_a_file_that_does_not_hold_what_was_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = pq.ParquetWriter.write_table
    monkeypatch.setattr(pq.ParquetWriter, "write_table", lambda writer, table: write(writer, table[1:]))
    with pytest.raises(CloudlockDataError, match=r"holds 9 rows instead of 10.*Nothing was published"):
        written(tmp_path / "short", rows(10))


def test_a_file_that_was_damaged_while_it_was_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "damaged"
    close = pq.ParquetWriter.close

    def damage(writer: pq.ParquetWriter) -> None:
        was_open = writer.is_open
        close(writer)
        if was_open:
            key = pq.read_metadata(path).row_group(0).column(0)
            data = bytearray(path.read_bytes())
            data[key.data_page_offset + key.total_compressed_size // 2] ^= 1
            path.write_bytes(data)

    monkeypatch.setattr(pq.ParquetWriter, "close", damage)
    with pytest.raises((CloudlockDataError, OSError, pa.ArrowInvalid), match="CRC"):
        written(path, rows(1_000))
