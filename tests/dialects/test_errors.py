"""dialects/errors.py: I11 and T13, proved with the SDKs' own exceptions over the whole table of kinds."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from anthropic._error_classes import make_status_error
from google.genai import errors as google_errors

from gatehouse.dialects.registry import for_endpoint
from gatehouse.errors import KINDS, OVERLOADED, RATE_LIMITED, UPSTREAM_ERROR, GatehouseError, Kind
from gatehouse.http.sse import Reader
from gatehouse.model.call import Dialect
from tests.dialects.samples import JSON, SSE

CALL = "0198f2c4-call"
DETAIL = 'provider "openai" closed the connection'
ROUTES: list[tuple[Dialect, str]] = [
    ("openai", "chat"),
    ("openai", "embeddings"),
    ("openai", "files"),
    ("anthropic", "messages"),
    ("anthropic", "other"),
    ("google", "generate_content"),
    ("google", "stream_generate_content"),
    ("google", "models"),
    ("none", "health"),
]
OPENAI_CLASSES: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
}
ANTHROPIC_CLASSES: dict[int, type[anthropic.APIStatusError]] = {
    400: anthropic.BadRequestError,
    401: anthropic.AuthenticationError,
    403: anthropic.PermissionDeniedError,
    404: anthropic.NotFoundError,
    429: anthropic.RateLimitError,
}


def response(kind: Kind, body: bytes) -> httpx2.Response:
    return httpx2.Response(
        kind.status,
        content=body,
        headers={"content-type": "application/json"},
        request=httpx2.Request("POST", "http://127.0.0.1:1/v1"),
    )


def body_for(route: tuple[Dialect, str], kind: Kind, retry_after: int | None = None) -> bytes:
    return for_endpoint(*route).error_body(GatehouseError(kind, DETAIL, retry_after=retry_after), CALL)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.code}-{kind.word}")
@pytest.mark.parametrize("route", ROUTES, ids="/".join)
def test_every_kind_has_the_top_level_three_in_every_dialect_t13(kind: Kind, route: tuple[Dialect, str]) -> None:
    for retry_after in (None, 7):
        body: dict[str, Any] = json.loads(body_for(route, kind, retry_after))
        assert (body["detail"], body["code"], body["retry_after"]) == (DETAIL, kind.code, retry_after)
        assert CALL in json.dumps(body)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.code}-{kind.word}")
def test_openai_py_raises_its_own_class(kind: Kind) -> None:
    client = openai.OpenAI(api_key="sk-x", base_url="http://127.0.0.1:1/v1")
    error = client._make_status_error_from_response(response(kind, body_for(("openai", "chat"), kind)))
    expected = OPENAI_CLASSES.get(kind.status)
    if expected is None:
        expected = openai.InternalServerError if kind.status >= 500 else openai.APIStatusError
    assert type(error) is expected
    assert (error.code, error.status_code) == (kind.word, kind.status)
    assert isinstance(error.type, str) and error.param is None
    assert DETAIL in error.message
    client.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.code}-{kind.word}")
def test_anthropic_py_raises_its_own_class(kind: Kind) -> None:
    body = body_for(("anthropic", "messages"), kind)
    error = make_status_error("failed", body=json.loads(body), response=response(kind, body))
    assert isinstance(error, ANTHROPIC_CLASSES.get(kind.status, anthropic.APIStatusError))
    assert isinstance(error, anthropic.InternalServerError) == (kind.status >= 500)
    assert error.status_code == kind.status
    assert error.api_message == DETAIL
    known = {
        "invalid_request_error", "authentication_error", "permission_error", "not_found_error", "request_too_large",
        "rate_limit_error", "timeout_error", "api_error", "overloaded_error",
    }  # fmt: skip
    assert error.type in known


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.code}-{kind.word}")
def test_google_genai_raises_its_own_class(kind: Kind) -> None:
    body = body_for(("google", "generate_content"), kind, retry_after=9)
    with pytest.raises(google_errors.APIError) as caught:
        google_errors.APIError.raise_for_response(response(kind, body))
    error = caught.value
    assert type(error) is (google_errors.ServerError if kind.status >= 500 else google_errors.ClientError)
    assert (error.code, error.message) == (kind.status, DETAIL)
    assert error.status is not None and error.status.isupper()
    assert json.loads(body)["error"]["code"] == kind.status


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.code}-{kind.word}")
def test_openai_py_raises_in_the_middle_of_a_stream(kind: Kind) -> None:
    event = for_endpoint("openai", "chat").error_event(GatehouseError(kind, DETAIL), CALL, SSE)
    client = openai.OpenAI(api_key="sk-x", base_url="http://127.0.0.1:1/v1")
    answer = httpx2.Response(200, content=event, request=httpx2.Request("POST", "http://127.0.0.1:1/v1"))
    stream: openai.Stream[object] = openai.Stream(cast_to=object, response=answer, client=client)
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert (caught.value.message, caught.value.code) == (DETAIL, kind.word)
    client.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.code}-{kind.word}")
def test_anthropic_py_raises_in_the_middle_of_a_stream(kind: Kind) -> None:
    event = for_endpoint("anthropic", "messages").error_event(GatehouseError(kind, DETAIL), CALL, SSE)
    client = anthropic.Anthropic(api_key="sk-x", base_url="http://127.0.0.1:1")
    answer = httpx2.Response(200, content=event, request=httpx2.Request("POST", "http://127.0.0.1:1/v1"))
    stream: anthropic.Stream[object] = anthropic.Stream(cast_to=object, response=answer, client=client)
    with pytest.raises(anthropic.APIStatusError) as caught:
        list(stream)
    assert caught.value.api_message == DETAIL
    client.close()


def test_a_gemini_stream_ends_with_an_event_that_google_genai_knows() -> None:
    entry = for_endpoint("google", "stream_generate_content")
    [(name, data)] = Reader().feed(entry.error_event(GatehouseError(UPSTREAM_ERROR, DETAIL), CALL, SSE))
    assert name == b""
    chunk = json.dumps(json.loads(data))
    assert chunk.startswith('{"error":'), "that is how google-genai tells an error from a response"
    assert json.loads(chunk)["error"]["code"] == 502


def test_no_event_goes_into_what_is_no_event_stream() -> None:
    for route in ROUTES:
        entry = for_endpoint(*route)
        assert entry.error_event(GatehouseError(OVERLOADED, DETAIL), CALL, JSON) == b""
        assert entry.error_event(GatehouseError(OVERLOADED, DETAIL), CALL, "") == b""


def test_googles_retry_info_says_when() -> None:
    details = json.loads(body_for(("google", "generate_content"), RATE_LIMITED, 12))["error"]["details"]
    assert {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12s"} in details


@pytest.mark.parametrize("route", ROUTES, ids="/".join)
def test_what_else_an_error_states_stands_at_the_top_level(route: tuple[Dialect, str]) -> None:
    facts = {"limit": {"id": "lim_1", "cap": 60}}
    error = GatehouseError(RATE_LIMITED, DETAIL, retry_after=7, facts=facts)
    body = json.loads(for_endpoint(*route).error_body(error, CALL))
    assert (body["limit"], body["code"], body["detail"]) == (facts["limit"], "RATE_LIMITED", DETAIL)
    assert "limit" not in json.loads(body_for(route, RATE_LIMITED))


def test_a_detail_that_quotes_anything_is_still_json() -> None:
    error = GatehouseError(UPSTREAM_ERROR, 'a "quote"\n and \ud800')
    for route in ROUTES:
        assert json.loads(for_endpoint(*route).error_body(error, CALL))["detail"] == 'a "quote"\n and ?'
