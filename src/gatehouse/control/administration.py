"""The administrative state as routes use it: a tenant's directory, and what has to follow a change of it.

Rules: a change and its event are committed before anything here is told of them. Then the event goes into the journal
as a line `admin`, and only what is written there leaves the outbox: after each change, at the start, and every second
for what another process left. The new snapshot goes to the workers: `changed` waits a moment for them, so that what was
just made usually works at once; `revoked` returns when no worker of this machine decides by what was before.
The directory need not be there yet: until it is, all routes are 503.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn, Protocol

import msgspec
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine

from gatehouse.auth.vault import Vault
from gatehouse.control.answers import FieldError, InputError
from gatehouse.control.caller import Caller
from gatehouse.control.callout import Callout, CalloutError
from gatehouse.control.publishing import NotPublishedError
from gatehouse.errors import GatehouseError
from gatehouse.journal.lines import JournalError
from gatehouse.journal.records import Admin
from gatehouse.model.snapshot import ProviderEntry, Sections
from gatehouse.ports import Written
from gatehouse.store import times
from gatehouse.store.directory import access, ids
from gatehouse.store.directory.changes import Event, Outgoing
from gatehouse.store.directory.directory import Directory
from gatehouse.store.directory.operator import OperatorStore
from gatehouse.store.engine import StoreError

LOOK_SECONDS: Final = 1.0
"""How often it is looked for what other processes and machines changed."""
IN_FORCE_SECONDS: Final = 1.0
"""How long a change that takes nothing away waits for the workers."""

_WRITE_SECONDS: Final = 2.0
_AT_A_TIME: Final = 100
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class Appends(Protocol):
    """The journal's own lines (`journal.writer.JournalWriter`)."""

    def append(self, kind: str, body: msgspec.Struct, tenant: str = "", *, written: Written | None = None) -> None: ...


class Publishes(Protocol):
    """The way to the workers (`control.publishing.Publisher`)."""

    async def publish(self, cut: tuple[str, ...] = ()) -> int: ...

    async def published(self, version: int) -> None: ...


@dataclass(frozen=True)
class Means:
    """What administering takes besides the directory."""

    vault: Vault = field(repr=False)
    providers: Mapping[str, ProviderEntry]
    callout: Callout
    address: str
    """The gateway's URL by its configuration, without a slash at the end; for who asks without saying how."""
    public_url: str | None = None
    """The one that callers know it by, where that is configured."""


class Engines:
    """The directory's connections. Its tables are made, or upgraded, by `prepare`."""

    def __init__(self, url: URL) -> None:
        """`url`: as `access.located`."""
        self._url = url
        self._writing: AsyncEngine | None = None
        self._reading: AsyncEngine | None = None
        self._preparing = asyncio.Lock()
        self._prepared = False

    async def prepare(self) -> None:
        """Once; whoever comes meanwhile waits. Raises `StoreError`."""
        async with self._preparing:
            if not self._prepared:
                await access.prepare(self._url)
                self._prepared = True

    @property
    def writing(self) -> AsyncEngine:
        """Raises `StoreError` where there cannot be a file."""
        if self._writing is None:
            self._writing = access.writer(self._url)
        return self._writing

    @property
    def reading(self) -> AsyncEngine:
        """Each transaction sees one state."""
        if self._reading is None:
            self._reading = access.reader(self._url)
        return self._reading

    async def sections(self) -> Sections:
        """All that the snapshot takes from the directory (`publishing.Source`). Raises `StoreError`."""
        await self.prepare()
        return await OperatorStore(self.reading).sections()

    async def aclose(self) -> None:
        """Give the connections back."""
        for engine in (self._writing, self._reading):
            if engine is not None:
                await engine.dispose()


