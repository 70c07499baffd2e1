"""Passing an upstream's answer on to the caller, and telling the caller what went wrong.

Rules
- I1: the body goes on byte for byte, each piece as it comes; only asked-for usage is taken out again.
- I9: a slow client pauses its own upstream, nothing else.
- An answer that was cut ends abnormally, after the dialect's own error event where one can be said (an event stream,
  not encoded, of no promised length, whose last word has not come): never with a clean end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

from gatehouse import errors
from gatehouse.dialects.model_list import ModelListFilter
from gatehouse.dialects.registry import Endpoint
from gatehouse.errors import GatehouseError
from gatehouse.http.client import ClientConnection
from gatehouse.http.headers import AnswerHeaders, lines
from gatehouse.http.message import Fields
from gatehouse.http.websocket import accept_lines
from gatehouse.model.call import Ask, Route
from gatehouse.pipeline.call import Call, Ended, Phase, in_slices
from gatehouse.pipeline.observe import SLICE, Observer
from gatehouse.ports import Filter

_LONGEST_RETRY_HEADER: Final = 60
_NEVER_RETRY: Final = frozenset((400, 401, 403, 413))
_ERROR_LINES: Final = (
    b"content-type: application/json\r\nx-content-type-options: nosniff\r\n"
    b"x-gatehouse-error: gateway\r\nx-gatehouse-id: %b\r\n"
)
_ACCOUNT: Final = frozenset((b"openai-organization", b"openai-project", b"anthropic-organization-id"))
"""Whose the stored credential is: nothing for its borrowers."""
_EVENT_ENDS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")

RewriteAddress = Callable[[bytes, Route, bytes], bytes | None]
"""(address, route, host the caller used) → the address behind our own route, or `None` to leave it out."""

_sha256: Final = hashlib.sha256


class Rejections:
    """Stored credentials that providers turned down, until somebody takes note; each once."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, str, str, int]] = {}

    def put(self, tenant: str, credential: str, provider: str, status: int) -> None:
        self._found[credential] = (tenant, credential, provider, status)

    def take(self) -> list[tuple[str, str, str, int]]:
        """Tenant, credential, provider and status of each, forgotten here."""
        found = list(self._found.values())
        self._found.clear()
        return found


class Relay:
    """Hands answers down."""

    def __init__(self, answer_headers: AnswerHeaders, rewrite_address: RewriteAddress, *, keep_bytes: int) -> None:
        self.rejections = Rejections()
        self._answer_headers = answer_headers
        self._lent_headers = answer_headers.without(_ACCOUNT)
        """The same where the credential is not the caller's own."""
        self._rewrite_address = rewrite_address
        self._keep_bytes = keep_bytes

    async def relay(self, call: Call, endpoint: Endpoint, ask: Ask, connection: ClientConnection) -> None:
        """Pass the whole answer on. Raises `Ended` if either side broke off, `GatehouseError` before the head."""
        exchange = call.exchange
        editing = self._start(call, endpoint, ask, connection)
        call.enter(Phase.ANSWER)
        observer = call.observer
        assert observer is not None  # noqa: S101 - made with the head
        while True:
            pieces = connection.take()
            for piece in pieces:
                # To the caller first, then to whoever watches.
                self._hand(call, piece if editing is None else editing.feed(piece))
                if len(piece) <= SLICE and not call.answer_encoding:
                    observer.feed(piece)
                else:
                    if not connection.complete:
                        connection.hold()  # what came meanwhile would pile up behind what the client has not taken
                    await in_slices(call, observer.feed_slices(piece))
                if call.first_token_us is None and observer.first_token:
                    call.first_token_us = call.elapsed_us()
            if connection.complete and not connection.pieces:
                break
            if connection.lost:
                cut = GatehouseError(errors.UPSTREAM_ERROR, f"the provider broke off: {connection.failure}")
                raise Ended("cut", f"upstream broke off: {connection.failure}", cut)
            if not pieces:
                exchange.flush()
            call.check()
            if not connection.held:
                await exchange.fiber.sleep()
            while exchange.paused and not exchange.gone and call.cause is None:
                connection.hold()
                await exchange.fiber.sleep()
        if editing is not None:
            self._hand(call, editing.finish())
        call.check()

    def _start(self, call: Call, endpoint: Endpoint, ask: Ask, connection: ClientConnection) -> Filter | None:
        """Send the head; returns what edits the body, if anything does."""
        status = connection.status
        if 300 <= status < 400 and status != 304:
            # The SDKs would re-post the prompt, keys and all, to wherever it points.
            raise GatehouseError(errors.UPSTREAM_ERROR, f"the provider answered {status}, a redirect: not followed")
        if status in (401, 403) and call.stored is not None:
            # The caller's own key is good: it must not look as if it were not, nor learn whose the account is.
            self.rejections.put(call.principal.tenant, call.stored.id, call.route.provider, status)
            raise GatehouseError(
                errors.CREDENTIAL_REJECTED, f"provider {call.route.provider} rejected the stored credential ({status})"
            )
        call.observer = Observer(endpoint.meter(ask, call.answer_type, status), call.answer_encoding)
        editing = None
        if call.asks_usage and endpoint.option is not None and call.answer_encoding in ("", "identity"):
            editing = endpoint.option.usage_filter(call.answer_type)
        elif call.lists_models and status == 200:
            editing = self._fewer_models(call)
        host = call.exchange.head.host
        filter_ = self._answer_headers if call.stored is None else self._lent_headers
        kept = filter_.downstream(connection.headers, lambda address: self._rewrite_address(address, call.route, host))
        length = None if editing is not None else connection.length
        call.status = status
        call.digest = _sha256()
        if self._keep_bytes:
            call.kept_response = []
        own = b"x-gatehouse-id: %b\r\n" % call.id.encode()
        if call.limited is not None:
            own += call.limited.lines()
        if status >= 400:
            own += _mark_error(connection.fields)
        call.exchange.start(status, lines(kept) + own, length)
        return editing

    def _fewer_models(self, call: Call) -> Filter:
        grant = call.facts.grant
        if grant is None or call.answer_encoding not in ("", "identity"):
            raise GatehouseError(errors.UPSTREAM_ERROR, "the provider's list of models came encoded, unasked")
        return ModelListFilter(call.route.dialect, grant.may_model)

    def switch(self, call: Call, connection: ClientConnection) -> None:
        """Pass a 101 on. Raises `GatehouseError` if it does not answer the caller's handshake."""
        try:
            accepted = accept_lines(call.exchange.head, connection.fields)
        except ValueError as error:
            raise GatehouseError(errors.UPSTREAM_ERROR, f"no WebSocket from the provider: {error}") from None
        kept = self._answer_headers.downstream(connection.headers, lambda address: None)
        call.status = 101
        call.digest = _sha256()
        own = b"x-gatehouse-id: %b\r\n" % call.id.encode()
        if call.limited is not None:
            own += call.limited.lines()
        call.exchange.switch(accepted + lines(kept) + own)

    def _hand(self, call: Call, data: bytes) -> None:
        if not data:
            return
        call.exchange.write(data)
        call.last_piece = data
        digest = call.digest
        assert digest is not None  # noqa: S101 - made with the head
        digest.update(data)
        if call.kept_response is not None and call.exchange.sent - len(data) < self._keep_bytes:
            call.kept_response.append(data)


