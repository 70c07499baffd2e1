"""One connection to a Redis or Valkey server, shared by all its users: commands go out as they come, answers in order.

Rules: no thread and no lock. Each command has its time-out; one that is late ends the connection, since what else was
asked on it would be late too. Whoever waited is told `Unanswered`: the server may have done it or not. A lost
connection is made anew after a pause that grows. A server is used only once it has shown that it evicts nothing.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

from gatehouse.errors import ConfigError

FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 2.0
"""Seconds between two attempts to connect: doubling, with up to a half more by chance. A server that cannot be reached
is worth a line from the longest on: one that is just being started is not."""
CHECK_SECONDS: Final = 5.0
"""How often the server is asked whether it still evicts nothing."""

_log: Final = logging.getLogger(__name__)

Answer = Any
"""What the server said, as hiredis gives it: bytes, int, list, `None`, or an `Unanswered` or `hiredis.ReplyError`."""


class Unanswered(Exception):
    """No answer came, or none in time."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where a server listens. `repr` and `str` hold no password."""

    host: str
    """Or the path of a Unix socket, with `port` 0."""
    port: int
    tls: ssl.SSLContext | None
    login: tuple[bytes, ...]
    """Arguments of AUTH; empty: none."""
    database: int

    def __repr__(self) -> str:
        return self.host if not self.port else f"{self.host}:{self.port}"


