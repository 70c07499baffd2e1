"""O5: sums from the store with the server stopped; what callers sent cannot write to the terminal (HARD-PARTS 5.3)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec
import pytest

from gatehouse.cli.report import Since, summary
from gatehouse.cli.words import dollars, duration, number, size
from gatehouse.store.views import Report, Tokens
from tests.cli.conftest import Cli
from tests.cli.recording import NASTY, decision, new_ids, outcome, record


@pytest.fixture
def recorded(data: Path) -> list[str]:
    calls = new_ids(3)
    pairs = [(decision(call), outcome(call)) for call in calls[:2]]
    pairs.append((decision(calls[2], model=NASTY), outcome(calls[2], cost=None)))
    record(data, pairs)
    return calls


def test_table(cli: Cli, recorded: list[str]) -> None:
    done = cli("report")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0].startswith("3 calls since 20")
    assert lines[0].endswith(" UTC, 0 errors (3 ok)")
    assert lines[1:4] == [
        "tokens   300 in, 150 out",
        "cost     $0.0002468 and 1 call without a known price",
        "latency  p50 1.23 s, p95 1.23 s, mean 1.23 s",
    ]
    row = next(line for line in lines if "gpt-4o-mini" in line)
    assert row.split() == ["openai", "gpt-4o-mini", "2", "0", "200", "100", "$0.0002468", "1.23", "s", "1.23", "s"]
    nasty = next(line for line in lines if "evil" in line)
    assert "evil�]0;pwned��31m�[bold]x[/bold]" in nasty
    assert "unknown" in nasty
    assert all(character.isprintable() or character == "\n" for character in done.out)


def test_json(cli: Cli, recorded: list[str]) -> None:
    done = cli("report", "--format", "json", "--since", "all")
    said = json.loads(done.out)
    assert said.pop("v") == 1
    report = msgspec.convert(said, Report)
    assert (report.calls, report.cost_nano_usd, report.unknown_price) == (3, 246_800, 1)
    assert {row.model for row in report.rows} == {"gpt-4o-mini", NASTY}
    assert all(character.isprintable() or character == "\n" for character in done.out)


def test_since_leaves_older_calls_out(cli: Cli, recorded: list[str]) -> None:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%d")
    done = cli("report", "--since", tomorrow)
    assert (done.code, done.out) == (0, f"No calls since {tomorrow} 00:00 UTC.\n")


def test_nothing_on_record(cli: Cli, data: Path) -> None:
    done = cli("report")
    assert (done.code, done.out) == (1, "")
    assert done.err == f"Error: nothing is on record in {data} yet\n"
    record(data, [])
    assert cli("report", "--since", "all").out == "No calls on record.\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30m", timedelta(minutes=30)),
        ("24h", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("4w", timedelta(weeks=4)),
        ("all", None),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T08:30:00Z", datetime(2026, 11, 20, 8, 30, tzinfo=UTC)),
        ("2026-11-20T08:30:00+02:00", datetime(2026, 11, 20, 6, 30, tzinfo=UTC)),
    ],
)
def test_since_forms(text: str, value: object) -> None:
    assert Since().convert(text, None, None) == value


@pytest.mark.parametrize("text", ["", "0h", "7", "yesterday", "7 days", "-1d", "99999999h", "2026-13-01"])
def test_since_refuses(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is neither a span"):
        Since().convert(text, None, None)


def test_summary_names_estimates_and_uncounted_refusals() -> None:
    report = Report(
        since=None,
        until=None,
        calls=2,
        errors=1,
        outcomes={"cut": 1, "ok": 1},
        tokens=Tokens(input_total=5, output_total=7),
        cost_nano_usd=0,
        unknown_price=0,
        estimated=1,
        refused_uncounted=12_000,
        avg_us=None,
        p50_us=None,
        p95_us=None,
        rows=[],
    )
    assert summary(report).splitlines() == [
        "2 calls on record, 1 error (1 cut, 1 ok)",
        "tokens   5 in, 7 out (estimated for 1 call)",
        "cost     $0.00",
        "latency  p50 –, p95 –, mean –",
        "12,000 more were refused too fast to be listed one by one",
    ]


def test_money_is_exact_and_sizes_are_short() -> None:
    assert [dollars(n) for n in (None, 0, 1, 10**7, 1_234_567_890_123_456_789, -5)] == [
        "–",
        "$0.00",
        "$0.000000001",
        "$0.01",
        "$1,234,567,890.123456789",
        "-$0.000000005",
    ]
    assert [duration(n) for n in (None, 0, 999, 1_000, 999_949, 999_950, 59_990_000, 60_000_000, 3_725_000_000)] == [
        "–",
        "0 µs",
        "999 µs",
        "1.0 ms",
        "999.9 ms",
        "1.00 s",
        "59.99 s",
        "1 min 0 s",
        "62 min 5 s",
    ]
    assert [size(n) for n in (None, 0, 1023, 1024, 1_572_864, 5 * 2**40)] == [
        "–",
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 MiB",
        "5,120.0 GiB",
    ]
    assert number(1234567) == "1,234,567"
