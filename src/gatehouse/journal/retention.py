"""Compresses what has been collected, and deletes what is too old or too much. Only the control process runs it.

Rules: only segments whose every line the collector has, never the one being written, never control's own lanes (they
say what became of the others). A lane loses its oldest segment first. A tombstone in control's lane is durable before
the file goes. `journal.max_bytes` deletes only under `drop_oldest_collected`, from nine tenths of it on, so that
workers, which refuse calls when it is full, need not; with nothing collected they do.
"""

from __future__ import annotations

import asyncio
import gzip
import heapq
import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec

from gatehouse.config import settings
from gatehouse.errors import GatehouseError
from gatehouse.journal.chain import read_line
from gatehouse.journal.clock import Steady
from gatehouse.journal.files import (
    CLOSED,
    directory_bytes,
    segment_name,
    segment_numbers,
    segment_path,
    sync_directory,
    sync_lane,
)
from gatehouse.journal.lines import MAX_WRITE, JournalError
from gatehouse.journal.reader import LaneInfo, lanes, role_of
from gatehouse.journal.records import Header, SegmentDeleted
from gatehouse.journal.source import open_segment
from gatehouse.journal.writer import JournalWriter
from gatehouse.polite import give_way
from gatehouse.ports import Written

_PACKED_AT_ONCE: Final = 4096
"""Bytes compressed between two chances for others: about 80 µs of work."""

COMPRESS_PER_RUN: Final = 2
"""Segments compressed in one run: a second or two of work, while the collector shares the core."""

DELETE_PER_RUN: Final = 1000
"""Segments deleted in one run: each needs a line that waits for the disk."""

TOMBSTONE_SECONDS: Final = 30.0
"""How long a tombstone may take to become durable before the run is given up."""

WARN_AT: Final = 0.8
DELETE_FROM: Final = 0.9
"""Parts of `journal.max_bytes`."""

_DAY: Final = 86_400.0


class RetentionReport(msgspec.Struct, frozen=True):
    """What one run did."""

    bytes: int = 0
    """Size of the whole journal after it."""
    warn: bool = False
    """More than eight tenths of `journal.max_bytes` are used."""
    compressed: int = 0
    deleted: tuple[str, ...] = ()
    """`lane/file` of deleted segments."""


class _Segment(msgspec.Struct, frozen=True):
    lane: str
    number: int
    path: Path
    size: int
    changed: float
    """Unix time of its last line."""
    first_seq: int
    last_seq: int
    last_hash: str


