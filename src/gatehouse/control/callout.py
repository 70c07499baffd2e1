"""The one way in which the control plane calls others by itself: tokens, `rotate` hooks, webhooks, key sets.

Rules: https only; a name is resolved once, only public addresses are taken, and exactly those are
connected to, with the name for TLS and `Host`; no redirect is followed; the answer is bounded in time and size, and is
never decompressed; nothing is taken from the environment, no proxy and no password. What the operator's file lists
under `callouts.private` may have addresses that are not public, and on loopback plain http. A connection serves one
call. Errors name the host and never the path, the query or a body: those may hold a secret.
"""

from __future__ import annotations

import asyncio
import hmac
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import httpx2

from gatehouse import __version__
from gatehouse.config.check import is_loopback
from gatehouse.config.settings import Callouts
from gatehouse.upstream.resolve import is_public

ANSWER_BYTES: Final = 1024 * 1024
"""The largest answer that is taken."""

_CONNECT_SHARE: Final = 0.5
"""Of the time for a call, at most this much for one address."""
_ADDRESSES: Final = 4
"""Addresses of a name that are tried."""
_PORTS: Final = {"https": 443, "http": 80}
_HOST: Final = re.compile(r"(?=.{1,253}\Z)[a-z0-9_](?:[a-z0-9_.-]*[a-z0-9])?")
_VISIBLE: Final = re.compile(r"[\x21-\x7e]+")

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) → addresses, numeric. Raises `OSError`."""


class CalloutError(Exception):
    """No answer, or none that is taken. `str(error)` names the host and holds no secret."""

    def __init__(self, host: str, why: str) -> None:
        super().__init__(f"{host}: {why}")


class Answer(NamedTuple):
    """An answer, whatever its status."""

    status: int
    body: bytes


class _Target(NamedTuple):
    scheme: str
    host: str
    port: int
    path: str
    private: bool

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class Callout:
    """Makes calls. One per process; calls share nothing but what is trusted."""

    def __init__(self, settings: Callouts, *, resolve: Resolve | None = None) -> None:
        """Reads the certificates to trust (31 ms). Raises `OSError`, `ssl.SSLError` for a bad `ca_file`."""
        self._seconds = settings.seconds
        self._private = frozenset(_origin(urlsplit(origin)) for origin in settings.private)
        self._resolve = resolve or look_up
        self._tls = ssl.create_default_context(cafile=settings.ca_file)

    def check(self, url: str) -> None:
        """Whether a URL may ever be called, whatever its name resolves to. Raises `CalloutError`."""
        self._target(url)

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """One request and its answer. Raises `CalloutError`."""
        target = self._target(url)
        try:
            async with asyncio.timeout(self._seconds):
                addresses = await self._addresses(target)
                return await self._first(addresses, target, method, dict(headers or {}), body)
        except TimeoutError:
            raise CalloutError(target.host, f"no answer within {self._seconds:g} s") from None

    def _target(self, url: str) -> _Target:
        """What a URL names, if it may be called at all."""
        if not _VISIBLE.fullmatch(url):
            raise CalloutError("a call-out", "its address holds a space or a character that is not ASCII")
        try:
            parts = urlsplit(url)
            scheme, host, port = _origin(parts)
        except ValueError:
            raise CalloutError("a call-out", "its address is no URL") from None
        if not (_HOST.fullmatch(host) or ":" in host):
            raise CalloutError("a call-out", "its address names no valid host")
        private = (scheme, host, port) in self._private
        if scheme != "https" and not (scheme == "http" and private and is_loopback(host)):
            raise CalloutError(host, "is called by https only; http is for loopback that callouts.private lists")
        if parts.username is not None or parts.password is not None or parts.fragment:
            raise CalloutError(host, "its address holds a user, a password or a fragment")
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return _Target(scheme, host, port, path, private)

    async def _addresses(self, target: _Target) -> list[str]:
        try:
            found = await self._resolve(target.host, target.port)
        except (OSError, UnicodeError):
            raise CalloutError(target.host, "its name cannot be resolved") from None
        allowed = found if target.private else [address for address in found if is_public(address)]
        if target.scheme == "http":
            allowed = [address for address in allowed if is_loopback(address)]
        if not allowed:
            raise CalloutError(
                target.host,
                "has no public address; if that is meant, list its origin under callouts.private in the configuration",
            )
        return allowed[:_ADDRESSES]

    async def _first(
        self, addresses: Iterable[str], target: _Target, method: str, headers: dict[str, str], body: bytes
    ) -> Answer:
        """The answer from the first address that takes a connection."""
        failure = CalloutError(target.host, "has no address")
        for address in addresses:
            try:
                return await self._exchange(address, target, method, headers, body)
            except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
                failure = CalloutError(target.host, _connecting(error))
            except httpx2.HTTPError as error:
                # Not chained: a library's text may quote the request.
                raise CalloutError(target.host, f"broke off ({type(error).__name__})") from None
        raise failure

    async def _exchange(
        self, address: str, target: _Target, method: str, headers: dict[str, str], body: bytes
    ) -> Answer:
        """With this address and no other. Raises `httpx2.HTTPError`, `CalloutError`."""
        host = f"[{address}]" if ":" in address else address
        url = httpx2.URL(f"{target.scheme}://{host}:{target.port}").copy_with(raw_path=target.path.encode())
        timeout = httpx2.Timeout(self._seconds, connect=self._seconds * _CONNECT_SHARE)
        own = {
            "host": target.authority,
            "user-agent": f"gatehouse/{__version__}",
            "accept-encoding": "identity",
            "connection": "close",
        }
        async with (
            httpx2.AsyncClient(verify=self._tls, trust_env=False, follow_redirects=False, timeout=timeout) as http,
            http.stream(
                method,
                url,
                headers=headers | own,
                content=body or None,
                extensions={"sni_hostname": target.host},
            ) as response,
        ):
            if 300 <= response.status_code < 400:
                raise CalloutError(target.host, f"answered {response.status_code}; redirects are not followed")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise CalloutError(target.host, "answered in an encoding that was not asked for")
            received = bytearray()
            async for piece in response.aiter_raw():
                received += piece
                if len(received) > ANSWER_BYTES:
                    raise CalloutError(target.host, f"answered more than {ANSWER_BYTES} bytes")
            return Answer(response.status_code, bytes(received))


async def look_up(host: str, port: int) -> list[str]:
    """The system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def signature(key: bytes, body: bytes, at: int) -> str:
    """What a receiver of our calls checks: `t=UNIX-SECONDS,v1=HEX` with HMAC-SHA256 over `UNIX-SECONDS.body`."""
    return f"t={at},v1={hmac.digest(key, b'%d.%b' % (at, body), 'sha256').hex()}"


def _origin(parts: SplitResult) -> tuple[str, str, int]:
    """Raises `ValueError` where the port is none."""
    host = (parts.hostname or "").rstrip(".")
    return parts.scheme, host, parts.port or _PORTS.get(parts.scheme, 0)


def _connecting(error: httpx2.HTTPError) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not accepted: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed: {cause.reason or 'no common protocol'}"
        cause = cause.__cause__ or cause.__context__
    return "does not take connections"
