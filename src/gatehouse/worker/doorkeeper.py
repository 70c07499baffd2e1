"""Turns clients away while file descriptors are short, so that the calls there are can go on; and where too many are in
the middle of a TLS handshake, whom the server does not count yet.

Rules: the answer is written at once or not at all, and the connection is closed there and then: one that lingered
would keep the descriptor that is missing. Over TLS there is no answer, for a handshake would take its time.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from typing import Final

from gatehouse import errors
from gatehouse.config.descriptors import Descriptors
from gatehouse.errors import GatehouseError

_DRAINED: Final = 65_536


class Doorkeeper:
    """Stands at one worker's listener."""

    def __init__(
        self, descriptors: Descriptors, refusal: Callable[[GatehouseError], bytes], handshakes: int | None
    ) -> None:
        """`refusal`: the answer's bytes (`http.server.Server.refusal`). `handshakes`: so many may be under way; `None`:
        the listener speaks no TLS."""
        self._descriptors = descriptors
        self._refusal = refusal
        self._handshakes = handshakes

    def exhausted(self) -> None:
        """There was not even one for accepting."""
        self._descriptors.deny()

    def turns_away(self, connection: socket.socket, unfinished: int) -> bool:
        """True: the connection was one too many, and is closed. `unfinished`: connections not yet handed over."""
        if self._handshakes is not None and unfinished >= self._handshakes:
            connection.close()
            return True
        if not self._descriptors.short_for_client(connection.fileno()):
            return False
        self._descriptors.deny()
        with connection, contextlib.suppress(OSError):
            connection.setblocking(False)
            if self._handshakes is None:
                error = GatehouseError(errors.OVERLOADED, "the gateway is out of file descriptors", retry_after=1)
                connection.send(self._refusal(error))
            # What was sent to us and stays unread would turn our answer into a reset.
            connection.shutdown(socket.SHUT_WR)
            connection.recv(_DRAINED)
        return True
