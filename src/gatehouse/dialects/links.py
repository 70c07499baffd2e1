"""What a request's conversation says of the call that it goes on from (`docs/lineage.md`).

An agent sends its whole conversation again with every call, and the tool results that the last answer asked for. So a
request carries the ids of tool calls that an earlier answer proposed; and up to its last answer, the conversation is
what an earlier request sent. Both become keys by which calls find each other (`pipeline.links`).

Rules: cheap before all. Nothing here reads a body a second time: of each of the last `SAMPLED` elements its size and
its ends stand for it, and whose an element is shows in its first or last bytes (SDKs write the role there);
only where it does not, a small element is decoded. What cannot be told is left out: a loop is then found by its other
keys, or not. Anthropic's `cache_control` wanders from call to call, and does not count.
Sources: how the openai, anthropic and google-genai SDKs, LangChain and the Vercel AI SDK write their messages.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from gatehouse.dialects.links_shapes import Element, Elements
from gatehouse.dialects.values import UNREADABLE
from gatehouse.model.call import Links

SAMPLED: Final = 3
"""Elements at the end of a conversation that stand for it, besides their number."""
LOOKED_AT: Final = 64
"""Elements looked at for the last answer, from the end."""
MOST_IDS: Final = 3

_FIRST: Final = 32
_LAST: Final = 96
_WIDE: Final = 3 * _LAST
"""Bytes at an element's end in which what does not count is looked for."""
_COPIED: Final = 4096
"""Bytes of an element that is copied whole rather than in parts."""
_HEAD: Final = 240
"""Bytes in which a role or an id is looked for."""
_SMALL: Final = 32 * 1024
"""Largest element that is decoded where its ends do not tell: 15 µs."""

_ANSWERERS: Final = frozenset((b"assistant", b"model"))
_STARTS: Final = re.compile(rb'\{\s{0,64}"role"\s{0,9}:\s{0,9}"([a-z]{1,16})"')
_ENDS: Final = re.compile(
    rb'"role"\s*:\s*"([a-z]{1,16})"(?:\s*,\s*"(?:tool_call_id|name|id)"\s*:\s*"[^"\\]*")*\s*\}\s*\Z'
)
_TOOL_CALL_ID: Final = re.compile(rb'"tool_call_id"\s*:\s*"([^"\\]{1,200})"')
_TOOL_USE_ID: Final = re.compile(rb'"tool_use_id"\s*:\s*"([^"\\]{1,200})"')
_FUNCTION_ID: Final = re.compile(
    rb'"function(?:Response|_response)"\s*:\s*\{\s*(?:"name"\s*:\s*"[^"\\]*"\s*,\s*)?"id"\s*:\s*"([^"\\]{1,200})"'
)
_OUTPUT: Final = re.compile(
    rb'\{\s{0,64}(?:"type"\s{0,9}:\s{0,9}"\w{1,40}_output"\s{0,9},\s{0,64}"call_id"\s{0,9}:\s{0,9}"([^"\\]{1,200})"'
    rb'|"call_id"\s{0,9}:\s{0,9}"([^"\\]{1,200})"\s{0,9},\s{0,64}"type"\s{0,9}:\s{0,9}"\w{1,40}_output")'
)
_CACHE: Final = re.compile(rb',?\s*"cache_control"\s*:\s*\{[^{}]*\}')
_CACHE_MARK: Final = b'"cache_control"'
_QUOTE: Final = ord('"')
_decode: Final = msgspec.json.Decoder(Element).decode
_decode_word: Final = msgspec.json.Decoder(str).decode

Judge = Callable[[msgspec.Raw, list[str]], bool]
"""(element, ids so far) → whether the model wrote it. Adds the ids of tool calls whose results it holds."""


def chat_links(messages: Elements) -> Links | None:
    """Of OpenAI's `messages`."""
    return _links(messages, _judge_chat)


def messages_links(messages: Elements) -> Links | None:
    """Of Anthropic's `messages`."""
    return _links(messages, _judge_messages)


def contents_links(contents: Elements) -> Links | None:
    """Of Gemini's `contents`."""
    return _links(contents, _judge_contents)


def input_links(items: Elements, previous: str | None, conversation: str | None) -> Links | None:
    """Of the `input` of OpenAI's responses, which may be only what follows a previous response or a conversation."""
    known = previous or conversation
    found = _links(items, _judge_item)
    if known is None:
        return found
    # A conversation is gone on from by its own name, again and again.
    names = () if conversation is None else (conversation,)
    return Links((known, *(found.ids if found is not None else ())), names)


