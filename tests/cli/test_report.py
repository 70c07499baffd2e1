"""O5: sums from the store with the server stopped; what callers sent cannot write to the terminal."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gatehouse.cli.report import summary
from gatehouse.cli.words import dollars, duration, number, size
from gatehouse.store.views import Report, ReportRow, Tokens
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
        "latency  p50 1.22 s, p95 1.22 s, mean 1.23 s",
    ]
    row = next(line for line in lines if "gpt-4o-mini" in line)
    assert row.split() == ["openai", "gpt-4o-mini", "2", "0", "200", "100", "$0.0002468", "1.23", "s", "1.22", "s"]
    nasty = next(line for line in lines if "evil" in line)
    assert "evil�]0;pwned��31m�[bold]x[/bold]" in nasty
    assert "unknown" in nasty
    assert all(character.isprintable() or character == "\n" for character in done.out)


def test_json(cli: Cli, recorded: list[str]) -> None:
    done = cli("report", "--format", "json", "--since", "all")
    said = json.loads(done.out)
    assert said.pop("v") == 1
    assert set(said) == set(Report.__struct_fields__)
    assert (said["calls"], said["cost_nano_usd"], said["unknown_price"]) == (3, 246_800, 1)
    assert {row["model"] for row in said["rows"]} == {"gpt-4o-mini", NASTY}
    figures = set(ReportRow.__struct_fields__) - {"group"}
    assert all(set(row) == {"provider", "model"} | figures for row in said["rows"])
    assert all(character.isprintable() or character == "\n" for character in done.out)


def test_of_another_tenant_i6(cli: Cli, recorded: list[str]) -> None:
    done = cli("report", "--tenant", "ten_other", "--format", "json", "--since", "all")
    assert json.loads(done.out)["calls"] == 0


def test_by_something_else_and_as_csv(cli: Cli, recorded: list[str]) -> None:
    [row] = json.loads(cli("report", "--by", "route,project", "--format", "json").out)["rows"]
    assert (row["route"], row["project"], row["calls"]) == ("openai/chat", "default", 3) and "model" not in row
    rows = list(csv.reader(io.StringIO(cli("report", "--by", "model", "--format", "csv").out)))
    assert rows[0][:4] == ["model", "calls", "errors", "input_tokens"]
    assert [row[:2] for row in rows[1:]] == [["gpt-4o-mini", "2"], [NASTY, "1"]]
    assert "size" in cli("report", "--by", "size").out and "0-1k" in cli("report", "--by", "size").out
    wrong = [cli("report", "--by", by) for by in ("colour", "model,model", "", "model,")]
    assert [(done.code, "are not different ones of provider, model" in done.err) for done in wrong] == [(2, True)] * 4


def test_until(cli: Cli, recorded: list[str]) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")
    done = cli("report", "--since", "all", "--until", yesterday)
    assert (done.code, done.out) == (0, f"No calls on record until {yesterday} 00:00 UTC.\n")
    done = cli("report", "--since", "1h", "--until", "2h")
    assert done.code == 2 and "ends before it begins" in done.err


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
