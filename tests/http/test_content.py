"""http/content.py: every coding in every split; what cannot be read is said; a bomb is not inflated (I9)."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.content import MAX_CODINGS, MAX_RATIO, PIECE, RATIO_FREE, Decoder
from tests.http.encodings import CODINGS, br, flushed, zstd

PLAIN: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "identity": lambda data: data,
    " X-GZIP ": gzip.compress,
}
ALL = PLAIN | CODINGS
ONE = ["gzip", "deflate", "br", "zstd"]


def decode(coding: str, pieces: list[bytes]) -> tuple[bytes, str | None]:
    decoder = Decoder(coding)
    out = b""
    for piece in pieces:
        for part in decoder.feed(piece):
            assert 0 < len(part) <= PIECE
            out += part
    return out, decoder.unreadable


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places})
    return [data[start:end] for start, end in zip([0, *marks], [*marks, len(data)], strict=True)]


def text(size: int) -> bytes:
    return bytes(random.Random(1).choices(b"abcdefgh \n", k=size))


@given(st.sampled_from(sorted(ALL)), st.binary(max_size=500), st.lists(st.integers(0, 600), max_size=6))
def test_any_split_of_any_coding_gives_the_body(coding: str, body: bytes, cuts: list[int]) -> None:
    assert decode(coding, cut(ALL[coding](body), cuts)) == (body, None)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.lists(st.integers(0, 300), max_size=6))
def test_gzip_members_follow_one_another_with_padding_and_rubbish(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"\0\0".join(gzip.compress(body) for body in bodies)
    for rest in (b"", b"\0\0\0", b"rubbish", b"\x1f", b"\x1frubbish"):
        assert decode("gzip", cut(stream + rest, cuts)) == (b"".join(bodies), None)


@pytest.mark.parametrize("coding", ONE)
def test_what_was_flushed_can_be_read_at_once(coding: str) -> None:
    """A stream's events are metered as they come, not when the stream ends."""
    events = [b"data: %d\n\n" % number for number in range(200)]
    decoder = Decoder(coding)
    for encoded, event in zip(flushed(coding, events), [*events, b""], strict=True):
        assert b"".join(decoder.feed(encoded)) == event
    assert decoder.whole


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_a_cut_stream_gives_what_it_held_and_is_not_whole(coding: str) -> None:
    body = text(1_500_000)
    stream = CODINGS[coding](body)
    decoder = Decoder(coding)
    wholes = [decoder.whole]
    out = b"".join(decoder.feed(stream[: len(stream) // 2]))
    wholes.append(decoder.whole)
    assert decoder.unreadable is None
    assert len(out) > 300_000 and body.startswith(out)
    out += b"".join(decoder.feed(stream[len(stream) // 2 :]))
    assert out == body and [*wholes, decoder.whole] == [True, False, True]


@pytest.mark.parametrize("coding", sorted(CODINGS))
def test_whole_is_said_at_the_end_and_not_before(coding: str) -> None:
    stream = CODINGS[coding](b"some words")
    decoder = Decoder(coding)
    wholes = []
    for place in range(len(stream)):
        list(decoder.feed(stream[place : place + 1]))
        wholes.append(decoder.whole)
    assert wholes == [False] * (len(stream) - 1) + [True]


def test_a_cut_stream_gives_all_that_it_held() -> None:
    """Also where zlib holds output back although it took all input."""
    stream = zlib.compress(b"a" * 1_000_000)
    for at in range(len(stream) - 200, len(stream)):
        assert decode("deflate", [stream[:at]])[0] == zlib.decompressobj().decompress(stream[:at])


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1, 3 * PIECE, 3 * PIECE + 5])
@pytest.mark.parametrize("coding", sorted({"", "identity"} | set(CODINGS)))
def test_output_that_fills_its_pieces_is_not_lost(coding: str, size: int) -> None:
    body = b"ab" * (size // 2) + b"c" * (size % 2)
    assert decode(coding, [ALL[coding](body)]) == (body, None)


@pytest.mark.parametrize("coding", ["compress", "gzip, aes128gcm", "gzip;q=1", "x" * 500])
def test_an_unknown_coding_says_that_it_cannot_be_read(coding: str) -> None:
    out, unreadable = decode(coding, [b"data"])
    assert out == b""
    assert unreadable is not None and "cannot be read" in unreadable and len(unreadable) < 100
    assert not Decoder(coding).whole


def test_codings_upon_one_another_have_a_bound_i9() -> None:
    body, coding = b"abc", ", ".join(["gzip"] * MAX_CODINGS)
    for _ in range(MAX_CODINGS):
        body = gzip.compress(body)
    assert decode(coding, [body]) == (b"abc", None)
    assert decode(coding + ",gzip", [gzip.compress(body)]) == (b"", "more than 3 content codings cannot be read")


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", b"plain text"),
        ("gzip", b"\x1f\x8b\x08\xff"),
        ("deflate", b"\xff\xff\xff\xff"),
        ("br", b"plain text that is no brotli"),
        ("zstd", b"plain text"),
    ],
)
def test_a_wrong_coding_is_said_and_nothing_raises(coding: str, data: bytes) -> None:
    decoder = Decoder(coding)
    assert list(decoder.feed(data)) == []
    list(decoder.feed(data * 50))
    assert decoder.unreadable == f"body is not valid {coding}"
    assert list(decoder.feed(data)) == []


def test_which_of_several_codings_is_wrong_is_said() -> None:
    assert decode("gzip, br", [br(b"plain text")])[1] == "body is not valid gzip"
    assert decode("gzip, zstd", [gzip.compress(b"plain text")])[1] == "body is not valid zstd"


@given(st.sampled_from(sorted(CODINGS)), st.binary(max_size=300), st.integers(0, 400), st.integers(0, 255))
def test_damage_is_never_an_exception_and_the_split_does_not_change_the_verdict(
    coding: str, body: bytes, place: int, value: int
) -> None:
    stream = bytearray(CODINGS[coding](body))
    stream[place % len(stream)] = value
    damaged = bytes(stream)
    singly = [damaged[at : at + 1] for at in range(len(damaged))]
    assert (decode(coding, [damaged])[1] is None) == (decode(coding, singly)[1] is None)


@given(st.sampled_from(ONE), st.binary(max_size=300))
def test_rubbish_is_never_an_exception(coding: str, rubbish: bytes) -> None:
    for start in (b"", b"\x1f\x8b\x08\0", b"\x78\x9c", b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18"):
        list(Decoder(coding).feed(start + rubbish))


@pytest.mark.parametrize("coding", ONE)
def test_a_bomb_is_not_inflated_i9(coding: str) -> None:
    bomb = CODINGS[coding](b"\0" * 60_000_000)
    decoder = Decoder(coding)
    total = sum(len(part) for part in decoder.feed(bomb))
    assert decoder.unreadable == f"decoded body is more than {MAX_RATIO} times its encoded size"
    assert total <= max(RATIO_FREE, MAX_RATIO * len(bomb)) + PIECE


def test_a_bomb_inside_a_bomb_is_not_inflated_either_i9() -> None:
    """Each layer would stay below its own ratio."""
    inner = gzip.compress(b"\0" * 100_000_000, compresslevel=1)
    for coding, stream in (("gzip, zstd", zstd(inner)), ("gzip, gzip", gzip.compress(inner))):
        decoder = Decoder(coding)
        total = sum(len(part) for part in decoder.feed(stream))
        assert decoder.unreadable is not None and str(MAX_RATIO) in decoder.unreadable
        assert total <= max(RATIO_FREE, MAX_RATIO * len(stream)) + PIECE


def test_a_layer_in_between_that_explodes_is_noticed_i9() -> None:
    """Empty deflate blocks: the body itself stays small."""
    packer = zlib.compressobj(wbits=31)
    hollow = packer.compress(b"x") + packer.flush(zlib.Z_FULL_FLUSH)
    hollow += b"\0\0\0\xff\xff" * 2_000_000 + packer.flush()
    assert decode("gzip", [hollow]) == (b"x", None)
    out, unreadable = decode("gzip, zstd", [zstd(hollow)])
    assert out in (b"", b"x") and unreadable is not None and str(MAX_RATIO) in unreadable
