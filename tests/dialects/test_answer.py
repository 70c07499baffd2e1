"""dialects/answer.py: what is held is bounded (I9), what is too large is noted, the rest is metered."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.dialects.answer import HOLD, DocumentMeter, FinishWatch
from gatehouse.dialects.openai_chat import meter
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Usage
from tests.dialects import samples
from tests.dialects.metering import metered, provider
from tests.dialects.samples import CUTS, JSON, SSE, cut

CHAT: tuple[Dialect, str] = ("openai", "chat")


def test_an_answer_too_large_to_hold_is_read_by_its_top_level_i9() -> None:
    for content in ("A" * 3_000_000, 'a "word" ' * 300_000):
        answer = {
            "id": "chatcmpl-large",
            "choices": [{"index": 0, "message": {"content": content}, "finish_reason": "length"}],
            "model": "m",
            "usage": {"prompt_tokens": 5, "completion_tokens": 750_000, "total_tokens": 750_005},
        }
        for spaced in (None, (",", ":")):
            body = json.dumps(answer, separators=spaced).encode()
            reading = metered(CHAT, body, cuts=list(range(0, len(body), 65_536)))
            assert provider(reading) == Usage(input=5, output=750_000)
            assert (reading.model, reading.response_id) == ("m", "chatcmpl-large")
            assert reading.finish_reasons == ("length",)
            assert reading.note == "answer is larger than 1048576 bytes: only its top level was read"


def test_an_event_above_the_limit_is_noted_and_the_rest_is_metered_i9() -> None:
    large = b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % (b"x" * 2_000_000)
    reading = metered(CHAT, large + samples.OPENAI_STREAM_ASKED, SSE)
    assert provider(reading).total == 1163
    assert reading.note == "events too large to read: 1"


@pytest.mark.parametrize("size", [1, 2_000_000])
def test_a_bad_byte_in_a_text_does_not_cost_the_usage_beside_it(size: int) -> None:
    text = b"x" * size + b"\xff"
    usage = b'{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}'
    body = b'{"model":"m","choices":[{"message":{"content":"%b"},"finish_reason":"stop"}],"usage":%b}' % (text, usage)
    reading = metered(CHAT, body)
    assert provider(reading) == Usage(input=5, output=7)
    assert (reading.model, reading.finish_reasons) == ("m", ("stop",))
    assert size > 1 or reading.note == "unreadable pieces: 1"


@pytest.mark.parametrize("status", [301, 400, 401, 429, 500, 503])
def test_error_answers_have_no_usage(status: int) -> None:
    for body, content_type in ((samples.OPENAI_ANSWER, JSON), (samples.OPENAI_STREAM_ASKED, SSE)):
        assert metered(CHAT, body, content_type, status=status).usage is None


def test_a_document_is_held_only_up_to_a_bound_i9() -> None:
    document = meter(Ask("chat"), JSON, 200)
    assert isinstance(document, DocumentMeter)
    document.feed(b'{"choices":[{"message":{"content":"')
    for _ in range(200):
        document.feed(b"x" * 65_536)
        assert sum(map(len, document._held)) <= HOLD + 65_536
    assert document._held == []


@given(st.lists(st.sampled_from(["stop", "length", "content_filter"]), max_size=5), st.integers(0, 300), CUTS)
def test_finish_reasons_are_found_in_any_split_and_only_as_names(
    reasons: list[str], padding: int, cuts: list[int]
) -> None:
    decoy = {"message": {"content": '"finish_reason":"decoy"', "x": "finish_reason", "finish_reason": None}}
    choices = [decoy | {"pad": "x" * padding, "finish_reason": reason} for reason in reasons]
    watch = FinishWatch(b"finish_reason")
    for piece in cut(json.dumps(choices).encode(), cuts):
        watch.feed(piece)
    assert watch.found == reasons
