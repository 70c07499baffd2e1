"""`docs/limits.md` names every field of a limit, every header and every word of an answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

from gatehouse.limits.counters import PERCENTS
from gatehouse.limits.reserving import FLOOR
from gatehouse.limits.sliding import LONGEST_LOG
from gatehouse.limits.standing import NAMES
from gatehouse.model.limits import WINDOWS, LimitEntry, LimitEvent, Measure, ScopeKind, Window
from tests.limits.limited import House, entry

PAGE = (Path(__file__).parents[2] / "docs" / "limits.md").read_text()
ROWS = dict(re.findall(r"^\| `([\w.-]+)` \| (.*)$", PAGE, re.MULTILINE))


def words(row: str) -> set[str]:
    return set(re.findall(r"`(\w+)`", row))


def test_every_field_and_value_is_documented() -> None:
    assert set(LimitEntry.__struct_fields__) <= set(ROWS)
    assert words(ROWS["scope"].split("|")[0]) == set(get_args(ScopeKind))
    assert words(ROWS["measure"].split("|")[0]) == set(get_args(Measure))
    assert words(ROWS["window"].split("|")[0]) == set(get_args(Window)) | set(get_args(Measure))
    plain = entry("requests", "minute", 1)
    assert f"by default {plain.max_reserved_share}" in ROWS["max_reserved_share"]
    for default in (plain.at_cap, plain.on_unknown):
        assert f"`{default}` (default)" in PAGE


def test_every_window_that_is_named_is_one_and_no_other() -> None:
    named = {}
    for part in ROWS["window"].split("|")[0].split("·"):
        measure, *windows = re.findall(r"`(\w+)`", part)
        named[measure] = tuple(windows)
    assert named == WINDOWS


def test_every_header_is_documented() -> None:
    headers = {name.strip(" :\r\n") for names in NAMES.values() for name in names}
    headers.discard("x-gatehouse-ratelimit-reset-concurrency")
    assert set(re.findall(r"`(x-gatehouse-ratelimit-[a-z-]+)`", PAGE)) == headers


def test_the_answer_shown_is_an_answer() -> None:
    shown = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
    house = House(entry("spend", "day", 10**10, scope_id="key_01", id="lim_01"))
    house.settle(house.reserved(0, 8 * 10**9, "key_01"), 0, 7_500_000_000)
    house.reserved(0, 10**9, "key_01")
    error = house.short(0, 3 * 10**9, "key_01")
    assert shown == {
        "detail": error.detail, "code": error.kind.code, "retry_after": error.retry_after, **(error.facts or {}),
    }  # fmt: skip


def test_numbers_and_kinds_are_true() -> None:
    assert f"below {FLOOR} tokens" in PAGE
    assert f"at most {LONGEST_LOG:,} are counted to the microsecond" in PAGE
    assert ", ".join(map(str, PERCENTS[:-1])) + f" or {PERCENTS[-1]} per cent" in PAGE
    [kind] = [field for field in LimitEvent.__annotations__ if field == "kind"]
    assert all(f"| `limit.{word}` |" in PAGE for word in ("threshold", "exceeded")), kind