def _mark_error(fields: Fields) -> bytes:
    """Header lines beside a provider's own error: who spoke, and a stop where its Retry-After would mean days."""
    try:
        patience = int(fields.get(b"retry-after", b"0"))
    except ValueError:
        patience = 0  # a date: the SDKs bound those themselves
    if patience > _LONGEST_RETRY_HEADER and b"x-should-retry" not in fields:
        return b"x-gatehouse-error: upstream\r\nx-should-retry: false\r\n"
    return b"x-gatehouse-error: upstream\r\n"


def tell(call: Call, endpoint: Endpoint, ended: Ended) -> None:
    """End the caller's answer after something went wrong, saying so where it can still be said."""
    exchange = call.exchange
    error = ended.error
    if exchange.gone or exchange.finished or error is None:
        exchange.abort()
    elif not exchange.started:
        status, head, body = say(error, endpoint, call.id)
        if call.limited is not None:
            head += call.limited.lines()
        call.status = status
        exchange.start(status, head, len(body))
        exchange.write(body)
        if exchange.sent:
            call.digest = _sha256(body)
        exchange.end()
    else:
        if call.answer_encoding in ("", "identity") and not exchange.measured and not _said(call):
            event = endpoint.error_event(error, call.id, call.answer_type)
            whole = not call.last_piece or call.last_piece.endswith(_EVENT_ENDS)
            if event and not whole:
                # A named event takes the half one over, which its reader could not decode alone.
                event = (b"\n" if event.startswith(b"event:") else b"\n\n") + event
            exchange.write(event)
            if call.digest is not None:
                call.digest.update(event)
        exchange.abort()


def _said(call: Call) -> bool:
    """The dialect's last word has come: an error behind it would spoil an answer that its reader has whole."""
    return call.observer is not None and call.observer.ended


def _hopeless(error: GatehouseError) -> bool:
    """Whether a retry cannot help, or would have to wait so long that SDKs, told how long, would seem to hang."""
    kind, retry_after = error.kind, error.retry_after
    if retry_after is not None and retry_after > _LONGEST_RETRY_HEADER:
        return True
    return kind.status in _NEVER_RETRY or kind.code == errors.BUDGET_EXCEEDED.code or kind is errors.RATE_NEVER_FITS


def say(error: GatehouseError, endpoint: Endpoint, call_id: str) -> tuple[int, bytes, bytes]:
    """An error in the caller's dialect: (status, header lines, body)."""
    status = error.kind.status
    head = _ERROR_LINES % call_id.encode()
    retry_after = error.retry_after
    if retry_after is not None and retry_after <= _LONGEST_RETRY_HEADER:
        head += b"retry-after: %d\r\n" % retry_after
    if _hopeless(error):
        head += b"x-should-retry: false\r\n"
    return status, head, endpoint.error_body(error, call_id)
