"""Values from JSON nobody vouched for: taken where they make sense, absent where they do not.

Rules: nothing here raises on a value, except `Loose.decode` on data that is no JSON; counts are at most what
every store can hold; text that goes into records is short and encodable.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec

MAX_COUNT: Final = 2**63 - 1
TEXT_LIMIT: Final = 256
"""Characters of a text on record."""
BYTES_PER_TOKEN: Final = 4
"""What an estimate reckons with: English prose has a little more, CJK and code a little less."""

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises on data it does not take."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
"""What `count` takes as it is. Decoding into these types spares the calls; what they refuse goes to the functions."""
Real = Annotated[float, msgspec.Meta(gt=-(2.0**53), lt=2.0**53)]
"""What `real` takes as it is, whole numbers included."""
Text = Annotated[str, msgspec.Meta(max_length=TEXT_LIMIT)]
"""What `text` takes as it is, but for the empty one, which it does not take."""

T = TypeVar("T", bound=msgspec.Struct)


def count(value: object) -> int | None:
    """A number of things: a whole number, also spelled `10.0`; at most `MAX_COUNT`."""
    if type(value) is int:
        if 0 <= value <= MAX_COUNT:
            return value
        return MAX_COUNT if value > 0 else None
    if type(value) is float and value >= 0 and value.is_integer():
        return min(int(value), MAX_COUNT)
    return None


def real(value: object) -> float | None:
    """A finite number."""
    if type(value) is float:
        return value if math.isfinite(value) else None
    if type(value) is int and -(2**53) <= value <= 2**53:
        return float(value)
    return None


def text(value: object, limit: int = TEXT_LIMIT) -> str | None:
    """Text for a record: not empty, at most `limit` characters, encodable."""
    if type(value) is not str or not value:
        return None
    value = value[:limit]
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def size(value: object) -> int:
    """UTF-8 bytes of generated text; of the JSON where a provider sends text in parts."""
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
    if value is None or value == [] or value == {}:
        return 0
    try:
        return len(msgspec.json.encode(value))
    except (TypeError, UnicodeEncodeError):
        return 1


def tokens(size: int) -> int:
    """Estimated tokens in so many bytes, rounded up."""
    return -(-size // BYTES_PER_TOKEN)


class Loose(Generic[T]):
    """Decodes JSON into a struct whose fields all have defaults; a member of the wrong shape counts as absent."""

    __slots__ = ("_fields", "_members", "_type", "strict")

    def __init__(self, kind: type[T]) -> None:
        self._type = kind
        self.strict = msgspec.json.Decoder(kind).decode
        self._members = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._fields = {
            field.encode_name: (field.name, msgspec.json.Decoder(field.type)) for field in msgspec.structs.fields(kind)
        }

    def decode(self, data: bytes) -> T:
        """As `strict` where that works. Raises one of `UNREADABLE` if `data` is no JSON object."""
        try:
            return self.strict(data)
        except UNREADABLE:
            try:
                return self._by_member(data)
            except UNREADABLE:
                return self._by_member(self._normal(data))

    def _by_member(self, data: bytes) -> T:
        values: dict[str, Any] = {}
        for name, raw in self._members.decode(data).items():
            field = self._fields.get(name)
            if field is not None:
                try:
                    values[field[0]] = field[1].decode(raw)
                except UNREADABLE:
                    continue
        return self._type(**values)

    @staticmethod
    def _normal(data: bytes) -> bytes:
        """The same JSON as msgspec takes it: lone surrogates replaced, NaN as null."""
        try:
            value = json.loads(data, parse_constant=lambda _: None)
            return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        except (ValueError, RecursionError) as error:
            raise msgspec.DecodeError("no JSON") from error
