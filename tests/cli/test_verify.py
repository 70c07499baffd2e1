"""D6's chain, as an auditor asks for it: exit code 1 and the first bad line named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gatehouse.cli.verify import details
from gatehouse.journal.verify import Report
from tests.cli.conftest import Cli
from tests.cli.recording import decision, new_ids, outcome, record


@pytest.fixture
def segment(data: Path) -> Path:
    record(data, [(decision(call), outcome(call)) for call in new_ids(2)])
    (found,) = (data / "journal").glob("*/*.jsonl")
    return found


def test_an_intact_journal(cli: Cli, data: Path, segment: Path) -> None:
    done = cli("verify")
    assert done.code == 0, done.out
    lines = done.out.splitlines()
    assert lines[0] == f"intact: {data}/journal"
    assert lines[1].endswith("in 1 segment of 1 lane, 2 calls")
    for path in (data / "journal", segment.parent, segment):
        assert cli("verify", str(path)).code == 0
    assert cli("verify", "--data", str(data), GATEHOUSE_DATA="/nowhere").code == 0


def test_an_altered_line_is_named(cli: Cli, data: Path, segment: Path) -> None:
    lines = segment.read_text().splitlines(keepends=True)
    number = next(index for index, line in enumerate(lines, 1) if json.loads(line)["header"]["kind"] == "outcome")
    lines[number - 1] = lines[number - 1].replace('"cost":123400', '"cost":123401')
    segment.write_text("".join(lines))
    done = cli("verify")
    assert done.code == 1
    assert done.out.splitlines()[0] == f"BROKEN: {data}/journal"
    assert f"  first bad line: {segment}:{number}: " in done.out


def test_a_removed_line_is_named(cli: Cli, segment: Path) -> None:
    lines = segment.read_text().splitlines(keepends=True)
    segment.write_text("".join(lines[:2] + lines[3:]))
    done = cli("verify")
    assert done.code == 1
    assert f"  first bad line: {segment}:3: " in done.out


def test_nothing_is_not_intact(cli: Cli, data: Path, tmp_path: Path) -> None:
    for arguments in ([], [str(tmp_path)], [str(tmp_path / "none")]):
        done = cli("verify", *arguments)
        assert (done.code, done.out) == (1, "")
        assert "there is no journal at" in done.err
    other = tmp_path / "notes.txt"
    other.write_text("x")
    assert cli("verify", str(other)).code == 1


def test_details() -> None:
    report = Report(
        ok=False,
        first_bad="a:3: x",
        lanes=2,
        segments=1,
        lines=1234,
        calls=1,
        open_calls=1,
        erased=2,
        deleted=3,
        torn=("b:9",),
    )
    assert details(report) == [
        "first bad line: a:3: x",
        "1,234 lines in 1 segment of 2 lanes, 1 call",
        "1 call without outcome yet: running, or to be closed by `gatehouse serve`",
        "2 lines with an erased body",
        "3 lines deleted by retention, as recorded",
        "half a line at b:9, which the next `gatehouse serve` sets aside",
    ]
