"""Reading requests, whatever shape they are in: the plain way, the way for bodies msgspec refuses, and in slices.

Rules: nothing here raises; what cannot be read is said in `Ask.unread`; a value of the wrong type in a member nobody
needs harms nothing; a body is never copied or held. Reasons name positions, never content.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec

from gatehouse.dialects.scan import Scanner, scan, scan_now
from gatehouse.dialects.values import UNREADABLE

MAX_MODEL: Final = 1024
"""Characters of a model name. A longer one is not put on record."""

Model = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_MODEL)]
"""What `model_asked` takes as it is."""

SEARCH_BYTES: Final = 1024 * 1024
"""Largest body searched member by member after msgspec refused it: that takes up to 12 ms/MiB."""

VALUE_BYTES: Final = 1024 * 1024
"""Largest member read from a body that is searched (`generationConfig` may hold a schema)."""

T = TypeVar("T", bound=msgspec.Struct)


class BodyReader(Generic[T]):
    """Reads bodies into one struct, whose fields are all optional and of any type."""

    __slots__ = ("_decode", "_names", "_type", "_value", "_wanted")

    def __init__(self, kind: type[T]) -> None:
        self._type = kind
        self._decode = msgspec.json.Decoder(kind).decode
        self._names = {field.encode_name: field.name for field in msgspec.structs.fields(kind)}
        self._wanted = frozenset(name.casefold() for name in self._names)
        self._value = msgspec.json.Decoder(Any)

    def read(self, body: bytes) -> tuple[T, str | None]:
        """The fields, and why they could not be read."""
        try:
            return self._decode(body), None
        except UNREADABLE:
            if len(body) > SEARCH_BYTES:
                return self._type(), "body is not plain JSON, and too large to be searched"
        return self._fields(scan_now(body, self._wanted, VALUE_BYTES))

    def read_slices(self, body: bytes) -> Generator[None, None, tuple[T, str | None]]:
        """The same for a large body; yields between slices."""
        return self._fields((yield from scan(body, self._wanted, VALUE_BYTES)))

    def _fields(self, found: Scanner) -> tuple[T, str | None]:
        if found.fault is not None:
            return self._type(), f"body is no JSON object: {found.fault}"
        values: dict[str, Any] = {}
        for name, raw in found.values().items():
            field = self._names.get(name)
            if field is not None:
                try:
                    values[field] = self._value.decode(raw)
                except UNREADABLE:
                    continue
        return self._type(**values), None


def model_asked(*candidates: object) -> tuple[str | None, str | None]:
    """The first that is a model's name, and why it cannot be put on record."""
    for value in candidates:
        if type(value) is str and value:
            if len(value) > MAX_MODEL:
                return None, f"`model` is longer than {MAX_MODEL} characters"
            return value, None
    return None, None
