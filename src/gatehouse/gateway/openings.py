"""What limits have spent so far, on disk: what a worker that starts begins its counters with.

Control takes it from the store, in one transaction with the marks of the journal's lanes; whoever reads it adds what
the lanes say behind those (`gateway.counted`). So it may be old, and it may be missing: then there is more to read.

Rules: control alone writes it, as a whole. A damaged file is as good as none. Format: SHA-256 of the rest (32 bytes),
then MessagePack.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from gatehouse.config.paths import write_private

_DIGEST_BYTES = hashlib.sha256().digest_size


class Spent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One counter of spend, in one period."""

    counter: str
    period: str
    settled: int
    """Nano-dollars."""
    reserved: int
    """By calls without an outcome, as of the marks."""


class Openings(msgspec.Struct, frozen=True):
    """What is counted up to the marks."""

    marks: dict[str, int] = {}
    """By lane, the last line that is in it."""
    spent: tuple[Spent, ...] = ()


def write(path: Path, openings: Openings) -> None:
    """Replace the file. Blocks. Raises `OSError`; the old one then stands."""
    body = msgspec.msgpack.encode(openings)
    write_private(path, hashlib.sha256(body).digest() + body)


def read(path: Path) -> Openings:
    """What stands there; nothing, if it is missing or damaged. Blocks. Raises `OSError`."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Openings()
    digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        return Openings()
    try:
        return msgspec.msgpack.decode(body, type=Openings)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return Openings()


class _Marks(msgspec.Struct, frozen=True):
    marks: dict[str, int] = {}


def marks(path: Path) -> dict[str, int]:
    """Only how far lanes are collected; nothing where that cannot be told."""
    try:
        return msgspec.msgpack.decode(memoryview(path.read_bytes())[_DIGEST_BYTES:], type=_Marks).marks
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return {}
