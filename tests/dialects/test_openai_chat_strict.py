"""dialects/openai_chat.py: what is decoded strictly reads as if it had been decoded tolerantly."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.config.build import compiled
from gatehouse.dialects import openai_chat
from gatehouse.dialects.values import UNREADABLE
from tests.dialects import samples
from tests.dialects.metering import read_by
from tests.dialects.samples import JSON, SSE

STREAMS = (
    samples.OPENAI_STREAM_ASKED,
    samples.OPENAI_TOOL_STREAM,
    samples.AZURE_STREAM_ASKED,
    samples.GROQ_STREAM,
    samples.MOONSHOT_STREAM,
    samples.XAI_STREAM,
)


pytestmark = pytest.mark.skipif(compiled(), reason="a compiled class has no interpreted sibling")


class TolerantTally(openai_chat._ChatTally):
    """Decodes tolerantly what the strict decoder would have taken, and measures what nobody needs measured."""

    def event(self, name: bytes, data: bytes) -> None:
        try:
            answer = openai_chat._tidied(openai_chat._answers.decode(data))
        except UNREADABLE:
            super().event(name, data)
        else:
            self._take(answer)

    def whole(self, body: bytes) -> None:
        try:
            answer = openai_chat._tidied(openai_chat._answers.strict(body))
        except msgspec.ValidationError:
            answer = openai_chat._tidied(openai_chat._answers.decode(body))
        self._take(answer)
        self._at_end = True


ODD = st.sampled_from(
    [
        *(
            "null",
            "true",
            "false",
            "-1",
            "0",
            "-0",
            "7",
            "10.0",
            "10.5",
            "-0.0",
            "1e3",
            "1e400",
            "NaN",
            "1" + "0" * 5000,
        ),
        *("9007199254740991", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551616"),
        *('""', '"x"', '"\\ud800"', '"\\u00e9"', '"fog"', '"%s"' % ("\u00e9" * 64), '"%s"' % ("w" * 65)),
        *('"%s"' % ("w" * 257), '"%s"' % ("m" * 1024), '"%s"' % ("m" * 1025), "[]", "{}", "[1]", '{"code":429}'),
        *(
            '{"include_usage":true}',
            '{"include_usage":null}',
            '{"include_usage":false,"x":1e999}',
            "[" * 2000 + "]" * 2000,
        ),
    ]
)
NUMBER = st.integers(0, 40).map(str)
WORD = st.sampled_from(["null", '""', '"stop"', '"Fog and bells."'])


def document(likely: dict[str, st.SearchStrategy[str]]) -> st.SearchStrategy[str]:
    """JSON objects of these members: some missing, some odd, some twice, some unknown."""
    member = st.sampled_from(sorted(likely)).flatmap(
        lambda name: st.one_of(likely[name], likely[name], likely[name], ODD).map(lambda value: f'"{name}":{value}')
    )
    stray = st.builds('"{}":{}'.format, st.sampled_from(["x", "Model", "us\\u0061ge"]), ODD)
    return st.lists(st.one_of(member, member, member, member, stray), max_size=8).map(lambda m: "{" + ",".join(m) + "}")


DETAILS = document(
    dict.fromkeys(("cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "reasoning_tokens"), NUMBER)
)
USAGE = document(
    dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), NUMBER)
    | dict.fromkeys(("prompt_tokens_details", "completion_tokens_details"), DETAILS)
    | dict.fromkeys(("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", "reasoning_tokens"), NUMBER)
)
MESSAGE = document(
    dict.fromkeys(("content", "reasoning", "refusal"), WORD) | {"function_call": document({"name": WORD})}
)
CHOICE = document({"index": NUMBER, "delta": MESSAGE, "message": MESSAGE, "finish_reason": WORD, "usage": USAGE})
ANSWER = document(
    {
        "id": WORD,
        "model": WORD,
        "choices": st.lists(CHOICE, max_size=2).map(lambda choices: "[" + ",".join(choices) + "]"),
        "usage": USAGE,
        "x_groq": document({"usage": USAGE}),
        "error": st.just("null"),
    }
)
BODY = document(
    dict.fromkeys(("max_tokens", "max_completion_tokens", "temperature", "top_p", "n"), NUMBER)
    | {"model": WORD, "stream": st.just("true"), "stream_options": st.just('{"include_usage":true}')}
)


def mutated(text: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """The documents, and the documents with a piece cut out or overwritten."""

    def spoil(data: bytes, at: int, length: int, piece: bytes) -> bytes:
        at %= len(data)
        return data[:at] + piece + data[at + length :]

    whole = text.map(str.encode)
    piece = st.sampled_from([b"", b'"', b"}", b",", b"\\", b"\xff", b"null"])
    return whole | st.builds(spoil, whole, st.integers(0, 2000), st.integers(0, 9), piece)


@given(mutated(BODY), st.sampled_from([None, "", "deployment", "m" * 1025]))
def test_a_strictly_decoded_request_asks_the_same(body: bytes, route_model: str | None) -> None:
    tolerant = openai_chat._asks.read(body, route_model)
    assert openai_chat.read(body, route_model) == tolerant


@given(mutated(ANSWER), st.booleans())
def test_a_strictly_decoded_answer_reads_the_same(answer: bytes, complete: bool) -> None:
    tolerant = read_by(TolerantTally, [answer], JSON, complete)
    assert read_by(openai_chat._ChatTally, [answer], JSON, complete) == tolerant


@given(st.lists(mutated(ANSWER) | st.just(b"[DONE]"), max_size=3), st.booleans())
def test_strictly_decoded_events_read_the_same(answers: list[bytes], complete: bool) -> None:
    stream = [b"data: %b\n\n" % answer for answer in answers]
    assert read_by(openai_chat._ChatTally, stream, SSE, complete) == read_by(TolerantTally, stream, SSE, complete)


def test_the_usual_is_decoded_strictly() -> None:
    """Else the tests above compare the tolerant way with itself."""
    openai_chat._decode_body(b'{"model":"m","max_tokens":5,"temperature":0,"stream_options":null,"n":1}')
    openai_chat._decode_answer(samples.OPENAI_ANSWER)
    for stream in STREAMS:
        for line in stream.split(b"\n\n"):
            if line.startswith(b"data: {"):
                openai_chat._decode_answer(line.removeprefix(b"data: "))
