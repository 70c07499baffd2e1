"""What the gateway notices by itself, once it is in the store: a credential's health, key sets to fetch, the webhook.

Rules
- An event is posted at least once, and carries its id: a receiver leaves out what it had. In the order in which events
  were collected; one that cannot be delivered is tried again after growing pauses, for a day, and holds up those behind
  it. How far a tenant's webhook is stands in the directory (`posted`).
- Each post is signed: `x-gatehouse-signature: t=SECONDS,v1=HEX`, HMAC-SHA-256 over the time, a dot and the body, with
  the secret that was shown when the webhook was set. Only through the guarded client.
- Memory is bounded: per tenant at most `WAITING` events; beyond, the oldest are left out, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NoReturn

import msgspec

from gatehouse.auth.secrets import ApiKey
from gatehouse.auth.vault import Binding, VaultError
from gatehouse.collector.notices import Notices
from gatehouse.control.administration import Administration
from gatehouse.control.callout import CalloutError, signature
from gatehouse.control.keysets import KeySets
from gatehouse.gateway.notices import CREDENTIAL_REJECTED, KEYS_WANTED, LIMIT_EXCEEDED, LIMIT_THRESHOLD
from gatehouse.store import times
from gatehouse.store.audit import AuditFilter
from gatehouse.store.directory import ids
from gatehouse.store.directory.errors import DirectoryError
from gatehouse.store.directory.views import Hook
from gatehouse.store.engine import StoreError
from gatehouse.store.reading import Readers
from gatehouse.store.rows import AuditRow
from gatehouse.store.sight import Sight

EVENTS: Final = (
    LIMIT_THRESHOLD,
    LIMIT_EXCEEDED,
    CREDENTIAL_REJECTED,
    "credential.unhealthy",
    "credential.rotation_due",
    "credential.rotation_failed",
    "issuer.keys_failed",
)
"""What is told: actions of `admin` lines of `system`."""
WAITING: Final = 1_000
LOOK_SECONDS: Final = 0.5
HOOKS_SECONDS: Final = 5.0
"""How often it is looked for webhooks that were set elsewhere."""
FIRST_PAUSE: Final = 1.0
LAST_PAUSE: Final = 300.0
GIVE_UP_SECONDS: Final = 86_400.0

_log = logging.getLogger(__name__)


class Told(msgspec.Struct, frozen=True):
    """The body of a post."""

    id: str
    type: str
    time: str
    tenant: str
    target_kind: str
    target: str
    details: msgspec.Raw


class _Line:
    """What one tenant's webhook has still to be told."""

    def __init__(self) -> None:
        self.waiting: deque[Told] = deque()
        self.known: deque[str] = deque(maxlen=WAITING)
        """Ids of events that came lately: what is read again at the start comes once."""
        self.pause = 0.0
        self.next = 0.0
        self.since = 0.0
        """When the first of those waiting was tried first."""
        self.began = False

    def add(self, told: Told) -> None:
        if told.id in self.known:
            return
        self.known.append(told.id)
        if len(self.waiting) >= WAITING:
            _log.warning("a webhook takes no events; those of tenant %s are left out from the oldest on", told.tenant)
            self.waiting.popleft()
        self.waiting.append(told)


