"""Sessions and platform tokens that are over are forgotten. What was done by them stays on record, with their ids."""

from __future__ import annotations

import asyncio
import logging
from typing import Final, NoReturn

from gatehouse.control.administration import Administration
from gatehouse.store import times
from gatehouse.store.engine import StoreError

EVERY_SECONDS: Final = 3600.0
_log = logging.getLogger(__name__)


async def forget_regularly(administration: Administration, seconds: float = EVERY_SECONDS) -> NoReturn:
    """Until cancelled."""
    while True:
        # Not at once: the directory may have to be made or upgraded first.
        await asyncio.sleep(seconds)
        try:
            await administration.operator.forget_expired(times.now())
        except StoreError as error:
            _log.warning("sessions that are over cannot be forgotten now: %s", error)
