"""Tool calls on request, and values that fit a JSON schema.

A call is made where `tool_choice` forces it, or where the last message is the user's and says "call NAME" of a function
on offer; JSON right after the name becomes the arguments, else they are made to fit the function's parameters.
"""

from __future__ import annotations

import re
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final, NamedTuple

import msgspec

from gatehouse.simulated.request import ChatRequest, Function, NamedTool, Schema

_DEPTH: Final = 12
_ITEMS: Final = 3
_VALUES: Final = 500
_LOOKED_AT: Final = 16_384
"""Characters of a message that are searched for what to call."""
_DECODER: Final = JSONDecoder()


class Call(NamedTuple):
    """A function call the simulated model proposes."""

    name: str
    arguments: str
    """JSON."""


def wanted_calls(request: ChatRequest) -> list[Call]:
    """The calls to propose; none means: answer in text."""
    functions = request.functions()
    choice = request.tool_choice
    if not functions or choice == "none":
        return []
    last = request.messages[-1]
    said = last.text()[:_LOOKED_AT] if last.role == "user" else ""
    if isinstance(choice, NamedTool):
        return [_call(functions[choice.function.name], said)]
    calls = [_call(function, said) for function in functions.values() if _mention(function.name, said)]
    if not calls and choice == "required":
        calls = [_call(next(iter(functions.values())), said)]
    return calls[:1] if request.parallel_tool_calls is False else calls


def tool_results(request: ChatRequest) -> str | None:
    """What the tools returned, in a sentence each, if that is what the request ends with."""
    names = {
        call.id: call.function.name for message in request.messages for call in message.tool_calls or () if call.id
    }
    sentences: list[str] = []
    for message in reversed(request.messages):
        if message.role != "tool":
            break
        name = names.get(message.tool_call_id or "", "tool")
        sentences.insert(0, f"{name} returned: {message.text()[:400]}")
    return "\n".join(sentences) or None


def instance(schema: Schema) -> Any:
    """A small value that fits a JSON schema, as far as types, enums, bounds, references and required properties say."""
    return _Maker(schema).make(schema, "value", _DEPTH)


class _Maker:
    """Makes the values of one schema. Bounded in depth and in number: a schema may refer to itself."""

    def __init__(self, root: Schema) -> None:
        self._root = root
        self._left = _VALUES

    def make(self, schema: Schema, name: str, depth: int) -> Any:
        """`name`: the property it is for; a text says its own name."""
        self._left -= 1
        if depth < 1 or self._left < 1:
            return None
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        for key in ("enum", "examples"):
            if isinstance(schema.get(key), list) and schema[key]:
                return schema[key][0]
        if isinstance(schema.get("$ref"), str):
            return self.make(self._referred(schema["$ref"]), name, depth - 1)
        for key in ("anyOf", "oneOf", "allOf"):
            options = schema.get(key)
            if isinstance(options, list) and options and isinstance(options[0], dict):
                return self.make(options[0], name, depth - 1)
        return self._typed(schema, name, depth)

    def _referred(self, reference: str) -> Schema:
        found: Any = self._root
        for step in reference.removeprefix("#/").split("/"):
            found = found.get(step) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def _typed(self, schema: Schema, name: str, depth: int) -> Any:
        kind = schema.get("type", "object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = kind[0] if kind else "string"
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            items = schema.get("items")
            count = schema.get("minItems", 1)
            if not isinstance(items, dict) or not isinstance(count, int):
                return []
            return [self.make(items, name, depth - 1) for _ in range(min(count, _ITEMS))]
        if kind in ("integer", "number"):
            least = schema.get("minimum", 1)
            return least if isinstance(least, (int, float)) else 1
        return {"boolean": True, "null": None}.get(kind, name) if isinstance(kind, str) else name

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties")
        if not isinstance(properties, dict):
            return {}
        required = schema.get("required")
        names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else list(properties)
        return {
            name: self.make(properties[name], name, depth - 1)
            for name in names
            if isinstance(properties.get(name), dict) and self._left > 0
        }


def _mention(name: str, said: str) -> re.Match[str] | None:
    return re.search(rf"\bcall\s+[`\"']?{re.escape(name)}(?![\w-])[`\"']?", said, re.IGNORECASE)


def _call(function: Function, said: str) -> Call:
    mention = _mention(function.name, said)
    if mention is not None:
        rest = said[mention.end() :].lstrip(" \t\r\n:,").removeprefix("with").lstrip()
        if rest.startswith("{"):
            try:
                value, _ = _DECODER.raw_decode(rest)
            except (JSONDecodeError, RecursionError):
                pass
            else:
                return Call(function.name, msgspec.json.encode(value).decode())
    made = instance(function.parameters or {"type": "object"})
    return Call(function.name, msgspec.json.encode(made if isinstance(made, dict) else {}).decode())