class Notifying:
    """`run` for as long as the process lives."""

    def __init__(
        self,
        administration: Administration,
        key_sets: KeySets,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._administration = administration
        self._key_sets = key_sets
        self._now = now
        self._hooks: dict[str, Hook] = {}
        self._looked = 0.0
        self._lines: dict[str, _Line] = {}

    async def run(self, notices: Notices, readers: Readers) -> NoReturn:
        """Until cancelled. `notices`: what is stored from now on. `readers`: of what was stored before."""
        while True:
            try:
                await self.step(notices, readers)
            except (StoreError, DirectoryError) as error:
                # The administration says so in the log.
                _log.debug("events are told later: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def step(self, notices: Notices, readers: Readers) -> None:
        """Take what came, and post what is due. Raises `StoreError`, `DirectoryError`."""
        rows = notices.take()
        for row in rows:
            if row.action == KEYS_WANTED:
                self._key_sets.want((row.target,))
            elif row.action == CREDENTIAL_REJECTED:
                await self._rejected(row)
        if self._now() - self._looked >= HOOKS_SECONDS:
            await self._look(readers)
        for row in rows:
            if row.tenant in self._hooks and row.action in EVENTS:
                self._lines[row.tenant].add(_told(row))
        await asyncio.gather(*(self._post(hook) for hook in list(self._hooks.values())))

    async def _rejected(self, row: AuditRow) -> None:
        status = msgspec.json.decode(row.details, type=dict[str, object]).get("status")
        directory = self._administration.tenant(row.tenant)
        try:
            await directory.put_health(row.target, False, f"the provider answered {status}")
        except DirectoryError:
            return  # It was deleted meanwhile.

    async def _look(self, readers: Readers) -> None:
        """Which webhooks there are, and what they were not told before this process began."""
        hooks = {hook.tenant: hook for hook in await self._administration.operator.webhooks()}
        self._looked = self._now()
        for tenant in self._lines.keys() - hooks.keys():
            del self._lines[tenant]
        for tenant, hook in hooks.items():
            line = self._lines.setdefault(tenant, _Line())
            if not line.began:
                await self._begin(hook, line, readers)
        self._hooks = hooks

    async def _begin(self, hook: Hook, line: _Line, readers: Readers) -> None:
        if hook.posted is None:
            # It is told what happens from now on.
            await self._administration.tenant(hook.tenant).put_posted(ids.new("event"))
        else:
            audit = await readers.audit(Sight(hook.tenant))
            wanted = AuditFilter(actions=EVENTS, actor_kinds=("system",))
            for item in await audit.after(hook.posted, wanted, WAITING):
                details = msgspec.Raw(msgspec.json.encode(item.details))
                line.add(Told(item.id, item.action, item.at, hook.tenant, item.target_kind, item.target, details))
        line.began = True

    async def _post(self, hook: Hook) -> None:
        """What waits for one webhook, as far as it is taken."""
        line = self._lines[hook.tenant]
        while line.waiting and self._now() >= line.next:
            told = line.waiting[0]
            line.since = line.since or self._now()
            problem = await self.deliver(hook, told)
            if problem is None:
                line.pause = line.since = 0.0
            elif self._now() - line.since < GIVE_UP_SECONDS:
                line.pause = min(LAST_PAUSE, max(FIRST_PAUSE, 2 * line.pause))
                line.next = self._now() + line.pause
                return
            else:
                _log.warning("event %s of tenant %s is not told: %s", told.id, hook.tenant, problem)
                line.since = 0.0
            line.waiting.popleft()
            await self._administration.tenant(hook.tenant).put_posted(told.id)

    async def deliver(self, hook: Hook, told: Told) -> str | None:
        """Post one event. Returns why it was not taken; `None`: it was."""
        means = self._administration.means
        try:
            key = means.vault.open(webhook_binding(hook.tenant, hook.url), hook.sealed, (ApiKey,))
        except VaultError as error:
            return str(error)
        body = msgspec.json.encode(told)
        headers = {
            "content-type": "application/json",
            "x-gatehouse-event": told.id,
            "x-gatehouse-signature": signature(bytes.fromhex(key.key), body, int(self._now())),
        }
        try:
            answered = await means.callout.send("POST", hook.url, headers=headers, body=body)
        except CalloutError as error:
            return str(error)
        return None if 200 <= answered.status < 300 else f"the webhook answered {answered.status}"


def webhook_binding(tenant: str, url: str) -> Binding:
    """What the secret of a webhook is sealed for."""
    return Binding(tenant, tenant, "webhook", url)


def _told(row: AuditRow) -> Told:
    details = msgspec.Raw(row.details.encode())
    return Told(row.id, row.action, times.rfc3339(row.at), row.tenant, row.target_kind, row.target, details)
