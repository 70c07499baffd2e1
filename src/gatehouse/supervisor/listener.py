"""The one listening socket, bound by the supervisor and inherited by every worker.

No SO_REUSEPORT: with it a second server starts on the same port without an error, and connections queued for a worker
that is killed are reset. SO_REUSEADDR only lets a port be taken again while old connections linger.
"""

from __future__ import annotations

import errno
import socket
import time
from contextlib import suppress
from typing import Final

from gatehouse.supervisor.failure import StartError

BACKLOG: Final = 4096
"""Connections the kernel queues; it may cut this down (net.core.somaxconn)."""

_PATIENCE: Final = 0.5
"""Seconds. A worker whose supervisor was just killed takes a moment to be gone, and holds the port until then."""

_NOT_THIS_ADDRESS: Final = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


def listen(host: str, port: int) -> socket.socket:
    """Bind and listen on the first usable address of `host`, IPv4 before IPv6; non-blocking, not inheritable.

    `host` is an address (IPv6 with or without brackets; `::` takes IPv4 too) or a name such as `localhost`; port 0
    picks a free one. Raises `StartError`.
    """
    failure: OSError | None = None
    for family, address in _resolve(host, port):
        try:
            return _bind_soon(family, address)
        except OSError as error:
            if error.errno not in _NOT_THIS_ADDRESS:
                raise _explain(error, host, port) from error
            failure = failure or error
    raise StartError(
        f"cannot listen on {host}: not an address of this machine; choose another with --host"
    ) from failure


def refuse(listener: socket.socket) -> None:
    """Let the kernel refuse connections from now on, in whichever process the listener is open.

    Nobody will accept them any more: without this they would be queued, and cut when the last process ends. Only Linux
    does it; elsewhere they are queued.
    """
    with suppress(OSError):
        listener.shutdown(socket.SHUT_RDWR)


def _resolve(host: str, port: int) -> list[tuple[int, tuple[object, ...]]]:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not bare:
        # getaddrinfo would take "" for every interface.
        raise StartError("no address to listen on; name one with --host (0.0.0.0 for all)")
    try:
        found = socket.getaddrinfo(bare, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise StartError(f"cannot listen on {host}: the name does not resolve; choose another with --host") from error
    # A name gets one socket, so one family: clients that try ::1 first fall back to 127.0.0.1, few the other way round.
    found.sort(key=lambda info: info[0] != socket.AF_INET)
    return [(info[0], info[4]) for info in found]


def _bind_soon(family: int, address: tuple[object, ...]) -> socket.socket:
    """Try for a moment where the port is taken. Raises `OSError`."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return _bind(family, address)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                raise
        time.sleep(0.02)


def _bind(family: int, address: tuple[object, ...]) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(address[0] != "::"))
        listener.bind(address)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        raise
    # Shared by all workers, as the descriptor's flags are: whoever loses the race for a connection must not block.
    listener.setblocking(False)
    return listener


def _explain(error: OSError, host: str, port: int) -> StartError:
    if error.errno == errno.EADDRINUSE:
        return StartError(f"port {port} on {host} is taken; choose another with --port, or stop what listens there")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return StartError(f"not permitted to listen on port {port} of {host}; choose one above 1023 with --port")
    return StartError(f"cannot listen on {host} port {port} (--host, --port): {error.strerror}")
