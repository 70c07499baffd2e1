"""What the simulated provider accepts, and how it words what it does not: OpenAI's error body, naming the field.

Shapes from openai-py 3.52 (`types/chat/completion_create_params.py`, `types/embedding_create_params.py`). Fields that
change nothing here (temperature, user …) are ignored, as unknown ones are.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

Role = Literal["developer", "system", "user", "assistant", "tool", "function"]
Schema = dict[str, Any]

_WHERE: Final = re.compile(r" - at `(?:key in )?\$\.?(.*)`$")
_MAX_OUTPUT: Final = 16_384
"""Tokens of one answer, however many are allowed."""

T = TypeVar("T")


class Invalid(Exception):
    """A request this provider refuses: HTTP status and the fields of OpenAI's `error`."""

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code
        self.status = status

    def body(self) -> bytes:
        """`{"error": {message, type, param, code}}`."""
        error = {"message": self.message, "type": "invalid_request_error", "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})


class Part(Struct, frozen=True):
    """A part of a message's content. Only text is looked at."""

    type: str
    text: str = ""


class CalledFunction(Struct, frozen=True):
    name: str = ""
    arguments: str = ""


class ToolCall(Struct, frozen=True):
    id: str = ""
    function: CalledFunction = CalledFunction()


class Message(Struct, frozen=True):
    role: Role
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None

    def text(self) -> str:
        """The content's text, parts joined by line breaks."""
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content or () if part.text)


class Function(Struct, frozen=True):
    name: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_.-]{1,128}$")]
    parameters: Schema | None = None


class Tool(Struct, frozen=True):
    function: Function | None = None
    type: str = "function"


class NamedFunction(Struct, frozen=True):
    name: str


class NamedTool(Struct, frozen=True):
    function: NamedFunction
    type: Literal["function"] = "function"


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


class JsonSchema(Struct, frozen=True):
    name: str
    schema: Schema = {}


class ResponseFormat(Struct, frozen=True):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatRequest(Struct, frozen=True):
    """`POST /v1/chat/completions`."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Meta(ge=1, le=16)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    stop: str | list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None

    def output_limit(self) -> int:
        """The most tokens an answer may have."""
        return min(self.max_completion_tokens or self.max_tokens or _MAX_OUTPUT, _MAX_OUTPUT)

    def stops(self) -> list[str]:
        """The texts that end an answer."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    def functions(self) -> dict[str, Function]:
        """The functions offered, by name, in order."""
        return {tool.function.name: tool.function for tool in self.tools or () if tool.function is not None}


class EmbeddingRequest(Struct, frozen=True):
    """`POST /v1/embeddings`. `input` is text, a list of texts, a list of tokens, or a list of such lists."""

    model: Annotated[str, Meta(min_length=1)]
    input: Any
    dimensions: Annotated[int, Meta(ge=1, le=4096)] | None = None
    encoding_format: Literal["float", "base64"] | None = None

    def inputs(self) -> list[str | list[int]]:
        """The inputs one by one. Raises `Invalid`."""
        value = self.input
        if isinstance(value, str) or _is_tokens(value):
            value = [value]
        if not isinstance(value, list) or not 1 <= len(value) <= 2048:
            raise Invalid("'input' must be text, tokens, or a list of 1 to 2048 of either.", param="input")
        for index, item in enumerate(value):
            if not item or not (isinstance(item, str) or _is_tokens(item)):
                raise Invalid(f"'input[{index}]' must be text or tokens, and not empty.", param=f"input[{index}]")
        return value


def read_chat(body: bytes) -> ChatRequest:
    """Raises `Invalid`."""
    request = _decode(body, ChatRequest)
    if request.stream_options is not None and not request.stream:
        raise Invalid("'stream_options' is only allowed when 'stream' is true.", param="stream_options")
    if isinstance(request.tool_choice, NamedTool) and request.tool_choice.function.name not in request.functions():
        raise Invalid("'tool_choice' names a function that is not in 'tools'.", param="tool_choice")
    if request.tool_choice in ("auto", "required") and not request.tools:
        raise Invalid("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    if request.response_format is not None and request.response_format.type == "json_schema":
        if request.response_format.json_schema is None:
            raise Invalid("'response_format.json_schema' is missing.", param="response_format.json_schema")
    return request


def read_embeddings(body: bytes) -> EmbeddingRequest:
    """Raises `Invalid`."""
    return _decode(body, EmbeddingRequest)


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        text = str(error)
        where = _WHERE.search(text)
        missing = re.search(r"missing required field `(\w+)`", text)
        path = ".".join(name for name in (where[1] if where else "", missing[1] if missing else "") if name)
        said = text[: where.start()] if where else text
        raise Invalid(f"Invalid request: {said}" + (f" ('{path}')." if path else "."), param=path or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Invalid("We could not parse the JSON body of your request.") from None


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)
