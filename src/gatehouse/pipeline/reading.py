"""Reading what a call asks: its body, whole or streamed, as far as the gateway must know it.

Rules: pieces are hashed as they come; what is large, or encoded, is read in slices, so that other calls go on
meanwhile; a body that nobody meters is not held at all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import msgspec

from gatehouse import errors
from gatehouse.auth.keys import resembles
from gatehouse.dialects.extent import unread
from gatehouse.dialects.forms import model_field
from gatehouse.dialects.registry import Endpoint
from gatehouse.dialects.rename import single_slices
from gatehouse.errors import GatehouseError
from gatehouse.model.call import Ask, Extent
from gatehouse.pipeline.call import Call, in_slices
from gatehouse.pipeline.encoded import Encoded

_KEY_MARK: Final = "gth_"
_sha256: Final = hashlib.sha256
_UNREAD: Final = "its body is passed on unread"
_ENCODED: Final = "its body is encoded (Content-Encoding), and cannot be given an output maximum"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Bytes; names as in `config.settings.Limits`."""

    body_bytes: int
    upload_bytes: int
    read_whole: int


class Reader:
    """Reads bodies, for one worker."""

    def __init__(self, bounds: Bounds, *, capture: bool) -> None:
        self._bounds = bounds
        self._capture = capture

    async def read(self, call: Call, endpoint: Endpoint) -> tuple[bytes | None, Ask]:
        """The body, and what it asks. `None`: it is no JSON that anybody meters, and passed through as it arrives."""
        exchange = call.exchange
        route = call.route
        facts = call.facts
        whole = facts.body_plan == "whole" or (route.surface == "transparent" and call.way.signs)
        exchange.accept_body(self._bounds.upload_bytes if facts.upload and not whole else self._bounds.body_bytes)
        body: bytes | None
        if exchange.complete and len(exchange.pieces) == 1:
            body = exchange.take()[0]
            call.request_sha256 = _sha256(body).hexdigest()
        elif exchange.complete or whole:
            body = await self._gather(call)
        else:
            body = None
        if self._capture:
            call.kept_request = body
        if facts.coding and facts.body_plan == "whole":
            ask = await self._read_encoded(call, endpoint, body or b"")
        elif body is None or len(body) <= self._bounds.read_whole:
            ask = await self._plainly(call, endpoint.read(body or b"", route.model), body or b"")
        else:
            # In slices, so that other calls go on meanwhile.
            ask = await in_slices(call, endpoint.read_slices(body, route.model))
            ask = await self._plainly(call, ask, body)
        if facts.form is not None and body is not None and not facts.coding and route.model is None:
            named = model_field(body, facts.form)
            ask = msgspec.structs.replace(ask, model=named.model if named is not None else None)
        if ask.model is not None and _KEY_MARK in ask.model and resembles(ask.model.encode(errors="replace")):
            raise GatehouseError(errors.BAD_REQUEST, "the model's name holds something like a gateway key")
        call.ask = ask
        call.times = call.live.times(exchange.head.path, ask.model)
        return body, ask

    async def _gather(self, call: Call) -> bytes:
        """A body that comes in pieces, hashed as they come."""
        exchange = call.exchange
        digest = _sha256()
        pieces: list[bytes] = []
        while True:
            for piece in exchange.take():
                digest.update(piece)
                pieces.append(piece)
            if exchange.complete:
                break
            if exchange.fault is not None:
                raise exchange.fault
            call.check()
            await exchange.fiber.sleep()
        call.request_sha256 = digest.hexdigest()
        return b"".join(pieces)

    async def _read_encoded(self, call: Call, endpoint: Endpoint, body: bytes) -> Ask:
        """What a body asks that came encoded, and goes on so. It counts as `unread` if that cannot be known."""
        model = call.route.model
        encoded = Encoded(call.exchange.wire, call.facts.coding, self._bounds.body_bytes)
        try:
            plain = await in_slices(call, encoded.decode(body))
            if encoded.unread is not None:
                asked = endpoint.read(b"", model)
                call.extent = unread(len(body), encoded.unread)
                return msgspec.structs.replace(asked, unread=encoded.unread, input_bytes=len(body))
            if call.facts.grant is not None:
                # What goes upstream cannot be read again, nor changed: no bound holds for it.
                found = endpoint.extent_at_once(plain)
                call.extent = msgspec.structs.replace(found, dear=True, window=True, unbounded=_ENCODED)
            if len(plain) <= self._bounds.read_whole:
                return await self._plainly(call, endpoint.read(plain, model), plain)
            return await self._plainly(call, await in_slices(call, endpoint.read_slices(plain, model)), plain)
        finally:
            encoded.forget()

    async def _plainly(self, call: Call, ask: Ask, body: bytes) -> Ask:
        """Without a model, for a key that may ask for some only, where nobody knows which one a provider will take."""
        grant, route = call.facts.grant, call.route
        if grant is None or grant.any_model or ask.model is None or route.model is not None:
            return ask
        if await in_slices(call, single_slices(body)):
            return ask
        return msgspec.structs.replace(ask, model=None)

    def at_once(self, call: Call, endpoint: Endpoint, body: bytes | None) -> Extent | None:
        """The same as `extent`; `None`: the body is too large, or too intricate, to be read in one go."""
        extent = call.extent
        if extent is None:
            if body is None:
                extent = Extent(call.exchange.head.length or 0, dear=True, window=True, unbounded=_UNREAD)
            elif len(body) <= self._bounds.read_whole and not endpoint.intricate(body):
                extent = endpoint.extent(body)
            call.extent = extent
        return extent

    async def extent(self, call: Call, endpoint: Endpoint, body: bytes | None) -> Extent:
        """How large a request may become, whose body goes upstream so. Remembered, since what is put in is no text."""
        extent = self.at_once(call, endpoint, body)
        if extent is None:
            extent = call.extent = await in_slices(call, endpoint.extent_slices(body or b""))
        return extent

    async def names_kept(self, call: Call, endpoint: Endpoint, body: bytes) -> bool:
        """Whether a body names what the provider keeps, or is too intricate to tell. In slices a conversation is not
        read: here all of it is, at once, 0.4 ms/MiB."""
        if endpoint.intricate(body):
            return True
        if call.extent is None and len(body) > self._bounds.read_whole:
            return endpoint.extent(body).stored
        return (await self.extent(call, endpoint, body)).stored
