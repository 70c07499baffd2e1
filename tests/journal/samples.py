"""Records, writers and faulty disks for the journal's tests."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec

from gatehouse.config import settings
from gatehouse.errors import GatehouseError
from gatehouse.journal.files import Files, SystemFiles
from gatehouse.journal.reader import LaneReader, Line
from gatehouse.journal.recovery import Recovery, RecoveryReport
from gatehouse.journal.verify import verify
from gatehouse.journal.writer import JournalWriter
from gatehouse.model.record import Candidate, Decision, Outcome, Refusal
from gatehouse.model.usage import Usage


def decision(call: str, project: str = "default", **fields: Any) -> Decision:
    served = Candidate("openai", "https://api.openai.com", "gpt-4o-mini")
    return msgspec.structs.replace(
        Decision(
            call,
            project,
            "POST",
            "/openai/v1/chat/completions",
            "/v1/chat/completions",
            "transparent",
            "openai/chat",
            "openai",
            "chat",
            (served,),
            "gpt-4o-mini",
            request_bytes=1024,
            request_sha256="5" * 64,
        ),
        **fields,
    )


def outcome(call: str, project: str = "default", **fields: Any) -> Outcome:
    return msgspec.structs.replace(
        Outcome(
            call,
            project,
            "ok",
            200,
            200,
            usage=Usage(input=19, output=10),
            usage_source="provider",
            usage_check="ok",
            cost=8850,
            price="known",
            price_id="openai/gpt-4o-mini",
            duration_us=1200,
        ),
        **fields,
    )


def refusal(call: str, code: str = "UNAUTHORIZED", project: str = "default") -> Refusal:
    return Refusal(call, project, "refused", "no key", code, 401, "POST", "/openai/v1/chat/completions")


class Told:
    """What `decide` called back with, by call."""

    def __init__(self) -> None:
        self.answers: dict[str, GatehouseError | None] = {}
        self.asked: set[str] = set()

    def __call__(self, call: str) -> Any:
        self.asked.add(call)

        def written(error: GatehouseError | None) -> None:
            assert call not in self.answers, f"{call} was told twice"
            self.answers[call] = error

        return written

    @property
    def stood(self) -> set[str]:
        return {call for call, error in self.answers.items() if error is None}

    @property
    def failed(self) -> set[str]:
        return {call for call, error in self.answers.items() if error is not None}


async def turn(times: int = 3) -> None:
    """Let the event loop finish its turn, the journal's write included."""
    for _ in range(times):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something another thread does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.001)


@asynccontextmanager
async def journal(
    directory: Path, role: str = "worker", files: Files | None = None, **options: Any
) -> AsyncIterator[JournalWriter]:
    """A writer, closed in order at the end. Options are `settings.Journal`'s; its lower bounds do not hold here."""
    writer = JournalWriter(directory, role, settings.Journal(**options), asyncio.get_running_loop(), files)
    writer.open()
    try:
        yield writer
    finally:
        writer.close()


def state(writer: JournalWriter) -> str:
    """The writer's state, which changes under a type checker's nose."""
    return writer.state


def read_lane(directory: Path, lane: str, after: int = 0) -> list[Line]:
    """Everything in a lane that holds."""
    reader = LaneReader(directory, lane, after)
    found: list[Line] = []
    try:
        while lines := reader.read():
            found += lines
    finally:
        reader.close()
    return found


def read_all(directory: Path) -> list[Line]:
    """Every lane."""
    return [
        line for path in sorted(directory.iterdir()) if path.name[0] != "." for line in read_lane(directory, path.name)
    ]


def body(line: Line) -> Any:
    assert line.body is not None
    return msgspec.json.decode(line.body)


def calls_of(lines: list[Line], kind: Literal["decision", "outcome", "call"]) -> list[str]:
    return [body(line)["call"] for line in lines if line.kind == kind]


def check(directory: Path, told: Told, *, calls: set[str]) -> None:
    """The journal holds, and says of every call what its caller was told."""
    lines = read_all(directory)
    decided, ended = calls_of(lines, "decision"), calls_of(lines, "outcome")
    assert set(told.answers) == calls, "everyone was told"
    assert told.stood <= set(decided)
    assert sorted(decided) == sorted(ended), "each decision has exactly one outcome"
    report = verify(directory)
    assert (report.first_bad, report.open_calls, report.torn) == (None, 0, ())


class FaultyFiles:
    """A disk that fails as told: stands beside `SystemFiles`."""

    def __init__(self) -> None:
        self._system = SystemFiles()
        self.capacity: int | None = None
        """Bytes that can still be written; then the disk is full."""
        self.write_error: int | None = None
        self.create_error: int | None = None
        self.shortened = b""
        """What the last short write should have written."""
        self.short: int | None = None
        """The next write takes so many bytes, and the one after it fails with `write_error`."""
        self.truncate_error: int | None = None
        self.allocate_error: int | None = errno.EOPNOTSUPP
        self.sync_error: int | None = None
        self.sync_gate: threading.Event | None = None
        self.syncs = 0
        self.unsynced = False
        """Something was written since the last sync."""
        self.writes = 0

    def heal(self, *, ahead: bool) -> None:
        """Work again; `ahead`: blocks can be allocated ahead."""
        self.capacity = self.write_error = self.short = self.truncate_error = self.sync_error = None
        self.create_error = None
        self.allocate_error = None if ahead else errno.EOPNOTSUPP

    def create(self, path: Path) -> int:
        _raise(self.create_error)
        return self._system.create(path)

    def write(self, fd: int, data: bytes, offset: int) -> int:
        self.writes += 1
        self.unsynced = True
        if self.short is not None:
            taken, self.short, self.shortened = self.short, None, data
            return self._system.write(fd, data[:taken], offset) if taken else 0
        _raise(self.write_error)
        if self.capacity is not None:
            data = data[: self.capacity]
            if not data:
                _raise(errno.ENOSPC)
            self.capacity -= len(data)
        return self._system.write(fd, data, offset)

    def truncate(self, fd: int, size: int) -> None:
        _raise(self.truncate_error)
        self._system.truncate(fd, size)

    def allocate(self, fd: int, offset: int, length: int) -> None:
        _raise(self.allocate_error)
        self._system.allocate(fd, offset, length)

    def datasync(self, fd: int) -> None:
        self.syncs += 1
        if self.sync_gate is not None:
            assert self.sync_gate.wait(10)
        _raise(self.sync_error)
        self._system.datasync(fd)
        self.unsynced = False

    def close(self, fd: int) -> None:
        self._system.close(fd)


def _raise(number: int | None) -> None:
    if number is not None:
        raise OSError(number, os.strerror(number))


def recover(directory: Path, writer: JournalWriter) -> RecoveryReport:
    """Close all dead lanes of a journal, at once."""
    recovery = Recovery(directory, writer)
    recovery.examine()
    return recovery.commit()
