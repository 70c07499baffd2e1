"""The file operations of the journal, and the names on disk. Every call here may block; none keeps state.

`<data>/journal/<lane>/` holds `lock`, segments `000001.jsonl` (later `000001.jsonl.gz`), a torn tail set aside as
`000001.torn`, `closed` once the control process has recorded the lane's end, and names starting with a dot that are
not there yet. `Files` is the seam for tests: a sibling that fails stands beside `SystemFiles`.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
from pathlib import Path
from typing import Final, Protocol

LOCK: Final = "lock"
CLOSED: Final = "closed"
RESERVE_FILE: Final = "reserve"
_KEEP_SIZE: Final = 1
_LANE: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SEGMENT: Final = re.compile(r"(\d{6})\.jsonl(\.gz)?")


class Files(Protocol):
    """What a writer does to the disk. Every method raises `OSError`."""

    def create(self, path: Path) -> int: ...

    def write(self, fd: int, data: bytes, offset: int) -> int:
        """One pwrite(2): how many bytes were taken."""

    def truncate(self, fd: int, size: int) -> None: ...

    def allocate(self, fd: int, offset: int, length: int) -> None:
        """Give the file blocks behind its end without changing its size; EOPNOTSUPP where that cannot be done."""

    def datasync(self, fd: int) -> None: ...

    def close(self, fd: int) -> None: ...


class SystemFiles:
    """The operating system's."""

    def __init__(self) -> None:
        self._fallocate = getattr(ctypes.CDLL(None, use_errno=True), "fallocate", None)
        if self._fallocate is not None:
            self._fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

    def create(self, path: Path) -> int:
        return os.open(path, os.O_CREAT | os.O_RDWR | os.O_TRUNC | os.O_CLOEXEC, 0o600)

    def write(self, fd: int, data: bytes, offset: int) -> int:
        return os.pwrite(fd, data, offset)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def allocate(self, fd: int, offset: int, length: int) -> None:
        if self._fallocate is None:
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        if self._fallocate(fd, _KEEP_SIZE, offset, length):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def datasync(self, fd: int) -> None:
        getattr(os, "fdatasync", os.fsync)(fd)

    def close(self, fd: int) -> None:
        os.close(fd)


def take_lock(lane: Path) -> int | None:
    """The lane's lock, or `None` while its process lives. Held until the descriptor is closed."""
    fd = os.open(lane / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError:
        os.close(fd)
        raise
    return fd


def sync_directory(path: Path) -> None:
    """Make names created in a directory survive a power cut."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_lane(lane: Path) -> None:
    """Make all that has been written to a lane survive a power cut, whatever its durability. Raises `OSError`."""
    for number in segment_numbers(lane):
        path = lane / segment_name(number)
        if path.exists():
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
    sync_directory(lane)


def segment_name(number: int) -> str:
    """File name of a segment, uncompressed."""
    return f"{number:06d}.jsonl"


def segment_numbers(lane: Path) -> list[int]:
    """Numbers of the segments that are there, ascending."""
    found = {int(match[1]) for entry in os.scandir(lane) if (match := _SEGMENT.fullmatch(entry.name))}
    return sorted(found)


def segment_path(lane: Path, number: int) -> Path | None:
    """The file of a segment, plain before compressed; `None` if there is none."""
    plain = lane / segment_name(number)
    for path in (plain, plain.with_suffix(".jsonl.gz"), plain):
        # Asked for twice: compression puts the second name in place before it removes the first.
        if path.exists():
            return path
    return None


def lane_names(directory: Path) -> list[str]:
    """Ids of the lanes in a journal directory, oldest first."""
    if not directory.is_dir():
        return []
    return sorted(entry.name for entry in os.scandir(directory) if _LANE.fullmatch(entry.name))


def is_segment(name: str) -> bool:
    """Whether a file name is a segment's."""
    return _SEGMENT.fullmatch(name) is not None


def directory_bytes(directory: Path) -> int:
    """Size of all files of a journal in bytes. Files that vanish meanwhile do not count."""
    total = 0
    for lane in lane_names(directory):
        with contextlib.suppress(FileNotFoundError):
            for entry in list(os.scandir(directory / lane)):
                with contextlib.suppress(FileNotFoundError):
                    total += entry.stat(follow_symlinks=False).st_size
    return total


def lane_drafts(directory: Path) -> list[Path]:
    """Lanes that were never finished being created."""
    return [
        directory / entry.name
        for entry in os.scandir(directory)
        if entry.name.startswith(".") and _LANE.fullmatch(entry.name[1:])
    ]


def write_whole(path: Path, data: bytes) -> None:
    """Put a file there that is either absent or complete, also after a power cut."""
    draft = path.with_name(f".{path.name}")
    fd = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)
    draft.rename(path)
    sync_directory(path.parent)
