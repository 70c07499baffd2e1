"""Tables of things: what is copied from one is whole, however narrow the place."""

from __future__ import annotations

from typing import Any

import pytest

from gatehouse.cli.listing import UNSET, echo_list
from gatehouse.cli.terminal import PIPED_WIDTH

ID = "key_01m7zd254jfy2r2apt4jf7hf29"
COLUMNS = {
    name: lambda item, name=name: item[name] for name in ("name", "owner", "one", "two", "three", "details", "id")
}


def _row(**given: Any) -> dict[str, Any]:
    words = {name: f"{name}-{'x' * 32}" for name in ("one", "two", "three")}
    return {"name": "ci", "owner": None, "details": "word " * 30, "id": ID, **words, **given}


def test_ids_are_whole_and_columns_that_say_nothing_give_way(capsys: pytest.CaptureFixture[str]) -> None:
    echo_list("table", [_row(), _row(name="web")], COLUMNS, "none")
    lines = capsys.readouterr().out.splitlines()
    assert [ID in line for line in lines].count(True) == 2
    assert max(map(len, lines)) > PIPED_WIDTH
    assert "owner" not in lines[1] and not any(UNSET in line for line in lines)
    assert len(lines) > 8  # long text is folded


def test_where_there_is_room_every_column_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    echo_list("table", [_row(details="", one="", two="")], COLUMNS, "none")
    _, headings, _, row, _ = capsys.readouterr().out.splitlines()
    assert headings.split() == list(COLUMNS)
    assert row.split() == ["ci", UNSET, UNSET, UNSET, f"three-{'x' * 32}", UNSET, ID]
