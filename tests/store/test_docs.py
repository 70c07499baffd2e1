"""`docs/store.md` names every table and column of the store and the directory, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import MetaData

from gatehouse.store.directory import schema as directory
from gatehouse.store.schema import metadata

DOCUMENT = Path(__file__).parents[2] / "docs" / "store.md"


@pytest.mark.parametrize("tables", [metadata, directory.metadata], ids=["store", "directory"])
def test_every_table_and_column_is_documented(tables: MetaData) -> None:
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL))
    for table in tables.sorted_tables:
        first_cells = re.findall(r"^\| (`.*?) \|", sections[table.name], re.MULTILINE)
        named = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
        assert named == {column.name for column in table.columns}, table.name
