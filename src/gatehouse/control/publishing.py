"""The snapshot's way to the workers: built from settings and directory, on disk first, then sent as what differs.

Rules: one round at a time. A round reads the directory, builds, persists, and only then tells the workers; asking for
one while it runs gets the next, which starts no sooner than `PACE_SECONDS` after it: a burst of changes is one round.
A round that fails changes nothing: whoever waits is told, and it is tried again. Nothing is published that was not read
whole: as long as the directory cannot be read, workers go on by what they have.

Versions. 1 is the configuration alone. Whenever the content differs from the last one persisted, whoever made that, the
next version is greater than that one, than any that a worker on this machine serves by, and not smaller than the
directory's revision. So it only grows over restarts, and where the file was lost, as far as workers or directory know.

Keys whose running calls are to end (`cut`) go with the version that shuts them out: once a worker serves by it, they
have ended.

A worker that says which version it holds gets the deltas since, as far as they are kept (`_KEPT_BYTES`), else all of
it in parts. Each has its own pace: what waits for a slow one is a frame and the transport's buffer, never a queue.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from gatehouse.config.loads import Loads
from gatehouse.config.settings import Settings
from gatehouse.control.acknowledgement import acknowledged
from gatehouse.gateway import deltas, frames, persisted, snapshot
from gatehouse.gateway.sound import sound
from gatehouse.model.snapshot import Delta, Sections, Snapshot
from gatehouse.store.engine import StoreError

PACE_SECONDS: Final = 0.02
RETRY_SECONDS: Final = 1.0

_KEPT_BYTES: Final = 16 * 1024 * 1024
"""Of deltas, for workers that were away for a moment."""
_KEPT_STEPS: Final = 1_000
_KEPT_CUTS: Final = 1_000
"""Keys cut last, for workers that get all of it."""
_HELLO_SECONDS: Final = 5.0
_STALLED_SECONDS: Final = 5.0
"""After that a worker that takes nothing is hung up on; it comes back, or somebody who waits for it ends it."""
_BUFFER_BYTES: Final = 256 * 1024
_GONE: Final = (OSError, asyncio.IncompleteReadError, frames.FrameError, msgspec.MsgspecError, UnicodeDecodeError)

_log = logging.getLogger(__name__)

Source = Callable[[], Awaitable[Sections]]
"""All that the directory contributes, as of now. Raises `StoreError` or `OSError` where it cannot be read."""


class NotPublishedError(Exception):
    """A change is stored, and not in force yet; it will be as soon as what the message names is put right."""


class _Step(NamedTuple):
    """The way from one published version to the next, ready to be sent."""

    base: int
    frames: tuple[bytes, ...]


class Publisher:
    """`open`, then `run` for as long as the process lives, then `aclose`. Or only `persist`."""

    def __init__(self, path: Path, settings: Settings, loads: Loads, source: Source | None = None) -> None:
        """`path`: of the persisted snapshot, which nobody else writes. Without `source` there are no sections.

        Raises `ConfigError`.
        """
        self.failure = ""
        """Why the newest changes are not in force, if they are not."""
        self._path = path
        self._loads = loads
        self._source = source
        self._plain = snapshot.build(settings)
        self._before = self._plain
        """The last one persisted; else the configuration alone, which is what workers start from then."""
        self._saved = False
        self._current: Snapshot | None = None
        self._steps: deque[_Step] = deque()
        self._news = asyncio.Event()
        self._wanted = asyncio.Event()
        self._waiting: list[asyncio.Future[int]] = []
        self._cutting: tuple[str, ...] = ()
        """Keys whose calls are to end with the next version."""
        self._cut: deque[str] = deque(maxlen=_KEPT_CUTS)
        self._said: list[str] = []
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> Snapshot | None:
        """The one that workers are told; `None` before the first."""
        return self._current

    async def open(self, listener: socket.socket) -> None:
        """Take up the persisted snapshot and answer workers at `listener`, which is closed in the end."""
        await asyncio.to_thread(self._remember)
        await self.move(listener)
        self._wanted.set()

    async def move(self, listener: socket.socket) -> None:
        """Answer at this one from now on. Who is connected stays so."""
        before, self._server = self._server, await asyncio.start_unix_server(self._serve, sock=listener)
        if before is not None:
            before.close()

    async def persist(self) -> int:
        """Instead of all else, for a command that changes the directory while nothing is served: the next start must
        not begin by the old snapshot. Returns the version on disk. Raises `StoreError`, `OSError`."""
        await asyncio.to_thread(self._remember)
        return await self._round()

    async def publish(self, cut: tuple[str, ...] = ()) -> int:
        """Bring all that the directory holds now to the workers. `cut`: ids of keys whose running calls end by it, if
        they are no longer in force.

        Returns a version that has it, once that is on disk and on its way. Raises `NotPublishedError`.
        """
        self._cutting += cut
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._wanted.set()
        return await waiting

    async def published(self, version: int) -> None:
        """Returns when no worker decides by an older snapshot any more; one that hangs is killed for it."""
        await acknowledged(self._loads, version)

    async def run(self) -> None:
        """A round whenever one is wanted, for ever. Raises what only a bug raises."""
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            waiting, self._waiting = self._waiting, []
            pause, failed = PACE_SECONDS, ""
            try:
                version = await self._round()
                for each in waiting:
                    if not each.done():
                        each.set_result(version)
            except (StoreError, OSError) as error:
                pause, failed = RETRY_SECONDS, str(error) or type(error).__name__
                if failed != self.failure:
                    _log.warning("the snapshot cannot be published, and will be tried again: %s", failed)
                self._wanted.set()
            finally:
                _fail(waiting, failed or "the control plane is stopping")
            self.failure = failed
            await asyncio.sleep(pause)

    async def aclose(self) -> None:
        """Hang up on everybody. Workers go on without."""
        if self._server is not None:
            self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        _fail(self._waiting, "the control plane is stopping")

    # -- a round

    def _remember(self) -> None:
        try:
            persisted.tidy(self._path)
            found = persisted.read(self._path)
        except persisted.DamagedError as error:
            with suppress(OSError):
                _log.warning("%s is set aside as %s: %s", self._path, persisted.set_aside(self._path).name, error)
        except OSError as error:
            _log.warning("%s cannot be read: %s", self._path, error.strerror or error)
        else:
            if found is not None:
                self._before, self._saved = found, True

    async def _round(self) -> int:
        cut = self._cutting
        sections = Sections() if self._source is None else await self._source()
        made, step = await asyncio.to_thread(self._make, sections, cut)
        self._cutting = self._cutting[len(cut) :]
        self._cut += cut
        self._before, self._saved = made, True
        if made is not self._current:
            self._current = made
            if step is not None:
                self._keep(step)
            self._news.set()
            self._news = asyncio.Event()
        return made.version

    def _make(self, sections: Sections, cut: tuple[str, ...]) -> tuple[Snapshot, _Step | None]:
        """The snapshot with these sections, on disk, and the way to it from the last one. Raises `OSError`."""
        kept, left_out = sound(sections)
        if left_out != self._said:
            self._said = left_out
            for sentence in left_out:
                _log.warning("%s", sentence)
        before = self._before
        served = max((worker.version for worker in self._loads.registered()), default=0)
        change = deltas.delta(before, snapshot.filled(self._plain, kept, before.version))
        change = msgspec.structs.replace(change, cut=cut)
        if deltas.changes_nothing(change) and served <= before.version:
            if not self._saved:
                persisted.write(self._path, before)
            return before, None
        version = max(before.version + 1, served + 1, kept.revision)
        made = snapshot.filled(self._plain, kept, version)
        persisted.write(self._path, made)
        way = msgspec.structs.replace(change, version=version)
        return made, _Step(before.version, tuple(frames.encoded(way)))

    def _keep(self, step: _Step) -> None:
        self._steps.append(step)
        size = sum(len(frame) for each in self._steps for frame in each.frames)
        while size > _KEPT_BYTES or len(self._steps) > _KEPT_STEPS:
            size -= sum(map(len, self._steps.popleft().frames))

    # -- a worker

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._tell(reader, writer))
        self._serving.add(task)
        try:
            # Not awaited itself: `aclose` cancels it, and that is no end for asyncio's own task to die of.
            await asyncio.wait((task,))
            with suppress(*_GONE, asyncio.CancelledError):
                task.result()
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await asyncio.wait_for(frames.read(reader, frames.HELLO_BYTES), _HELLO_SECONDS)
        held: int | None = None
        asked = msgspec.msgpack.decode(hello, type=frames.Hello).version
        writer.transport.set_write_buffer_limits(high=_BUFFER_BYTES)
        gone = asyncio.ensure_future(reader.read(1))
        try:
            while not gone.done():
                news, current = self._news, self._current
                if current is None or current.version == held:
                    told = asyncio.ensure_future(news.wait())
                    await asyncio.wait((gone, told), return_when=asyncio.FIRST_COMPLETED)
                    told.cancel()
                    continue
                for frame in self._way(asked if held is None else held, current):
                    writer.write(frame)
                    await asyncio.wait_for(writer.drain(), _STALLED_SECONDS)
                held = current.version
        finally:
            if not gone.cancel():
                gone.exception()

    def _way(self, held: int, current: Snapshot) -> Iterable[bytes]:
        """Frames from version `held` to `current`."""
        if held == current.version:
            return (frames.encode(frames.Frame(Delta(base=held, version=held))),)
        steps = list(self._steps)
        for number, step in enumerate(steps):
            if step.base == held:
                return (frame for each in steps[number:] for frame in each.frames)
        return frames.encoded(deltas.whole(current, tuple(self._cut)))


def _fail(waiting: list[asyncio.Future[int]], reason: str) -> None:
    for each in waiting:
        if not each.done():
            each.set_exception(
                NotPublishedError(f"the change is stored, and comes into force once this is put right: {reason}")
            )
