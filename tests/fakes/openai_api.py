"""OpenAI's API as the fakes speak it: chat completions, embeddings, models, errors; the rest in `openai_text`.

Sources: the types of the installed `openai` SDK (`types/chat/chat_completion*.py`, `types/completion_usage.py`,
`types/create_embedding_response.py`, `types/shared/error_object.py`); the recorded live streams that SDK is tested
with (openai-python, `.inline-snapshot/external/*.bin`: field order, `delta` of first and last chunk, streamed tool
calls, the usage chunk); recorded answers with `service_tier`, `"usage":null` and `obfuscation` on every chunk (public
2025–2026 captures of api.openai.com); the reference's "Streaming" and "Debugging requests" pages for headers.
Plain answers are indented JSON, streams are compact JSON with LF line ends and `data: [DONE]`.
"""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

from tests.fakes import openai_text
from tests.fakes.server import Answer, Headers, Seen

TEXT = "Hello! How can I help you today?"
PIECES = ("Hello", "!", " How", " can", " I", " help", " you", " today", "?")
PROMPT_TOKENS, CACHED_TOKENS, COMPLETION_TOKENS, REASONING_TOKENS = 1117, 1024, 10, 64
EMBEDDING_TOKENS = 8
REQUEST_ID = "req_deaa3616cbd15d33b4db96b3ba74d2b4"
WRONG_KEY = "sk-wrong"
CREATED = 1_769_092_764

