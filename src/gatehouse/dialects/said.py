"""What an answer says, for comparing two: its text, its reasoning, its tool calls, streamed or not, in every dialect.

Pure, and off the hot path: for the command line. Rules: nothing raises, however odd the answer; what is not understood
is left out, and an answer of which nothing is understood (an error, embeddings, a file) is `None`, to be compared as
the document it is. Sources: as in the dialects' own files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgspec

from gatehouse.http.sse import Reader

_EVENT_LIMIT: Final = 16 * 1024 * 1024


class ToolCall(msgspec.Struct, frozen=True):
    """A call the model asks for. `arguments` is JSON as text, with sorted names where it could be read."""

    name: str
    arguments: str


class Said(msgspec.Struct, frozen=True):
    """The content of one answer. Several choices stand one after the other."""

    text: str
    reasoning: str
    tool_calls: tuple[ToolCall, ...]


def said(dialect: str | None, endpoint: str, body: bytes, content_type: str | None) -> Said | None:
    """The content of a decoded answer body. `endpoint` as in the record's route (`openai/chat` → `chat`)."""
    read = _READERS.get((dialect, endpoint))
    if read is None:
        return None
    collected = _Collected()
    for document in _documents(body, content_type or ""):
        read(collected, document)
    return collected.said()


class _Collected:
    """Pieces by place in the answer, in the order the places began."""

    def __init__(self) -> None:
        self._text: dict[Any, list[str]] = {}
        self._reasoning: dict[Any, list[str]] = {}
        self._names: dict[Any, str] = {}
        self._arguments: dict[Any, list[str]] = {}
        self._whole: dict[Any, Any] = {}

    def add_text(self, place: Any, piece: Any) -> None:
        if isinstance(piece, str) and piece:
            self._text.setdefault(place, []).append(piece)

    def add_reasoning(self, place: Any, piece: Any) -> None:
        if isinstance(piece, str) and piece:
            self._reasoning.setdefault(place, []).append(piece)

    def add_call(self, place: Any, name: Any = None, arguments: Any = None) -> None:
        """A piece of a tool call; `arguments`: a piece of their JSON text, or the value itself."""
        self._names.setdefault(place, "")
        if isinstance(name, str):
            self._names[place] += name
        if isinstance(arguments, str):
            self._arguments.setdefault(place, []).append(arguments)
        elif arguments is not None:
            self._whole[place] = arguments

    def clear(self) -> None:
        """What came so far is about to be said again, whole."""
        for part in (self._text, self._reasoning, self._names, self._arguments, self._whole):
            part.clear()

    def said(self) -> Said | None:
        if not (self._text or self._reasoning or self._names):
            return None
        return Said(
            text="\n\n".join("".join(pieces) for pieces in self._text.values()),
            reasoning="\n\n".join("".join(pieces) for pieces in self._reasoning.values()),
            tool_calls=tuple(ToolCall(name, self._written(place)) for place, name in self._names.items()),
        )

    def _written(self, place: Any) -> str:
        pieces = self._arguments.get(place)
        if pieces:
            text = "".join(pieces)
            try:
                return _sorted(msgspec.json.decode(text))
            except (msgspec.DecodeError, ValueError, RecursionError):
                return text
        return _sorted(self._whole.get(place, {}))


def _sorted(value: Any) -> str:
    return msgspec.json.encode(value, order="sorted").decode()


def _documents(body: bytes, content_type: str) -> Iterator[dict[str, Any]]:
    """The objects an answer consists of: the events' of a stream, the elements of an array, or the one it is."""
    if content_type.lower().lstrip().startswith("text/event-stream"):
        reader = Reader(_EVENT_LIMIT)
        found: Iterable[Any] = (_decoded(data) for _, data in (*reader.feed(body), *reader.finish()))
    else:
        whole = _decoded(body)
        found = whole if isinstance(whole, list) else (whole,)
    yield from (each for each in found if isinstance(each, dict))


def _decoded(data: bytes) -> Any:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None


