"""The model that a form names (transcriptions, edits of images), and putting another there. Pure.

Rules: every reader must find the same field there, so a form that any could read otherwise names none:
lines that end otherwise than in CRLF, a delimiter out of place, a name that is encoded, repeated or spelt otherwise.
Only the value's own bytes change, every other byte stays (I1).
Sources: RFC 2046 (5.1), RFC 7578.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_BOUNDARY: Final = re.compile(
    rb"multipart/form-data\s*;\s*boundary=(\"?)([0-9A-Za-z'()+_,./:=?-]{1,70})\1", re.IGNORECASE
)
_PARAMETER: Final = re.compile(rb";\s*([^\s=;\"]+)\s*=\s*(?:\"([^\"\\]*)\"|([^\s;\"]+))")
_DISPOSITION: Final = re.compile(
    rb"form-data((?:\s*;\s*[^\s=;\"]+\s*=\s*(?:\"[^\"\\]*\"|[^\s;\"]+))+)\s*", re.IGNORECASE
)
_MODEL: Final = b"model"
_PARTS: Final = 256
_HEAD: Final = 8192
_VALUE: Final = 256


class Field(NamedTuple):
    """Where a form says which model."""

    model: str
    start: int
    end: int


def model_field(body: bytes, content_type: bytes | None) -> Field | None:
    """The form's one field `model`; `None` where it has none, or none that every reader takes for the same."""
    match = _BOUNDARY.fullmatch(content_type.strip()) if content_type is not None else None
    if match is None:
        return None
    try:
        return _found(body, b"--" + match[2])
    except ValueError:
        return None


def rename_field(body: bytes, field: Field, model: str) -> bytes:
    """The form asking for another model. Raises `ValueError` for a name that no field can hold."""
    value = model.encode()
    if b"\r" in value or b"\n" in value:
        raise ValueError("a form cannot hold this model's name")
    return body[: field.start] + value + body[field.end :]


def _found(body: bytes, delimiter: bytes) -> Field | None:
    """Raises `ValueError` where the form is not what all would read."""
    if not body.startswith(delimiter):
        raise ValueError("something stands before the first part")
    found: Field | None = None
    at = len(delimiter)
    for _ in range(_PARTS):
        if body.startswith(b"--", at):
            if body[at + 2 :] not in (b"", b"\r\n"):
                raise ValueError("something stands behind the last part")
            return found
        if not body.startswith(b"\r\n", at):
            raise ValueError("a delimiter that does not end its line")
        # An empty head has its own empty line: `\r\n\r\n` begins with the delimiter's.
        head_end = body.find(b"\r\n\r\n", at, at + _HEAD)
        next_one = body.find(delimiter, at)
        if head_end < 0 or not head_end + 4 <= next_one - 2 or body[next_one - 2 : next_one] != b"\r\n":
            raise ValueError("a part that does not end where its delimiter begins")
        name = _name(body[at + 2 : head_end])
        if name.strip().lower() == _MODEL:
            if found is not None or name != _MODEL:
                raise ValueError("two models")
            found = _field(body, head_end + 4, next_one - 2)
        at = next_one + len(delimiter)
    raise ValueError("too many parts")


def _name(head: bytes) -> bytes:
    """A part's name. Raises `ValueError`; also for a field `model` that is more than plain text."""
    dispositions = []
    headers = set()
    for line in head.split(b"\r\n"):
        name, colon, value = line.partition(b":")
        if not colon or not name.strip() or name != name.strip() or b"\r" in line or b"\n" in line:
            raise ValueError("a header line that is none")
        headers.add(name.lower())
        if name.lower() == b"content-disposition":
            dispositions.append(_DISPOSITION.fullmatch(value.strip()))
    [disposition] = dispositions
    if disposition is None:
        raise ValueError("a disposition that is none")
    given = [
        (match[1].lower(), match[2] if match[2] is not None else match[3])
        for match in _PARAMETER.finditer(disposition[1])
    ]
    names = [value for parameter, value in given if parameter == b"name"]
    if len(names) != 1 or any(parameter.startswith(b"name") and parameter != b"name" for parameter, _ in given):
        raise ValueError("a part without a name, or with two")
    plain = {parameter for parameter, _ in given} == {b"name"} and b"content-transfer-encoding" not in headers
    if names[0].strip().lower() == _MODEL and not plain:
        raise ValueError("a model that is a file, or encoded")
    return bytes(names[0])


def _field(body: bytes, start: int, end: int) -> Field:
    """Raises `ValueError`."""
    value = body[start:end]
    if not 0 < len(value) <= _VALUE or b"\r" in value or b"\n" in value:
        raise ValueError("no name of a model")
    return Field(value.decode(), start, end)
