"""The model that a JSON request names: whether it does so once and plainly, and putting another there. Pure.

Rules: only the value's own bytes change, every other byte stays (I1).
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import msgspec

from gatehouse.dialects.scan import scan

_MODEL: Final = "model"
_FURTHER: Final = frozenset(("models", "fallbacks", "fallback", "compound_custom"))
"""Models that a provider may turn to: OpenRouter's, Anthropic's, Groq's."""
_PROMPT: Final = "prompt"
"""A text, or an object that names a stored prompt, with a model of its own (OpenAI's responses)."""
_TOOLS: Final = "tools"
"""Of them, those that run a model of their own: OpenAI's image generation, Anthropic's advisor."""
_TOLD: Final = frozenset((_MODEL, _PROMPT, _TOOLS)) | _FURTHER
_LARGEST_TOOLS: Final = 1024 * 1024
"""Bytes that are looked at in one go."""
_PAINTS: Final = "image_generation"
_tools: Final = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_type: Final = msgspec.json.Decoder(str | None)


def single_slices(body: bytes) -> Generator[None, None, bool]:
    """Whether the body names exactly one model, in slices (`scan.scan`): no second one, and none to fall back to."""
    found = yield from scan(body, _TOLD)
    if found.fault is not None:
        return False
    models = 0
    for member in found.members:
        folded = member.name.casefold()
        if folded == _MODEL:
            models += 1
            if member.name != _MODEL:
                return False
        elif folded == _PROMPT:
            if body[member.start : member.start + 1] == b"{":
                return False
        elif folded == _TOOLS:
            if _runs_another(body[member.start : member.end]):
                return False
        elif member.value != b"null":
            return False
    return models == 1


def _runs_another(tools: bytes) -> bool:
    """Whether one of these tools runs a model that the request's own says nothing of, or nobody can tell."""
    if len(tools) > _LARGEST_TOOLS:
        return True
    try:
        found = _tools.decode(tools) or ()
        return any(
            [_MODEL in map(str.casefold, tool) or _type.decode(tool.get("type", b"null")) == _PAINTS for tool in found]
        )
    except (ValueError, RecursionError):
        return True


def rename_model(body: bytes, model: str) -> bytes:
    """The body asking for another model.

    Raises `ValueError` where it is no JSON object, or names its model not exactly once: nobody knows then which one a
    provider reads.
    """
    steps = rename_slices(body, model)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            renamed: bytes = done.value
            return renamed


def rename_slices(body: bytes, model: str) -> Generator[None, None, bytes]:
    """The same in slices, for a body of any size (`scan.scan`)."""
    found = yield from scan(body, frozenset({_MODEL}))
    if found.fault is not None:
        raise ValueError(f"the body is not readable as a JSON object ({found.fault})")
    members = found.members
    if not members:
        raise ValueError("the body names no model")
    if len(members) > 1 or members[0].name != _MODEL:
        names = ", ".join(f"`{member.name}`" for member in members)
        raise ValueError(f"the body does not name its model once and plainly: it has {names}")
    member = members[0]
    return body[: member.start] + msgspec.json.encode(model) + body[member.end :]
