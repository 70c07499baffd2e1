"""The spans of an ended call, in OpenTelemetry's GenAI conventions (semantic-conventions-genai, "development"). Pure.

One root span of kind SERVER for the caller's request and one child of kind CLIENT for the attempt that served it; a
call that ended before forwarding has no child. Attribute names are the conventions' own where they have one, else
`gatehouse.*`. Token counts come from disjoint parts: `gen_ai.usage.input_tokens` includes what was read from and
written to caches, `gen_ai.usage.output_tokens` includes reasoning. No attribute holds a prompt, an answer or a secret.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gatehouse.model.span import CLIENT, SERVER, span_id
from gatehouse.store.rows import Concluded, Decided, SpanRow

PROVIDER_NAMES: Final = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""Our provider names that `gen_ai.provider.name` spells otherwise."""

_FAILED: Final = frozenset({"upstream_error", "cut", "client_gone", "blocked", "interrupted", "refused"})
_PORTS: Final = {"http": 80, "https": 443}
_SECOND: Final = 1_000_000

Attributes = dict[str, object]


def build(decided: Decided, concluded: Concluded) -> list[SpanRow]:
    """The spans of one call, root first."""
    end = _end(decided, concluded)
    failure = _failure(concluded)
    root = SpanRow(
        tenant=decided.tenant,
        call=decided.call,
        position=0,
        trace_id=decided.trace_id,
        span_id=span_id(decided.call, SERVER),
        parent_span_id=decided.parent_span,
        name=f"{decided.method or 'HTTP'} {decided.route or decided.path or ''}".rstrip(),
        kind="SERVER",
        started=decided.started,
        ended=end,
        status="error" if failure is not None and (concluded.status or 500) >= 500 else "unset",
        attributes=_json(_server(decided, concluded, failure)),
    )
    if not concluded.attempts:
        return [root]
    child = SpanRow(
        tenant=decided.tenant,
        call=decided.call,
        position=1,
        trace_id=decided.trace_id,
        span_id=span_id(decided.call, CLIENT),
        parent_span_id=root.span_id,
        name=" ".join(filter(None, (decided.operation, _model(decided, concluded)))),
        kind="CLIENT",
        started=min(max(decided.decided, decided.started), end),
        ended=end,
        status="unset" if failure is None else "error",
        attributes=_json(_client(decided, concluded, failure)),
    )
    return [root, child]


def _end(decided: Decided, concluded: Concluded) -> int:
    if concluded.duration_us is None:
        # Written by another process after this one died: when the call really ended is not known.
        return max(decided.started, decided.decided)
    return decided.started + concluded.duration_us


def _failure(concluded: Concluded) -> str | None:
    """`error.type`: the gateway's code, else how the call ended, else the provider's status; `None` if it went well."""
    if concluded.outcome in _FAILED:
        return concluded.code or concluded.outcome
    status = concluded.status or 0
    return str(status) if status >= 400 else None


def _server(decided: Decided, concluded: Concluded, failure: str | None) -> Attributes:
    return {
        "http.request.method": decided.method,
        "url.path": None if decided.path is None else decided.path.partition("?")[0],
        "http.response.status_code": concluded.status,
        "http.request.body.size": concluded.request_bytes if decided.streamed else decided.request_bytes,
        "http.response.body.size": concluded.response_bytes,
        "user_agent.original": decided.user_agent,
        "user.id": decided.user_id,
        "error.type": failure,
        "gatehouse.call.id": decided.call,
        "gatehouse.tenant": decided.tenant,
        "gatehouse.project": decided.project,
        "gatehouse.key.id": decided.key_id,
        "gatehouse.route": decided.route,
        "gatehouse.outcome": concluded.outcome,
        "gatehouse.group": decided.group_id,
        "gatehouse.run": decided.run_id,
        "gatehouse.tags": None if decided.tags is None else msgspec.json.decode(decided.tags),
    }


