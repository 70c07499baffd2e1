"""What ids in reports are called. Reads the directory beside the store, whether the gateway runs or not.

Rules: for people's eyes only: what programs read keeps the ids. Names are a courtesy: a directory that cannot be read
costs nobody the report.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from gatehouse.cli.options import Setup
from gatehouse.store import engine
from gatehouse.store.directory import access
from gatehouse.store.directory.directory import Directory
from gatehouse.store.engine import StoreError

_BY_ID: Final = frozenset(("key", "project", "workspace", "user"))
"""What reports tell apart by ids. Of anything else, a value may be the same word as an id by chance (`default`)."""


def naming(
    setup: Setup, tenant: str, values: Iterable[tuple[str, str | None]]
) -> Callable[[str, str | None], str | None]:
    """Of these (dimension, value) in a tenant's report, what each is called; where several share a name, with the end
    of their ids. What has no name stays as it is."""
    wanted = {value for dimension, value in values if dimension in _BY_ID and value}
    found: dict[str, str] = {}
    if wanted and setup.settings.auth.enabled:
        with suppress(StoreError):
            found = asyncio.run(_read(setup, tenant, wanted))
    shared = Counter(found.values())

    def called(dimension: str, value: str | None) -> str | None:
        name = found.get(value or "") if dimension in _BY_ID else None
        if value is None or name is None:
            return value
        return name if shared[name] == 1 else f"{name} (…{value[-6:]})"

    return called


async def _read(setup: Setup, tenant: str, wanted: set[str]) -> dict[str, str]:
    reading = access.reader(access.located(engine.locate(setup.data.root, setup.settings.database.url)))
    try:
        return await Directory(reading, tenant).names(wanted)
    finally:
        await reading.dispose()
