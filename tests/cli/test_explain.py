"""O15: what changed, in words that a person reads and in forms that a program does."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from gatehouse.cli.words import about, percent, signed
from gatehouse.store.explain import Contribution, Explanation
from tests.cli.conftest import Cli
from tests.cli.recording import NASTY, decision, outcome, record
from tests.store.samples import call_id

DOLLAR = 10**9


def _calls(hours_ago: float, count: int) -> list[str]:
    began = datetime.now(UTC) - timedelta(hours=hours_ago)
    return [call_id(int(began.timestamp() * 1000 + n) * 1000, n) for n in range(count)]


@pytest.fixture
def recorded(data: Path) -> None:
    """Yesterday two calls of each of two models; today four of one that costs thrice as much, and a new one."""
    pairs = [
        *(
            (decision(call, model=model), outcome(call, cost=DOLLAR))
            for call, model in zip(_calls(30, 4), "aabb", strict=True)
        ),
        *((decision(call, model="a"), outcome(call, cost=3 * DOLLAR)) for call in _calls(2, 4)),
        *((decision(call, model=NASTY), outcome(call, cost=DOLLAR)) for call in _calls(1, 1)),
        *((decision(call, model="b"), outcome(call, cost=None)) for call in _calls(3, 1)),
    ]
    record(data, pairs)


def test_table(cli: Cli, recorded: None) -> None:
    done = cli("explain", "cost", "--since", "24h")
    assert done.code == 0, done.err
    lines = [line.rstrip() for line in done.out.splitlines()]
    assert lines[0] == "Spend rose by $9.00 (+225 %): $4.00 → $13.00, 4 calls → 5."
    assert lines[1].startswith("In 20") and " UTC, compared with 20" in lines[1]
    assert lines[2] == "Not in it: 0 → 1 calls without a known price."
    assert lines[3] == "More calls altogether account for +$1.00."
    assert lines[4] == "Most of it: model a +$10.00 (111 %)."
    rows = {line.split()[1 if "model" in line else 0]: line for line in lines[6:] if "$" in line}
    assert rows["a"].split()[2:7] == ["2", "4", "$2.00", "$12.00", "+$10.00"]
    assert rows["a"].endswith("111.1 %   +$1.50 larger share, +$8.00 dearer tokens")
    assert rows["b"].split()[1:6] == ["2", "0", "$2.00", "$0.00", "−$2.00"]
    [nasty] = [line for line in lines if "evil" in line]
    assert nasty.endswith("new") and "\x1b" not in nasty
    # All calls have the same provider: that explains nothing.
    assert "openai" not in done.out
    assert all(character.isprintable() or character == "\n" for character in done.out)


def test_json_and_csv_say_the_same(cli: Cli, recorded: None) -> None:
    said = json.loads(cli("explain", "cost", "--format", "json").out)
    assert said.pop("v") == 1
    found = msgspec.convert(said, Explanation)
    assert (found.change, found.unit, found.before.calls, found.after.unknown_price) == (9 * DOLLAR, "nano_usd", 4, 1)
    rows = list(csv.DictReader(io.StringIO(cli("explain", "cost", "--format", "csv", "--limit", "1").out)))
    assert list(rows[0]) == list(Contribution.__struct_fields__)
    models = [row for row in rows if row["dimension"] == "model"]
    assert [(row["value"], row["state"], row["values"]) for row in models] == [("a", "both", "1"), ("", "rest", "2")]
    assert sum(int(row["change"]) for row in models) == found.change


def test_the_other_metrics(cli: Cli, recorded: None) -> None:
    assert cli("explain", "latency").out.splitlines()[0] == (
        "The mean latency did not change: 1.23 s → 1.23 s, 4 calls → 6."
    )
    errors = cli("explain", "errors").out.splitlines()
    assert errors[0] == "Errors did not change: 0 → 0, 4 calls → 6."
    assert errors[2] == "Error rate 0.00 % → 0.00 %."


def test_windows(cli: Cli, recorded: None) -> None:
    now = datetime.now(UTC)
    earlier = (now - timedelta(hours=36)).strftime("%Y-%m-%dT%H:%M:%SZ")
    day = json.loads(cli("explain", "errors", "--since", "4h", "--baseline", "week", "--format", "json").out)
    assert (day["after"]["calls"], day["before"]["calls"]) == (6, 0)
    named = cli(
        "explain", "errors", "--since", "24h", "--until", "90m", "--baseline", f"{earlier}/24h", "--format", "json"
    )
    assert [json.loads(named.out)[side]["calls"] for side in ("before", "after")] == [4, 5]
    nothing = cli("explain", "latency", "--since", "4h", "--baseline", "week").out.splitlines()
    assert nothing[0].startswith("The mean latency: – before, 1.23 s after, in ") and len(nothing) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "all"), "something before it"),
        (("--until", "2d"), "ends before it begins"),
        (("--baseline", "yesterday"), "nor two times"),
        (("--baseline", "24h/48h"), "ends before it begins"),
        (("--baseline", "all/48h"), "nor two times"),
        (("--baseline", "x/48h"), "is neither a span"),
    ],
)
def test_wrong_windows(cli: Cli, data: Path, arguments: tuple[str, ...], said: str) -> None:
    record(data, [])
    done = cli("explain", "cost", *arguments)
    assert (done.code, done.out) == (2, "") and said in done.err


def test_amounts_as_people_say_them() -> None:
    amounts = [None, 0, 5, 123_456, 1_234_567_890, 12_399_000_000, -999_999_999]
    assert [about(nano) for nano in amounts] == ["–", "$0.00", "$0.000000005", "$0.000123", "$1.23", "$12.40", "-$1.00"]
    assert [signed(nano, str) for nano in (None, 0, 3, -3)] == ["–", "0", "+3", "−3"]
    assert [percent(part) for part in (0.384, -0.025, 12)] == ["+38 %", "−2.5 %", "+1,200 %"]