class Administration:
    """`run` for as long as the process lives. Offline: `open` instead."""

    def __init__(self, engines: Engines, journal: Appends, publisher: Publishes, means: Means) -> None:
        self._engines = engines
        self._journal = journal
        self._publisher = publisher
        self.means = means
        self._draining = asyncio.Lock()
        self._sent: dict[str, asyncio.Future[GatehouseError | None]] = {}
        """Events that were handed to the journal and are still in the outbox."""
        self._revision = -1
        self._said = ""

    async def open(self) -> None:
        """Have the tables, and put on record what was left. Raises `StoreError`."""
        await self._engines.prepare()
        await self.drained()

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            try:
                await self.open()
                await self._follow()
                self._said = ""
            except StoreError as error:
                if str(error) != self._said:
                    _log.warning("the directory cannot be used now: %s", error)
                self._said = str(error)
            await asyncio.sleep(LOOK_SECONDS)

    @property
    def trouble(self) -> str:
        """Why the directory cannot be used now; empty: it can, as far as `run` knows."""
        return self._said

    def directory(self, caller: Caller) -> Directory:
        """The caller's tenant, to be changed."""
        return Directory(self._engines.writing, caller.tenant)

    def reading(self, caller: Caller) -> Directory:
        """The caller's tenant, to be read."""
        return Directory(self._engines.reading, caller.tenant)

    def tenant(self, tenant: str) -> Directory:
        """A tenant's, for the control plane's own work."""
        return Directory(self._engines.writing, tenant)

    @property
    def operator(self) -> OperatorStore:
        """The directory of all tenants."""
        return OperatorStore(self._engines.writing)

    async def changed(self) -> None:
        """After a change that takes nothing away. It comes into force within a moment, if not at once."""
        await self.drained()
        try:
            async with asyncio.timeout(IN_FORCE_SECONDS):
                await self._publisher.published(await self._publisher.publish())
        except (TimeoutError, NotPublishedError):
            return  # It is stored; the publisher goes on trying, and says so in its log.

    async def revoked(self, cut: tuple[str, ...] = ()) -> None:
        """After a change that takes something away: no worker goes by what was before. `cut`: ids of keys whose calls
        must not go on either.

        Raises `NotPublishedError`; the change is stored then, and comes into force later."""
        await self._publisher.published(await self._publisher.publish(cut))
        await self.drained()

    async def drained(self) -> None:
        """Events go into the journal, as far as it takes them now; the rest waits. Raises `StoreError`."""
        async with self._draining:
            while await self._drain():
                pass

    async def _drain(self) -> bool:
        """Some events; whether more may follow."""
        waiting = await self.operator.outbox(_AT_A_TIME)
        for each in waiting:
            if each.event.id not in self._sent:
                try:
                    self._append(each)
                except (JournalError, OSError) as error:
                    _log.warning("events of the directory wait for the journal: %s", error)
                    return False
        told = [self._sent[each.event.id] for each in waiting]
        if told:
            await asyncio.wait(told, timeout=_WRITE_SECONDS)
        over = [each.event.id for each in waiting if self._sent[each.event.id].done()]
        written = [name for name in over if self._sent[name].result() is None]
        if written:
            await self.operator.journalled(written)
        for name in over:
            del self._sent[name]
        return len(waiting) == _AT_A_TIME == len(written)

    def _append(self, outgoing: Outgoing) -> None:
        """Raises `JournalError`."""
        told: asyncio.Future[GatehouseError | None] = asyncio.get_running_loop().create_future()
        self._journal.append("admin", record(outgoing.event), outgoing.tenant, written=told.set_result)
        self._sent[outgoing.event.id] = told

    async def _follow(self) -> None:
        """Publish what somebody else changed."""
        revision = await self.operator.revision()
        if revision != self._revision:
            try:
                await self._publisher.publish()
            except NotPublishedError:
                return
            self._revision = revision


def check_callable(means: Means, field: str, url: str | None) -> None:
    """Check that this control plane would call the URL in a field of the body. Raises `InputError`."""
    if url is not None:
        try:
            means.callout.check(url)
        except CalloutError as error:
            raise InputError(FieldError(field, str(error))) from error


def own_event(action: str, target_kind: str, target: str, **details: Any) -> Event:
    """What the control plane does, or notices, by itself. `details`: ids, numbers and flags."""
    return Event(ids.new("event"), times.now(), "system", action, target_kind, target, details=details)


def record(event: Event) -> Admin:
    """An event as the journal has it."""
    return Admin(
        id=event.id,
        at=times.rfc3339(event.at),
        actor_kind=event.actor_kind,
        action=event.action,
        target_kind=event.target_kind,
        target=event.target,
        actor=event.actor,
        details={name: msgspec.Raw(_encode(value)) for name, value in event.details.items()},
    )
