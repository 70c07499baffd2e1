"""Key sets of issuers: fetched when one is made, every hour, and when a caller's token names a key that is missing.

Rules: only through the guarded client; from the URL that was set, else from the one that the issuer's own discovery
document names, which must say it is that issuer's (OpenID Connect Discovery 1.0, 4.3). A set that cannot be fetched or
read changes nothing: the last one stays in force, and an event says so once. An issuer is asked no more often than
every `PAUSE_SECONDS`, whatever tokens callers send.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, NoReturn

import msgspec

from gatehouse.control.administration import Administration, own_event
from gatehouse.control.callout import CalloutError
from gatehouse.store import times
from gatehouse.store.directory.errors import DirectoryError
from gatehouse.store.directory.views import KeySet
from gatehouse.store.engine import StoreError

FRESH_SECONDS: Final = 3600
PAUSE_SECONDS: Final = 30
LOOK_SECONDS: Final = 5.0
MOST_BYTES: Final = 256 * 1024

_LONGEST_PAUSE: Final = 3600
_AT_ONCE: Final = 8
WELL_KNOWN: Final = "/.well-known/openid-configuration"
_log = logging.getLogger(__name__)


class KeySetError(Exception):
    """A key set cannot be had; `str(error)` says why."""


class _Discovered(msgspec.Struct, frozen=True):
    issuer: str
    jwks_uri: str


class _Keys(msgspec.Struct, frozen=True):
    keys: list[dict[str, msgspec.Raw]]


class KeySets:
    """`run` for as long as the process lives. `fetch` works without, too."""

    def __init__(self, administration: Administration, *, now: Callable[[], float] = time.time) -> None:
        self._administration = administration
        self._now = now
        self._asked: dict[str, float] = {}
        """When an issuer was asked last."""
        self._failures: dict[str, int] = {}
        """In a row."""
        self._wanted: set[str] = set()

    def want(self, issuers: Iterable[str]) -> None:
        """Tokens named keys that are not in these issuers' sets."""
        self._wanted.update(issuers)

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            try:
                await self.look()
            except StoreError as error:
                # The administration says so in the log.
                _log.debug("key sets are fetched later: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Fetch what is due. Raises `StoreError`."""
        known = await self._administration.operator.key_sets()
        due = [each for each in known if self._due(each)]
        self._wanted.clear()
        places = asyncio.Semaphore(_AT_ONCE)

        async def fetch(each: KeySet) -> None:
            async with places:
                await self._tried(each)

        await asyncio.gather(*(fetch(each) for each in due))

    async def fetch(self, tenant: str, name: str, issuer: str, jwks_url: str | None) -> None:
        """A key set, now, and into the directory. Raises `KeySetError`, `DirectoryError`, `StoreError`."""
        self._asked[name] = self._now()
        try:
            url = jwks_url or await self._discovered(issuer)
            jwks = await self._get(url)
        except CalloutError as error:
            raise KeySetError(str(error)) from error
        try:
            found = msgspec.json.decode(jwks, type=_Keys)
        except msgspec.MsgspecError:
            raise KeySetError(f"what issuer {name} gives out as its keys is no key set") from None
        if not found.keys:
            raise KeySetError(f"the key set of issuer {name} is empty")
        self._failures.pop(name, None)
        await self._administration.tenant(tenant).put_jwks(name, msgspec.json.encode(found))
        await self._administration.changed()

    def _due(self, each: KeySet) -> bool:
        now = self._now()
        failures = self._failures.get(each.id, 0)
        pause = min(_LONGEST_PAUSE, PAUSE_SECONDS * 2 ** min(failures, 16))
        if now - self._asked.get(each.id, 0.0) < pause:
            return False
        fetched = 0 if each.keys_at is None else times.parse(each.keys_at) // times.SECOND
        return each.id in self._wanted or now - fetched >= FRESH_SECONDS

    async def _tried(self, each: KeySet) -> None:
        try:
            await self.fetch(each.tenant, each.id, each.issuer, each.jwks_url)
        except KeySetError as error:
            failures = self._failures[each.id] = self._failures.get(each.id, 0) + 1
            if failures == 1:
                _log.warning("%s", error)
                directory = self._administration.tenant(each.tenant)
                await directory.record(own_event("issuer.keys_failed", "issuer", each.id))
                await self._administration.drained()
        except DirectoryError:
            return  # It was deleted meanwhile.

    async def _discovered(self, issuer: str) -> str:
        """Where an issuer says its keys are. Raises `KeySetError`, `CalloutError`."""
        document = await self._get(issuer.rstrip("/") + WELL_KNOWN)
        try:
            found = msgspec.json.decode(document, type=_Discovered)
        except msgspec.MsgspecError:
            raise KeySetError(f"what {issuer} says of itself is no discovery document") from None
        if found.issuer != issuer:
            raise KeySetError(f"the discovery document of {issuer} is another issuer's")
        return found.jwks_uri

    async def _get(self, url: str) -> bytes:
        answered = await self._administration.means.callout.send("GET", url, headers={"accept": "application/json"})
        if answered.status != 200:
            raise KeySetError(f"an issuer answered {answered.status} when asked for its keys")
        if len(answered.body) > MOST_BYTES:
            raise KeySetError(f"an issuer's answer is larger than {MOST_BYTES} bytes")
        return answered.body
