"""Reads whole lines from one segment file, plain or compressed, from the beginning on.

Rules: only what ends in a newline is a line. The bytes behind the last newline of a plain file are read anew each time:
the writer may still be writing them, or take them back. Every complaint names the file.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from pathlib import Path
from typing import BinaryIO, Final, cast

from gatehouse.journal.files import segment_path
from gatehouse.journal.lines import MAX_WRITE, JournalError

_CHUNK: Final = 2 * MAX_WRITE


class Source:
    """An open segment. Each call returns what has become readable, without newlines; nothing new is an empty list."""

    def __init__(self, path: Path) -> None:
        """Raises `FileNotFoundError`."""
        self.path = path
        self.line_no = 0
        """Lines handed out."""
        self._offset = 0
        self._packed = path.suffix == ".gz"
        self._left = b""
        self._file: BinaryIO = cast("BinaryIO", gzip.open(path)) if self._packed else path.open("rb", buffering=0)

    def lines(self) -> list[bytes]:
        """Some of the next lines."""
        data = self._left + self._read() if self._packed else self._read()
        cut = data.rfind(b"\n") + 1
        if not cut:
            if len(data) >= _CHUNK and b"\0" not in data:
                raise JournalError(f"{self.path}:{self.line_no + 1}: longer than a line can be")
            if self._packed:
                self._left = data
            return []
        if self._packed:
            self._left = data[cut:]
        else:
            self._offset += cut
        lines = data[: cut - 1].split(b"\n")
        self.line_no += len(lines)
        return lines

    def rest(self) -> bytes:
        """What stands behind the last line: half a line, or nothing."""
        if self._packed:
            return self._left
        pieces = []
        offset = self._offset
        while piece := os.pread(self._file.fileno(), _CHUNK, offset):
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def close(self) -> None:
        self._file.close()

    def _read(self) -> bytes:
        try:
            if self._packed:
                return self._file.read(_CHUNK)
            return os.pread(self._file.fileno(), _CHUNK, self._offset)
        except (zlib.error, EOFError, gzip.BadGzipFile) as error:
            raise JournalError(f"{self.path}: cannot be decompressed: {error}") from error


def open_segment(lane: Path, number: int) -> Source | None:
    """A segment of a lane, plain or compressed; `None` if there is none."""
    for _ in range(2):  # Once more if it was compressed between the look and the opening.
        path = segment_path(lane, number)
        if path is None:
            return None
        with contextlib.suppress(FileNotFoundError):
            return Source(path)
    return None
