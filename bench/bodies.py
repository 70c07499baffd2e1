"""The requests the load generators send."""

from __future__ import annotations

import base64
import json
from random import Random
from typing import Final

CURL_HEADERS: Final = (
    ("content-type", "application/json"),
    ("accept", "application/json"),
    ("authorization", "Bearer sk-bench-0123456789"),
)
"""What a plain client sends."""

SDK_HEADERS: Final = (
    *CURL_HEADERS,
    ("accept-encoding", "gzip, deflate"),
    ("user-agent", "OpenAI/Python 3.52.0"),
    ("x-stainless-lang", "python"),
    ("x-stainless-package-version", "3.52.0"),
    ("x-stainless-os", "Linux"),
    ("x-stainless-arch", "x64"),
    ("x-stainless-runtime", "CPython"),
    ("x-stainless-runtime-version", "3.11.2"),
    ("x-stainless-async", "false"),
    ("x-stainless-retry-count", "0"),
    ("x-stainless-read-timeout", "600"),
)
"""What the OpenAI Python SDK sends (`openai/_base_client.py`): three times as many headers."""

_SENTENCE: Final = "Summarise the quarterly figures for the board and name three risks. "


def chat(size: int = 1024) -> bytes:
    """A chat request of about `size` bytes."""
    return _fit({"model": "gpt-4o-mini", "temperature": 0.2}, size, [{"role": "system", "content": "Be brief."}])


def agent(size: int = 200_000) -> bytes:
    """What a coding agent sends: twenty tools, and a long conversation of calls and results, `size` bytes in all."""
    parameters = {
        "type": "object",
        "properties": {"path": {"type": "string", "description": "Where."}, "lines": {"type": "integer"}},
        "required": ["path"],
    }
    tools = [
        {"type": "function", "function": {"name": f"tool_{n}", "description": _SENTENCE * 3, "parameters": parameters}}
        for n in range(20)
    ]
    messages: list[dict[str, object]] = [{"role": "system", "content": _SENTENCE * 40}]
    result = json.dumps({"file": "src/app.py", "text": "def main() -> None:\n    print('hello')\n" * 40})
    number, room = 0, size - 6000 - len(json.dumps({"tools": tools, "messages": messages}))
    while room > 0:
        function = {"name": f"tool_{number % 20}", "arguments": '{"path": "src/app.py", "lines": 40}'}
        call = {"id": f"call_{number}", "type": "function", "function": function}
        step: list[dict[str, object]] = [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{number}", "content": result},
        ]
        messages += step
        number, room = number + 1, room - len(json.dumps(step))
    return _fit({"model": "gpt-4o-mini", "tools": tools}, size, messages)


def images(size: int = 4_000_000, count: int = 4) -> bytes:
    """A chat about `count` pictures that stand in the request as base64 data URLs, `size` bytes in all."""
    random = Random(count)
    each = (size - 2_000) // count
    pictures = [base64.b64encode(random.randbytes(each * 3 // 4)).decode() for _ in range(count)]
    parts: list[dict[str, object]] = [{"type": "text", "text": "What has changed between these pictures?"}]
    parts += [
        {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{picture}", "detail": "high"}}
        for picture in pictures
    ]
    return _fit({"model": "gpt-4o-mini"}, size, [{"role": "user", "content": parts}])


def embeddings(count: int) -> bytes:
    """A request for `count` vectors."""
    texts = [f"{number}: {_SENTENCE}" for number in range(count)]
    return json.dumps({"model": "text-embedding-3-small", "input": texts}).encode()


def _fit(base: dict[str, object], size: int, messages: list[dict[str, object]]) -> bytes:
    """Fill up with one more user message, to `size` bytes exactly where that is more than the rest needs."""
    empty = json.dumps({**base, "messages": [*messages, {"role": "user", "content": ""}]})
    text = (_SENTENCE * (size // len(_SENTENCE) + 1))[: max(0, size - len(empty))]
    return json.dumps({**base, "messages": [*messages, {"role": "user", "content": text}]}).encode()
