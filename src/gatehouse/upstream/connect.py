"""Opening a connection: resolve, try addresses 250 ms apart, TLS. Off the hot path: a warm pool never comes here.

Rules: connect to the address that was checked, with the origin's name for TLS. One SSL context per CA set (31 ms each).
TLS handshakes in flight are bounded per pool, so that a dead provider takes nobody else's turn. Whoever loses the race
between addresses is closed, even if it connects late.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final

from gatehouse.config.descriptors import EXHAUSTED, Descriptors
from gatehouse.http.client import ClientConnection
from gatehouse.model.call import Origin
from gatehouse.upstream.resolve import ResolveError, Resolver

_NEXT_ADDRESS_SECONDS: Final = 0.25

Builtin = Callable[[], asyncio.BaseProtocol]
"""Makes the serving side of an in-process upstream."""

Factory = Callable[[], Any]
"""Makes a `ClientConnection`, which is a protocol for asyncio though not by inheritance."""


class ConnectError(Exception):
    """No connection; `str(error)` is a short phrase for the record and the caller (no address, no secret).

    `ours`: it is the gateway that cannot, whatever the provider would have said.
    """

    def __init__(self, why: str, *, ours: bool = False) -> None:
        super().__init__(why)
        self.ours = ours


class Connector:
    """Opens connections for all pools of a worker."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        dns_seconds: float,
        handshakes: int,
        builtins: dict[str, Builtin],
        descriptors: Descriptors | None = None,
    ) -> None:
        """`descriptors`: the process's, where others share in watching over them."""
        self._descriptors = descriptors or Descriptors()
        self._loop = loop
        self._resolver = Resolver(loop, dns_seconds)
        self._handshakes = handshakes
        self._contexts: dict[str | None, ssl.SSLContext] = {}
        self._builtins = builtins

    def trust(self, ca_file: str | None) -> ssl.SSLContext:
        """The TLS context for a CA set. Build it before traffic needs it. Raises `OSError`, `ssl.SSLError`."""
        context = self._contexts.get(ca_file)
        if context is None:
            context = self._contexts[ca_file] = ssl.create_default_context(cafile=ca_file)
            context.set_alpn_protocols(["http/1.1"])
        return context

    def gate(self) -> asyncio.Semaphore:
        """What bounds one pool's handshakes in flight."""
        return asyncio.Semaphore(self._handshakes)

    async def open(
        self,
        origin: Origin,
        factory: Factory,
        *,
        gate: asyncio.Semaphore,
        ca_file: str | None,
        private: bool,
        within: float,
    ) -> ClientConnection:
        """Raises `ConnectError`. `within`: seconds for everything, waiting at the `gate` included."""
        try:
            async with asyncio.timeout(within):
                if origin.builtin:
                    return await self._open_builtin(origin.host, factory)
                if origin.scheme == "unix":
                    return _made(await self._loop.create_unix_connection(factory, origin.host))
                addresses = await self._resolver.addresses(origin.host, origin.port, private=private)
                if origin.scheme == "http":
                    return await self._race(addresses, origin, factory, None)
                async with gate:
                    return await self._race(addresses, origin, factory, self.trust(ca_file))
        except TimeoutError:
            raise ConnectError(f"no connection within {within:g} s") from None
        except ResolveError as error:
            raise ConnectError(_nameless(str(error), origin)) from error
        except ssl.SSLCertVerificationError as error:
            raise ConnectError(f"certificate not accepted: {_nameless(error.verify_message, origin)}") from error
        except ssl.SSLError as error:
            raise ConnectError(f"TLS failed: {error.reason or error}") from error
        except OSError as error:
            if error.errno in EXHAUSTED:
                self._descriptors.deny()
                raise ConnectError("the gateway is out of file descriptors", ours=True) from error
            raise ConnectError(f"cannot connect: {error.strerror or type(error).__name__}") from error

    async def _open_builtin(self, name: str, factory: Factory) -> ClientConnection:
        serve = self._builtins[name]
        ours, theirs = socket.socketpair()
        for end in (ours, theirs):
            end.setblocking(False)
        await self._loop.connect_accepted_socket(serve, theirs)
        return _made(await self._loop.create_connection(factory, sock=ours))

    async def _race(
        self,
        addresses: list[str],
        origin: Origin,
        factory: Factory,
        context: ssl.SSLContext | None,
    ) -> ClientConnection:
        """The first address that connects wins; each gets a head start of 250 ms over the next."""
        attempts: list[asyncio.Task[ClientConnection]] = []
        failure: BaseException | None = None
        remaining = list(addresses)
        pending: set[asyncio.Task[ClientConnection]] = set()
        try:
            while remaining or pending:
                if remaining:
                    task = self._loop.create_task(self._attempt(remaining.pop(0), origin, factory, context))
                    attempts.append(task)
                    pending.add(task)
                done, pending = await asyncio.wait(
                    pending,
                    timeout=_NEXT_ADDRESS_SECONDS if remaining else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    failure = task.exception()
                    if failure is None:
                        attempts.remove(task)
                        return task.result()
            raise failure or OSError("no address")
        finally:
            for task in attempts:
                task.cancel()
                task.add_done_callback(_discard)

    async def _attempt(
        self, address: str, origin: Origin, factory: Factory, context: ssl.SSLContext | None
    ) -> ClientConnection:
        name = origin.host if context is not None else None
        opened = await self._loop.create_connection(factory, address, origin.port, ssl=context, server_hostname=name)
        connection = _made(opened)
        if self._descriptors.short_for_provider(opened[0].get_extra_info("socket").fileno()):
            connection.abort()
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        connection.address = address
        return connection


def _nameless(text: str, origin: Origin) -> str:
    """For callers: they are not told where a provider is (the record knows)."""
    return text.replace(origin.host, "its host")


def _made(opened: tuple[asyncio.Transport, Any]) -> ClientConnection:
    connection: ClientConnection = opened[1]
    return connection


def _discard(task: asyncio.Task[ClientConnection]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().abort()
