"""Metering WebSockets: what many answers come to, in each dialect that has them, and what odd messages do (habit 8).

Events by `openai.types.realtime` (`response_done_event`, `realtime_response_usage`, `…_status`,
`conversation_item_input_audio_transcription_completed_event`, `realtime_translation_server_event`),
`openai.types.responses.responses_server_event`, `google.genai.types` (`LiveServerMessage`, `UsageMetadata`).
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.dialects import gemini_live, openai_realtime, openai_responses_socket
from gatehouse.dialects.registry import for_endpoint
from gatehouse.dialects.turns import Conversation, Turns, unheard
from gatehouse.model.call import Ask
from gatehouse.model.usage import Reading, ToolUses, Usage

ASK = Ask(operation="realtime", model="asked")
DIALECTS = {
    "realtime": openai_realtime.converse,
    "responses": openai_responses_socket.converse,
    "live": gemini_live.converse,
}


class Said(dict[str, Any]):
    """A message of the caller's."""


def hear(conversation: Conversation, *messages: dict[str, Any], complete: bool = True) -> Reading:
    for message in messages:
        meter = conversation.asks if isinstance(message, Said) else conversation.answers
        assert meter is not None
        meter.feed(json.dumps(message).encode())
    return conversation.answers.finish(complete=complete)


def realtime(*events: dict[str, Any]) -> Reading:
    return hear(openai_realtime.converse(ASK), *events)