def _links(items: Elements, judge: Judge) -> Links | None:
    if type(items) is not list or not items:
        return None
    whole = len(items)
    if whole == 1 and judge is not _judge_item:
        return Links((), (), None, _brief(items, 1))
    ids: list[str] = []
    lowest = max(0, whole - LOOKED_AT)
    # An answer at the very end was begun by the caller: no later request repeats it as it is.
    while whole > lowest and judge(items[whole - 1], ids):
        whole -= 1
    if not whole:
        return None
    at = whole - 1
    while at > lowest and not judge(items[at - 1], ids):
        at -= 1
    before = None
    if at > lowest:
        # An answer of several elements (reasoning, tool calls) is one.
        nobody: list[str] = []
        at -= 1
        while at > lowest and judge(items[at - 1], nobody):
            at -= 1
        before = _brief(items, at) if at else None
    if ids:
        ids.reverse()
    return Links(tuple(ids[:MOST_IDS]), (), before, _brief(items, whole))


def _brief(items: Sequence[msgspec.Raw], count: int) -> bytes:
    """The first `count` elements, in a few bytes."""
    brief = b"%d" % count
    for at in range(max(0, count - SAMPLED), count):
        element = items[at]
        size = len(element)
        if size <= _COPIED:
            ends = b"".join((element,))  # which takes half of what `bytes` does
        else:
            view = memoryview(element)
            ends = bytes(view[:_FIRST]) + bytes(view[-_WIDE:])
        last = ends[-_LAST:]
        # Not by `in`, which tries for a number first; and what most have not is asked for as cheaply as can be.
        if last.partition(b"_")[1] and last.find(_CACHE_MARK) >= 0:
            wide = ends[-_WIDE:]
            plain = _CACHE.sub(b"", wide)
            size -= len(wide) - len(plain)
            last = plain[-_LAST:]
        brief = b"%b %d %b" % (brief, size, last if size <= _LAST else ends[:_FIRST] + last)
    return brief


def _turn(element: msgspec.Raw) -> Element:
    """A small element, decoded; an empty one where that cannot be."""
    if len(element) > _SMALL:
        return Element()
    try:
        return _decode(element)
    except UNREADABLE:
        return Element()


def _word(raw: msgspec.Raw) -> str:
    """A short text; empty where it is something else."""
    view = memoryview(raw)
    if len(view) > _HEAD or view[0] != _QUOTE:
        return ""
    try:
        return _decode_word(raw)
    except UNREADABLE:
        return ""


def _role(element: msgspec.Raw) -> bytes:
    match = _STARTS.match(element) or _ENDS.search(element, max(0, len(element) - _HEAD))
    if match is not None:
        return match[1]
    return _word(_turn(element).role).encode()


def _find(pattern: re.Pattern[bytes], element: msgspec.Raw) -> str | None:
    """An id in the first or the last bytes of an element."""
    match = pattern.search(element, 0, _HEAD) or pattern.search(element, max(0, len(element) - _HEAD))
    return None if match is None else match[1].decode("utf-8", "replace")


def _judge_chat(element: msgspec.Raw, ids: list[str]) -> bool:
    role = _role(element)
    if role == b"tool":
        name = _find(_TOOL_CALL_ID, element) or _word(_turn(element).tool_call_id)
        if name:
            ids.append(name)
    return role in _ANSWERERS


def _judge_messages(element: msgspec.Raw, ids: list[str]) -> bool:
    if _role(element) in _ANSWERERS:
        return True
    # Several results stand in one message: one of them is enough.
    name = _find(_TOOL_USE_ID, element)
    if name is not None:
        ids.append(name)
    return False


def _judge_contents(element: msgspec.Raw, ids: list[str]) -> bool:
    if _role(element) in _ANSWERERS:
        return True
    name = _find(_FUNCTION_ID, element)
    if name is not None:
        ids.append(name)
    return False


def _judge_item(element: msgspec.Raw, ids: list[str]) -> bool:
    output = _OUTPUT.match(element)
    if output is not None:
        ids.append((output[1] or output[2]).decode("utf-8", "replace"))
        return False
    match = _STARTS.match(element)
    if match is not None:
        return match[1] in _ANSWERERS
    turn = _turn(element)
    kind = _word(turn.type)
    if kind.endswith("_output"):
        name = _word(turn.call_id)
        if name:
            ids.append(name)
        return False
    if kind in ("", "message"):
        return _word(turn.role).encode() in _ANSWERERS
    # Reasoning and calls of every kind are the model's.
    return kind == "reasoning" or kind.endswith("_call")
