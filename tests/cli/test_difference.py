"""Two calls compared: what is readable is read, what is not is said, and all of it is bounded. Pure."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest

from gatehouse.cli.difference import MAX_LINES, Difference, Side, compare, lines
from gatehouse.store.views import Body, Tokens, Trace
from tests.cli.test_replaying import body, trace

PATH = "/openai/v1/chat/completions"


def call(request: Body | None = None, response: Body | None = None, **facts: Any) -> Side:
    known = {"route": "openai/chat", "status": 200, "finish_reasons": ["stop"], "tokens": None, **facts}
    return Side(trace(PATH, **known), request, response)


def answer(content: str | None, *names: str) -> Body:
    calls = [{"function": {"name": name, "arguments": '{"n": 1}'}} for name in names]
    return body(json.dumps({"choices": [{"message": {"content": content, "tool_calls": calls}}]}).encode())


def figure(found: Difference, name: str) -> Any:
    return next(each for each in found.figures if each.name == name)


def test_encoded_bodies_are_decoded_for_the_eye() -> None:
    packed = gzip.compress(b'{"model":"m","n":1.0}')
    found = compare(call(body(packed, content_encoding="gzip")), call(body(b'{ "model" : "m",\n"n": 2 }')), [])
    assert found.request is not None
    assert [line for line in found.request.lines if line[:1] in "+-"][2:] == ['-  "n": 1.0', '+  "n": 2']
    assert found.notes == []


@pytest.mark.parametrize(
    ("one", "note"),
    [
        (body(b"abc", size=9), "of the request of call-1 only 3 B of 9 B were captured"),
        (body(gzip.compress(b"x" * 99)[:-9], content_encoding="gzip"), None),
        (body(b"no gzip", content_encoding="gzip"), "the request of call-1 is not readable to its end: "),
        (body(b"x", content_encoding="exotic"), "content coding 'exotic' cannot be read"),
        (body(b"\x00\xff\x00"), "the request of call-1 is no text"),
    ],
)
def test_what_cannot_be_compared_is_said(one: Body, note: str | None) -> None:
    found = compare(call(one), call(body()), ["first"])
    assert found.notes[0] == "first"
    if note is not None:
        assert note in " ".join(found.notes)


def test_an_answer_against_an_error() -> None:
    """What the model said, against the document that says why it did not."""
    error = body(b'{"error":{"message":"no"}}')
    found = compare(call(response=answer("Hello")), call(response=error, status=429, finish_reasons=[]), [])
    assert found.answer is not None
    assert "-Hello" in found.answer.lines
    assert '+    "message": "no"' in found.answer.lines
    assert not found.same_shape


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (answer("a"), answer("b"), True),
        (answer(None, "look"), answer(None, "look"), True),
        (answer(None, "look"), answer(None, "ask"), False),
        (answer(None, "look", "ask"), answer(None, "look"), False),
        (answer("a"), body(b'{"object":"list"}'), False),
        (answer("a"), None, True),
        (None, None, True),
    ],
)
def test_the_shape(left: Body | None, right: Body | None, same: bool) -> None:
    assert compare(call(response=left), call(response=right), []).same_shape is same
    assert not compare(call(response=left), call(response=right, finish_reasons=["length"]), []).same_shape


def test_unknown_is_not_zero() -> None:
    found = compare(call(cost_nano_usd=5, tokens=Tokens(input=3, input_total=3)), call(), [])
    assert (figure(found, "cost_nano_usd").change, figure(found, "tokens_input").right) == (None, None)
    shown = [line.split() for line in lines(found)]
    assert ["cost", "$0.000000005", "–"] in shown
    assert not any(line[:1] == ["reasoning"] for line in shown)


def test_large_texts_are_bounded() -> None:
    """The worst for a diff: thousands of lines, all different; and one line of megabytes."""
    began = time.process_time()
    many = [body("\n".join(f"{side} {n}" for n in range(50_000)).encode()) for side in "ab"]
    found = compare(call(many[0], many[0]), call(many[1], many[1]), [])
    long = compare(call(body(b"x" * 4_000_000)), call(body(b"y" * 4_000_000)), [])
    assert time.process_time() - began < 10
    assert found.request is not None
    assert long.request is not None
    assert len(found.request.lines) + found.request.left_out <= 2 * MAX_LINES + 10
    assert sum(map(len, long.request.lines)) < 20_000


def test_the_calls_are_named_first() -> None:
    left, right = call(), call()
    found = compare(left, Side(_named(right.trace, "call-2")), [])
    assert next(iter(lines(found))).split() == ["call-1", "call-2"]


def _named(given: Trace, name: str) -> Trace:
    return Trace(**{field: getattr(given, field) for field in Trace.__struct_fields__} | {"id": name})