def done(usage: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    return {"type": "response.done", "response": {"id": "r", "status": "completed", "usage": usage, **members}}


def used(entered: int, made: int, **details: Any) -> dict[str, Any]:
    return {"input_tokens": entered, "output_tokens": made, "total_tokens": entered + made, **details}


ASKED = Said(type="response.create")
NAMED = Said(type="response.create", event_id="e1")
CREATED = {"type": "response.created", "response": {"id": "r"}}
BUSY = "conversation_already_has_active_response"
SESSION = {"type": "session.created", "session": {"type": "realtime", "model": "gpt-realtime-2026"}}


class TestRealtime:
    def test_responses_add_up(self) -> None:
        found = realtime(SESSION, done(used(10, 5)), done(used(20, 6), id="r2", status="incomplete"))
        assert found.usage == Usage(input=30, output=11)
        assert (found.turns, found.source, found.check) == (2, "provider", "ok")
        assert (found.model, found.response_id) == ("gpt-realtime-2026", "r2")
        assert found.finish_reasons == ("completed", "incomplete")

    def test_i4_one_that_is_cut_makes_the_sum_an_estimate_whatever_it_brought(self) -> None:
        begun = {"type": "response.created", "response": {"id": "r2"}}
        found = realtime(SESSION, done(used(10, 5)), begun)
        assert (found.usage, found.turns, found.source) == (Usage(input=10, output=5), 1, "estimated")
        alone = realtime(SESSION, begun)
        assert (alone.usage, alone.source) == (None, None)

    def test_audio_and_cache_are_apart_and_cached_audio_too(self) -> None:
        into = {
            "text_tokens": 60,
            "audio_tokens": 40,
            "cached_tokens": 30,
            "cached_tokens_details": {"audio_tokens": 10},
        }
        out = {"text_tokens": 5, "audio_tokens": 15}
        found = realtime(SESSION, done(used(100, 20, input_token_details=into, output_token_details=out)))
        assert found.usage == Usage(
            input=40, cache_read=20, audio_input=30, audio_cache_read=10, output=5, audio_output=15
        )
        assert found.check == "ok"

    def test_images_are_apart_and_cached_ones_too(self) -> None:
        into = {
            "text_tokens": 60,
            "audio_tokens": 40,
            "image_tokens": 500,
            "cached_tokens": 330,
            "cached_tokens_details": {"text_tokens": 20, "audio_tokens": 10, "image_tokens": 300},
        }
        found = realtime(SESSION, done(used(600, 20, input_token_details=into)))
        assert found.usage == Usage(
            input=40,
            cache_read=20,
            audio_input=30,
            audio_cache_read=10,
            image_input=200,
            image_cache_read=300,
            output=20,
        )
        assert found.check == "ok"

    def test_no_more_audio_is_cached_than_there_is_cached(self) -> None:
        into = {
            "audio_tokens": 8,
            "cached_tokens": 4,
            "cached_tokens_details": {"audio_tokens": 6, "image_tokens": 1},
        }
        found = realtime(SESSION, done(used(10, 1, input_token_details=into)))
        assert found.usage == Usage(input=4, audio_input=2, audio_cache_read=4, output=1)
        assert found.check == "ok"

    def test_no_more_images_are_cached_than_there_is_cached(self) -> None:
        into = {"image_tokens": 8, "cached_tokens": 4, "cached_tokens_details": {"image_tokens": 6}}
        found = realtime(SESSION, done(used(10, 1, input_token_details=into)))
        assert found.usage == Usage(input=4, image_input=2, image_cache_read=4, output=1)
        assert found.check == "ok"

    def test_why_a_response_did_not_complete(self) -> None:
        found = realtime(done(used(1, 1), status="cancelled", status_details={"reason": "turn_detected"}))
        assert found.finish_reasons == ("turn_detected",)

    def test_a_response_without_usage_is_estimated_from_its_text(self) -> None:
        """Audio is not text: of it only the transcript counts."""
        found = realtime(
            SESSION,
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_audio.delta", "response_id": "r", "delta": "A" * 4000},
            {"type": "response.output_audio_transcript.delta", "response_id": "r", "delta": "x" * 39},
            done(None, status="failed"),
        )
        assert found.usage == Usage(output=10)
        assert (found.source, found.turns) == ("estimated", 1)

    def test_what_is_cut_is_estimated_and_no_turn(self) -> None:
        opened = {"type": "response.created", "response": {"id": "r2"}}
        said = {"type": "response.text.delta", "response_id": "r2", "delta": "x" * 40}
        found = realtime(SESSION, done(used(10, 5)), opened, said)
        assert found.usage == Usage(input=10, output=15)
        assert (found.source, found.turns) == ("estimated", 1)

    def test_a_response_that_failed_at_once_used_nothing(self) -> None:
        found = realtime({"type": "response.created", "response": {"id": "r"}}, done(None, status="failed"))
        assert (found.usage, found.source, found.turns) == (None, None, 1)

    def test_transcripts_by_another_model_are_noted(self) -> None:
        transcript = {"type": "conversation.item.input_audio_transcription.completed"}
        found = realtime(
            SESSION,
            {**transcript, "usage": {"type": "tokens", **used(14, 45)}},
            {**transcript, "usage": {"type": "tokens", **used(6, 5)}},
            {**transcript, "usage": {"type": "duration", "seconds": 2.5}},
            done(used(10, 5)),
        )
        assert found.usage == Usage(input=10, output=5)
        assert (
            found.note == "not counted: transcripts by another model, 20 input and 50 output tokens and 2.5 s of audio"
        )

    def test_a_session_that_only_transcribes_is_counted(self) -> None:
        session = {"type": "transcription", "audio": {"input": {"transcription": {"model": "gpt-4o-transcribe"}}}}
        usage = used(14, 45, input_token_details={"audio_tokens": 12, "text_tokens": 2})
        completed = {"type": "conversation.item.input_audio_transcription.completed", "usage": usage}
        found = realtime({"type": "session.updated", "session": session}, completed, completed)
        assert found.usage == Usage(input=4, audio_input=24, output=90)
        assert (found.model, found.turns, found.check) == ("gpt-4o-transcribe", 2, "ok")

    def test_by_the_second_is_unknown(self) -> None:
        session = {"type": "transcription", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
        completed = {
            "type": "conversation.item.input_audio_transcription.completed",
            "usage": {"type": "duration", "seconds": 3},
        }
        found = realtime({"type": "session.created", "session": session}, completed)
        assert (found.usage, found.uncounted, found.note) == (None, True, "charged by the second: 3 s of audio")

    def test_translation_is_unknown(self) -> None:
        found = realtime(
            {"type": "session.created", "session": {"type": "translation", "model": "gpt-realtime-translate"}},
            {"type": "session.output_transcript.delta", "delta": "bonjour"},
        )
        assert (found.usage, found.uncounted, found.model) == (None, True, "gpt-realtime-translate")

    def test_errors_are_no_turns(self) -> None:
        found = realtime(SESSION, {"type": "error", "error": {"type": "invalid_request_error", "message": "no"}})
        assert (found.usage, found.turns, found.uncounted) == (None, 0, False)

    @pytest.mark.parametrize(
        ("messages", "source"),
        [
            ([ASKED, CREATED, done(used(10, 5))], "provider"),
            ([ASKED, CREATED, done(used(10, 5)), ASKED], "estimated"),
            ([CREATED, done(used(10, 5)), ASKED, CREATED, done(used(1, 1))], "provider"),
            ([ASKED, CREATED, ASKED, {"type": "error", "error": {"code": BUSY}}, done(used(10, 5))], "provider"),
            ([ASKED, CREATED, done(used(10, 5)), ASKED, {"type": "error", "error": {"code": "x"}}], "estimated"),
            ([ASKED, CREATED, done(used(10, 5)), NAMED, {"type": "error", "error": {"event_id": "e1"}}], "estimated"),
            ([Said(type="session.update", x="response.create"), CREATED, done(used(10, 5))], "provider"),
        ],
        ids=["begun", "not begun", "begun by itself", "busy", "another error", "maybe another", "no ask"],
    )
    def test_I4_one_that_is_asked_for_and_has_not_begun_makes_the_sum_an_estimate(
        self, messages: list[dict[str, Any]], source: str
    ) -> None:
        """A caller that leaves before it is told that its response has begun may have been charged for it."""
        found = realtime(SESSION, *messages)
        assert found.source == source
        assert ("had not begun" in (found.note or "")) == (source == "estimated")

    def test_I4_however_it_is_spelled(self) -> None:
        conversation = openai_realtime.converse(ASK)
        assert conversation.asks is not None
        conversation.asks.feed(b'{"type":"response\\u002ecreate"}')
        assert hear(conversation, CREATED, done(used(1, 1))).source == "provider"
        conversation.asks.feed(b'{"type":"response\\u002ecreate"}')
        assert hear(conversation).source == "estimated"

    @pytest.mark.parametrize("said", [b"\xff", b"[1]", b"{", '{"type":"response.create"}'.encode("utf-16")])
    def test_I4_what_nobody_could_read_may_have_asked_for_one(self, said: bytes) -> None:
        conversation = openai_realtime.converse(ASK)
        assert conversation.asks is not None
        conversation.asks.feed(said)
        assert hear(conversation, CREATED, done(used(1, 1))).source == "estimated"

    def test_I4_what_nobody_could_read_may_have_been_one(self) -> None:
        conversation = openai_realtime.converse(ASK)
        conversation.answers.feed(b"[1]")
        assert hear(conversation, CREATED, done(used(1, 1))).source == "estimated"

    def test_I4_in_sessions_that_transcribe_what_is_committed_is_asked(self) -> None:
        session = {"type": "session.updated", "session": {"type": "transcription"}}
        commit, committed = Said(type="input_audio_buffer.commit"), {"type": "input_audio_buffer.committed"}
        told = {"type": "conversation.item.input_audio_transcription.completed", "usage": used(14, 45)}
        failed = {"type": "conversation.item.input_audio_transcription.failed"}
        assert realtime(session, commit, committed, told).source == "provider"
        assert realtime(session, committed, told, committed, failed).source == "provider"
        assert realtime(session, committed, told, commit).source == "estimated"
        assert realtime(session, commit, committed, told, committed).source == "estimated"
        assert realtime(commit, commit, session, committed, told).source == "estimated", "before it was told so"
        empty = {"type": "error", "error": {"code": "input_audio_buffer_commit_empty"}}
        assert realtime(session, commit, empty, committed, told).source == "provider"
        assert realtime(SESSION, commit, committed, CREATED, done(used(1, 1))).source == "provider"

    def test_I4_what_is_charged_by_the_second_beside_tokens_is_not_counted(self) -> None:
        session = {"type": "session.updated", "session": {"type": "transcription"}}
        told = {"type": "conversation.item.input_audio_transcription.completed"}
        found = realtime(
            session, {**told, "usage": used(14, 1)}, {**told, "usage": {"type": "duration", "seconds": 3600}}
        )
        assert (found.usage, found.source, found.uncounted) == (
            Usage(input=0, audio_input=14, output=1),
            "estimated",
            True,
        )
        translated = {"type": "session.output_transcript.delta", "delta": "bonjour"}
        assert realtime(SESSION, CREATED, done(used(1, 1)), translated).source == "estimated"

    @pytest.mark.parametrize(("status", "source"), [("failed", "provider"), ("cancelled", "estimated")])
    def test_I4_an_answer_that_ends_without_usage(self, status: str, source: str) -> None:
        assert realtime(SESSION, CREATED, done(used(1, 1)), CREATED, done(None, status=status)).source == source

    def test_I4_more_at_a_time_than_are_watched(self) -> None:
        begun = [{"type": "response.created", "response": {"id": f"r{number}"}} for number in range(65)]
        over = [done(used(1, 1), id=f"r{number}") for number in range(64)]
        assert realtime(SESSION, *begun, *over).source == "estimated"

    def test_first_token(self) -> None:
        conversation = openai_realtime.converse(ASK)
        hear(conversation, SESSION)
        assert not conversation.answers.first_token
        hear(conversation, {"type": "response.output_text.delta", "response_id": "r", "delta": "x"})
        assert conversation.answers.first_token


def response(kind: str, name: str, stream: str | None = None, **members: Any) -> dict[str, Any]:
    event: dict[str, Any] = {"type": f"response.{kind}", "response": {"id": name, "model": "gpt-x", **members}}
    return event if stream is None else {**event, "stream_id": stream}


OPENED = response("created", "a", status="in_progress")
CLOSED = response("completed", "a", status="completed", usage=used(11, 7))
STEER, ACCEPTED = Said(type="response.steer"), {"type": "response.steer.accepted"}
REFUSED = {"type": "error", "status": 400, "error": {"code": "bad"}}


class TestResponses:
    def test_they_add_up_and_streams_run_side_by_side(self) -> None:
        found = hear(
            openai_responses_socket.converse(ASK),
            response("created", "a", "one", status="in_progress"),
            response("created", "b", "two", status="in_progress"),
            {"type": "response.output_text.delta", "delta": "x" * 40, "stream_id": "two"},
            response("completed", "b", "two", status="completed", usage=used(11, 7)),
            response("incomplete", "a", "one", status="incomplete", usage=used(5, 3)),
        )
        assert found.usage == Usage(input=16, output=10)
        assert (found.turns, found.model, found.response_id) == (2, "gpt-x", "a")
        assert (found.source, found.check) == ("provider", "ok")

    def test_what_is_cut_is_estimated(self) -> None:
        found = hear(
            openai_responses_socket.converse(ASK),
            response("completed", "a", status="completed", usage=used(11, 7)),
            response("created", "b", status="in_progress"),
            {"type": "response.output_text.delta", "delta": "x" * 40},
            complete=False,
        )
        assert found.usage == Usage(input=11, output=17)
        assert (found.turns, found.source) == (1, "estimated")

    def test_an_error_ends_an_answer(self) -> None:
        found = hear(
            openai_responses_socket.converse(ASK),
            ASKED,
            {"type": "error", "status": 400, "error": {"type": "invalid_request_error", "code": "bad_model"}},
            response("completed", "b", status="completed", usage=used(1, 1)),
        )
        assert (found.usage, found.turns) == (Usage(input=1, output=1), 2)
        assert found.note == "provider's error in the answer: bad_model"

    @pytest.mark.parametrize(
        ("messages", "source"),
        [
            ([ASKED, OPENED, CLOSED], "provider"),
            ([ASKED, OPENED, CLOSED, ASKED], "estimated"),
            ([ASKED, OPENED, ASKED, CLOSED], "estimated"),
            ([ASKED, OPENED, CLOSED, ASKED, REFUSED], "provider"),
            ([ASKED, OPENED, CLOSED, Said(type="nonsense"), ASKED, REFUSED], "estimated"),
            ([ASKED, OPENED, Said(type="nonsense"), REFUSED, ASKED, CLOSED], "estimated"),
            ([ASKED, OPENED, REFUSED, CLOSED], "provider"),
            ([ASKED, OPENED, STEER, ACCEPTED, CLOSED], "estimated"),
            ([ASKED, OPENED, STEER, {"type": "response.steer.failed", "error": {"code": "x"}}, CLOSED], "provider"),
            ([ASKED, OPENED, STEER, ACCEPTED, {"type": "response.steer.pending"}, CLOSED], "estimated"),
            ([ASKED, OPENED, Said(type="response.create", stream_id="y"), REFUSED, CLOSED], "estimated"),
        ],
        ids=[
            "begun",
            "not begun",
            "queued",
            "refused",
            "maybe for another",
            "while one runs",
            "of none",
            "steered",
            "not steered",
            "steered later",
            "maybe for the one that runs",
        ],
    )
    def test_I4_one_that_is_asked_for_and_has_not_begun_makes_the_sum_an_estimate(
        self, messages: list[dict[str, Any]], source: str
    ) -> None:
        found = hear(openai_responses_socket.converse(ASK), *messages)
        assert (found.usage, found.source) == (Usage(input=11, output=7), source)

    def test_I9_streams_that_never_end_are_bounded(self) -> None:
        events = [response("created", str(number), str(number)) for number in range(1000)]
        found = hear(openai_responses_socket.converse(ASK), *events)
        assert found.note is not None
        assert "more than 64 streams" in found.note
        ends = [response("completed", str(number), str(number), usage=used(1, 1)) for number in range(64)]
        assert hear(openai_responses_socket.converse(ASK), *events[:65], *ends).source == "estimated", "I4"


def live(*messages: dict[str, Any]) -> Reading:
    conversation = gemini_live.converse(Ask(operation="live"))
    assert conversation.asks is not None
    conversation.asks.feed(b'{"setup":{"model":"models/gemini-live"}}')
    return hear(conversation, *messages)


def counted(prompt: int, made: int, **more: Any) -> dict[str, Any]:
    return {"promptTokenCount": prompt, "responseTokenCount": made, "totalTokenCount": prompt + made, **more}


TURN = {"serverContent": {"modelTurn": {"parts": [{"text": "x" * 40}]}}}
OVER = {"serverContent": {"turnComplete": True}}


class TestLive:
    @pytest.mark.parametrize(
        "turn",
        [
            [TURN, {**OVER, "usageMetadata": counted(10, 5)}],
            [TURN, OVER, {"usageMetadata": counted(10, 5)}],
            [{**TURN, "usageMetadata": counted(9, 2)}, TURN, {**OVER, "usageMetadata": counted(10, 5)}],
            [{"serverContent": {**TURN["serverContent"], **OVER["serverContent"]}, "usageMetadata": counted(10, 5)}],
            [{**OVER, "usageMetadata": counted(10, 5)}],
        ],
        ids=["with the end", "behind the end", "growing", "all at once", "unseen content"],
    )
    def test_turns_add_up_wherever_usage_stands(self, turn: list[dict[str, Any]]) -> None:
        found = live(*turn, *turn, *turn)
        assert found.usage == Usage(input=30, output=15)
        assert (found.turns, found.source, found.check, found.model) == (3, "provider", "ok", "gemini-live")

    def test_i4_what_a_generation_that_was_cut_has_reported_is_not_all_of_it(self) -> None:
        found = live(TURN, {**OVER, "usageMetadata": counted(10, 5)}, {**TURN, "usageMetadata": counted(20, 1)})
        assert (found.usage, found.turns, found.source) == (Usage(input=30, output=6), 1, "estimated")

    @pytest.mark.parametrize(
        "ask",
        [
            {"clientContent": {"turns": [], "turnComplete": True}},
            {"realtimeInput": {"text": "hi"}},
            {"realtimeInput": {"activityEnd": {}}},
            {"toolResponse": {"functionResponses": []}},
            {"client_content": {"turns": [], "turn_complete": True}},
            {"realtime_input": {"text": "hi"}},
            {"tool_response": {"functionResponses": []}},
        ],
    )
    def test_I4_one_that_is_asked_for_and_has_not_begun_makes_the_sum_an_estimate(self, ask: dict[str, Any]) -> None:
        answered = [TURN, {**OVER, "usageMetadata": counted(10, 5)}]
        assert live(Said(ask), *answered).source == "provider"
        assert live(Said(ask), OVER, *answered).source == "provider", "nothing was to be said"
        assert live(*answered, Said(ask)).source == "estimated"
        assert live(TURN, Said(ask), *answered).source == "estimated", "it is for the next one"
        assert live(TURN, Said(ask), *answered, *answered).source == "provider"

    @pytest.mark.parametrize(
        "said",
        [
            {"clientContent": {"turns": []}},
            {"client_content": {"turns": [], "turn_complete": False}},
            {"realtimeInput": {"audio": {}}},
            {"realtime_input": {"audio_stream_end": True}},
            {"realtimeInput": {"activityStart": {}, "text": None}},
        ],
    )
    def test_what_asks_for_nothing_yet_does_not(self, said: dict[str, Any]) -> None:
        assert live(TURN, {**OVER, "usageMetadata": counted(10, 5)}, Said(said)).source == "provider"

    def test_I4_one_that_is_interrupted_does_not_answer_what_came_with_it(self) -> None:
        text, stopped = Said({"realtimeInput": {"text": "a"}}), {"serverContent": {"interrupted": True}}
        cut = {**stopped, "usageMetadata": counted(10, 5)}
        answered = [TURN, {**OVER, "usageMetadata": counted(10, 5)}]
        assert live(text, text, TURN, cut).source == "estimated"
        assert live(text, text, TURN, cut, *answered).source == "provider"
        assert live(text, TURN, cut).source == "provider"
        assert live(text, TURN, text, cut, {**OVER, "usageMetadata": counted(1, 1)}).source == "estimated"

    def test_I4_a_message_too_large_to_read_may_have_asked(self) -> None:
        conversation = gemini_live.converse(Ask(operation="live"))
        assert conversation.asks is not None
        conversation.asks.skip()
        assert hear(conversation, TURN, {**OVER, "usageMetadata": counted(10, 5)}).source == "provider"
        conversation.asks.skip()
        assert hear(conversation).source == "estimated"

    def test_a_tool_call_ends_a_generation(self) -> None:
        tool = {"toolCall": {"functionCalls": [{"id": "1", "name": "f"}]}, "usageMetadata": counted(10, 5)}
        found = live(tool, TURN, {**OVER, "usageMetadata": counted(20, 6)})
        assert found.usage == Usage(input=30, output=11)
        assert found.turns == 1

    def test_modalities(self) -> None:
        audio = [{"modality": "AUDIO", "tokenCount": 4}, {"modality": "TEXT", "tokenCount": 1}]
        found = live(
            TURN, {**OVER, "usageMetadata": counted(5, 5, promptTokensDetails=audio, responseTokensDetails=audio)}
        )
        assert found.usage == Usage(input=1, audio_input=4, output=1, audio_output=4)

    def test_vertex_names(self) -> None:
        usage = {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}
        assert live(TURN, {**OVER, "usageMetadata": usage}).usage == Usage(input=5, output=2)

    def test_without_usage_it_is_estimated(self) -> None:
        found = live(TURN, OVER, TURN)
        assert found.usage == Usage(output=20)
        assert (found.source, found.turns) == ("estimated", 1)

    def test_reasons(self) -> None:
        over = {"serverContent": {"turnComplete": True, "turnCompleteReason": "NEED_MORE_INPUT"}}
        assert live(TURN, {**over, "usageMetadata": counted(1, 1)}).finish_reasons == ("NEED_MORE_INPUT",)

    @pytest.mark.parametrize(
        ("first", "model"),
        [
            (b'{"setup":{"model":"models/m-1"}}', "m-1"),
            (b'{"setup":{"model":"projects/p/locations/l/publishers/google/models/m-2"}}', "m-2"),
            (b'{"setup":{"model":7}}', "asked"),
            (b"\xff", "asked"),
            (b"{}", "asked"),
        ],
    )
    def test_the_model_is_in_the_callers_first_message(self, first: bytes, model: str) -> None:
        conversation = gemini_live.converse(ASK)
        assert conversation.asks is not None
        conversation.asks.feed(first)
        conversation.asks.feed(b'{"setup":{"model":"models/another"}}')
        assert hear(conversation, {**OVER, "usageMetadata": counted(1, 1)}).model == model


words = st.sampled_from(
    ["type", "session", "response", "usage", "id", "delta", "response.done", "response.created", "serverContent",
     "usageMetadata", "turnComplete", "modelTurn", "parts", "text", "stream_id", "response.completed", "input_tokens"]
)  # fmt: skip
anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(words, inner, max_size=5)),
    max_leaves=12,
)


