"""Anthropic's API as the fakes speak it: messages, token counting, models, errors.

Sources: the types of the installed `anthropic` SDK (`types/message.py`, `usage.py`, `cache_creation.py`,
`output_tokens_details.py`, `message_delta_usage.py`, `raw_message_*_event.py`, `model_info.py`, `shared/error_*.py`);
the recorded streams that SDK is tested with (anthropic-sdk-python, `tests/lib/streaming/fixtures/*.txt` and
`tests/fixtures/fable-fallback/*.sse`: event order, `{"type": "ping"}` with its space, the white space before closing
braces, thinking and signature deltas, usage in `message_start` and `message_delta`); public captures of
api.anthropic.com for headers; the reference's "Streaming messages" page for `error` events inside a stream.
"""

from __future__ import annotations

import json
from typing import Any

from tests.fakes.server import Answer, Headers, Seen

TEXT = "Hello there!"
PIECES = ("Hello", " there", "!")
THOUGHT = "A greeting. I greet back."
INPUT_TOKENS, OUTPUT_TOKENS, THINKING_TOKENS = 377, 65, 40
CACHE_READ, CACHE_WRITE_5M, CACHE_WRITE_1H = 1800, 248, 456
REQUEST_ID = "req_011CZJp7UUz53CtoQA8w3WdW"
MESSAGE_ID = "msg_019Q1hrJbZG26Fb9BQhrkHEr"
WRONG_KEY = "sk-ant-wrong"

_COMMON: Headers = (
    ("date", "Tue, 17 Nov 2026 08:30:11 GMT"),
    ("anthropic-ratelimit-input-tokens-limit", "30000"),
    ("anthropic-ratelimit-input-tokens-remaining", "30000"),
    ("anthropic-ratelimit-input-tokens-reset", "2026-11-17T08:30:11Z"),
    ("anthropic-ratelimit-output-tokens-limit", "8000"),
    ("anthropic-ratelimit-output-tokens-remaining", "8000"),
    ("anthropic-ratelimit-output-tokens-reset", "2026-11-17T08:30:12Z"),
    ("anthropic-ratelimit-requests-limit", "50"),
    ("anthropic-ratelimit-requests-remaining", "49"),
    ("anthropic-ratelimit-requests-reset", "2026-11-17T08:30:11Z"),
    ("request-id", REQUEST_ID),
    ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
    ("anthropic-organization-id", "ed46523f-a4ac-48c5-9bc3-415a29c51d84"),
    ("server-timing", "x-originResponse;dur=9"),
    ("set-cookie", "_cfuvid=nTnkXk.dcxJEj9RUcl8; HttpOnly; SameSite=None; Secure; Path=/; Domain=api.anthropic.com"),
    ("x-robots-tag", "none"),
    ("cf-cache-status", "DYNAMIC"),
    ("cf-ray", "9e0837d84bac9491-LHR"),
    ("server", "cloudflare"),
)


def answer(seen: Seen, error: int | None) -> Answer:
    """The fake's whole API."""
    if error is not None:
        return _demanded(error)
    bearer = (seen.header("authorization") or "").removeprefix("Bearer ")
    key = seen.header("x-api-key") or bearer
    if key in ("", WRONG_KEY):
        return failure(401, "authentication_error", "invalid x-api-key" if key else "x-api-key header is required")
    if seen.header("anthropic-version") is None:
        return failure(400, "invalid_request_error", "anthropic-version: header is required")
    if seen.method == "POST" and seen.path == "/v1/messages":
        return messages(seen)
    if seen.method == "POST" and seen.path == "/v1/messages/count_tokens":
        return compact({"input_tokens": INPUT_TOKENS})
    if seen.method == "GET" and seen.path == "/v1/models":
        data = [_model("claude-sonnet-5", "Claude Sonnet 5")]
        return compact({"data": data, "has_more": False, "first_id": data[0]["id"], "last_id": data[0]["id"]})
    return failure(404, "not_found_error", f"Not found: {seen.path}")


def compact(value: object, status: int = 200, extra: Headers = ()) -> Answer:
    return Answer(
        status, (("content-type", "application/json"), *_COMMON, *extra), _encode(value).encode(), chunked=True
    )


def failure(status: int, kind: str, message: str, extra: Headers = ()) -> Answer:
    retry = "true" if status in (429, 500, 529) else "false"
    body = {"type": "error", "error": {"type": kind, "message": message}, "request_id": REQUEST_ID}
    return compact(body, status, (("x-should-retry", retry), *extra))


def usage(asked: dict[str, Any], output: int) -> dict[str, Any]:
    """As `message_start` and a plain message carry it. The four input parts are disjoint."""
    cached = "cache_control" in _encode(asked)
    written_5m, written_1h = (CACHE_WRITE_5M, CACHE_WRITE_1H) if cached else (0, 0)
    return {
        "input_tokens": INPUT_TOKENS,
        "cache_creation_input_tokens": written_5m + written_1h,
        "cache_read_input_tokens": CACHE_READ if cached else 0,
        "cache_creation": {"ephemeral_5m_input_tokens": written_5m, "ephemeral_1h_input_tokens": written_1h},
        "output_tokens": output,
        "service_tier": "standard",
        "inference_geo": "global",
    }


