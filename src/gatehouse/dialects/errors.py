"""Errors of the gateway in the caller's dialect (invariant I11), as whole bodies and as mid-stream events.

One body serves OpenAI and Anthropic: `error.type` is Anthropic's word (its SDK shows it; OpenAI's takes any),
`error.code` the kind's own word, and `detail`, `code`, `retry_after` stand at the top level for everybody. Gemini's
`error.code` is a number, so it has a body of its own with the same top level. What else an error states
(`GatehouseError.facts`: which limit, how much is spent) stands there too. Shapes: the SDKs' exception classes
(`openai._exceptions`, `anthropic._exceptions`, `google.genai.errors`) and google.rpc's status codes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gatehouse.dialects.answer import is_event_stream
from gatehouse.errors import GatehouseError

_encode: Final = msgspec.json.Encoder().encode

_RPC: Final = "type.googleapis.com/google.rpc."

_ANTHROPIC_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    413: "request_too_large",
    426: "invalid_request_error",
    429: "rate_limit_error",
    431: "invalid_request_error",
    500: "api_error",
    502: "api_error",
    503: "overloaded_error",
}

_GOOGLE_STATUSES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    426: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    431: "INVALID_ARGUMENT",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
}


def _detail(error: GatehouseError) -> str:
    """Always encodable: a detail may quote what a caller sent."""
    return error.detail.encode("utf-8", "replace").decode()


def openai_body(error: GatehouseError, call_id: str) -> bytes:
    """The one JSON body for OpenAI and Anthropic."""
    kind, detail = error.kind, _detail(error)
    return _encode(
        {
            "type": "error",
            "error": {
                "type": _ANTHROPIC_TYPES[kind.status],
                "message": detail,
                "code": kind.word,
                "param": None,
            },
            "detail": detail,
            "code": kind.code,
            "retry_after": error.retry_after,
            "request_id": call_id,
            **(error.facts or {}),
        }
    )


def google_body(error: GatehouseError, call_id: str) -> bytes:
    """Gemini's body. `error` comes first: google-genai knows an error event by its first bytes."""
    kind, detail = error.kind, _detail(error)
    details = [
        {"@type": _RPC + "ErrorInfo", "reason": kind.word.upper(), "domain": "gatehouse"},
        {"@type": _RPC + "RequestInfo", "requestId": call_id},
    ]
    if error.retry_after is not None:
        details.append({"@type": _RPC + "RetryInfo", "retryDelay": f"{error.retry_after}s"})
    return _encode(
        {
            "error": {
                "code": kind.status,
                "message": detail,
                "status": _GOOGLE_STATUSES[kind.status],
                "details": details,
            },
            "detail": detail,
            "code": kind.code,
            "retry_after": error.retry_after,
            **(error.facts or {}),
        }
    )


def openai_event(error: GatehouseError, call_id: str, content_type: str) -> bytes:
    """The last event of an OpenAI stream that failed; nothing where the answer is no event stream."""
    return b"data: " + openai_body(error, call_id) + b"\n\n" if is_event_stream(content_type) else b""


def anthropic_event(error: GatehouseError, call_id: str, content_type: str) -> bytes:
    """The last event of an Anthropic stream that failed; nothing where the answer is no event stream."""
    event = b"event: error\ndata: " + openai_body(error, call_id) + b"\n\n"
    return event if is_event_stream(content_type) else b""


def google_event(error: GatehouseError, call_id: str, content_type: str) -> bytes:
    """The last event of a Gemini stream that failed; nothing inside a JSON array, which cannot carry one."""
    return b"data: " + google_body(error, call_id) + b"\r\n\r\n" if is_event_stream(content_type) else b""