def _objects(value: Any) -> list[dict[str, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _place(value: Any) -> Any:
    """Something an answer's part is known by."""
    return value if isinstance(value, int | str) else 0


def _chat(collected: _Collected, document: dict[str, Any]) -> None:
    for choice in _objects(document.get("choices")):
        at = _place(choice.get("index"))
        collected.add_text(at, choice.get("text"))  # legacy completions
        message = _object(choice.get("delta")) or _object(choice.get("message"))
        content = message.get("content")
        collected.add_text(at, content)
        for part in _objects(content):
            collected.add_text(at, part.get("text"))
        collected.add_text((at, "refusal"), message.get("refusal"))
        collected.add_reasoning(at, message.get("reasoning_content") or message.get("reasoning"))
        for number, call in enumerate(_objects(message.get("tool_calls"))):
            function = _object(call.get("function")) or _object(call.get("custom"))
            place = (at, _place(call.get("index", number)))
            collected.add_call(place, function.get("name"), function.get("arguments") or function.get("input"))
        legacy = _object(message.get("function_call"))
        if legacy:
            collected.add_call((at, "function"), legacy.get("name"), legacy.get("arguments"))


def _responses(collected: _Collected, document: dict[str, Any]) -> None:
    kind = document.get("type")
    at = _place(document.get("output_index"))
    match kind:
        case "response.output_item.done":
            _item(collected, at, _object(document.get("item")))
        case "response.completed" | "response.incomplete" | "response.failed":
            # Some servers leave `output` out here, others repeat it whole.
            output = _objects(_object(document.get("response")).get("output"))
            if output:
                collected.clear()
            for number, item in enumerate(output):
                _item(collected, number, item)
        case None:
            for number, item in enumerate(_objects(document.get("output"))):
                _item(collected, number, item)


def _item(collected: _Collected, at: Any, item: dict[str, Any]) -> None:
    match item.get("type"):
        case "message":
            for part in _objects(item.get("content")):
                collected.add_text(at, part.get("text") or part.get("refusal"))
        case "reasoning":
            for part in [*_objects(item.get("summary")), *_objects(item.get("content"))]:
                collected.add_reasoning(at, part.get("text"))
        case "function_call":
            collected.add_call(at, item.get("name"), item.get("arguments"))
        case "custom_tool_call":
            collected.add_call(at, item.get("name"), {"input": item.get("input")})
        case str() as kind if kind.endswith("_call"):
            # The provider's own tools: what they were asked, not what they found.
            collected.add_call(at, kind, {"action": item.get("action")})


def _messages(collected: _Collected, document: dict[str, Any]) -> None:
    for number, block in enumerate(_objects(document.get("content"))):
        _block(collected, number, block)
    at = _place(document.get("index"))
    match document.get("type"):
        case "content_block_start":
            block = _object(document.get("content_block"))
            # A streamed call begins with an empty input, and its arguments follow in pieces.
            _block(collected, at, {**block, "input": block.get("input") or None})
        case "content_block_delta":
            delta = _object(document.get("delta"))
            collected.add_text(at, delta.get("text"))
            collected.add_reasoning(at, delta.get("thinking"))
            if "partial_json" in delta:
                collected.add_call(at, arguments=delta["partial_json"])


def _block(collected: _Collected, at: Any, block: dict[str, Any]) -> None:
    match block.get("type"):
        case "text":
            collected.add_text(at, block.get("text"))
        case "thinking":
            collected.add_reasoning(at, block.get("thinking"))
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            collected.add_call(at, block.get("name"), block.get("input"))


def _generate(collected: _Collected, document: dict[str, Any]) -> None:
    for candidate in _objects(document.get("candidates")):
        at = _place(candidate.get("index"))
        for part in _objects(_object(candidate.get("content")).get("parts")):
            add = collected.add_reasoning if part.get("thought") is True else collected.add_text
            add(at, part.get("text"))
            call = _object(part.get("functionCall"))
            if call:
                # Never in pieces: each is a call of its own.
                collected.add_call(object(), call.get("name"), call.get("args"))


_READERS: Final[dict[tuple[str | None, str], Callable[[_Collected, dict[str, Any]], None]]] = {
    ("openai", "chat"): _chat,
    ("openai", "completions"): _chat,
    ("openai", "responses"): _responses,
    ("anthropic", "messages"): _messages,
    ("google", "generate_content"): _generate,
    ("google", "stream_generate_content"): _generate,
}
