"""Google's Gemini API as the fakes speak it: generateContent, streams both ways, embeddings, models, errors.

Sources: the converters and types of the installed `google-genai` SDK (`models.py`, `types.py`, `errors.py`,
`_api_client.py`); public byte-exact captures of generativelanguage.googleapis.com from 2025–2026 for what the types do
not say: plain answers are indented with two spaces and end in a newline; `alt=sse` events put a space after each colon
but none after commas and end in CRLF CRLF, with no `[DONE]`; without `alt=sse` a stream is one JSON array whose
elements are separated by `\\n,\\r\\n`; `usageMetadata` repeats on every chunk and is cumulative; thoughts are counted
beside candidates and inside `totalTokenCount`; a refused key is 400 `INVALID_ARGUMENT` with `API_KEY_INVALID`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from tests.fakes.server import Answer, Headers, Seen

TEXT = "Hello! How can I help?"
PIECES = ("Hello", "! How can", " I help?")
PROMPT_TOKENS, CANDIDATE_TOKENS, THOUGHT_TOKENS, CACHED_TOKENS = 1530, 9, 186, 1024
EMBEDDING_TOKENS = 6
RESPONSE_ID = "AdVRaMmDCYekqtsPrb_-iAw"
WRONG_KEY = "AIza-wrong"

_COMMON: Headers = (
    ("vary", "Origin"),
    ("vary", "X-Origin"),
    ("vary", "Referer"),
    ("date", "Tue, 17 Nov 2026 08:30:11 GMT"),
    ("server", "scaffolding on HTTPServer2"),
    ("x-xss-protection", "0"),
    ("x-frame-options", "SAMEORIGIN"),
    ("x-content-type-options", "nosniff"),
    ("server-timing", "gfet4t7; dur=812"),
    ("alt-svc", 'h3=":443"; ma=2592000,h3-29=":443"; ma=2592000'),
)
_VERSIONS = ("v1", "v1beta", "v1alpha", "v1beta1")


def answer(seen: Seen, error: int | None) -> Answer:
    """The fake's whole API."""
    streaming = seen.path.endswith(":streamGenerateContent")
    as_array = streaming and seen.parameters.get("alt") != "sse"
    if error is not None:
        return _demanded(error, as_array)
    if seen.path.startswith("/upload/"):
        return _upload(seen)
    key = seen.header("x-goog-api-key") or seen.parameters.get("key") or ""
    if not key:
        message = "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API."  # noqa: E501
        return failure(403, "PERMISSION_DENIED", message, as_array)
    if key == WRONG_KEY:
        return _demanded(400, as_array)
    _, version, resource, *rest = [*seen.path.split("/"), "", ""]
    if version not in _VERSIONS or resource != "models":
        return failure(404, "NOT_FOUND", f"Requested entity was not found: {seen.path}", as_array)
    name, _, verb = rest[0].partition(":")
    if seen.method == "GET":
        listed = [_model("gemini-2.5-flash"), _model("gemini-embedding-001")]
        return indented(_model(name) if name else {"models": listed})
    if verb == "generateContent":
        return indented(_content(name, seen.json(), TEXT, finished=True, tokens=CANDIDATE_TOKENS))
    if verb == "streamGenerateContent":
        return _array(name, seen.json()) if as_array else _events(name, seen.json())
    if verb == "embedContent":
        return indented({"embedding": {"values": _VECTOR}, "usageMetadata": _embedding_usage()})
    if verb == "batchEmbedContents":
        embeddings = [{"values": _VECTOR} for _ in seen.json()["requests"]]
        return indented({"embeddings": embeddings, "usageMetadata": _embedding_usage()})
    if verb == "countTokens":
        return indented({"totalTokens": PROMPT_TOKENS, "promptTokensDetails": _text_tokens(PROMPT_TOKENS)})
    return failure(404, "NOT_FOUND", f"models/{name} is not found for API version {version}", as_array)


