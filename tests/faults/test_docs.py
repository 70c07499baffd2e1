"""docs/faults.md holds the table that the gateway is held to: `rows.ROWS`, worded."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gatehouse.control.metrics import METRICS
from tests.faults.rows import DIALECTS, ROWS, Expect, Row

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "faults.md").read_text()
MACHINE = "The machine"

GROUPS = list(dict.fromkeys(row.group for row in ROWS))
NAMES = {"openai": "OpenAI", "anthropic": "Anthropic", "google": "Google"}
GETS = {
    "whole": "the whole answer",
    "part": "what HTTP takes for the whole",
    "cut": "what came, cut",
    "event": "what came, an error event, cut",
    "error": "502 in its dialect",
}


def gets(expect: Expect) -> str:
    if expect.gets == "whole" and expect.status != 200:
        return f"the {expect.status} as it is"
    return GETS[expect.gets]


def says(expect: Expect) -> str:
    reason = re.sub(r"\{(\w+)\} s", r"`timeouts.\1`", expect.reason).replace("*", "…")
    words = f"`{expect.outcome}`" + (f": {reason}" if reason else "")
    return words if expect.gets == "error" else f"{words}; usage: {expect.usage}"


def worded(row: Row, *, streamed: bool, record: bool) -> str:
    """A cell of the page: one text, or one for each dialect that differs."""
    by_text: dict[str, list[str]] = {}
    for dialect in DIALECTS:
        expect = row.expect(dialect, streamed=streamed)
        by_text.setdefault(says(expect) if record else gets(expect), []).append(NAMES[dialect])
    if len(by_text) == 1:
        return next(iter(by_text))
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in by_text.items())


def record(row: Row) -> str:
    plain, stream = (worded(row, streamed=streamed, record=True) for streamed in (False, True))
    words = plain if plain == stream else f"{plain}. Streamed: {stream}"
    if row.attempts > 1:
        words += "; `attempts` 2, `replayed`"
    return words


def line(row: Row) -> str:
    plain, stream = (worded(row, streamed=streamed, record=False) for streamed in (False, True))
    again = "yes" if row.kept else "no"
    return f"| {row.does} | {plain} | {stream} | {record(row)} | {again if row.attempts else '–'} |"


@pytest.mark.parametrize("group", GROUPS)
def test_the_page_has_this_table(group: str) -> None:
    found = re.search(rf"^## {re.escape(group)}\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
    assert found, f"docs/faults.md has no section {group}"
    rows = [text for text in found[1].splitlines() if text.startswith("|")][2:]
    wanted = [line(row) for row in ROWS if row.group == group]
    assert rows == wanted, "docs/faults.md should say:\n" + "\n".join(wanted)


def test_the_page_has_no_other_table() -> None:
    assert re.findall(r"^## (.*)$", PAGE, re.M) == [*GROUPS, MACHINE]


def test_every_fault_of_the_machine_has_a_test_and_is_seen() -> None:
    section = PAGE.partition(f"## {MACHINE}\n")[2].partition("### ")[0]
    rows = [text.split(" | ") for text in section.splitlines() if text.startswith("|")][2:]
    shown = {metric.name for metric in METRICS}
    assert rows
    for row in rows:
        tests = re.findall(r"`(tests/[\w/]+\.py)`", row[-1])
        assert tests, row
        for test in tests:
            assert (ROOT / test).is_file(), test
        assert set(re.findall(r"`(gatehouse_\w+)`", row[3])) <= shown, row
