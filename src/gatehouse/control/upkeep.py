"""Looks after stored secrets: fetches tokens ahead of time, rotates what is due, and knows how each credential is.

Rules: what a token is fetched with opens here and nowhere else. A token is sealed for its credential before it is kept.
A credential that is due for rotation gets a new secret from its hook; without one an event reminds of it, every week
again. What fails is an event once, not at every attempt. Nothing here stops because a provider or the directory does.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, NoReturn

from gatehouse import errors
from gatehouse.auth.secrets import ApiKey, AwsKeys, Given, Kept, Source, Token
from gatehouse.auth.vault import Binding, VaultError
from gatehouse.control.administration import Administration, own_event
from gatehouse.control.answers import FieldError, InputError
from gatehouse.control.callout import CalloutError
from gatehouse.control.exchange import PLACES, ExchangeError, Places, exchange
from gatehouse.control.rotation import Rotation, RotationError, due, rotated
from gatehouse.control.tokens import Health, Tokens, Watched
from gatehouse.control.trial import Verdict, aws_tried, key_tried
from gatehouse.errors import GatehouseError
from gatehouse.model.snapshot import ProviderEntry
from gatehouse.store import times
from gatehouse.store.directory.errors import DirectoryError
from gatehouse.store.directory.views import Credential, StoredSecret
from gatehouse.store.engine import StoreError

LOOK_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 3600
"""After which a hook that failed is called again."""

_KINDS: Final = ("azure_entra", "google_service_account", "aws_role")
"""Kinds of credentials for which tokens are fetched."""
_log = logging.getLogger(__name__)


class Upkeep:
    """`run` for as long as the process lives. What it offers to routes works without, too."""

    def __init__(
        self, administration: Administration, *, places: Places = PLACES, now: Callable[[], float] = time.time
    ) -> None:
        """`places`: where tokens come from; tests name servers of their own."""
        self._administration = administration
        self._means = administration.means
        self._places = places
        self._now = now
        self._tokens = Tokens(self._fetch, self._keep, now=now)
        self._stored: dict[str, StoredSecret] = {}
        self._closed: set[str] = set()
        """Whose secret does not open, as was said."""
        self._failing: set[str] = set()
        """Whose hook gave no secret, as was said."""
        self._noted: dict[str, Health] = {}
        """What was stored of a credential's health."""
        self._tried: dict[str, float] = {}
        """When a hook failed last."""

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tokens.run())
            group.create_task(self._look_regularly())

    async def look(self) -> None:
        """Find out what there is to look after. Raises `StoreError`."""
        stored = await self._administration.operator.stored_secrets()
        self._stored = {each.id: each for each in stored}
        watched = {}
        for each in stored:
            if each.kind in _KINDS:
                source = self._source(each)
                if source is not None:
                    expires = each.token_expires_at
                    watched[each.id] = Watched(source, 0 if expires is None else times.parse(expires) // times.SECOND)
        self._tokens.watch(watched)

    async def from_hook(self, tenant: str, credential: Credential) -> Given:
        """A new secret from a credential's hook. Raises `InputError`, `GatehouseError`, `StoreError`."""
        await self.look()
        stored = self._stored.get(credential.id)
        if stored is None or stored.tenant != tenant or stored.rotate_hook is None:
            raise InputError(FieldError("secret", "is needed: this credential has no rotate hook, or is disabled"))
        try:
            return await self._asked(stored)
        except RotationError as error:
            raise GatehouseError(errors.UPSTREAM_ERROR, str(error)) from error

    async def trial(self, credential: Credential, entry: ProviderEntry, secret: Given) -> Verdict:
        """Whether a secret works. A token that is fetched for it is kept."""
        if isinstance(secret, ApiKey):
            return await key_tried(entry, credential, secret, self._means.callout)
        if isinstance(secret, AwsKeys):
            return await aws_tried(secret, self._places, self._means.callout, int(self._now()))
        try:
            fetched = await self._fetch(credential.id, secret)
            await self._keep(credential.id, fetched)
        except ExchangeError as error:
            return Verdict(None if isinstance(error.__cause__, CalloutError) else False, str(error))
        return Verdict(True, None)

    async def _look_regularly(self) -> NoReturn:
        while True:
            try:
                await self.look()
                await self._note_health()
                await self.rotate_due()
            except (StoreError, DirectoryError) as error:
                # The administration says so in the log.
                _log.debug("credentials are looked after later: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    # -- tokens

    async def _fetch(self, credential: str, source: Source) -> Token | AwsKeys:
        return await exchange(
            source, self._means.callout, credential=credential, now=int(self._now()), places=self._places
        )

    async def _keep(self, credential: str, fetched: Token | AwsKeys) -> None:
        stored = self._stored.get(credential)
        if stored is None:
            raise ExchangeError(f"credential {credential} is gone")
        sealed = self._means.vault.seal(_binding(stored), fetched)
        directory = self._administration.tenant(stored.tenant)
        try:
            await directory.put_token(credential, sealed, fetched.expires * times.SECOND)
            await self._administration.changed()
        except (StoreError, DirectoryError) as error:
            raise ExchangeError(f"the token of credential {credential} cannot be stored now: {error}") from error

    async def _note_health(self) -> None:
        for name, health in self._tokens.health().items():
            stored = self._stored.get(name)
            if stored is None or health.state == "waiting" or self._noted.get(name) == health:
                continue
            directory = self._administration.tenant(stored.tenant)
            new = await directory.put_health(name, health.state == "ok", health.why or None)
            if new and health.state == "failing":
                event = own_event("credential.unhealthy", "credential", name, provider=stored.provider)
                await directory.record(event)
                await self._administration.drained()
            self._noted[name] = health

    # -- rotation

    async def rotate_due(self) -> None:
        """Rotate, or remind of, what is due as of the last look. Raises `StoreError`, `DirectoryError`."""
        now = int(self._now())
        rotations = [
            Rotation(each.id, _seconds(each.rotated_at), each.rotate_every_days, _seconds(each.reminded_at))
            for each in self._stored.values()
            if each.rotate_every_days is not None
        ]
        hooked = [
            rotation._replace(reminded=0) if self._stored[rotation.credential].rotate_hook is not None else rotation
            for rotation in rotations
        ]
        for name in due(hooked, now):
            stored = self._stored[name]
            if stored.rotate_hook is None:
                await self._remind(stored, "credential.rotation_due")
            elif now - self._tried.get(name, 0.0) >= AGAIN_SECONDS:
                await self._rotate(stored, now)

    async def _rotate(self, stored: StoredSecret, now: int) -> None:
        try:
            secret = await self._asked(stored)
        except RotationError as error:
            _log.warning("%s", error)
            self._tried[stored.id] = now
            if stored.id not in self._failing:
                self._failing.add(stored.id)
                await self._remind(stored, "credential.rotation_failed")
            return
        self._failing.discard(stored.id)
        directory = self._administration.tenant(stored.tenant)
        sealed = self._means.vault.seal(_binding(stored), secret)
        event = own_event("credential.rotate", "credential", stored.id, by_hook=True)
        await directory.put_secret(stored.id, sealed, secret.last4, event)
        await self.look()
        await self._administration.changed()

    async def _remind(self, stored: StoredSecret, action: str) -> None:
        directory = self._administration.tenant(stored.tenant)
        await directory.record(own_event(action, "credential", stored.id, provider=stored.provider))
        await directory.put_reminded(stored.id)
        await self._administration.drained()

    async def _asked(self, stored: StoredSecret) -> Given:
        """What the hook answers. Raises `RotationError`."""
        if stored.rotate_hook is None or stored.rotate_key is None:
            raise RotationError(f"credential {stored.id} has no rotate hook")
        try:
            key = self._means.vault.open(hook_binding(stored.tenant, stored.id), stored.rotate_key, (ApiKey,))
        except VaultError as error:
            raise RotationError(str(error)) from error
        url, binding = stored.rotate_hook, _binding(stored)
        signing = bytes.fromhex(key.key)
        return await rotated(self._means.callout, url, binding, stored.kind, key=signing, now=int(self._now()))

    def _source(self, stored: StoredSecret) -> Source | None:
        try:
            found = self._means.vault.open(_binding(stored), stored.sealed, (Kept,))
        except VaultError as error:
            if stored.id not in self._closed:
                self._closed.add(stored.id)
                _log.error("%s", error)
            return None
        self._closed.discard(stored.id)
        return found if isinstance(found, Source) else None


def opened(administration: Administration, tenant: str, credential: Credential, sealed: bytes) -> Given:
    """What was stored for a credential. Raises `GatehouseError` where it does not open."""
    binding = Binding(tenant, credential.id, credential.provider, credential.origin)
    try:
        found = administration.means.vault.open(binding, sealed, (Kept,))
    except VaultError as error:
        raise GatehouseError(errors.NO_CREDENTIAL, str(error)) from error
    if not isinstance(found, Given):
        raise GatehouseError(errors.NO_CREDENTIAL, f"the secret of credential {credential.id} is of another kind")
    return found


def hook_binding(tenant: str, credential: str) -> Binding:
    """What the key of a hook's signatures is sealed for."""
    return Binding(tenant, credential, "", "rotate-hook")


def _binding(stored: StoredSecret) -> Binding:
    return Binding(stored.tenant, stored.id, stored.provider, stored.origin)


def _seconds(time: str | None) -> int:
    return 0 if time is None else times.parse(time) // times.SECOND
