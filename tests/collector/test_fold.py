"""Lines become rows: every field of every record, and what happens to lines that cannot be read."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest

from gatehouse.collector.fold import Folded, fold
from gatehouse.journal.reader import Line
from gatehouse.journal.records import BODIES, Admin
from gatehouse.model.limits import Reserved, Settled
from gatehouse.model.record import Candidate, Capture, Decision, Lineage, Outcome, Refusal, RefusedMany
from gatehouse.model.usage import MOST_COST, MOST_TOKENS, ToolUses, Usage
from gatehouse.store import times
from gatehouse.store.rows import Concluded, Decided, LedgerRow, LinkKey
from tests.collector.lanes_on_disk import OPENAI, decision, outcome, refusal
from tests.store.samples import START, call_id

CALL = call_id()
LANE = "019a7000-0000-7000-8000-000000000001"
TIME = START + 5_000_000


def line(kind: str, body: msgspec.Struct | bytes | None, seq: int = 7, tenant: str = "t1") -> Line:
    raw = msgspec.json.encode(body) if isinstance(body, msgspec.Struct) else body
    return Line(LANE, seq, "b" * 64, "a" * 64, tenant, 3, times.rfc3339(TIME), kind, raw, "000001.jsonl", seq)


def _folded(*lines: Line) -> Folded:
    folded = fold(lines)
    assert folded.unreadable == ()
    return folded


def _decided(record: Decision) -> Decided:
    return _folded(line("decision", record)).batch.decided[0]


def _concluded(record: Outcome) -> Concluded:
    return _folded(line("outcome", record)).batch.concluded[0]


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("\0", "\ufffd"),
        ("a\0\0b", "a\ufffd\ufffdb"),
        ("\\\0", "\\\ufffd"),
        ("\\u0000", "\\u0000"),
        ("\\\\u0000", "\\\\u0000"),
    ],
)
def test_a_zero_does_not_keep_a_call_out_of_the_store(sent: str, kept: str) -> None:
    """I2: PostgreSQL refuses U+0000, and callers choose names."""
    row = _decided(decision(CALL, model=sent, user_agent=f"x{sent}y"))
    assert (row.model, row.user_agent) == (kept, f"x{kept}y")


def test_a_decision_keeps_every_field() -> None:
    """D6."""
    other = Candidate("azure", "https://x.openai.azure.com", "gpt", "cred-2")
    record = Decision(
        call=CALL,
        project="p1",
        method="POST",
        path="/openai/v1/chat/completions",
        path_sent="/v1/chat/completions",
        surface="transparent",
        route="openai/chat",
        dialect="openai",
        operation="chat",
        candidates=(Candidate("openai", "https://api.openai.com", "gpt-sent", "cred-1"), other),
        model="gpt-asked",
        stream=True,
        key="key-1",
        user="user-1",
        provider_key_hash="c" * 32,
        user_agent="UA",
        trace="d" * 32,
        parent_span="e" * 16,
        lineage=Lineage("g", "t", "r", "p", 3, ("team=a", "nightly")),
        job="batch_1",
        max_output=9,
        temperature=0.25,
        top_p=0.75,
        choices=3,
        request_bytes=11,
        request_sha256="1" * 64,
        forwarded_sha256="2" * 64,
        rewritten=("stream_options",),
        unread="too deep",
        price_version="v1",
        snapshot=4,
        team="research",
        environment="prod",
        service="crawler",
        groups=("g1", "g2"),
        actor="bot",
        reserved=(Reserved("t1/key/k/spend/day", "2026-11-21", 500),),
        skipped=("limit: ledger away",),
    )
    assert _decided(record) == Decided(
        tenant="t1",
        project="p1",
        call=CALL,
        trace_id="d" * 32,
        trace_sent=True,
        parent_span="e" * 16,
        started=START,
        method="POST",
        path="/openai/v1/chat/completions",
        path_sent="/v1/chat/completions",
        surface="transparent",
        route="openai/chat",
        dialect="openai",
        operation="chat",
        model="gpt-asked",
        candidates=msgspec.json.encode(record.candidates).decode(),
        stream=True,
        key_id="key-1",
        user_id="user-1",
        provider_key_hash="c" * 32,
        user_agent="UA",
        group_id="g",
        thread_id="t",
        run_id="r",
        parent_id="p",
        sequence=3,
        tags='["team=a","nightly"]',
        loop=None,
        parent_call=None,
        max_output=9,
        temperature=0.25,
        top_p=0.75,
        choices=3,
        forwarded_sha256="2" * 64,
        streamed=False,
        rewritten='["stream_options"]',
        unread="too deep",
        snapshot=4,
        team="research",
        environment="prod",
        service="crawler",
        groups='["g1","g2"]',
        actor="bot",
        skipped='["limit: ledger away"]',
        decision_lane=LANE,
        decision_seq=7,
        decided=TIME,
        provider="openai",
        origin="https://api.openai.com",
        credential="cred-1",
        model_sent="gpt-sent",
        price_version="v1",
        request_bytes=11,
        request_sha256="1" * 64,
        job="batch_1",
    )


def test_an_outcome_keeps_every_field() -> None:
    record = Outcome(
        call=CALL,
        project="p1",
        outcome="cut",
        status=200,
        upstream_status=201,
        code="UPSTREAM_ERROR",
        reason="upstream broke off",
        served=Candidate("azure", "https://x.openai.azure.com", "gpt-sent", "cred-1"),
        attempts=2,
        replayed=True,
        model="gpt-answered",
        response_id="resp-1",
        job="batch_1",
        upstream_request_id="req-1",
        finish_reasons=("stop", "length"),
        usage=Usage(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12),
        usage_source="estimated",
        usage_check="unchecked",
        usage_note="cut",
        tools=ToolUses(web_search=2, code_execution=1),
        turns=5,
        cost=99,
        price="known",
        price_id="openai/gpt",
        price_version="v2",
        request_bytes=21,
        request_sha256="3" * 64,
        response_bytes=22,
        response_sha256="4" * 64,
        upstream_bytes=23,
        connect_us=24,
        first_byte_us=25,
        first_token_us=26,
        duration_us=27,
        rewritten=("usage",),
    )
    assert _concluded(record) == Concluded(
        tenant="t1",
        project="p1",
        call=CALL,
        outcome="cut",
        status=200,
        upstream_status=201,
        code="UPSTREAM_ERROR",
        reason="upstream broke off",
        attempts=2,
        replayed=True,
        model_answered="gpt-answered",
        response_id="resp-1",
        upstream_request_id="req-1",
        finish_reasons='["stop","length"]',
        tokens_input=1,
        tokens_cache_read=2,
        tokens_cache_write=3,
        tokens_cache_write_1h=4,
        tokens_output=5,
        tokens_reasoning=6,
        tokens_audio_input=7,
        tokens_audio_output=8,
        tokens_image_input=9,
        tokens_image_output=10,
        tokens_image_cache_read=11,
        tokens_audio_cache_read=12,
        usage_source="estimated",
        usage_check="unchecked",
        usage_note="cut",
        tools='{"web_search":2,"code_execution":1}',
        turns=5,
        cost=99,
        price="known",
        price_id="openai/gpt",
        response_bytes=22,
        response_sha256="4" * 64,
        upstream_bytes=23,
        connect_us=24,
        first_byte_us=25,
        first_token_us=26,
        duration_us=27,
        answer_rewritten='["usage"]',
        outcome_lane=LANE,
        outcome_seq=7,
        concluded=TIME,
        provider="azure",
        origin="https://x.openai.azure.com",
        credential="cred-1",
        model_sent="gpt-sent",
        price_version="v2",
        request_bytes=21,
        request_sha256="3" * 64,
        job="batch_1",
    )


def test_keys_of_agent_loops_go_beside_the_rows() -> None:
    asked = decision(CALL, continues=("a" * 16, "b" * 16), offers=("c" * 16,))
    ended = outcome(CALL, offers=("d" * 16, "d" * 16))
    day = START // 86_400_000_000
    assert _folded(line("decision", asked), line("outcome", ended)).batch.links == (
        LinkKey("t1", day, "a" * 16, CALL, offered=False),
        LinkKey("t1", day, "b" * 16, CALL, offered=False),
        LinkKey("t1", day, "c" * 16, CALL, offered=True),
        LinkKey("t1", day, "d" * 16, CALL, offered=True),
    )


def test_a_refusal_is_both_halves() -> None:
    """F5: refused calls leave a trace."""
    batch = _folded(line("call", refusal(CALL, provider_key_hash="c" * 32))).batch
    [asked], [ended] = batch.decided, batch.concluded
    assert (asked.decision_lane, asked.decision_seq, asked.provider, asked.surface) == (LANE, 7, "openai", None)
    assert (asked.method, asked.provider_key_hash, asked.started) == ("POST", "c" * 32, START)
    assert (ended.outcome, ended.status, ended.code, ended.duration_us) == ("refused", 401, "UNAUTHORIZED", 150)
    assert (ended.outcome_lane, ended.outcome_seq, ended.attempts) == (LANE, 7, 0)


def test_a_refusal_of_which_little_is_known() -> None:
    bare = Refusal(CALL, "default", "client_gone", "left")
    batch = _folded(line("call", bare)).batch
    assert (batch.decided[0].method, batch.decided[0].route, batch.decided[0].provider) == (None, None, None)
    assert (batch.concluded[0].code, batch.concluded[0].status) == (None, None)


def test_a_streamed_upload_is_measured_by_its_outcome() -> None:
    asked = _decided(decision(CALL, streamed=True, request_bytes=0, request_sha256=None))
    assert (asked.request_bytes, asked.streamed) == (None, True)


def test_an_interrupted_call_has_no_duration_unless_it_is_known() -> None:
    assert _concluded(Outcome(CALL, "default", "interrupted")).duration_us is None
    assert _concluded(Outcome(CALL, "default", "interrupted", duration_us=5)).duration_us == 5
    assert _concluded(outcome(CALL, duration_us=0)).duration_us == 0


def test_counted_refusals_and_captured_bodies() -> None:
    many = RefusedMany("default", "UNAUTHORIZED", "no key", 12, times.rfc3339(START), times.rfc3339(START + 9))
    part = Capture(CALL, "default", "response", 1, True, base64.b64encode(b"\0\xff").decode(), "text/plain", "gzip", 5)
    batch = _folded(line("refused_many", many), line("capture", part, 8)).batch
    [counted], [body] = batch.refused, batch.bodies
    assert (counted.count, counted.since, counted.until, counted.lane, counted.seq) == (12, START, START + 9, LANE, 7)
    assert (body.side, body.part, body.last, body.data, body.size) == ("response", 1, True, b"\0\xff", 5)


def test_every_line_moves_the_mark_whatever_its_kind() -> None:
    erased = line("outcome", None, 9)
    batch = _folded(line("lane_opened", b"{}", 1), line("segment_deleted", b"{}", 8), erased).batch
    assert [(mark.lane, mark.seq, mark.hash, mark.time) for mark in batch.marks] == [(LANE, 9, "b" * 64, TIME)]
    assert (batch.decided, batch.concluded) == ((), ())


@pytest.mark.parametrize("kind", ["decision", "outcome", "call", "refused_many", "capture"])
@pytest.mark.parametrize("body", [b"{}", b"[]", b"\xff", b"null", b'{"call":1}'])
def test_a_body_that_cannot_be_read_is_named_and_holds_nothing_up(kind: str, body: bytes) -> None:
    folded = fold([line(kind, body, 7), line("outcome", outcome(CALL), 8)])
    assert len(folded.unreadable) == 1
    assert folded.unreadable[0].startswith(f"000001.jsonl:7: {kind}: ")
    assert len(folded.batch.concluded) == 1
    assert folded.batch.marks[0].seq == 8


def test_of_two_outcomes_the_first_counts() -> None:
    """I2."""
    folded = _folded(line("outcome", outcome(CALL, outcome="cut")), line("outcome", outcome(CALL), 8))
    assert [row.outcome for row in folded.batch.concluded] == ["cut"]


def test_numbers_beyond_all_sense_are_cut_and_say_so() -> None:
    """A provider chooses these numbers: they must not make a report impossible."""
    row = _concluded(outcome(CALL, usage=Usage(input=2**64 - 1, output=3), cost=2**63 - 1))
    assert (row.tokens_input, row.tokens_output, row.cost) == (MOST_TOKENS, 3, MOST_COST)
    assert row.usage_note is not None and "cut in the store" in row.usage_note


def test_what_limits_hold_and_settle_is_added_up() -> None:
    """Line by line, whichever lane says it: a batch has one row per counter and period (I4)."""
    day, month = ("t1/key/k/spend/day", "2026-11-21"), ("t1/key/k/spend/month", "2026-11")
    other = "01890a5d-ac96-774b-bcce-b302099a8057"
    lines = [
        line("decision", decision(CALL, reserved=(Reserved(*day, 500), Reserved(*month, 500))), 1),
        line("decision", decision(other, reserved=(Reserved(*day, 70),)), 2),
        line("outcome", outcome(CALL, settled=(Settled(*day, 500, 120), Settled(*month, 500, 120))), 3),
    ]
    assert set(fold(lines).batch.ledger) == {LedgerRow("t1", *day, 120, 70), LedgerRow("t1", *month, 120, 0)}


def test_a_change_of_the_administrative_state_is_a_row() -> None:
    said = Admin("evt_1", "2026-11-21T05:00:00.000001Z", "user", "key.create", "key", "key_1", "usr_1")
    [row] = fold([line("admin", msgspec.structs.replace(said, details={"live": msgspec.Raw(b"true")}), 9)]).batch.audit
    assert (row.tenant, row.id, row.action, row.actor, row.details, row.seq) == (
        "t1", "evt_1", "key.create", "usr_1", '{"live":true}', 9,
    )  # fmt: skip


def test_no_kind_of_line_is_forgotten() -> None:
    """A new kind of record must be considered here."""
    silent = {"lane_opened", "segment", "lane_closed", "segment_deleted"}
    rows = {"decision", "outcome", "call", "refused_many", "capture", "admin"}
    assert set(BODIES) == silent | rows
    bodies: dict[str, Any] = {"decision": decision(CALL, candidates=(OPENAI,)), "outcome": outcome(CALL)}
    assert all(fold([line(kind, body)]).unreadable == () for kind, body in bodies.items())
