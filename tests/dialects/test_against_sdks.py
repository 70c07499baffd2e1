"""However a stream is framed and cut, a meter finds in it what it finds in the events that the caller's SDK decodes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatehouse.http.sse import Event, Reader
from gatehouse.model.call import Dialect
from tests.dialects import samples
from tests.dialects.metering import metered
from tests.http.test_against_sdks import by_anthropic, by_google, by_openai

STREAMS: list[tuple[Dialect, str, bytes, Callable[[list[bytes]], list[Event]]]] = [
    ("openai", "chat", samples.OPENAI_STREAM_ASKED, by_openai),
    ("openai", "chat", samples.OPENAI_TOOL_STREAM, by_openai),
    ("openai", "chat", samples.GROQ_STREAM, by_openai),
    ("anthropic", "messages", samples.ANTHROPIC_STREAM, by_anthropic),
    ("google", "stream_generate_content", samples.GEMINI_STREAM, by_google),
]
ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])


def canonical(events: list[Event]) -> bytes:
    return b"".join((b"event: %b\n" % name if name else b"") + b"data: %b\n\n" % data for name, data in events)


@st.composite
def reframed(draw: st.DrawFn, stream: bytes, noise: list[bytes]) -> bytes:
    """The stream's events with other line ends and lines between that mean nothing; some left out, some twice."""
    reader = Reader()
    out = b""
    for name, data in reader.feed(stream) + reader.finish():
        end = draw(ENDS)
        for _ in range(draw(st.sampled_from([1, 1, 1, 1, 1, 1, 0, 2]))):
            lines = [b"event: " + name] if name else []
            lines += draw(st.lists(st.sampled_from(noise), max_size=2)) if noise else []
            out += end.join([*lines, b"data: " + data, b"", b""])
    return out


@pytest.mark.parametrize(("dialect", "endpoint", "stream", "by_sdk"), STREAMS)
@settings(max_examples=30)
@given(st.data())
def test_a_meter_sees_what_the_sdk_sees(
    dialect: Dialect, endpoint: str, stream: bytes, by_sdk: Callable[[list[bytes]], list[Event]], data: st.DataObject
) -> None:
    noise = [] if dialect == "google" else [b": ping", b"id: 7", b"retry: 3", b":", b"x: y"]
    body = data.draw(reframed(stream, noise))
    cuts = data.draw(samples.CUTS)
    found = metered((dialect, endpoint), body, samples.SSE, cuts=cuts)
    decoded = canonical([event for event in by_sdk(samples.cut(body, cuts)) if event[1]])
    meant = metered((dialect, endpoint), decoded, samples.SSE)
    assert (found.model, found.source, found.usage) == (meant.model, meant.source, meant.usage)
    assert found.finish_reasons == meant.finish_reasons
