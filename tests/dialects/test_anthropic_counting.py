"""dialects/anthropic_counting.py: what was counted was not used."""

from __future__ import annotations

import pytest

from gatehouse.dialects import anthropic_counting
from gatehouse.model.call import Ask, Dialect
from gatehouse.model.usage import Reading
from tests.dialects.metering import metered
from tests.dialects.samples import JSON

COUNTING: tuple[Dialect, str] = ("anthropic", "count_tokens")


def test_an_ask_is_read() -> None:
    body = b'{"messages":[{"role":"user","content":"hi"}],"model":"claude-sonnet-5"}'
    expected = Ask("count_tokens", "claude-sonnet-5", input_bytes=len(body))
    assert anthropic_counting.read(body, None) == expected
    slices = anthropic_counting.read_slices(body, None)
    with pytest.raises(StopIteration) as done:
        next(slices)
    assert done.value.value == expected
    assert anthropic_counting.read(b"oops", None).unread is not None


def test_a_count_is_no_usage() -> None:
    assert metered(COUNTING, b'{"input_tokens":377}', JSON) == Reading()
