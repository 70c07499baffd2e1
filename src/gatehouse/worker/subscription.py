"""How a worker comes to its snapshot: at its start from disk or configuration, then from control, as long as it runs.

Rules: it never needs control; what it holds goes on until it has something newer, whole. A frame that cannot be decoded
or does not fit is refused, and all of it asked for anew. A newer snapshot is made beside the old one, part by part,
other work of the loop between them; then it is swapped in, and only then the word is written by which control knows.

The order of a start matters (`begin`): the pid stands in shared memory before the file is read, and the file is looked
at once more after the first version stands there. So a change that control has persisted is either in what is read, or
control finds a version there that it waits for.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from gatehouse.config.loads import Loads
from gatehouse.config.settings import Settings
from gatehouse.errors import ConfigError
from gatehouse.gateway import persisted
from gatehouse.gateway.deltas import PART, Draft
from gatehouse.gateway.frames import Frame, FrameError, Hello, encode, read
from gatehouse.gateway.snapshot import build, filled
from gatehouse.model.snapshot import Snapshot

ASK_SECONDS: Final = 1.0
"""How long a worker that starts waits for control to say something newer."""

_FIRST_DELAY: Final = 0.02
_LONGEST_DELAY: Final = 0.1
"""Between two tries to reach control: a worker that starts beside it waits no longer than it has to."""
_REFUSED_SECONDS: Final = 1.0

_AWAY: Final = (OSError, asyncio.IncompleteReadError)
_REFUSED: Final = (FrameError, msgspec.MsgspecError, ValueError, re.error, ConfigError)
"""What a frame, a price pattern, a CA file or master keys can be wrong in; `DeltaError` is a `ValueError`."""

_log = logging.getLogger(__name__)


class Begun(NamedTuple):
    """What a worker starts by."""

    snapshot: Snapshot
    exact: bool
    """It is what control published under this version, and not one with this configuration put in."""
    published: bool
    """Its sections are what control published; else there is the configuration alone."""


def begin(path: Path, settings: Settings, loads: Loads, index: int) -> Begun:
    """Register worker `index`, this process, and find what it serves by at first. Raises `ConfigError`.

    `path`: of the persisted snapshot. It may come from before a change of the configuration: sections and version are
    its, providers and prices always those of `settings`.
    """
    loads.register(index, os.getpid())
    there = persisted.version(path)
    begun = _found(path, settings)
    loads.serve_by(index, begun.snapshot.version)
    if persisted.version(path) > max(there, begun.snapshot.version):
        begun = _found(path, settings)
        loads.serve_by(index, begun.snapshot.version)
    return begun


def _found(path: Path, settings: Settings) -> Begun:
    plain = build(settings)
    try:
        last = persisted.read(path)
    except (persisted.DamagedError, OSError) as error:
        _log.warning("%s is ignored, the configuration alone holds: %s", path, error)
        last = None
    if last is None:
        return Begun(plain, exact=True, published=False)
    exact = last.providers == plain.providers and last.prices == plain.prices
    return Begun(filled(plain, last, last.version), exact, published=True)


class Subscription:
    """Follows control. `swap` puts a newer snapshot in place, at once, and ends the calls of those keys that are to be
    cut; `serve_by` then tells its version.

    What `swap` raises for a snapshot it cannot use (`ValueError`, `re.error`, `OSError`, `ConfigError`) counts as a
    frame refused.
    """

    def __init__(
        self,
        path: Path,
        begun: Begun,
        swap: Callable[[Snapshot, tuple[str, ...]], None],
        serve_by: Callable[[int], None],
    ) -> None:
        self._path = path
        self._snapshot = begun.snapshot
        self._exact = begun.exact
        self._swap = swap
        self._serve_by = serve_by
        self._decoder = msgspec.msgpack.Decoder(Frame)
        self._answered = asyncio.Event()
        self._delay = _FIRST_DELAY

    async def answered(self, seconds: float | None = ASK_SECONDS) -> bool:
        """Whether what control had to say at first is in place, once it is or after `seconds` (`None`: once it is).
        While `follow` runs."""
        try:
            await asyncio.wait_for(self._answered.wait(), seconds)
        except TimeoutError:
            return False
        return True

    async def follow(self) -> None:
        """Until cancelled. Raises what only a bug raises."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(str(self._path))
            except OSError:
                await asyncio.sleep(self._delay)
                self._delay = min(self._delay * 2, _LONGEST_DELAY)
                continue
            try:
                writer.write(encode(Hello(self._snapshot.version if self._exact else 0)))
                await self._listen(reader)
            except _AWAY:
                await asyncio.sleep(self._delay)
            except _REFUSED as error:
                # All of it, next time: whoever sent this may be wrong about what is held here.
                self._exact = False
                _log.warning("a newer snapshot is refused, %d goes on: %s", self._snapshot.version, error)
                await asyncio.sleep(_REFUSED_SECONDS)
            finally:
                writer.transport.abort()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        draft: Draft | None = None
        while True:
            frame = self._decoder.decode(await read(reader))
            if draft is None:
                draft = Draft(self._snapshot, frame.delta)
            draft.add(frame.delta)
            if not frame.more:
                self._take(draft)
                draft = None
            # Frames that are here already would be read without any pause: others first.
            await asyncio.sleep(0)

    def _take(self, draft: Draft) -> None:
        snapshot = draft.finish()
        if snapshot is not self._snapshot:
            try:
                self._swap(snapshot, draft.cut)
            except OSError as error:
                raise ValueError(f"it cannot be used: {error}") from error
            self._snapshot = snapshot
        self._serve_by(snapshot.version)
        if draft.entries > PART:
            # What is alive now stays: keep it out of every later collection.
            gc.freeze()
        self._exact = True
        self._delay = _FIRST_DELAY
        self._answered.set()
