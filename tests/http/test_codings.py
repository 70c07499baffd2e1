"""http/codings.py: what is particular to br and zstd. That every coding reads every split stands in test_content.py."""

from __future__ import annotations

import gc
import weakref

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.codings import PIECE, ZSTD_WINDOW, Brotli, Unreadable, Zstd
from tests.http.encodings import br, zstd, zstd_skippable, zstd_window


def undo(coding: Brotli | Zstd, stream: bytes, step: int) -> bytes:
    out = b""
    for start in range(0, len(stream), step):
        for piece in coding.feed(stream[start : start + step]):
            assert 0 < len(piece) <= PIECE
            out += piece
    return out


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.integers(1, 300))
def test_zstd_frames_follow_one_another_with_skippable_ones_between(bodies: list[bytes], step: int) -> None:
    stream = b"".join(zstd(body) + zstd_skippable(body) for body in bodies)
    coding = Zstd()
    assert undo(coding, stream, step) == b"".join(bodies)
    assert coding.whole


def test_a_skippable_frame_may_be_long_and_holds_no_memory() -> None:
    coding = Zstd()
    assert undo(coding, zstd_skippable(b"x" * 1_000_000) + zstd(b"abc"), 1000) == b"abc"
    assert coding.whole and len(coding._buffer) == 0


@pytest.mark.parametrize("size", [0, 1, 100_000, 131_072, 131_073, 5_000_000])
def test_zstd_blocks_of_every_kind(size: int) -> None:
    """Raw (random bytes), repeated (zeros) and compressed ones, with and without a frame's content size."""
    noise = bytes(number * 7919 % 251 ^ number >> 5 & 0xFF for number in range(min(size, 140_000)))
    for body in (b"\0" * size, noise, b"words and more words " * (size // 21)):
        assert undo(Zstd(), zstd(body), 70_001) == body
        assert undo(Zstd(), zstd_window(body, 20), 70_001) == body


def test_zstd_windows_are_bounded_i9() -> None:
    """RFC 9659, 3: a window of 8 MB, and no larger."""
    assert undo(Zstd(), zstd_window(b"abc", 23), 5) == b"abc"
    with pytest.raises(Unreadable, match=f"window is larger than {ZSTD_WINDOW} bytes"):
        undo(Zstd(), zstd_window(b"abc", 24), 5)


@pytest.mark.parametrize(
    "stream",
    [
        zstd(b"abc") + b"rubbish",
        zstd(b"abc")[:-1] + b"?",  # checksum
        b"\x28\xb5\x2f\xfd\x08\x50",  # a reserved bit
        b"\x28\xb5\x2f\xfd\x00\x50" + (3 << 1 | 9 << 3).to_bytes(3, "little") + b"x" * 9,  # a reserved block type
        b"\x28\xb5\x2f\xfd\x00\x50" + (1 << 1 | 200_000 << 3).to_bytes(3, "little") + b"x",  # a block of 200,000 bytes
        b"\x28\xb5\x2f\xfd\x01\x50\x07" + (1 | 1 << 3).to_bytes(3, "little") + b"x",  # a dictionary nobody has
    ],
)
@pytest.mark.parametrize("step", [1, 100])
def test_zstd_that_is_none(stream: bytes, step: int) -> None:
    with pytest.raises(Unreadable, match="not valid zstd"):
        undo(Zstd(), stream, step)


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_nothing_may_follow_a_brotli_stream(step: int) -> None:
    with pytest.raises(Unreadable, match="not valid br"):
        undo(Brotli(), br(b"abc") + b"x", step)


def test_brotli_of_the_largest_window() -> None:
    body = b"words and more words " * 50_000
    assert undo(Brotli(), brotli.compress(body, quality=5, lgwin=24), 1000) == body


def test_windows_are_freed_with_their_last_reference_i9() -> None:
    """Not when the garbage collector comes round: no cycles."""

    class Watched(Zstd):
        """A `Zstd` that can be watched (slots have no weak references)."""

    gc.disable()
    try:
        coding = Watched()
        undo(coding, zstd(b"abc" * 1000)[:-5], 10)
        gone = weakref.ref(coding)
        del coding
        assert gone() is None
    finally:
        gc.enable()
