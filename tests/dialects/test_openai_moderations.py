"""dialects/openai_moderations.py: who judged is on the record; nothing is priced, and nothing estimated."""

from __future__ import annotations

import pytest
from hypothesis import given

from gatehouse.dialects import openai_moderations
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Reading
from tests.dialects.metering import first_token_at, metered
from tests.dialects.openai_text_samples import MODERATIONS_ANSWER
from tests.dialects.samples import CUTS, JSON

MODERATIONS: tuple[Dialect, str] = ("openai", "moderations")


def test_an_ask_is_read() -> None:
    body = b'{"model":"omni-moderation-latest","input":[{"type":"text","text":"x"}]}'
    asked = Ask("moderations", "omni-moderation-latest", input_bytes=len(body))
    assert openai_moderations.read(body, None) == asked
    with pytest.raises(StopIteration) as done:
        next(openai_moderations.read_slices(body, None))
    assert done.value.value == asked
    assert openai_moderations.read(b'{"input":"x"}', None).model is None
    assert openai_moderations.read(b"oops", None).unread is not None


@given(CUTS)
def test_an_answer_has_no_usage(cuts: list[int]) -> None:
    reading = metered(MODERATIONS, MODERATIONS_ANSWER, cuts=cuts)
    assert reading == Reading(model="omni-moderation-latest", response_id="modr-970d409ef3be")


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("body", [MODERATIONS_ANSWER[:90], b"", b"<html>", b"{}", b"[]"])
def test_nothing_is_ever_estimated(body: bytes, complete: bool) -> None:
    reading = metered(MODERATIONS, body, complete=complete)
    assert (reading.usage, reading.source, reading.uncounted) == (None, None, False)


def test_no_token_is_generated() -> None:
    assert first_token_at(MODERATIONS, MODERATIONS_ANSWER, JSON, Ask("moderations")) is None


def test_an_error_is_noted_by_its_code_only() -> None:
    reading = metered(MODERATIONS, b'{"error":{"message":"secret","type":"invalid_request_error","code":null}}')
    assert reading.note == "provider's error in the answer: invalid_request_error"
