"""A provider's own list of models, without those that a gateway key may not ask for.

Rules: sans-I/O. Only whole elements of the list go; every other byte stays (I1). A list that cannot be read is not
handed out. Shapes: OpenAI and Anthropic `{"data": [{"id": …}]}`, Gemini `{"models": [{"name": "models/…"}]}`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from gatehouse import errors
from gatehouse.dialects.model_list_shapes import Listed
from gatehouse.dialects.scan import Scanner
from gatehouse.errors import GatehouseError
from gatehouse.model.call import Dialect

MOST: Final = 8 * 1024 * 1024
"""Bytes of a list. OpenRouter's, the longest known, has less than one MiB."""

_decode_items: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_item: Final = msgspec.json.Decoder(Listed).decode


class ModelListFilter:
    """Edits one answer. `may`: whether a model, by the provider's word for it, is for the caller."""

    __slots__ = ("_held", "_may", "_member")

    def __init__(self, dialect: Dialect, may: Callable[[str], bool]) -> None:
        self._may = may
        self._member = "models" if dialect == "google" else "data"
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes:
        """Nothing yet: the list is decided on whole. Raises `GatehouseError` for one too long."""
        self._held += data
        if len(self._held) > MOST:
            raise _unreadable()
        return b""

    def finish(self) -> bytes:
        """The list. Raises `GatehouseError` if it cannot be read."""
        body = bytes(self._held)
        scanner = Scanner(frozenset({self._member}), value_limit=MOST)
        scanner.feed(body)
        scanner.finish()
        members = scanner.members
        if scanner.fault is not None or len(members) != 1 or members[0].value is None:
            raise _unreadable()
        found = members[0]
        try:
            items = _decode_items(members[0].value)
            kept = [bytes(item) for item in items if self._wanted(bytes(item))]
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _unreadable() from None
        if len(kept) == len(items):
            return body
        return body[: found.start] + b"[" + b",".join(kept) + b"]" + body[found.end :]

    def _wanted(self, item: bytes) -> bool:
        listed = _decode_item(item)
        name = listed.id or listed.name
        return name is not None and self._may(name.removeprefix("models/"))


def _unreadable() -> GatehouseError:
    return GatehouseError(
        errors.UPSTREAM_ERROR, "the provider's list of models cannot be read, and not all of them are for this key"
    )
