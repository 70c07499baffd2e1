"""Encoding bodies for tests, in every coding that is read: in one go, and as a stream flushed event by event."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator

import brotli
import zstandard


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


def br(data: bytes) -> bytes:
    packed: bytes = brotli.compress(data, quality=4)
    return packed


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def zstd_window(data: bytes, log: int) -> bytes:
    """A frame that asks for a window of 2 ** `log` bytes."""
    packer = zstandard.ZstdCompressor(compression_params=zstandard.ZstdCompressionParameters(window_log=log))
    packing = packer.compressobj()
    return packing.compress(data) + packing.flush()


def zstd_skippable(data: bytes) -> bytes:
    return b"\x57\x2a\x4d\x18" + len(data).to_bytes(4, "little") + data


CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "Deflate": raw_deflate,
    "br": br,
    "zstd": zstd,
    "gzip, br": lambda data: br(gzip.compress(data)),
    "zstd,identity, deflate ,gzip": lambda data: gzip.compress(raw_deflate(zstd(data))),
}
"""By their name in Content-Encoding."""


def flushed(coding: str, events: Iterable[bytes]) -> Iterator[bytes]:
    """Each event encoded and flushed, as servers send streams; then what ends the encoded stream."""
    if coding == "br":
        packer = brotli.Compressor(quality=4)
        for event in events:
            yield packer.process(event) + packer.flush()
        yield packer.finish()
        return
    if coding == "zstd":
        packing = zstandard.ZstdCompressor().compressobj()
        for event in events:
            yield packing.compress(event) + packing.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        yield packing.flush()
        return
    deflating = zlib.compressobj(wbits=31 if coding == "gzip" else 15)
    for event in events:
        yield deflating.compress(event) + deflating.flush(zlib.Z_SYNC_FLUSH)
    yield deflating.flush()
