"""http/content.py: every coding in every split; what cannot be read is said; a bomb is not inflated (I9)."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatehouse.http.content import MAX_RATIO, PIECE, Decoder


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


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


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda data: data,
    "": lambda data: data,
    "gzip": lambda data: gzip.compress(data),
    " X-GZIP ": gzip.compress,
    "deflate": lambda data: zlib.compress(data),
    "Deflate": raw_deflate,
}


@given(st.sampled_from(sorted(CODINGS)), st.binary(max_size=500), st.lists(st.integers(0, 600), max_size=6))
def test_any_split_of_any_coding_gives_the_body(coding: str, body: bytes, cuts: list[int]) -> None:
    assert decode(coding, cut(CODINGS[coding](body), cuts)) == (body, None)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.lists(st.integers(0, 300), max_size=6))
def test_gzip_members_follow_one_another_with_padding_and_rubbish(bodies: list[bytes], cuts: list[int]) -> None:
    stream = b"\0\0".join(gzip.compress(body) for body in bodies)
    for rest in (b"", b"\0\0\0", b"rubbish", b"\x1f", b"\x1frubbish"):
        assert decode("gzip", cut(stream + rest, cuts)) == (b"".join(bodies), None)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "Deflate"])
def test_a_cut_stream_gives_what_it_held(coding: str) -> None:
    body = bytes(random.Random(1).choices(b"abcdefgh \n", k=400_000))
    stream = CODINGS[coding](body)
    out, unreadable = decode(coding, [stream[: len(stream) // 2]])
    assert unreadable is None
    assert len(out) > 100_000 and body.startswith(out)


def test_a_cut_stream_gives_all_that_it_held() -> None:
    """Also where zlib holds output back although it took all input."""
    stream = zlib.compress(b"a" * 1_000_000)
    for at in range(len(stream) - 200, len(stream)):
        assert decode("deflate", [stream[:at]])[0] == zlib.decompressobj().decompress(stream[:at])


@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 5])
@pytest.mark.parametrize("coding", ["identity", "gzip", "deflate"])
def test_output_that_fills_its_pieces_is_not_lost(coding: str, size: int) -> None:
    body = b"ab" * (size // 2) + b"c" * (size % 2)
    assert decode(coding, [CODINGS[coding](body)]) == (body, None)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br", "GZIP,gzip", "x" * 500])
def test_an_unknown_coding_says_that_it_cannot_be_read(coding: str) -> None:
    out, unreadable = decode(coding, [b"data"])
    assert out == b""
    assert unreadable is not None and "cannot be read" in unreadable and len(unreadable) < 100


@pytest.mark.parametrize(
    ("coding", "data"), [("gzip", b"plain text"), ("deflate", b"\xff\xff\xff\xff"), ("gzip", b"\x1f\x8b\x08\xff")]
)
def test_a_wrong_coding_is_said_and_nothing_raises(coding: str, data: bytes) -> None:
    decoder = Decoder(coding)
    assert list(decoder.feed(data)) == []
    list(decoder.feed(data * 50))
    assert decoder.unreadable == f"body is not valid {coding}"
    assert list(decoder.feed(data)) == []


def test_a_bomb_is_not_inflated_i9() -> None:
    bomb = gzip.compress(b"\0" * 60_000_000, compresslevel=9)
    decoder = Decoder("gzip")
    total = sum(len(part) for part in decoder.feed(bomb))
    assert decoder.unreadable is not None and str(MAX_RATIO) in decoder.unreadable
    assert total <= MAX_RATIO * len(bomb) + PIECE
