"""Another model in a JSON request: only the value's own bytes change, every other byte stays (I1). Pure."""

from __future__ import annotations

from typing import Final

import msgspec

from gatehouse.dialects.scan import Scanner, scan

_MODEL: Final = "model"


def rename_model(body: bytes, model: str) -> bytes:
    """The body asking for another model.

    Raises `ValueError` where it is no JSON object, or names its model not exactly once: nobody knows then which one a
    provider reads.
    """
    found = _scanned(body)
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


def _scanned(body: bytes) -> Scanner:
    steps = scan(body, frozenset({_MODEL}))
    while True:
        try:
            next(steps)
        except StopIteration as done:
            scanner: Scanner = done.value
            return scanner
