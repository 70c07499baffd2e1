"""What ids in reports are called. Reads the directory beside the store, whether the gateway runs or not.

Rules: for people's eyes only: what programs read keeps the ids. Names are a courtesy: a directory that cannot be read
costs nobody the report.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from typing import Final

from gatehouse.cli.options import Setup
from gatehouse.store import engine
from gatehouse.store.directory import access
from gatehouse.store.directory.directory import Directory
from gatehouse.store.engine import StoreError

NAMED: Final = frozenset(("key", "project", "workspace", "user"))
"""What reports tell apart by ids."""


def names(setup: Setup, tenant: str, ids: Iterable[str]) -> dict[str, str]:
    """By id, of a tenant's projects, keys and users; where several share a name, with the end of their ids."""
    wanted = set(ids)
    if not wanted or not setup.settings.auth.enabled:
        return {}
    try:
        found = asyncio.run(_read(setup, tenant, wanted))
    except StoreError:
        return {}
    shared = Counter(found.values())
    return {each: name if shared[name] == 1 else f"{name} (…{each[-6:]})" for each, name in found.items()}


async def _read(setup: Setup, tenant: str, wanted: set[str]) -> dict[str, str]:
    reading = access.reader(access.located(engine.locate(setup.data.root, setup.settings.database.url)))
    try:
        return await Directory(reading, tenant).names(wanted)
    finally:
        await reading.dispose()
