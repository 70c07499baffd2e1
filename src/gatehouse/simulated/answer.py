"""The simulated provider's one door: a request in, status, headers and timed pieces out. Pure and sans-I/O.

| method and path | answer |
|---|---|
| `POST /v1/chat/completions` | any model; text, JSON or tool calls; `stream` at `simulated.tokens_per_second` |
| `POST /v1/embeddings` | any model; unit vectors, 256 dimensions unless asked otherwise; `float` or `base64` |
| `GET /v1/models`, `GET /v1/models/{id}` | two models; any id is known |

Everything else is refused with OpenAI's error body.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import msgspec

from gatehouse.config.settings import Simulated
from gatehouse.simulated.chat import Piece, generate, streamed, whole
from gatehouse.simulated.embeddings import embeddings
from gatehouse.simulated.request import Invalid, read_chat, read_embeddings
from gatehouse.simulated.text import identifier

MODELS: Final = ("simulated-chat", "simulated-embedding")

_JSON: Final = b"application/json"
_EVENTS: Final = b"text/event-stream; charset=utf-8"
_CHAT: Final = "/v1/chat/completions"
_EMBEDDINGS: Final = "/v1/embeddings"
_MODELS: Final = "/v1/models"


class Answer(NamedTuple):
    """An answer on its way."""

    status: int
    headers: list[tuple[bytes, bytes]]
    """Without framing."""
    pieces: Iterator[Piece]
    """Seconds to wait before each piece, and its bytes."""
    length: int | None
    """Bytes of the body, where known beforehand."""


def answer(method: bytes, path: str, body: bytes, settings: Simulated, *, created: int = 0) -> Answer:
    """Answer a request. `path` as routed, without query. `created`: Unix time to stamp on the answer. Never raises."""
    request_id = identifier("req_", method + path.encode(errors="replace") + body)
    try:
        return _answer(method, path.removesuffix("/"), body, settings, created, request_id)
    except Invalid as refusal:
        return _fixed(refusal.status, refusal.body(), request_id)


def _answer(method: bytes, path: str, body: bytes, settings: Simulated, created: int, request_id: str) -> Answer:
    if path == _CHAT:
        _only(method, b"POST")
        request = read_chat(body)
        generated = generate(request, body, created)
        if not request.stream:
            return _fixed(200, whole(generated), request_id)
        options = request.stream_options
        events = streamed(generated, bool(options and options.include_usage), 1 / settings.tokens_per_second)
        return Answer(200, _headers(_EVENTS, request_id), events, None)
    if path == _EMBEDDINGS:
        _only(method, b"POST")
        wanted = read_embeddings(body)
        inputs = wanted.inputs()
        return Answer(200, _headers(_JSON, request_id), _at_once(embeddings(wanted, inputs)), None)
    if path == _MODELS:
        _only(method, b"GET")
        listing = {"object": "list", "data": [_model(name, created) for name in MODELS]}
        return _fixed(200, msgspec.json.encode(listing), request_id)
    if path.startswith(f"{_MODELS}/"):
        _only(method, b"GET")
        model = _model(unquote(path.removeprefix(f"{_MODELS}/")), created)
        return _fixed(200, msgspec.json.encode(model), request_id)
    raise Invalid(
        f"Unknown request URL. The simulated provider has {_CHAT}, {_EMBEDDINGS} and {_MODELS}.",
        code="unknown_url",
        status=404,
    )


def _only(method: bytes, allowed: bytes) -> None:
    if method != allowed and not (method == b"HEAD" and allowed == b"GET"):
        raise Invalid(f"This path takes {allowed.decode()} requests.", code="method_not_supported", status=405)


def _model(name: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "gatehouse"}


def _headers(content_type: bytes, request_id: str) -> list[tuple[bytes, bytes]]:
    return [(b"content-type", content_type), (b"x-request-id", request_id.encode())]


def _fixed(status: int, body: bytes, request_id: str) -> Answer:
    return Answer(status, _headers(_JSON, request_id), _at_once((body,)), len(body))


def _at_once(parts: Iterable[bytes]) -> Iterator[Piece]:
    for part in parts:
        yield 0.0, part