@settings(max_examples=200)
@given(st.sampled_from(sorted(DIALECTS)), st.lists(st.one_of(anything, st.binary(max_size=20)), max_size=8))
def test_nothing_escapes(dialect: str, messages: list[object]) -> None:
    conversation = DIALECTS[dialect](ASK)
    for message in messages:
        data = message if isinstance(message, bytes) else json.dumps(message).encode()
        conversation.answers.feed(data)
        if conversation.asks is not None:
            conversation.asks.feed(data)
    found = conversation.answers.finish(complete=False)
    assert found.turns is not None
    assert found.turns >= 0


class TestSums:
    def test_only_as_good_as_the_worst(self) -> None:
        turns = Turns()
        turns.add(Reading(usage=Usage(input=1), source="provider", check="ok"))
        assert turns.reading("m").check == "ok"
        turns.add(Reading(usage=Usage(output=2), source="provider", check="unchecked"))
        assert (turns.reading("m").check, turns.reading("m").source) == ("unchecked", "provider")
        turns.add(Reading(usage=Usage(reasoning=3), source="provider", check="mismatch"))
        turns.add(Reading(usage=Usage(), source="estimated", check="ok"))
        found = turns.reading("m")
        assert (found.check, found.source, found.turns) == ("mismatch", "estimated", 4)
        assert found.usage == Usage(input=1, output=2, reasoning=3)

    def test_I9_what_is_kept_does_not_grow(self) -> None:
        turns = Turns()
        for number in range(1000):
            turns.add(Reading(finish_reasons=(f"f{number}",), note=f"n{number}", tools=ToolUses(web_search=1)))
        found = turns.reading(None)
        assert len(found.finish_reasons) == 8
        assert found.note is not None
        assert len(found.note) < 100
        assert found.tools == ToolUses(web_search=1000)

    def test_who_watches_nothing_reads_nothing(self) -> None:
        assert for_endpoint("anthropic", "messages").converse is unheard
        assert unheard(ASK).answers.finish(complete=True) == Reading()
