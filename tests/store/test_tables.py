"""Structs as tables: a column per field, and CSV that no spreadsheet runs."""

from __future__ import annotations

import csv
import io

import msgspec
import pytest

from gatehouse.store import figures
from gatehouse.store.tables import columns, csv_head, csv_lines, value
from gatehouse.store.views import Time, TraceSummary


class _Part(msgspec.Struct):
    low: int | None
    high: list[int]


class _Row(msgspec.Struct):
    name: str
    part: _Part | None
    until: Time | None = msgspec.field(name="to")
    group: dict[str, str | None] = {}


def test_parts_and_groups_have_columns_of_their_own() -> None:
    assert columns(_Row, ("model", "key")) == [
        ("name", ("name",)),
        ("part.low", ("part", "low")),
        ("part.high", ("part", "high")),
        ("to", ("until",)),
        ("model", ("group", "model")),
        ("key", ("group", "key")),
    ]
    assert [name for name, _ in columns(_Row)] == ["name", "part.low", "part.high", "to"]


def test_a_field_called_group_is_a_field() -> None:
    """A call's own group is no grouping."""
    assert ("group", ("group",)) in columns(TraceSummary)
    assert "group" not in dict(columns(figures.CostRow, ("model",)))


def test_csv() -> None:
    rows = [
        _Row("=1+1", _Part(None, [1, 2]), None, {"model": "-x"}),
        _Row('a,"b"\n', None, "2026-11-20T00:00:00.000000Z", {"model": None}),
    ]
    wanted = columns(_Row, ("model",))
    assert csv_head(wanted) == "name,part.low,part.high,to,model\r\n"
    assert csv_lines(wanted, rows) == ("'=1+1,,\"[1,2]\",,'-x\r\n" + '"a,""b""\n",,,2026-11-20T00:00:00.000000Z,\r\n')
    assert value(rows[1], ("part", "low")) is None


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20"])
def test_what_a_spreadsheet_would_run_is_text(begins: str) -> None:
    text = csv_lines([("name", ("name",))], [_Row(f"{begins}1", None, None, {})])
    [cell] = next(csv.reader(io.StringIO(text, newline="")))
    assert cell == f"'{begins}1"