def indented(value: object, status: int = 200) -> Answer:
    body = (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
    return Answer(status, (("content-type", "application/json; charset=UTF-8"), *_COMMON), body, chunked=True)


def failure(
    status: int, word: str, message: str, as_array: bool, details: list[dict[str, Any]] | None = None
) -> Answer:
    """An error; in array streams it comes as an array of one."""
    error: dict[str, Any] = {"code": status, "message": message, "status": word}
    if details:
        error["details"] = details
    return indented([{"error": error}] if as_array else {"error": error}, status)


def chunks(model: str, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """The records of a stream: the same in both framings."""
    found = []
    for number, piece in enumerate(PIECES):
        last = number == len(PIECES) - 1
        tokens = CANDIDATE_TOKENS if last else number + 1
        found.append(_content(model, asked, piece, finished=last, tokens=tokens))
    return found


_VECTOR = [-0.02342152, 0.01676572, 0.009261323]


def _events(model: str, asked: dict[str, Any]) -> Answer:
    lines = [
        f"data: {json.dumps(chunk, separators=(',', ': '), ensure_ascii=False)}\r\n\r\n"
        for chunk in chunks(model, asked)
    ]
    headers = (("content-type", "text/event-stream"), ("content-disposition", "attachment"), *_COMMON)
    return Answer(200, headers, events=tuple(line.encode() for line in lines))


def _array(model: str, asked: dict[str, Any]) -> Answer:
    pieces = [json.dumps(chunk, indent=2, ensure_ascii=False) for chunk in chunks(model, asked)]
    framed = ["[" + pieces[0] + "\n", *(",\r\n" + piece + "\n" for piece in pieces[1:]), "]\n"]
    headers = (("content-type", "application/json; charset=UTF-8"), *_COMMON)
    return Answer(200, headers, events=tuple(piece.encode() for piece in framed))


def _content(model: str, asked: dict[str, Any], text: str, *, finished: bool, tokens: int) -> dict[str, Any]:
    config = asked.get("generationConfig") or {}
    budget = (config.get("thinkingConfig") or {}).get("thinkingBudget", -1)
    thoughts = 0 if budget == 0 else THOUGHT_TOKENS
    parts: list[dict[str, Any]] = [{"text": text}]
    if asked.get("tools") and finished:
        declared = asked["tools"][0].get("functionDeclarations") or asked["tools"][0]["function_declarations"]
        call = {"name": declared[0]["name"], "args": {"location": "Paris"}}
        parts = [{"functionCall": call, "thoughtSignature": "EjQKMgEMOdbHABCD"}]
    candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}}
    if finished:
        candidate["finishReason"] = "STOP"
    candidate["index"] = 0
    counted: dict[str, Any] = {
        "promptTokenCount": PROMPT_TOKENS,
        "candidatesTokenCount": tokens,
        "totalTokenCount": PROMPT_TOKENS + tokens + thoughts,
    }
    if asked.get("cachedContent"):
        counted["cachedContentTokenCount"] = CACHED_TOKENS
    counted["promptTokensDetails"] = _text_tokens(PROMPT_TOKENS)
    if asked.get("cachedContent"):
        counted["cacheTokensDetails"] = _text_tokens(CACHED_TOKENS)
    if thoughts:
        counted["thoughtsTokenCount"] = thoughts
    counted["serviceTier"] = "standard"
    return {"candidates": [candidate], "usageMetadata": counted, "modelVersion": model, "responseId": RESPONSE_ID}


def _upload(seen: Seen) -> Answer:
    """The resumable protocol (`_upload_fd` in the SDK): a start that names an address, then the bytes there.

    The address is absolute and on the provider's own host; `upload_id` in it is the credential of what follows.
    """
    if seen.header("x-goog-upload-command") == "start":
        address = f"http://{seen.header('host')}{seen.path}?upload_id=up1&upload_protocol=resumable"
        extra = (("x-goog-upload-url", address), ("x-goog-upload-status", "active"), ("content-type", "text/plain"))
        return Answer(200, (*_COMMON, *extra))
    if seen.parameters.get("upload_id") != "up1":
        return failure(404, "NOT_FOUND", "Upload not found", False)
    file = {"name": "files/abc123", "mimeType": "text/plain", "sizeBytes": str(len(seen.body)), "state": "ACTIVE"}
    answered = indented({"file": file})
    return replace(answered, headers=(*answered.headers, ("x-goog-upload-status", "final")))


def _text_tokens(count: int) -> list[dict[str, Any]]:
    return [{"modality": "TEXT", "tokenCount": count}]


def _embedding_usage() -> dict[str, Any]:
    return {"promptTokenCount": EMBEDDING_TOKENS, "promptTokenDetails": _text_tokens(EMBEDDING_TOKENS)}


def _model(name: str) -> dict[str, Any]:
    embeds = "embedding" in name
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name.replace("-", " ").title(),
        "inputTokenLimit": 2048 if embeds else 1_048_576,
        "outputTokenLimit": 1 if embeds else 65_536,
        "supportedGenerationMethods": ["embedContent"] if embeds else ["generateContent", "countTokens"],
    }


def _demanded(status: int, as_array: bool) -> Answer:
    if status == 400:
        domain, service = "googleapis.com", "generativelanguage.googleapis.com"
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": domain}
        details: list[dict[str, Any]] = [
            {**info, "metadata": {"service": service}},
            {
                "@type": "type.googleapis.com/google.rpc.LocalizedMessage",
                "locale": "en-US",
                "message": "API key not valid. Please pass a valid API key.",
            },
        ]
        message = "API key not valid. Please pass a valid API key."
        return failure(400, "INVALID_ARGUMENT", message, as_array, details)
    if status == 429:
        message = "You exceeded your current quota, please check your plan and billing details."
        info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"}
        return failure(429, "RESOURCE_EXHAUSTED", message, as_array, [info])
    if status == 401:
        message = "Request had invalid authentication credentials."
        return failure(401, "UNAUTHENTICATED", message, as_array)
    return failure(status, "UNAVAILABLE", "The model is overloaded. Please try again later.", as_array)