_RESOLVED = {"gpt-4o": "gpt-4o-2024-08-06", "gpt-4o-mini": "gpt-4o-mini-2024-07-18", "o3-mini": "o3-mini-2025-01-31"}
_COMMON: Headers = (
    ("date", "Tue, 17 Nov 2026 08:30:11 GMT"),
    ("access-control-expose-headers", "X-Request-ID"),
    ("openai-organization", "acme-jtbczk"),
    ("openai-processing-ms", "511"),
    ("openai-project", "proj_0Wv6taeZjWf793P67JMswYY3"),
    ("openai-version", "2020-10-01"),
    ("x-ratelimit-limit-requests", "10000"),
    ("x-ratelimit-limit-tokens", "30000000"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-remaining-tokens", "29999976"),
    ("x-ratelimit-reset-requests", "6ms"),
    ("x-ratelimit-reset-tokens", "0s"),
    ("x-request-id", REQUEST_ID),
    ("strict-transport-security", "max-age=31536000; includeSubDomains; preload"),
    ("cf-cache-status", "DYNAMIC"),
    ("set-cookie", "__cf_bm=oS8iMjfNp7nd1; path=/; domain=.api.openai.com; HttpOnly; Secure; SameSite=None"),
    ("set-cookie", "_cfuvid=frrNG1mpK5azQ7; path=/; domain=.api.openai.com; HttpOnly; Secure; SameSite=None"),
    ("x-content-type-options", "nosniff"),
    ("server", "cloudflare"),
    ("cf-ray", "91994230fac4fd45-NRT"),
    ("alt-svc", 'h3=":443"; ma=86400'),
)


def answer(seen: Seen, error: int | None) -> Answer:
    """The fake's whole API."""
    if error is not None:
        return _demanded(error)
    if (seen.header("authorization") or "").removeprefix("Bearer ") in ("", WRONG_KEY):
        return _unauthorized(seen)
    path = seen.path.removeprefix("/v1")
    if seen.method == "GET" and path == "/models":
        return indented({"object": "list", "data": [_model(name) for name in ("gpt-4o", "gpt-4o-mini", "o3-mini")]})
    if seen.method == "GET" and path.startswith("/models/"):
        return indented(_model(path.removeprefix("/models/")))
    if seen.method == "POST" and path == "/chat/completions":
        return chat(seen)
    if seen.method == "POST" and path == "/embeddings":
        return embeddings(seen)
    if seen.method == "POST" and path in ("/responses", "/completions", "/moderations"):
        return text_call(path, seen.json())
    if seen.method == "GET" and path == f"/responses/{openai_text.RESPONSE_ID}":
        return indented(openai_text.response({"model": "gpt-5-mini"}))
    message = f"Invalid URL ({seen.method} {seen.path})"
    return failure(404, message, "invalid_request_error", None, None)


def indented(value: object, status: int = 200, extra: Headers = ()) -> Answer:
    body = (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
    return Answer(status, (("content-type", "application/json"), *_COMMON, *extra), body)


def events(*chunks: object) -> Answer:
    """A stream: each chunk compact on one `data:` line, `[DONE]` at the end."""
    lines = [f"data: {compact(chunk)}\n\n".encode() for chunk in chunks]
    return Answer(
        200, (("content-type", "text/event-stream; charset=utf-8"), *_COMMON), events=(*lines, b"data: [DONE]\n\n")
    )


def named_events(*payloads: dict[str, Any]) -> Answer:
    """A stream whose events have names; it ends with its last event."""
    lines = [f"event: {payload['type']}\ndata: {compact(payload)}\n\n".encode() for payload in payloads]
    return Answer(200, (("content-type", "text/event-stream; charset=utf-8"), *_COMMON), events=tuple(lines))


def text_call(path: str, asked: dict[str, Any]) -> Answer:
    """`POST /v1/responses`, `/v1/completions` or `/v1/moderations`."""
    if path == "/moderations":
        return indented(openai_text.moderation(asked))
    if path == "/responses":
        if asked.get("stream"):
            return named_events(*openai_text.response_events(asked))
        return indented(openai_text.response(asked))
    if asked.get("stream"):
        with_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        return events(*openai_text.completion_chunks(asked, with_usage=with_usage))
    return indented(openai_text.completion(asked))


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def failure(status: int, message: str, kind: str, param: str | None, code: str | None, extra: Headers = ()) -> Answer:
    """An error body: `message`, `type`, `param`, `code`, in this order."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return indented({"error": error}, status, extra)


def usage(model: str) -> dict[str, Any]:
    reasoning = REASONING_TOKENS if model.startswith("o") else 0
    completion = COMPLETION_TOKENS + reasoning
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": completion,
        "total_tokens": PROMPT_TOKENS + completion,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chat(seen: Seen) -> Answer:
    """`POST /v1/chat/completions`."""
    asked = seen.json()
    if "messages" not in asked:
        return failure(
            400,
            "Missing required parameter: 'messages'.",
            "invalid_request_error",
            "messages",
            "missing_required_parameter",
        )
    model = asked["model"]
    if model == "gpt-nonexistent":
        message = f"The model `{model}` does not exist or you do not have access to it."
        return failure(404, message, "invalid_request_error", None, "model_not_found")
    if asked.get("stream"):
        wants_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
        return events(*chat_chunks(asked, with_usage=wants_usage))
    return indented(chat_completion(asked))


def chat_completion(asked: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": TEXT, "refusal": None, "annotations": []}
    finish = "stop"
    if asked.get("tools"):
        message = {"role": "assistant", "content": None, "tool_calls": [_tool_call(asked)], "refusal": None}
        message["annotations"] = []
        finish = "tool_calls"
    return {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion",
        "created": CREATED,
        "model": _RESOLVED.get(asked["model"], asked["model"]),
        "choices": [
            {"index": index, "message": message, "logprobs": None, "finish_reason": finish}
            for index in range(asked.get("n") or 1)
        ],
        "usage": usage(asked["model"]),
        "service_tier": "default",
        "system_fingerprint": "fp_29330a9688",
    }


def chat_chunks(asked: dict[str, Any], *, with_usage: bool) -> list[dict[str, Any]]:
    """The chunks of a streamed completion. With `with_usage` every chunk carries `usage`, and one more closes."""
    head = {
        "id": "chatcmpl-D0q8CZXN1uEzngZGkU7FuV92lnXWq",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": _RESOLVED.get(asked["model"], asked["model"]),
        "service_tier": "default",
        "system_fingerprint": "fp_29330a9688",
    }
    deltas: list[tuple[dict[str, Any], str | None]]
    if asked.get("tools"):
        call = _tool_call(asked)
        arguments = call["function"]["arguments"]
        opening = {"index": 0, **call, "function": {"name": call["function"]["name"], "arguments": ""}}
        deltas = [({"role": "assistant", "content": None, "tool_calls": [opening], "refusal": None}, None)]
        deltas += [
            ({"tool_calls": [{"index": 0, "function": {"arguments": arguments[at : at + 5]}}]}, None)
            for at in range(0, len(arguments), 5)
        ]
        deltas.append(({}, "tool_calls"))
    else:
        deltas = [({"role": "assistant", "content": "", "refusal": None}, None)]
        deltas += [({"content": piece}, None) for piece in PIECES]
        deltas.append(({}, "stop"))
    nothing: dict[str, Any] = {"usage": None} if with_usage else {}
    chunks = [
        {
            **head,
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
            **nothing,
            "obfuscation": _padding(number),
        }
        for number, (delta, finish) in enumerate(deltas)
    ]
    if with_usage:
        chunks.append({**head, "choices": [], "usage": usage(asked["model"]), "obfuscation": _padding(7)})
    return chunks


def embeddings(seen: Seen) -> Answer:
    """`POST /v1/embeddings`; base64 of little-endian float32 where asked, as the Python SDK does by default."""
    asked = seen.json()
    inputs = asked["input"] if isinstance(asked["input"], list) else [asked["input"]]
    vector = (0.0023064255, -0.009327292, -0.0028842222)
    packed: object = list(vector)
    if asked.get("encoding_format") == "base64":
        packed = base64.b64encode(struct.pack("<3f", *vector)).decode()
    data = [{"object": "embedding", "index": index, "embedding": packed} for index in range(len(inputs))]
    counted = {"prompt_tokens": EMBEDDING_TOKENS, "total_tokens": EMBEDDING_TOKENS}
    return indented({"object": "list", "data": data, "model": asked["model"], "usage": counted})


def _tool_call(asked: dict[str, Any]) -> dict[str, Any]:
    name = asked["tools"][0]["function"]["name"]
    arguments = '{"city":"Paris","units":"c"}'
    return {
        "id": "call_4XzlGBLtUe9dy3GVNV4jhq7h",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_686_935_002, "owned_by": "system"}


def _padding(number: int) -> str:
    """`obfuscation` evens out the chunks' sizes with random letters; ours are fixed."""
    return "ZGFlRK2aBvkJ0wmdEAC"[number : number + 3 + number % 5]


def _unauthorized(seen: Seen) -> Answer:
    key = (seen.header("authorization") or "").removeprefix("Bearer ")
    if not key:
        message = "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY). You can obtain an API key from https://platform.openai.com/account/api-keys."  # noqa: E501
        return failure(401, message, "invalid_request_error", None, None)
    message = (
        f"Incorrect API key provided: {key}. You can find your API key at https://platform.openai.com/account/api-keys."
    )
    return failure(401, message, "invalid_request_error", None, "invalid_api_key")


def _demanded(status: int) -> Answer:
    if status == 401:
        message = "Incorrect API key provided: sk-wrong. You can find your API key at https://platform.openai.com/account/api-keys."
        return failure(401, message, "invalid_request_error", None, "invalid_api_key")
    if status == 429:
        message = "Rate limit reached for gpt-4o in organization org-acme on requests per min (RPM): Limit 500, Used 500, Requested 1. Please try again in 120ms."  # noqa: E501
        extra = (("retry-after-ms", "120"), ("retry-after", "1"))
        return failure(429, message, "requests", None, "rate_limit_exceeded", extra)
    if status >= 500:
        message = "The server had an error while processing your request. Sorry about that!"
        return failure(status, message, "server_error", None, None)
    return failure(status, "Invalid value: 'none'.", "invalid_request_error", "tool_choice", "invalid_value")
