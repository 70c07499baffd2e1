"""Reading requests, whatever shape they are in: the plain way, the way for bodies msgspec refuses, and in slices.

Rules: nothing here raises; what cannot be read is said in `Ask.unread`; a value of the wrong type in a member nobody
needs harms nothing; a body is never copied or held. Reasons name positions, never content.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec

from gatehouse.dialects.crowds import CROWD, many
from gatehouse.dialects.links_shapes import Elements
from gatehouse.dialects.scan import Scanner, scan, scan_now
from gatehouse.dialects.values import UNREADABLE, count
from gatehouse.model.call import Ask

MAX_MODEL: Final = 1024
"""Characters of a model name. A longer one is not put on record."""

Model = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_MODEL)]
"""What `model_asked` takes as it is."""

SEARCH_BYTES: Final = 1024 * 1024
"""Largest body searched member by member after msgspec refused it: that takes up to 12 ms/MiB."""

VALUE_BYTES: Final = 1024 * 1024
"""Largest member read from a body that is searched (`generationConfig` may hold a schema)."""

Read = Callable[[bytes, str | None], Ask]
"""(body, model named by the path) → what it asks. Never raises."""
ReadSlices = Callable[[bytes, str | None], Generator[None, None, Ask]]
"""The same for bodies above `limits.read_whole`: a generator that yields between slices."""

T = TypeVar("T", bound=msgspec.Struct)


def answers(*given: object) -> tuple[int | None, str | None]:
    """How many answers are asked for, where that may be said in several places: the most. And why nobody can tell:
    some providers take `"8"` for a number, and no bound holds then."""
    most: int | None = None
    why: str | None = None
    for each in given:
        number = count(each)
        if number is not None:
            most = number if most is None else max(most, number)
        elif each is not None:
            why = "the number of answers it asks for is not a possible one"
    return most, why


class BodyReader(Generic[T]):
    """Reads bodies into one struct, whose fields are all optional and of any type, and says what they ask."""

    __slots__ = ("_ask", "_decode", "_decode_raw", "_names", "_type", "_value", "_wanted")

    def __init__(self, kind: type[T], ask: Callable[[T, str | None, int, str | None], Ask]) -> None:
        """`ask`: (fields, why they could not be read, bytes of the body, model named by the path) → what is asked."""
        self._type = kind
        self._ask = ask
        self._decode = msgspec.json.Decoder(kind).decode
        # A conversation is not worth searching for.
        fields = [field for field in msgspec.structs.fields(kind) if field.type != Elements]
        self._names = {field.encode_name: field.name for field in fields}
        self._wanted = frozenset(name.casefold() for name in self._names)
        self._value = msgspec.json.Decoder(Any)
        raw = msgspec.defstruct(
            kind.__name__,
            [(field.name, msgspec.Raw, msgspec.Raw(b"null")) for field in fields],
            rename={field.name: field.encode_name for field in fields},
        )
        self._decode_raw = msgspec.json.Decoder(raw).decode

    def read(self, body: bytes, route_model: str | None) -> Ask:
        """What a body asks. `route_model`: the model its path names."""
        size = len(body)
        try:
            if size > 2 * CROWD and many(body, b","):
                return self._ask(self._few(body), None, size, route_model)
            return self._ask(self._decode(body), None, size, route_model)
        except UNREADABLE:
            if size > SEARCH_BYTES:
                unread = "body is not plain JSON, and too large to be searched"
                return self._ask(self._type(), unread, size, route_model)
        return self._found(scan_now(body, self._wanted, VALUE_BYTES), size, route_model)

    def read_slices(self, body: bytes, route_model: str | None) -> Generator[None, None, Ask]:
        """The same for a large body; yields between slices."""
        return self._found((yield from scan(body, self._wanted, VALUE_BYTES)), len(body), route_model)

    def _few(self, body: bytes) -> T:
        """Of a crowded body the members of no great size, and no conversation. Raises one of `UNREADABLE`."""
        members = self._decode_raw(body)
        raw = {name: getattr(members, name) for name in self._names.values()}
        small = {name: value for name, value in raw.items() if len(memoryview(value)) <= CROWD}
        return self._type(**{name: self._value.decode(value) for name, value in small.items()})

    def _found(self, found: Scanner, size: int, route_model: str | None) -> Ask:
        if found.fault is not None:
            return self._ask(self._type(), f"body is no JSON object: {found.fault}", size, route_model)
        values: dict[str, Any] = {}
        for name, raw in found.values().items():
            field = self._names.get(name)
            if field is not None:
                try:
                    values[field] = self._value.decode(raw)
                except UNREADABLE:
                    continue
        return self._ask(self._type(**values), None, size, route_model)


class _Named(msgspec.Struct):
    model: Any = None


def model_reader(operation: str) -> BodyReader[_Named]:
    """Reads bodies of which only the model matters."""

    def ask(fields: _Named, unread: str | None, size: int, route_model: str | None) -> Ask:
        model, overlong = model_asked(fields.model, route_model)
        return Ask(operation=operation, model=model, input_bytes=size, unread=unread or overlong)

    return BodyReader(_Named, ask)


def model_asked(*candidates: object) -> tuple[str | None, str | None]:
    """The first that is a model's name, and why it cannot be put on record."""
    for value in candidates:
        if type(value) is str and value:
            if len(value) > MAX_MODEL:
                return None, f"`model` is longer than {MAX_MODEL} characters"
            return value, None
    return None, None
