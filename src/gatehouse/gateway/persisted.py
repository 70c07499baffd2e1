"""The last snapshot on disk: what a worker starts from. Secrets in it stay sealed.

Rules: control alone writes it, replaces it as a whole, and publishes nothing that does not stand here, on disk, first.
Whoever reads sees one version or the next, never a mixture. A file that is damaged or of another format is as good as
none; control sets it aside, workers leave it alone (theirs might be the good one that has just taken its place).

Format: a header of 50 bytes, then the snapshot as MessagePack. Header, big-endian: `gthsnap\\n`, the format (2 bytes),
the snapshot's version (8), and the SHA-256 of format, version and body (32).
"""

from __future__ import annotations

import hashlib
import os
import struct
from pathlib import Path
from typing import Final

import msgspec

from gatehouse.config.paths import write_private
from gatehouse.model.snapshot import Snapshot

FORMAT: Final = 1
"""To be raised with every change that an older release must not overlook: fields it does not know are ignored."""

_MAGIC: Final = b"gthsnap\n"
_NUMBERS: Final = struct.Struct(">HQ")
_HEADER_BYTES: Final = len(_MAGIC) + _NUMBERS.size + hashlib.sha256().digest_size


class DamagedError(Exception):
    """The file is not a snapshot of this format. The message says why, and names no content."""


def write(path: Path, snapshot: Snapshot) -> None:
    """Replace the file; on disk when it returns. Blocks. Raises `OSError`; the old file then stands."""
    body = msgspec.msgpack.encode(snapshot)
    numbers = _NUMBERS.pack(FORMAT, snapshot.version)
    write_private(path, b"".join((_MAGIC, numbers, _digest(numbers, body), body)))


def read(path: Path) -> Snapshot | None:
    """The snapshot; `None` if there is none. Blocks. Raises `OSError`, `DamagedError`."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    version, digest = _header(content[:_HEADER_BYTES])
    body = memoryview(content)[_HEADER_BYTES:]
    if _digest(_NUMBERS.pack(FORMAT, version), body) != digest:
        raise DamagedError("its digest is not that of its content")
    try:
        snapshot = msgspec.msgpack.decode(body, type=Snapshot)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DamagedError(f"it cannot be decoded: {error}") from error
    if snapshot.version != version:
        raise DamagedError(f"it says version {version} outside and {snapshot.version} inside")
    return snapshot


def version(path: Path) -> int:
    """The version that stands there, by the header alone; 0 if there is none that could be read."""
    try:
        with path.open("rb") as file:
            return _header(file.read(_HEADER_BYTES))[0]
    except (OSError, DamagedError):
        return 0


def set_aside(path: Path) -> Path:
    """Move the file out of the way, in place of an earlier one; returns where it is. Raises `OSError`."""
    aside = path.with_name(f"{path.name}.damaged")
    os.replace(path, aside)
    return aside


def tidy(path: Path) -> None:
    """Remove what a control process that was killed while it wrote left beside the file. Only the one writer may."""
    for draft in path.parent.glob(f".{path.name}.*"):
        draft.unlink(missing_ok=True)


def _header(content: bytes) -> tuple[int, bytes]:
    if len(content) < _HEADER_BYTES or not content.startswith(_MAGIC):
        raise DamagedError("it is no snapshot")
    found, number = _NUMBERS.unpack_from(content, len(_MAGIC))
    if found != FORMAT:
        raise DamagedError(f"it has format {found}, and this release writes {FORMAT}")
    return number, content[_HEADER_BYTES - hashlib.sha256().digest_size :]


def _digest(numbers: bytes, body: bytes | memoryview) -> bytes:
    digest = hashlib.sha256(numbers)
    digest.update(body)
    return digest.digest()
