"""The store once more, from the journal: built beside the old one, held against it, and put in its place.

Rules: nobody else collects meanwhile; whoever reads sees the old store until the new one is whole, and then that. What
the old store has and the journal has not any more is never dropped unless the caller says so. Whatever goes wrong, and
however it is stopped, the old store stays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.collector.collect import Collector
from gatehouse.collector.lock import CollectorLock
from gatehouse.collector.state import CollectorState, StoppedLane
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Database, Settings
from gatehouse.journal.files import lane_names
from gatehouse.journal.lines import JournalError
from gatehouse.journal.reader import LaneReader
from gatehouse.store import engine, ledger, rebuilt, times, version
from gatehouse.store.engine import StoreBusyError, StoreError, StoreVersionError
from gatehouse.store.rebuilt import Missing


class NotRebuiltError(Exception):
    """The store is as it was: `str(error)` says why, and what to do."""


class Rebuilt(msgspec.Struct, frozen=True):
    """What was done. Times are microseconds since the epoch."""

    lines: int
    """Of the journal."""
    reaches: int | None
    """Time of the oldest line the journal holds; `None` of an empty one."""
    discarded: Missing
    unreadable: int
    stopped: tuple[StoppedLane, ...]


async def rebuild(
    data_dir: Path, settings: Settings, *, discard_older: bool, progress: Callable[[int], None]
) -> Rebuilt:
    """Build the store of a data directory anew. `progress` is told the lines collected so far.

    Raises `NotRebuiltError`, `ConfigError`, `StoreError`, `OSError`.
    """
    data = DataDir(data_dir)
    url = engine.locate(data.root, settings.database.url)
    if not data.journal.is_dir():
        raise NotRebuiltError(f"there is no journal at {data.journal}: nothing to rebuild the store from")
    lock = CollectorLock(data.collector_lock)
    if not lock.take():
        raise NotRebuiltError("the gateway runs and has the store; stop it first, then rebuild, then start it again")
    try:
        writing = engine.writer(url)
        try:
            comparable = await _usable(url, writing, discard_older)
            return await _rebuild(
                data.journal, url, writing, settings.database, _Asked(comparable, discard_older, progress)
            )
        finally:
            await writing.dispose()
    finally:
        lock.release()


class _Asked(NamedTuple):
    comparable: bool
    discard_older: bool
    progress: Callable[[int], None]


async def _rebuild(journal: Path, url: URL, writing: AsyncEngine, options: Database, asked: _Asked) -> Rebuilt:
    """`writing` keeps other collectors away."""
    await engine.clear_beside(writing, url)
    try:
        state = await _collect(journal, engine.beside(url), options, asked.progress)
        reaches = _reach(journal)
        lost = Missing()
        if asked.comparable:
            since = times.now() - options.keep_days * times.DAY
            lost = await _hold_against(url, since)
            if lost.calls and not asked.discard_older:
                raise NotRebuiltError(_would_lose(lost, reaches))
            await _take_over(url, since)
        await engine.take_over(writing, url)
    finally:
        with contextlib.suppress(StoreError):
            await engine.clear_beside(writing, url)
    return Rebuilt(state.collected, reaches, lost, state.unreadable, state.stopped)


async def _usable(url: URL, writing: AsyncEngine, discard_older: bool) -> bool:
    """Whether there is anything to hold the new store against: the old one's tables brought to this release's."""
    try:
        await version.ensure(writing)
    except (StoreBusyError, StoreVersionError):
        raise
    except StoreError as error:
        if not engine.is_file(url):
            raise
        if not discard_older:
            raise NotRebuiltError(
                f"{error}; what it holds cannot be compared with the journal: --discard-older rebuilds it all the same"
            ) from error
        return False
    return True


async def _collect(journal: Path, url: URL, options: Database, progress: Callable[[int], None]) -> CollectorState:
    collector = Collector(journal, url, options)
    async with contextlib.aclosing(collector):
        while await collector.step() or collector.rolling:
            progress(collector.state.collected)
        progress(collector.state.collected)
    if collector.state.error is not None:
        raise NotRebuiltError(collector.state.error)
    return collector.state


async def _hold_against(url: URL, since: int) -> Missing:
    beside = engine.beside(url)
    old, new = [engine.reader(place, connections=1, everybody=True) for place in (url, beside)]
    try:
        return await rebuilt.missing(old, new, since)
    finally:
        await old.dispose()
        await new.dispose()


async def _take_over(url: URL, since: int) -> None:
    old, new = engine.reader(url, connections=1, everybody=True), engine.writer(engine.beside(url))
    try:
        await rebuilt.take_over_rollups(old, new, since)
        await rebuilt.take_over_audit(old, new)
        await ledger.take_over(old, new)
    finally:
        await old.dispose()
        await new.dispose()


def _reach(journal: Path) -> int | None:
    """Time of the oldest line."""
    found: list[int] = []
    for name in lane_names(journal):
        with contextlib.closing(LaneReader(journal, name, 0, None)) as reader, contextlib.suppress(JournalError):
            found += [times.parse(line.time) for line in reader.read(1)]
    return min(found, default=None)


def _would_lose(lost: Missing, reaches: int | None) -> str:
    back = "is empty" if reaches is None else f"reaches back to {times.rfc3339(reaches)}"
    return (
        f"the journal {back}, and has no longer {lost.calls} calls of the store, begun between "
        f"{times.rfc3339(lost.first)} and {times.rfc3339(lost.last)}: --discard-older rebuilds it without them"
    )
