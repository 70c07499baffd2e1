"""What control and a worker say on the snapshot's socket: four bytes of length, big-endian, then one MessagePack value.

A worker says `Hello` once; control answers with `Frame`s, and goes on sending some whenever there is a newer snapshot.
The first answer may change nothing: then the worker has the newest already. Nothing else is ever said: a side that
does not understand the other hangs up, and the worker comes back with version 0, which is answered with a whole one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import msgspec

from gatehouse.gateway import deltas
from gatehouse.model.snapshot import Delta

MOST_BYTES: Final = 64 * 1024 * 1024
"""Of a frame. One of 2,000 keys has some 400 KB."""
HELLO_BYTES: Final = 1024

_LENGTH: Final = 4


class Hello(msgspec.Struct, frozen=True):
    """What a worker holds: a version of control's, exactly; 0: nothing to go on from."""

    version: int


class Frame(msgspec.Struct, frozen=True, omit_defaults=True):
    """A part of the way to a newer snapshot."""

    delta: Delta
    more: bool = False
    """Further parts follow; nothing holds before the last."""


class FrameError(Exception):
    """Too long to be one of ours."""


def encode(message: Hello | Frame) -> bytes:
    """Ready to be written."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(_LENGTH, "big") + body


def encoded(change: Delta) -> Iterator[bytes]:
    """The frames that carry it, each made when it is asked for."""
    for part, more in deltas.parts(change):
        yield encode(Frame(part, more))


async def read(reader: asyncio.StreamReader, most: int = MOST_BYTES) -> bytes:
    """The next value, encoded. Raises `asyncio.IncompleteReadError` at the end, `FrameError`, `OSError`."""
    length = int.from_bytes(await reader.readexactly(_LENGTH), "big")
    if length > most:
        raise FrameError(f"a frame of {length} bytes; at most {most} are expected")
    return await reader.readexactly(length)
