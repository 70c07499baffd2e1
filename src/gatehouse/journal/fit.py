"""Makes a call's record writable that is not so as it stands. Pure.

Callers and providers choose some strings and numbers of a record. A lone surrogate, an integer beyond 64 bits or a
name of megabytes must not cost an outcome its line (I2). What was changed shows in the text itself.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec

_TEXT: Final = 512
"""Characters of a string that stay."""
_ITEMS: Final = 32
"""Elements of a list that stay."""
_LARGEST: Final = 2**63 - 1

Record = TypeVar("Record", bound=msgspec.Struct)


def fit(record: Record) -> Record:
    """The same record with long strings and lists cut, surrogates escaped and numbers clamped to 64 bits."""
    return msgspec.structs.replace(record, **{name: _fit(getattr(record, name)) for name in record.__struct_fields__})


def _fit(value: Any) -> Any:
    if isinstance(value, str):
        text = value.encode("utf-8", "backslashreplace").decode()
        return text if len(text) <= _TEXT else f"{text[:_TEXT]}… ({len(text)} characters)"
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return max(-_LARGEST, min(_LARGEST, value))
    if isinstance(value, tuple):
        return tuple(_fit(item) for item in value[:_ITEMS])
    if isinstance(value, msgspec.Struct):
        return fit(value)
    return value
