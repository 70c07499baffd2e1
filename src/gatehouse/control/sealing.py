"""The master keys while the control plane lives: read at its start, and replaced by `POST /api/v1/secrets/rotate`.

Rules: read in the main thread before there is an event loop, since a program may have to be run for them. A key is made
only while nothing is sealed. Rotation is three steps, so that a crash between them loses nothing: the new key is added,
everything is sealed anew, the old keys go. Workers read the keys again when something does not open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Request
from sqlalchemy.engine import URL
from starlette.responses import Response

from gatehouse import errors
from gatehouse.auth.vault import Vault, VaultError
from gatehouse.config import masterkeys
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Secrets
from gatehouse.control.administration import Administration, Engines
from gatehouse.control.answers import Answers, answer
from gatehouse.control.caller import caller_of
from gatehouse.control.parameters import NoParameters
from gatehouse.errors import ConfigError, GatehouseError
from gatehouse.model.access import CredentialEntry
from gatehouse.store.directory.operator import OperatorStore
from gatehouse.store.directory.views import Sealed
from gatehouse.store.engine import StoreError


class Resealed(msgspec.Struct, frozen=True):
    """What a rotation of the master keys did."""

    sealed: int
    """Secrets that are sealed under the newest key now."""
    keys: int
    """Master keys that are left."""


ANSWERS: Final[Answers] = {("POST", "/api/v1/secrets/rotate"): (200, Resealed)}


class MasterKeys:
    """Where the master keys of this data directory come from."""

    def __init__(self, secrets: Secrets, data: DataDir, environ: Mapping[str, str]) -> None:
        self._secrets = secrets
        self._data = data
        self._environ = environ

    def vault(self, url: URL) -> Vault:
        """Everything that is stored opens with it. `url`: of the directory (`access.located`).

        In the main thread, where no event loop runs. Raises `ConfigError`: no keys, or the wrong ones.
        """
        try:
            stored = asyncio.run(_stored(url))
        except StoreError:
            # It may be away for now. Then no key is made, and each secret is checked when it is opened.
            return Vault(self.read(create=False))
        found = Vault(self.read(create=not stored.anything))
        found.check(stored.entries)
        return found

    def read(self, *, create: bool) -> tuple[bytes, ...]:
        """Raises `ConfigError`."""
        return masterkeys.read(self._secrets, self._data, self._environ, create=create)

    @property
    def ours(self) -> bool:
        """Whether they stand in the data directory, and not where the operator keeps them."""
        return not (self._secrets.key_file or self._secrets.key_env or self._secrets.key_command)

    def add(self) -> tuple[bytes, ...]:
        """All of them; where they are ours, with a new one before the others. Raises `ConfigError`."""
        return masterkeys.add(self._data) if self.ours else self.read(create=False)

    def keep_newest(self) -> tuple[bytes, ...]:
        """All that are left; where they are ours, the newest alone. Raises `ConfigError`."""
        return masterkeys.keep_newest(self._data) if self.ours else self.read(create=False)


class _Stored(msgspec.Struct):
    anything: bool
    entries: list[CredentialEntry]


async def _stored(url: URL) -> _Stored:
    """What is sealed in the directory. Raises `StoreError`."""
    engines = Engines(url)
    try:
        await engines.prepare()
        store = OperatorStore(engines.reading)
        anything = bool(await store.sealed())
        entries = list((await store.sections()).credentials.values())
        known = {each.sealed for each in entries}
        for each in await store.stored_secrets():
            if each.sealed not in known:  # Whatever a token is fetched with is in no snapshot.
                entries.append(
                    CredentialEntry(each.id, each.tenant, each.provider, each.origin, each.kind, each.sealed)
                )
    finally:
        await engines.aclose()
    return _Stored(anything, entries)


def routes(administration: Administration, master_keys: MasterKeys) -> APIRouter:
    """The route over the master keys."""
    router = APIRouter(prefix="/api/v1/secrets", tags=["operator"])
    one_at_a_time = asyncio.Lock()

    @router.post("/rotate", summary="Replace the master key")
    async def rotate_master_key(request: Request, _asked: Annotated[NoParameters, Query()]) -> Response:
        """Everything is sealed anew under a new key. Where the operator keeps the keys elsewhere: under the newest
        there."""
        caller = caller_of(request)
        async with one_at_a_time:
            try:
                resealed = await _rotated(administration, master_keys)
            except (ConfigError, VaultError) as error:
                raise GatehouseError(errors.OVERLOADED, str(error)) from error
        event = caller.event("secrets.rotate", "tenant", caller.tenant, sealed=resealed.sealed)
        await administration.directory(caller).record(event)
        await administration.changed()
        return answer(resealed)

    return router


async def _rotated(administration: Administration, master_keys: MasterKeys) -> Resealed:
    """Raises `ConfigError`, `VaultError`, `StoreError`."""
    vault = administration.means.vault
    keys = await asyncio.to_thread(master_keys.add)
    vault.renew(keys)
    count = await _sealed_anew(administration.operator, vault, None)
    await administration.revoked()
    # A request that was under way may have stored what it had sealed before.
    count += await _sealed_anew(administration.operator, vault, Vault(keys[:1]))
    await administration.revoked()
    left = await asyncio.to_thread(master_keys.keep_newest)
    vault.renew(left)
    return Resealed(count, len(left))


async def _sealed_anew(operator: OperatorStore, vault: Vault, newest: Vault | None) -> int:
    """Seal under the newest key what that does not open by itself; without `newest` everything. How much that was."""
    count = 0
    for old in await operator.sealed():
        if newest is None or not _opens(newest, old):
            count += await operator.resealed(old, vault.rotate(old.id, old.sealed))
    return count


def _opens(vault: Vault, sealed: Sealed) -> bool:
    try:
        vault.rotate(sealed.id, sealed.sealed)
    except VaultError:
        return False
    return True