def _client(decided: Decided, concluded: Concluded, failure: str | None) -> Attributes:
    provider = concluded.provider or decided.provider or "unknown"
    attributes: Attributes = {
        "gen_ai.operation.name": decided.operation,
        "gen_ai.provider.name": PROVIDER_NAMES.get(provider, provider),
        "gen_ai.request.model": _model(decided, concluded),
        "gen_ai.request.stream": decided.stream or None,
        "gen_ai.request.choice.count": None if decided.choices == 1 else decided.choices,
        "gen_ai.request.max_tokens": decided.max_output,
        "gen_ai.request.temperature": decided.temperature,
        "gen_ai.request.top_p": decided.top_p,
        "gen_ai.response.id": concluded.response_id,
        "gen_ai.response.model": concluded.model_answered,
        "gen_ai.response.finish_reasons": _finish_reasons(decided, concluded),
        "gen_ai.response.time_to_first_chunk": _time_to_first_chunk(decided, concluded),
        "http.response.status_code": concluded.upstream_status,
        "gen_ai.conversation.id": decided.thread_id,
        "user.id": decided.user_id,
        "error.type": failure,
        "gatehouse.upstream.request_id": concluded.upstream_request_id,
        "gatehouse.cost.nano_usd": concluded.cost,
    }
    _address(attributes, concluded.origin or decided.origin)
    _usage(attributes, concluded)
    return attributes


def _model(decided: Decided, concluded: Concluded) -> str | None:
    return concluded.model_sent or decided.model_sent or decided.model


def _finish_reasons(decided: Decided, concluded: Concluded) -> list[str] | None:
    reasons: list[str] = msgspec.json.decode(concluded.finish_reasons) if concluded.finish_reasons else []
    if decided.stream and concluded.outcome in _FAILED and not reasons:
        # The conventions: an aborted stream ends with `error`.
        return ["error"]
    return reasons or None


def _time_to_first_chunk(decided: Decided, concluded: Concluded) -> float | None:
    if not decided.stream or concluded.first_token_us is None:
        return None
    return concluded.first_token_us / _SECOND


def _address(attributes: Attributes, origin: str | None) -> None:
    """From `model.call.Origin` in words: `https://api.openai.com`, `http://[::1]:9001`."""
    scheme, found, place = (origin or "").partition("://")
    if not found:
        return
    host, _, port = place.rpartition(":")
    if not host or place.endswith("]"):
        host, port = place, ""
    attributes["server.address"] = host.strip("[]")
    attributes["server.port"] = int(port) if port else _PORTS.get(scheme)


def _usage(attributes: Attributes, concluded: Concluded) -> None:
    if concluded.tokens_input is None:
        return
    cached = (concluded.tokens_cache_read, concluded.tokens_image_cache_read, concluded.tokens_audio_cache_read)
    read = sum(count or 0 for count in cached)
    written = (concluded.tokens_cache_write or 0) + (concluded.tokens_cache_write_1h or 0)
    reasoning = concluded.tokens_reasoning or 0
    heard, spoken = concluded.tokens_audio_input or 0, concluded.tokens_audio_output or 0
    seen, drawn = concluded.tokens_image_input or 0, concluded.tokens_image_output or 0
    attributes["gen_ai.usage.input_tokens"] = concluded.tokens_input + read + written + heard + seen
    attributes["gen_ai.usage.output_tokens"] = (concluded.tokens_output or 0) + reasoning + spoken + drawn
    attributes["gen_ai.usage.cache_read.input_tokens"] = read or None
    attributes["gen_ai.usage.cache_write.input_tokens"] = written or None
    attributes["gen_ai.usage.reasoning.output_tokens"] = reasoning or None
    attributes["gatehouse.usage.estimated"] = concluded.usage_source == "estimated" or None


def _json(attributes: Attributes) -> str:
    return msgspec.json.encode({name: value for name, value in attributes.items() if value is not None}).decode()
