"""I4 over restarts: what limits have spent is on disk as the store has it, with how far that reaches."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gatehouse.config.loads import Loads
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Server, Settings
from gatehouse.control.counting import Counting
from gatehouse.control.openings import KeptOpenings
from gatehouse.control.publishing import Publisher
from gatehouse.errors import ConfigError
from gatehouse.gateway import openings, persisted
from gatehouse.gateway.openings import Openings, Spent
from gatehouse.gateway.snapshot import build, filled
from gatehouse.model.limits import LimitEntry
from gatehouse.model.snapshot import Sections
from gatehouse.store import engine, times, version
from gatehouse.store.rows import Batch, LedgerRow, Mark
from gatehouse.store.writing import StoreWriter

TOTAL = "ten/key/key_a/spend/total"
DAY = "ten/key/key_a/spend/day"


def test_what_can_still_matter_is_kept_with_the_marks(tmp_path: Path) -> None:
    url = engine.locate(tmp_path, None)
    path = tmp_path / "openings.bin"
    today = times.rfc3339(times.now())[:10]

    async def run() -> None:
        kept = KeptOpenings(path, url)
        await kept.write()
        assert not path.exists(), "there is no store yet"
        writing = engine.writer(url)
        await version.ensure(writing)
        rows = (
            LedgerRow("ten", TOTAL, "", 5, 6),
            LedgerRow("ten", DAY, today, 7, 0),
            LedgerRow("ten", DAY, "2020-01-01", 8, 0),
            LedgerRow("ten", "ten/key/key_a/tokens/minute", "", 9, 9),
        )
        await StoreWriter(writing).apply(Batch(ledger=rows, marks=(Mark("lane", 12, "0" * 64, 0),)))
        await kept.write()
        found = openings.read(path)
        assert found.marks == openings.marks(path) == {"lane": 12}
        assert set(found.spent) == {Spent(TOTAL, "", 5, 6), Spent(DAY, today, 7, 0)}
        before = path.stat().st_mtime_ns
        await kept.write()
        assert path.stat().st_mtime_ns == before, "nothing has changed"
        assert await kept.latest() == found
        await kept.aclose()
        await writing.dispose()

    asyncio.run(run())


def test_without_a_store_the_last_one_stands(tmp_path: Path) -> None:
    path = tmp_path / "openings.bin"
    last = Openings({"lane": 3}, (Spent(TOTAL, "", 1, 2),))
    openings.write(path, last)
    kept = KeptOpenings(path, engine.locate(tmp_path, None))
    assert asyncio.run(kept.latest()) == last


def test_several_workers_with_hard_limits_and_no_place_to_share_them_do_not_start(tmp_path: Path) -> None:
    data = DataDir(tmp_path)
    settings = Settings(server=Server(workers=2))
    publisher = Publisher(data.snapshot, settings, Loads.create(2))
    url = engine.locate(tmp_path, None)
    Counting(settings, data, url, publisher, None)
    limit = LimitEntry("lim_1", "ten", "key", "key_a", "spend", "total", 5)
    persisted.write(data.snapshot, filled(build(settings), Sections(limits={"lim_1": limit}), 7))
    with pytest.raises(ConfigError, match="valkey"):
        Counting(settings, data, url, publisher, None)
    Counting(Settings(), data, url, publisher, None)
