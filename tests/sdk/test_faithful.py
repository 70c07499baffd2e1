"""I1 through a real gateway: what nobody rewrote arrives byte for byte, both ways, F6's integers included."""

from __future__ import annotations

import hashlib
import http.client
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes import Answer
from tests.running import House

HEADERS = {"authorization": "Bearer sk-own", "content-type": "application/json"}
AWKWARD = (
    b'\n{ "seed" : 9007199254740993 , "user":"\\u00e9\\ud83d\\ude00\xc3\xa9", "temperature":1.0,"top_p":1e-0,\r\n'
    b'\t"model":"gpt-4o","messages":[{"role":"user","content":"hi","x":[1,2,{}],"x":3}],'
    b'"metadata":{"big":-123456789012345678901234567890,"zero":-0.0, "e":1E+2 },"unknown_field":null }  \n'
)


@pytest.mark.parametrize("path", ["/openai/v1/chat/completions", "/openai/v1/some/new/endpoint"])
def test_f6_bodies_are_not_touched(house: House, path: str) -> None:
    """Integers above 2^53, number spelling, escapes, order, repeated keys, white space, unknown fields."""
    house.openai.respond(Answer(200, (("content-type", "application/json"),), AWKWARD))
    with house.gateway.recorded() as records:
        status, _, answer = house.gateway.call("POST", path, AWKWARD, HEADERS)
    assert (status, answer) == (200, AWKWARD)
    assert house.only(house.openai).body == AWKWARD
    digest = hashlib.sha256(AWKWARD).hexdigest()
    [record] = records
    # A body that was still arriving when the decision was taken is hashed on the outcome.
    sender = record.outcome if record.decision.get("streamed") else record.decision
    assert sender["request_sha256"] == record.outcome["response_sha256"] == digest
    assert sender["request_bytes"] == record.outcome["response_bytes"] == len(AWKWARD)


def test_only_the_rewritten_part_of_a_request_changes(house: House) -> None:
    """Asking for usage adds `stream_options`; with it taken out again the body is the caller's."""
    streamed = AWKWARD.replace(b'"temperature"', b'"stream":true,"temperature"')
    status, _, _ = house.gateway.call("POST", "/openai/v1/chat/completions", streamed, HEADERS)
    assert status == 200
    body = house.only(house.openai).body
    for part in (
        b"9007199254740993",
        b"-123456789012345678901234567890",
        b'"temperature":1.0,"top_p":1e-0',
        b'"x":3}]',
    ):
        assert part in body
    assert len(body) - len(streamed) < 64
    assert json.loads(body)["stream_options"] == {"include_usage": True}


def test_a_stream_without_asked_usage_reads_as_if_nobody_had_asked(house: House) -> None:
    """The caller's bytes are those the provider would have sent without `include_usage`."""
    body = b'{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"hi"}]}'
    direct = http.client.HTTPConnection("127.0.0.1", house.openai.port, timeout=5)
    direct.request("POST", "/v1/chat/completions", body, HEADERS)
    expected = direct.getresponse().read()
    direct.close()
    _, _, relayed = house.gateway.call("POST", "/openai/v1/chat/completions", body, HEADERS)
    assert relayed == expected
    assert house.openai.last.body != body


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**25), 10**25)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_SPELLING = st.sampled_from([{}, {"indent": 2}, {"separators": (",", ":")}, {"ensure_ascii": False}])


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(extra=_JSON, answer=_JSON, spelling=_SPELLING)
def test_random_json_arrives_unchanged(
    house: House, extra: object, answer: object, spelling: dict[str, object]
) -> None:
    asked = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}], "extra": extra}
    sent = json.dumps(asked, **spelling).encode("utf-8", "surrogatepass")  # type: ignore[arg-type]
    answered = json.dumps(answer, **spelling).encode("utf-8", "surrogatepass")  # type: ignore[arg-type]
    house.reset()
    house.openai.respond(Answer(200, (("content-type", "application/json"),), answered))
    _, _, received = house.gateway.call("POST", "/openai/v1/chat/completions", sent, HEADERS)
    assert received == answered
    assert house.openai.last.body == sent


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=20))
def test_random_streams_arrive_unchanged(house: House, pieces: list[bytes]) -> None:
    """Observation cannot break a stream, whatever is in it (STYLE habit 8)."""
    house.reset()
    house.anthropic.respond(Answer(200, (("content-type", "text/event-stream"),), events=tuple(pieces)))
    body = b'{"model":"claude-sonnet-5","max_tokens":9,"stream":true,"messages":[]}'
    headers = {"x-api-key": "own", "anthropic-version": "2023-06-01", "content-type": "application/json"}
    status, _, received = house.gateway.call("POST", "/anthropic/v1/messages", body, headers)
    assert (status, received) == (200, b"".join(pieces))
