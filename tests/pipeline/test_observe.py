"""pipeline/observe.py: much data is watched in slices, to the same reading, and others have the loop between them."""

from __future__ import annotations

import gzip
from typing import Final

import pytest

from gatehouse.dialects.registry import for_endpoint
from gatehouse.model.call import Ask
from gatehouse.pipeline.observe import Observer
from tests.dialects.samples import JSON, OPENAI_ANSWER, OPENAI_STREAM_ASKED, SSE

TINY: Final = b"data: {}\n\n"


def observer(media: str = SSE, coding: str = "") -> Observer:
    return Observer(for_endpoint("openai", "chat").meter(Ask("chat", "m", stream=media == SSE), media, 200), coding)


@pytest.mark.parametrize("coding", ["", "gzip"])
@pytest.mark.parametrize(
    ("media", "answer"),
    [
        (SSE, OPENAI_STREAM_ASKED),
        (SSE, TINY * 30_000 + OPENAI_STREAM_ASKED),
        (JSON, OPENAI_ANSWER),
        (JSON, b"[" * 99_999),
    ],
)
def test_slices_give_the_same_reading(media: str, answer: bytes, coding: str) -> None:
    sent = gzip.compress(answer) if coding else answer
    whole, sliced = observer(media, coding), observer(media, coding)
    whole.feed(sent)
    for _ in sliced.feed_slices(sent):
        pass
    assert sliced.finish(complete=True) == whole.finish(complete=True)
    assert (sliced.first_token, sliced.ended) == (whole.first_token, whole.ended)


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_I8_an_answer_of_a_provider_that_means_ill_lets_others_go_on(coding: str) -> None:
    """A hundred kilobytes, compressed, of the smallest events there are held a worker for as long as it took to read
    them all: eighteen seconds."""
    answer = TINY * 400_000
    sent = gzip.compress(answer) if coding else answer
    turns = sum(1 for _ in observer(SSE, coding).feed_slices(sent))
    assert turns >= 20


def test_what_is_small_takes_no_turn() -> None:
    assert list(observer().feed_slices(TINY * 3000)) == []
    assert list(observer(JSON, "gzip").feed_slices(gzip.compress(OPENAI_ANSWER))) == []


def test_a_document_of_brackets_is_not_searched_to_its_end() -> None:
    watching = observer(JSON)
    for _ in watching.feed_slices(b'{"choices":[' + b"[]," * 1_000_000 + b"[]]}"):
        pass
    assert "too intricate" in (watching.finish(complete=True).note or "")