def messages(seen: Seen) -> Answer:
    """`POST /v1/messages`."""
    asked = seen.json()
    for name in ("max_tokens", "messages"):
        if name not in asked:
            return failure(400, "invalid_request_error", f"{name}: Field required")
    if asked.get("stream"):
        headers = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), *_COMMON)
        return Answer(200, headers, events=tuple(stream(asked)))
    return compact(_message(asked))


def stream(asked: dict[str, Any]) -> list[bytes]:
    """The events of a streamed message, in order, with the server's white space."""
    opened = {**_message(asked), "content": [], "stop_reason": None, "usage": usage(asked, 1)}
    found = [_event("message_start", {"type": "message_start", "message": opened}, padding=3)]
    for index, block in enumerate(_blocks(asked)):
        start, deltas = _pieces(block)
        found.append(
            _event("content_block_start", {"type": "content_block_start", "index": index, "content_block": start})
        )
        if index == 0:
            found.append(b'event: ping\ndata: {"type": "ping"}\n\n')
        for number, delta in enumerate(deltas):
            body = {"type": "content_block_delta", "index": index, "delta": delta}
            found.append(_event("content_block_delta", body, padding=number * 3 % 11))
        found.append(_event("content_block_stop", {"type": "content_block_stop", "index": index}, padding=2))
    finished = _message(asked)
    total = {key: value for key, value in finished["usage"].items() if key not in ("cache_creation", "service_tier")}
    total.pop("inference_geo")
    delta = {"stop_reason": finished["stop_reason"], "stop_sequence": None, "stop_details": None}
    found.append(_event("message_delta", {"type": "message_delta", "delta": delta, "usage": total}, padding=4))
    found.append(_event("message_stop", {"type": "message_stop"}, padding=5))
    return found


def overloaded_event() -> bytes:
    """The error event of a stream that breaks off."""
    error = {"details": None, "type": "overloaded_error", "message": "Overloaded"}
    return _event("error", {"type": "error", "error": error, "request_id": REQUEST_ID}, padding=6)


def overloaded_mid_stream(asked: dict[str, Any]) -> Answer:
    """A stream that opens, says two words and ends in `overloaded_error`."""
    headers = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"), *_COMMON)
    return Answer(200, headers, events=(*stream(asked)[:5], overloaded_event()))


def _message(asked: dict[str, Any]) -> dict[str, Any]:
    thinking = (asked.get("thinking") or {}).get("type") == "enabled"
    output = OUTPUT_TOKENS + (THINKING_TOKENS if thinking else 0)
    counted = usage(asked, output)
    if thinking:
        counted["output_tokens_details"] = {"thinking_tokens": THINKING_TOKENS}
    return {
        "model": asked["model"],
        "id": MESSAGE_ID,
        "type": "message",
        "role": "assistant",
        "content": _blocks(asked),
        "stop_reason": "tool_use" if asked.get("tools") else "end_turn",
        "stop_sequence": None,
        "stop_details": None,
        "usage": counted,
    }


def _blocks(asked: dict[str, Any]) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if (asked.get("thinking") or {}).get("type") == "enabled":
        blocks.append({"type": "thinking", "thinking": THOUGHT, "signature": "c3ludGhldGljLXNpZ25hdHVyZQ=="})
    blocks.append({"type": "text", "text": TEXT})
    if asked.get("tools"):
        blocks.append(
            {
                "type": "tool_use",
                "id": "toolu_01NRLabsLyVHZPKxbKvkfSMn",
                "name": asked["tools"][0]["name"],
                "input": {"location": "Paris"},
                "caller": {"type": "direct"},
            }
        )
    return blocks


def _pieces(block: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if block["type"] == "thinking":
        half = len(THOUGHT) // 2
        deltas = [{"type": "thinking_delta", "thinking": part} for part in (THOUGHT[:half], THOUGHT[half:])]
        deltas.append({"type": "signature_delta", "signature": block["signature"]})
        return {**block, "thinking": "", "signature": ""}, deltas
    if block["type"] == "text":
        return {**block, "text": ""}, [{"type": "text_delta", "text": piece} for piece in PIECES]
    parts = ("", '{"locati', 'on": "P', "ar", 'is"}')
    return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": part} for part in parts]


def _event(name: str, data: dict[str, Any], padding: int = 0) -> bytes:
    text = _encode(data)
    return f"event: {name}\ndata: {text[:-1]}{' ' * padding}}}\n\n".encode()


def _encode(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _model(name: str, title: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": title, "created_at": "2025-09-29T00:00:00Z"}


def _demanded(status: int) -> Answer:
    if status == 401:
        return failure(401, "authentication_error", "invalid x-api-key")
    if status == 429:
        message = "This request would exceed your organization's rate limit of 50 requests per minute."
        return failure(429, "rate_limit_error", message, (("retry-after", "2"),))
    if status == 529:
        return failure(529, "overloaded_error", "Overloaded")
    if status >= 500:
        return failure(status, "api_error", "Internal server error")
    return failure(status, "invalid_request_error", "max_tokens: must be greater than or equal to 1")
