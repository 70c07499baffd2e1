"""What control and workers say to each other, as bytes."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from gatehouse.gateway.deltas import PART, Draft, whole
from gatehouse.gateway.frames import Frame, FrameError, Hello, encode, encoded, read
from gatehouse.gateway.snapshot import filled
from gatehouse.model.snapshot import SECTIONS
from tests.gateway.entries import PLAIN, sections


def _reader(*pieces: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    for piece in pieces:
        reader.feed_data(piece)
    reader.feed_eof()
    return reader


def test_a_whole_snapshot_goes_in_frames_and_comes_out_of_them() -> None:
    snapshot = filled(PLAIN, sections(5_000), 9)

    async def run() -> None:
        reader = _reader(*encoded(whole(snapshot)))
        draft = None
        while True:
            frame = msgspec.msgpack.decode(await read(reader), type=Frame)
            assert sum(len(getattr(frame.delta, name).put) for name in SECTIONS) <= PART
            draft = draft or Draft(PLAIN, frame.delta)
            draft.add(frame.delta)
            if not frame.more:
                break
        assert draft.finish() == snapshot
        with pytest.raises(asyncio.IncompleteReadError):
            await read(reader)

    asyncio.run(run())


def test_what_is_too_long_is_not_read() -> None:
    async def run() -> None:
        with pytest.raises(FrameError, match="a frame of 2147483647 bytes"):
            await read(_reader(b"\x7f\xff\xff\xff"))
        with pytest.raises(FrameError, match="at most 2"):
            await read(_reader(encode(Hello(version=2**60))), most=2)
        assert await read(_reader(encode(Hello(7)))) == msgspec.msgpack.encode(Hello(7))

    asyncio.run(run())
