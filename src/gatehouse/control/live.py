"""`/api/v1/live`: calls as they end, as Server-Sent Events.

Rules: the collector names the calls that ended (`collector.feed`), and each listener reads them from the store with its
own filter: so an item here is the item of `/api/v1/traces`, and the tenant stands in the query (I6). A listener that
cannot keep up is told how many calls it missed and goes on from now. An idle stream says something every
`HEARTBEAT_SECONDS`, before anybody in between gives it up; as often it is asked whether the listener still may what it
might at the beginning. The stream ends when it may not, the store cannot be read or the process stops; clients come
back by themselves, and go on after the last event they got.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Header, Query, Request
from starlette.requests import HTTPConnection
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from gatehouse import errors
from gatehouse.collector.feed import Feed, Listener, TooManyListenersError
from gatehouse.control.answers import RETRY_SECONDS
from gatehouse.control.caller import caller_of
from gatehouse.control.parameters import once
from gatehouse.control.traces import SEVERAL, CallParameters
from gatehouse.errors import GatehouseError
from gatehouse.store.engine import StoreError
from gatehouse.store.queries import TraceFilter
from gatehouse.store.reading import Readers
from gatehouse.store.sight import Sight

HEARTBEAT_SECONDS: Final = 15.0
"""A worker gives up on the control plane after 30 s of silence."""
PIECE: Final = 250
"""Calls read at a time."""
MEDIA_TYPE: Final = "text/event-stream"
_HELLO: Final = b"retry: 2000\n\n"
_encode: Final = msgspec.json.Encoder().encode
_log = logging.getLogger(__name__)


class Lagged(msgspec.Struct, frozen=True):
    """What the event `lagged` tells: calls that ended and are not shown, whatever the filter; `null`: nobody knows."""

    missed: int | None


def routes(readers: Readers, feed: Feed, still: Callable[[HTTPConnection], Awaitable[bool]]) -> APIRouter:
    """The route over the calls that the caller may see. `still`: whether whoever sent a request may what it might."""
    router = APIRouter(prefix="/api/v1", tags=["traces"])

    @router.get("/live", summary="Calls as they end")
    async def show_live(
        request: Request,
        asked: Annotated[CallParameters, Query()],
        last_event_id: Annotated[
            str | None, Header(max_length=100, description="`id` of the last event that was received.")
        ] = None,
    ) -> Response:
        """Server-Sent Events: `call`, an item of `/api/v1/traces`; `lagged`, with the number of calls left out."""
        once(request, SEVERAL)
        sight = caller_of(request).sight
        loop, woken = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it the stream
                loop.call_soon_threadsafe(woken.set)

        try:
            listener = feed.listen(sight.tenant, wake, last_event_id)
        except TooManyListenersError as error:
            detail = "too many listen already; end one, or look at /api/v1/traces"
            raise GatehouseError(errors.OVERLOADED, detail, retry_after=RETRY_SECONDS) from error
        stream = Stream(readers, sight, asked.filter(), partial(still, request))
        return _Live(listener, stream.events(feed, listener, woken))

    return router


class _Live(StreamingResponse):
    """Lets its listener go, however it ends, even before it began."""

    def __init__(self, listener: Listener, events: AsyncIterator[bytes]) -> None:
        super().__init__(events, media_type=MEDIA_TYPE, headers={"cache-control": "no-store"})
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._listener.close()


class Stream:
    """The events of one listener."""

    def __init__(
        self,
        readers: Readers,
        sight: Sight,
        wanted: TraceFilter,
        still: Callable[[], Awaitable[bool]],
        *,
        heartbeat: float = HEARTBEAT_SECONDS,
    ) -> None:
        """`still`: whether the listener may go on; raises `StoreError`. `heartbeat`: seconds of silence at most."""
        self._readers = readers
        self._sight = sight
        self._wanted = wanted
        self._still = still
        self._heartbeat = heartbeat

    async def events(self, feed: Feed, listener: Listener, woken: asyncio.Event) -> AsyncIterator[bytes]:
        """Until the process stops, the listener may no more, or the store cannot be read."""
        yield _HELLO
        quiet_at = asked_at = time.monotonic() + self._heartbeat
        while not feed.closed:
            if time.monotonic() >= asked_at:
                if not await self._may_go_on():
                    return
                asked_at = time.monotonic() + self._heartbeat
            woken.clear()
            calls, missed = listener.take(PIECE)
            said = b"" if missed == 0 else _event(listener.place_before(len(calls)), "lagged", self._lagged(missed))
            if calls:
                try:
                    said += await self._shown(listener, calls)
                except StoreError as error:
                    _log.warning("a live stream ends: %s", error)
                    return
            if not said and time.monotonic() >= quiet_at:
                # The id moves on: whoever comes back need not go through what the filter left out.
                said = b": here\nid: %b\n\n" % listener.place.encode()
            if said:
                yield said
                quiet_at = time.monotonic() + self._heartbeat
            elif not calls:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), max(0.0, min(quiet_at, asked_at) - time.monotonic()))

    async def _may_go_on(self) -> bool:
        try:
            return await self._still()
        except StoreError as error:
            _log.warning("a live stream ends: %s", error)
            return False

    def _lagged(self, missed: int | None) -> Lagged:
        """How many of the calls that were left out may be seen, nobody knows."""
        return Lagged(None if self._sight.narrowed else missed)

    async def _shown(self, listener: Listener, calls: list[str]) -> bytes:
        """Those of the calls that are wanted. Raises `StoreError`."""
        queries = await self._readers.queries(self._sight)
        found = {item.id: item for item in await queries.among(calls, self._wanted)}
        return b"".join(
            _event(listener.place_before(left), "call", found[call])
            for left, call in zip(reversed(range(len(calls))), calls, strict=True)
            if call in found
        )


def _event(place: str, name: str, data: msgspec.Struct) -> bytes:
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (place.encode(), name.encode(), _encode(data))
