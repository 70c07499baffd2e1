"""Connections that arrive while the server drains: with TLS, a handshake lies between accepting and handing over."""

from __future__ import annotations

from tests.http.line import FakeTransport, Line
from tests.http.test_reader import GET


def test_a_connection_handed_over_while_draining_may_ask_once() -> None:
    """Else a client that goes on asking would hold the end up for the whole grace time."""
    line = Line()
    line.server.drain()
    late = line.server.connection()
    late.connection_made(transport := FakeTransport())
    late.data_received(GET + GET)
    line.turns.settle()
    assert bytes(transport.written).count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in bytes(transport.written).lower()
    assert transport.eof or transport.is_closing()
    transport.abort()
    late.connection_lost(None)
    line.hang_up()


def test_a_connection_handed_over_while_draining_that_asks_nothing_is_closed_by_the_sweep() -> None:
    line = Line()
    line.server.drain()
    late = line.server.connection()
    late.connection_made(transport := FakeTransport())
    late.sweep(line.server.now, line.server.limits)
    assert transport.is_closing()
    late.connection_lost(None)
    line.hang_up()