def server(url: str) -> Server:
    """From `redis.url`: `redis://[[user]:password@]host[:port][/database]`, `rediss://` with TLS (`?ca_file=` to trust
    that alone), `unix:///path/of.sock[?database=1]`; `valkey` and `valkeys` are the same as `redis` and `rediss`.

    Raises `ConfigError`, which never repeats the URL: it may hold a password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
        options = {name: values[-1] for name, values in parse_qs(parts.query, strict_parsing=bool(parts.query)).items()}
        unix = parts.scheme == "unix"
        database = int((options.pop("database", "0") if unix else parts.path.strip("/")) or "0")
    except ValueError:
        raise ConfigError("redis.url is no URL such as redis://host:6379/0 or unix:///run/valkey.sock") from None
    secure = parts.scheme in ("rediss", "valkeys")
    if not (secure or unix or parts.scheme in ("redis", "valkey")) or not (parts.path if unix else parts.hostname):
        raise ConfigError("redis.url must begin with redis://HOST, rediss://HOST or unix:///PATH")
    tls = None
    if secure:
        try:
            tls = ssl.create_default_context(cafile=options.pop("ca_file", None))
        except OSError as error:
            raise ConfigError(f"redis.url: its ca_file cannot be read: {error.strerror}") from error
    if options:
        raise ConfigError(f"redis.url: unknown option {', '.join(sorted(options))}")
    login = tuple(unquote(word).encode() for word in (parts.username, parts.password) if word)
    if unix:
        return Server(unquote(parts.path), 0, None, login, database)
    return Server(parts.hostname or "", port or 6379, tls, login, database)


class Connection:
    """The one connection of a process to `server`.

    `run`: the server process's own id while connected, else `None`: another one is another memory (a restart, or a
    replica that took over). `trouble`: why there is no connection.
    """

    def __init__(self, server: Server, *, timeout: float, connect_timeout: float) -> None:
        """Seconds: `timeout` for an answer, `connect_timeout` for a connection."""
        self.run: str | None = None
        self.trouble: str | None = "not connected yet"
        self._told: str | None = None
        self._server = server
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._loop = asyncio.get_running_loop()
        self._wire: _Wire | None = None
        self._pause = FIRST_PAUSE
        self._keeping: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Connect, and stay connected, from now on."""
        self._keeping = self._loop.create_task(self._keep())

    async def close(self) -> None:
        """Whoever waits is told `Unanswered`."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.wait((self._keeping,))
        self._drop("closed")

    def ask(self, command: Sequence[bytes], answered: Callable[[Answer], None]) -> None:
        """Send `command`; `answered` is called once, later, and in the order of the commands."""
        if self._wire is None or self.run is None:
            self._loop.call_soon(answered, Unanswered(self.trouble))
        else:
            self._wire.ask(command, answered, self._timeout)

    async def call(self, *command: bytes) -> Answer:
        """The answer to `command`. Raises `Unanswered` or `hiredis.ReplyError`."""
        return await _answer(self.ask, command)

    # -- being connected

    async def _keep(self) -> None:
        while True:
            try:
                wire = await asyncio.wait_for(self._open(), self._connect_timeout)
            except (OSError, TimeoutError, UnicodeError, Unanswered, hiredis.HiredisError) as error:
                self._say(str(error) or "no answer in time", log=self._pause >= LONGEST_PAUSE)
            else:
                self._pause = FIRST_PAUSE
                await self._watch(wire)
            self._drop(self.trouble or "the connection was lost")
            await asyncio.sleep(self._pause * (1 + random.random() / 2))  # noqa: S311 - spreads attempts, no secret
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _open(self) -> _Wire:
        at = self._server
        if at.port:
            _, wire = await self._loop.create_connection(_Wire, at.host, at.port, ssl=at.tls)
        else:
            _, wire = await self._loop.create_unix_connection(_Wire, at.host)
        self._wire = wire
        if at.login:
            await wire.call((b"AUTH", *at.login), self._connect_timeout)
        if at.database:
            await wire.call((b"SELECT", b"%d" % at.database), self._connect_timeout)
        run = await _checked(wire, self._connect_timeout)
        self.run, self.trouble, self._told = run, None, None
        return wire

    async def _watch(self, wire: _Wire) -> None:
        """Returns when the connection is of no use any more."""
        while not wire.gone.done():
            await asyncio.wait((wire.gone,), timeout=CHECK_SECONDS)
            if not wire.gone.done():
                try:
                    await _checked(wire, max(self._timeout, 1.0))
                except (Unanswered, hiredis.HiredisError) as error:
                    self._say(str(error))
                    return
        self._say(wire.gone.result())

    def _say(self, trouble: str, *, log: bool = True) -> None:
        self.trouble = trouble
        if log and trouble != self._told:
            _log.warning("limits: the server at %r is not usable: %s", self._server, trouble)
            self._told = trouble

    def _drop(self, why: str) -> None:
        wire, self._wire = self._wire, None
        self.run = None
        self.trouble = self.trouble or why
        if wire is not None:
            wire.end(why)


class _Wire(asyncio.Protocol):
    """RESP over one transport."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.gone: asyncio.Future[str] = self._loop.create_future()
        self._reader = hiredis.Reader()
        self._transport: asyncio.WriteTransport | None = None
        self._waiting: deque[tuple[Callable[[Answer], None], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.WriteTransport, transport)

    def ask(self, command: Sequence[bytes], answered: Callable[[Answer], None], timeout: float) -> None:
        if self._transport is None or self.gone.done():
            self._loop.call_soon(answered, Unanswered("the connection was lost"))
            return
        due = self._loop.time() + timeout
        self._waiting.append((answered, due))
        if self._timer is None or self._timer.when() > due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._late)
        self._transport.write(
            b"*%d\r\n" % len(command) + b"".join([b"$%d\r\n%b\r\n" % (len(word), word) for word in command])
        )

    async def call(self, command: Sequence[bytes], seconds: float) -> Answer:
        return await _answer(lambda words, answered: self.ask(words, answered, seconds), command)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not False:
                if not self._waiting:
                    self.end("it answered what nobody asked")
                    return
                self._waiting.popleft()[0](answer)
        except hiredis.ProtocolError as error:
            self.end(f"it does not speak Redis's protocol: {error}")

    def connection_lost(self, exc: Exception | None) -> None:
        self.end(str(exc) if exc else "it closed the connection")

    def end(self, why: str) -> None:
        """Close, and tell whoever waits."""
        if not self.gone.done():
            self.gone.set_result(why)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
            self._transport = None
        while self._waiting:
            self._waiting.popleft()[0](Unanswered(why))

    def _late(self) -> None:
        self._timer = None
        if self._waiting:
            due = min([due for _, due in self._waiting])
            if due <= self._loop.time():
                self.end("no answer in time")
            else:
                self._timer = self._loop.call_at(due, self._late)


async def _answer(ask: Callable[[Sequence[bytes], Callable[[Answer], None]], None], command: Sequence[bytes]) -> Answer:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def answered(answer: Answer) -> None:
        if not future.done():
            future.set_result(answer)

    ask(command, answered)
    answer = await future
    if isinstance(answer, Exception):
        raise answer
    return answer


async def _checked(wire: _Wire, seconds: float) -> str:
    """The server's own id. Raises `Unanswered` where it may evict what it was told to keep."""
    said: dict[str, str] = {}
    for section in (b"server", b"memory"):
        text: bytes = await wire.call((b"INFO", section), seconds)
        for line in text.decode(errors="replace").splitlines():
            name, _, value = line.partition(":")
            said[name] = value
    policy = said.get("maxmemory_policy")
    if policy != "noeviction":
        raise Unanswered(
            f"its maxmemory-policy is {policy}, so it may drop what limits have counted; "
            f"set `maxmemory-policy noeviction`, or name another server in redis.url"
        )
    return said.get("run_id", "")