class Retention:
    """Retention of one journal directory."""

    def __init__(
        self,
        directory: Path,
        writer: JournalWriter,
        options: settings.Journal,
        patience: float = TOMBSTONE_SECONDS,
        clock: Steady | None = None,
    ) -> None:
        """`patience`: seconds a tombstone may take to become durable. `clock`: tells what is too old."""
        self._clock = clock or Steady()
        self._patience = patience
        self._directory = directory
        self._writer = writer
        self._options = options
        self._first: dict[tuple[str, int], Header] = {}
        """Header of each segment's first line, by lane and number: read once."""
        self._control: dict[str, bool] = {}

    async def run(self, collected: Mapping[str, int]) -> RetentionReport:
        """One round. `collected`: per lane the last line the store has. Raises `JournalError`, `OSError`."""
        segments = await asyncio.to_thread(self._survey, dict(collected))
        compressed = await asyncio.to_thread(_compress_some, [segment.path for lane in segments for segment in lane])
        total = await asyncio.to_thread(directory_bytes, self._directory)
        deletable = await asyncio.to_thread(self._survey, dict(collected)) if compressed else segments
        chosen = self._choose([lane for lane in deletable if not self._control[lane[0].lane]], total, self._clock.now())
        if chosen:
            await self._bury(chosen)
            await asyncio.to_thread(self._delete, [segment for segment, _ in chosen])
            total = await asyncio.to_thread(directory_bytes, self._directory)
        return RetentionReport(
            total,
            total > WARN_AT * self._options.max_bytes,
            compressed,
            tuple(f"{segment.lane}/{segment.path.name}" for segment, _ in chosen),
        )

    # -- looking

    def _survey(self, collected: Mapping[str, int]) -> list[list[_Segment]]:
        """Per lane, the collected segments from the first that is there."""
        found = []
        for info in lanes(self._directory):
            path = self._directory / info.lane
            if info.closed is not None and not segment_numbers(path):
                _remove_lane(path)
                continue
            if info.lane not in self._control:
                self._control[info.lane] = role_of(path) == "control"
            segments = self._collected(info, collected.get(info.lane, 0))
            if segments:
                found.append(segments)
        return found

    def _collected(self, info: LaneInfo, seq: int) -> list[_Segment]:
        path = self._directory / info.lane
        numbers = segment_numbers(path)
        found = []
        for number, following in zip(numbers, [*numbers[1:], 0], strict=True):
            first = self._first_header(path, number)
            after = self._first_header(path, following) if following else None
            if after is not None:
                last_seq, last_hash = after.seq - 1, after.prev
            elif info.closed is not None and not following:
                last_seq, last_hash = info.closed.seq, info.closed.hash
            else:
                break
            file = segment_path(path, number)
            if first is None or file is None or last_seq > seq:
                break
            stat = file.stat()
            found.append(_Segment(info.lane, number, file, stat.st_size, stat.st_mtime, first.seq, last_seq, last_hash))
        return found

    def _first_header(self, path: Path, number: int) -> Header | None:
        key = (path.name, number)
        if key not in self._first:
            source = open_segment(path, number)
            if source is None:
                return None
            try:
                lines = source.lines()
                if not lines:
                    return None
                self._first[key] = read_line(lines[0]).header
            except JournalError as error:
                raise JournalError(f"{source.path}:1: {error}") from error
            finally:
                source.close()
        return self._first[key]

    # -- deleting

    def _choose(
        self, collected: list[list[_Segment]], total: int, now: float
    ) -> list[tuple[_Segment, Literal["keep_days", "max_bytes"]]]:
        """What goes, oldest first, each lane from its beginning."""
        oldest = now - self._options.keep_days * _DAY
        drop = self._options.when_full == "drop_oldest_collected"
        limit = DELETE_FROM * self._options.max_bytes
        heads = [(lane[0].changed, lane[0].lane, 0, lane) for lane in collected]
        heapq.heapify(heads)
        chosen: list[tuple[_Segment, Literal["keep_days", "max_bytes"]]] = []
        while heads and len(chosen) < DELETE_PER_RUN:
            _, name, index, lane = heapq.heappop(heads)
            segment = lane[index]
            if segment.changed < oldest:
                chosen.append((segment, "keep_days"))
            elif drop and total > limit:
                chosen.append((segment, "max_bytes"))
            else:
                break
            total -= segment.size
            if index + 1 < len(lane):
                heapq.heappush(heads, (lane[index + 1].changed, name, index + 1, lane))
        return chosen

    async def _bury(self, chosen: list[tuple[_Segment, Literal["keep_days", "max_bytes"]]]) -> None:
        """Write the tombstones and wait until they are durable."""
        loop = asyncio.get_running_loop()
        durable = [loop.create_future() for _ in chosen]
        for (segment, rule), future in zip(chosen, durable, strict=True):
            stone = SegmentDeleted(
                segment.lane,
                segment_name(segment.number),
                segment.first_seq,
                segment.last_seq,
                segment.last_hash,
                segment.size,
                rule,
            )
            self._writer.append("segment_deleted", stone, written=_settle(future))
        try:
            async with asyncio.timeout(self._patience):
                await asyncio.gather(*durable)
        except TimeoutError as error:
            raise JournalError(f"{self._directory}: tombstones could not be written; nothing is deleted") from error

    def _delete(self, segments: list[_Segment]) -> None:
        sync_lane(self._directory / self._writer.lane)
        for segment in segments:
            segment.path.unlink()
            self._first.pop((segment.lane, segment.number), None)
        for lane in {segment.path.parent for segment in segments}:
            if not segment_numbers(lane):
                _remove_lane(lane)


def _settle(future: asyncio.Future[None]) -> Written:
    def written(error: GatehouseError | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(JournalError(error.detail))

    return written


def _remove_lane(path: Path) -> None:
    """All its segments are gone: the rest goes too, the mark that it was closed last."""
    for entry in path.iterdir():
        if entry.name != CLOSED:
            entry.unlink()
    (path / CLOSED).unlink(missing_ok=True)
    path.rmdir()


def _compress_some(paths: list[Path]) -> int:
    plain = [path for path in paths if path.suffix != ".gz"][:COMPRESS_PER_RUN]
    for path in plain:
        compress(path)
    return len(plain)


def compress(path: Path) -> None:
    """Replace a finished segment by its gzip, whole lines only. Raises `OSError`; the plain file then stays."""
    target = path.with_suffix(".jsonl.gz")
    if not target.exists():
        draft = path.with_name(f".{target.name}")
        stat = path.stat()
        fd = os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as raw, path.open("rb") as plain:
            with gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) as packed:
                _copy(plain, packed, _whole(plain, stat.st_size))
            raw.flush()
            os.fsync(fd)
        os.utime(draft, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        draft.rename(target)
        sync_directory(path.parent)
    path.unlink()


def _whole(plain: BinaryIO, size: int) -> int:
    """Where the last whole line ends."""
    at = max(0, size - 2 * MAX_WRITE)
    plain.seek(at)
    cut = plain.read().rfind(b"\n")
    return at + cut + 1


def _copy(plain: BinaryIO, packed: gzip.GzipFile, length: int) -> None:
    plain.seek(0)
    while length > 0 and (piece := plain.read(min(length, 1 << 16))):
        view = memoryview(piece)
        for at in range(0, len(piece), _PACKED_AT_ONCE):
            packed.write(view[at : at + _PACKED_AT_ONCE])
            give_way()
        length -= len(piece)
