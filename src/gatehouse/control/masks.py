"""Gateway keys shown masked in the TruePortAI gateway's words: an id as `gth_live_…yyyy`, and back.

Rules: one tenant's keys, revoked ones too. A provider key's hash, and a key nobody knows, stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from gatehouse.auth.keys import masked
from gatehouse.control.administration import Administration
from gatehouse.control.caller import Caller
from gatehouse.store.directory.changes import KeyFilter
from gatehouse.store.logs import LogItem

_MASK: Final = re.compile(r"gth_(live|test)_(?:…|\.\.\.)([0-9A-Za-z]{4})")
_MOST: Final = 500
"""Keys asked for at once."""


class Masks:
    """Masks keys, and finds them by their mask; one per process."""

    def __init__(self, administration: Administration | None) -> None:
        """Without it, nobody has gateway keys."""
        self._administration = administration

    async def shown(self, caller: Caller, items: Sequence[LogItem]) -> list[LogItem]:
        """With keys as lists show them. Raises `StoreError`."""
        names = list({item.api_key for item in items if item.api_key is not None})
        if self._administration is None or not names:
            return list(items)
        directory = self._administration.reading(caller)
        known: dict[str, str] = {}
        for start in range(0, len(names), _MOST):
            wanted = KeyFilter(ids=tuple(names[start : start + _MOST]), revoked=None)
            page = await directory.keys(wanted, _MOST)
            known |= {key.id: masked(key.environment, key.last4) for key in page.items}
        return [msgspec.structs.replace(item, api_key=known.get(item.api_key or "", item.api_key)) for item in items]

    async def named(self, caller: Caller, text: str | None) -> tuple[str, ...]:
        """Ids of the keys that are shown so; none for what is no mask. Raises `StoreError`."""
        found = _MASK.fullmatch(text) if text is not None else None
        if found is None or self._administration is None:
            return ()
        wanted = KeyFilter(last4=found[2], revoked=None)
        page = await self._administration.reading(caller).keys(wanted, _MOST)
        return tuple(key.id for key in page.items if key.environment == found[1])
