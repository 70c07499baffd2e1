"""WebSocket by hand, over plain sockets: both ends of a tunnel, where every byte and every cut matters."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import socket
from collections.abc import Iterator

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455, 1.3."""
KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
MASK = b"\x11\x22\x33\x44"
SECONDS = 30.0


def frame(payload: bytes, opcode: int = 1, *, last: bool = True, masked: bool = False, first: int = 0) -> bytes:
    """A frame (RFC 6455, 5.2). `first`: further bits of its first byte."""
    size = len(payload)
    head = bytes([(0x80 if last else 0) | first | opcode])
    bit = 0x80 if masked else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65_536:
        head += bytes([bit | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload))


def close(code: int | None = 1000, *, masked: bool = False) -> bytes:
    return frame(code.to_bytes(2, "big") if code is not None else b"", 8, masked=masked)


def handshake(path: str, *lines: bytes, key: bytes = KEY, method: bytes = b"GET") -> bytes:
    """A caller's. `lines`: further headers."""
    return b"\r\n".join(
        [
            method + b" " + path.encode() + b" HTTP/1.1",
            b"Host: 127.0.0.1",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: " + key,
            *lines,
            b"\r\n",
        ]
    )


def accepted(*lines: bytes, key: bytes = KEY) -> bytes:
    """A server's answer to it."""
    accept = base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())
    first = [b"HTTP/1.1 101 Switching Protocols", b"Upgrade: websocket", b"Connection: Upgrade"]
    return b"\r\n".join([*first, b"Sec-WebSocket-Accept: " + accept, *lines, b"\r\n"])


class End:
    """One end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        sock.settimeout(SECONDS)
        self._read = b""

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.sock.sendall(piece)

    def head(self) -> bytes:
        """Up to the empty line."""
        while b"\r\n\r\n" not in self._read:
            self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        return head

    def read(self, size: int) -> bytes:
        while len(self._read) < size:
            self._more()
        found, self._read = self._read[:size], self._read[size:]
        return found

    def rest(self) -> bytes:
        """Everything up to the end of the connection, however it ends."""
        with contextlib.suppress(ConnectionResetError):
            while piece := self.sock.recv(65_536):
                self._read += piece
        found, self._read = self._read, b""
        return found

    def _more(self) -> None:
        piece = self.sock.recv(65_536)
        assert piece, f"the connection ended behind {self._read!r}"
        self._read += piece


class Provider:
    """Listens where a provider would."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._ends: list[End] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def accept(self) -> End:
        return self.keep(self._listener.accept()[0])

    def keep(self, sock: socket.socket) -> End:
        """One end of whatever connection; closed in the end."""
        end = End(sock)
        self._ends.append(end)
        return end

    def asked(self) -> bool:
        """Whether somebody waits to be accepted."""
        self._listener.setblocking(False)
        try:
            self.accept()
        except BlockingIOError:
            return False
        finally:
            self._listener.settimeout(SECONDS)
        return True

    def close(self) -> None:
        for end in self._ends:
            end.sock.close()


@contextlib.contextmanager
def provider() -> Iterator[Provider]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)
        made = Provider(listener)
        yield made
        made.close()
