"""O5: one call, whole, with the server stopped; the JSON form says exactly what is stored, and hides nothing in it."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from gatehouse.store.views import Trace
from tests.cli.conftest import Cli
from tests.cli.recording import NASTY, decision, new_ids, outcome, record


@pytest.fixture
def recorded(data: Path) -> list[str]:
    calls = new_ids(2)
    record(data, [(decision(call), outcome(call)) for call in calls])
    return calls


def test_last_is_the_newest(cli: Cli, recorded: list[str]) -> None:
    done = cli("debug", "last")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == f"{recorded[1]}  ok  200  1.23 s  $0.0001234"
    facts = {line[2:12].strip(): line[12:] for line in lines[1:] if not line.startswith("    ")}
    assert facts["asked"] == "POST  /openai/v1/chat/completions  (chat, stream)"
    assert facts["model"] == "gpt-4o-mini, answered by gpt-4o-mini-2024-07-18"
    assert facts["went to"] == "openai at https://api.openai.com as /v1/chat/completions, answered 200"
    assert facts["tokens"] == ("100 in, 50 out (input 70, cache read 30, output 40, reasoning 10); provider, check ok")
    assert facts["cost"] == "$0.0001234  price openai/gpt-4o-mini  table 2026.11.1"
    assert facts["timing"] == "connect –, first byte 100.0 ms, first token 101.0 ms, whole 1.23 s"
    assert facts["bytes"] == "request 1.2 KiB, answer 2.0 KiB"
    assert "journal lane " in facts["decision"]
    assert "agent evil�]0;pwned��31m�[bold]x[/bold]" in facts["caller"]
    assert all(character.isprintable() or character == "\n" for character in done.out)


def test_by_id_and_by_trace_id(cli: Cli, recorded: list[str]) -> None:
    by_call = cli("debug", recorded[0]).out
    assert by_call.startswith(recorded[0])
    assert cli("debug", recorded[0].replace("-", "")).out == by_call
    assert cli("debug", recorded[0].upper()).out == by_call


def test_json(cli: Cli, recorded: list[str]) -> None:
    done = cli("debug", recorded[0], "--format", "json")
    said = json.loads(done.out)
    assert set(said) == {"v", "call"}
    assert said["v"] == 1
    trace = msgspec.convert(said["call"], Trace)
    assert (trace.id, trace.outcome, trace.cost_nano_usd) == (recorded[0], "ok", 123_400)
    assert trace.user_agent == NASTY
    assert trace.tokens is not None
    assert trace.tokens.input_total == 100
    assert all(character.isprintable() or character == "\n" for character in done.out)


def test_no_such_call(cli: Cli, data: Path) -> None:
    assert cli("debug", "last") == (1, "", f"Error: nothing is on record in {data} yet\n")
    record(data, [])
    assert cli("debug", "last") == (1, "", "Error: no call is on record yet\n")
    assert cli("debug", "x\x1b[31m") == (1, "", "Error: no call x�[31m is on record\n")


def test_a_call_that_has_not_ended(cli: Cli, data: Path) -> None:
    """Its process died, and nothing has recovered the lane yet."""
    call = new_ids(1)[0]
    record(data, [(decision(call), outcome(new_ids(1)[0]))])
    done = cli("debug", call)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{call}  open  –  –")
