"""dialects/openai_responses.py: what is decoded strictly reads as if it had been decoded tolerantly."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.config.build import compiled
from gatehouse.dialects import openai_responses
from gatehouse.dialects.openai_responses_shapes import Response
from tests.dialects.metering import read_by
from tests.dialects.openai_text_samples import COMPACTED_ANSWER, RESPONSES_ANSWER, RESPONSES_PAYLOADS
from tests.dialects.samples import JSON, SSE
from tests.dialects.test_openai_chat_strict import NUMBER, WORD, document, mutated

pytestmark = pytest.mark.skipif(compiled(), reason="a compiled class has no interpreted sibling")


class TolerantTally(openai_responses.ResponseTally):
    """Decodes tolerantly what the strict decoder would have taken."""

    @staticmethod
    def _decode(data: bytes) -> Response[str, str, int]:
        return openai_responses._tidied(openai_responses._responses.decode(data))


STATUS = st.sampled_from(['"completed"', '"incomplete"', '"failed"', '"queued"', '"in_progress"'])
DETAILS = document(dict.fromkeys(("cached_tokens", "cache_write_tokens", "reasoning_tokens"), NUMBER))
USAGE = document(
    dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), NUMBER)
    | dict.fromkeys(("input_tokens_details", "output_tokens_details"), DETAILS)
)
PART = document(dict.fromkeys(("text", "refusal"), WORD))
ITEM = document(
    dict.fromkeys(("name", "arguments", "input", "code", "encrypted_content"), WORD)
    | dict.fromkeys(("content", "summary"), PART.map(lambda part: f"[{part}]"))
)
ANSWER = document(
    {
        "id": WORD,
        "model": WORD,
        "status": STATUS,
        "incomplete_details": document({"reason": WORD}),
        "usage": USAGE,
        "output": ITEM.map(lambda item: f"[{item}]"),
        "error": st.just("null"),
    }
)
KIND = st.sampled_from(
    [
        *('"response.created"', '"response.completed"', '"response.output_text.delta"', '"response.output_item.added"'),
        *('"response.output_item.done"', '"error"', '"response.failed"', '"keepalive"'),
    ]
)
EVENT = document(
    {"type": KIND, "delta": WORD, "response": ANSWER, "item": ITEM, "code": WORD, "error": st.just("null")}
)


@given(mutated(ANSWER), st.booleans())
def test_a_strictly_decoded_answer_reads_the_same(answer: bytes, complete: bool) -> None:
    tolerant = read_by(TolerantTally, [answer], JSON, complete)
    assert read_by(openai_responses.ResponseTally, [answer], JSON, complete) == tolerant


@given(st.lists(mutated(EVENT) | st.just(b"[DONE]"), max_size=3), st.booleans())
def test_strictly_decoded_events_read_the_same(events: list[bytes], complete: bool) -> None:
    stream = [b"data: %b\n\n" % event for event in events]
    tolerant = read_by(TolerantTally, stream, SSE, complete)
    assert read_by(openai_responses.ResponseTally, stream, SSE, complete) == tolerant


def test_the_usual_is_decoded_strictly() -> None:
    """Else the tests above compare the tolerant way with itself."""
    for answer in (RESPONSES_ANSWER, COMPACTED_ANSWER):
        openai_responses._decode_response(answer)
    for payload in RESPONSES_PAYLOADS:
        openai_responses._events.strict(json.dumps(payload).encode())
        openai_responses._decode_response(json.dumps(payload.get("response", {})).encode())
