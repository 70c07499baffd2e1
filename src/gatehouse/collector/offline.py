"""Collecting without a server: what the command line does before it reads."""

from __future__ import annotations

import contextlib
from pathlib import Path

from gatehouse.collector.collect import Collector
from gatehouse.collector.lock import CollectorLock
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Settings
from gatehouse.store import engine
from gatehouse.store.engine import StoreBusyError


async def catch_up(data_dir: Path, settings: Settings) -> bool:
    """Collect the journal of a data directory to its end; the store is made or migrated if need be.

    False, and nothing done, where a running server holds the collector's lock (it collects by itself) or the store's,
    or where there is no journal yet. Raises `ConfigError`, `StoreError`, `OSError`. A lane that does not hold is logged
    and left.
    """
    data = DataDir(data_dir)
    url = engine.locate(data.root, settings.database.url)
    if not data.journal.is_dir():
        return False
    lock = CollectorLock(data.collector_lock)
    if not lock.take():
        return False
    try:
        collector = Collector(data.journal, url, settings.database)
        async with contextlib.aclosing(collector):
            while await collector.step():
                pass
        return True
    except StoreBusyError:
        return False
    finally:
        lock.release()
