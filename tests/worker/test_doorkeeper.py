"""A client is told at once that descriptors are short, and its own is free again at once."""

from __future__ import annotations

import socket

import pytest

from gatehouse.config.descriptors import Descriptors
from gatehouse.errors import GatehouseError
from gatehouse.worker.doorkeeper import Doorkeeper


def worded(error: GatehouseError) -> bytes:
    return f"HTTP/1.1 {error.kind.status} {error.detail}\r\n\r\n".encode()


@pytest.mark.parametrize("tls", [False, True])
def test_one_too_many_is_answered_and_closed(tls: bool) -> None:
    descriptors = Descriptors(8)  # every new number is above
    door = Doorkeeper(descriptors, worded, 5 if tls else None)
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert door.turns_away(ours, 0)
        assert ours.fileno() == -1
        got = theirs.recv(1000)
        assert got == (b"" if tls else b"HTTP/1.1 503 the gateway is out of file descriptors\r\n\r\n")
    assert descriptors.denied == 1


def test_while_there_are_some_nobody_is_turned_away() -> None:
    descriptors = Descriptors(100_000)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not Doorkeeper(descriptors, worded, None).turns_away(ours, 10_000)
        assert ours.fileno() > 0
    assert descriptors.denied == 0


def test_accepting_that_fails_counts_too() -> None:
    descriptors = Descriptors()
    Doorkeeper(descriptors, worded, None).exhausted()
    assert descriptors.denied == 1


def test_I9_handshakes_that_nobody_ends_are_bounded() -> None:
    """The server counts a connection when its handshake is over."""
    door = Doorkeeper(Descriptors(100_000), worded, 5)
    for unfinished in range(7):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            assert door.turns_away(ours, unfinished) is (unfinished >= 5)
            assert (ours.fileno() == -1) is (unfinished >= 5)
