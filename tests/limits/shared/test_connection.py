"""The one connection: where it goes, what it waits for, and what it never says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import hiredis
import pytest

from gatehouse.errors import ConfigError
from gatehouse.limits.shared.connection import Connection, Unanswered, server
from tests.limits.shared.servers import Valkey, linked, until, valkey


@pytest.mark.parametrize(
    ("url", "host", "port", "database", "login"),
    [
        ("redis://h", "h", 6379, 0, ()),
        ("valkey://u:p%40ss@h:7000/3", "h", 7000, 3, (b"u", b"p@ss")),
        ("redis://:secret@[::1]:1", "::1", 1, 0, (b"secret",)),
        ("unix:///run/v.sock?database=2", "/run/v.sock", 0, 2, ()),
    ],
)
def test_urls(url: str, host: str, port: int, database: int, login: tuple[bytes, ...]) -> None:
    found = server(url)
    assert (found.host, found.port, found.database, found.login, found.tls) == (host, port, database, login, None)


def test_tls_is_verified() -> None:
    found = server("rediss://h")
    assert found.tls is not None
    assert found.tls.check_hostname


@pytest.mark.parametrize(
    "url",
    ["", "h:6379", "http://:secret@h", "redis://", "redis://:secret@h:port", "redis://:secret@h/x", "unix://",
     "redis://:secret@h?nonsense=1", "rediss://:secret@h?ca_file=/nowhere", "redis://:secret@h?x"],
)  # fmt: skip
def test_a_wrong_url_is_told_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError) as error:
        server(url)
    assert "secret" not in str(error.value)
    assert str(error.value).startswith("redis.url")


def test_a_servers_repr_holds_no_password() -> None:
    assert repr(server("redis://user:secret@h:1")) == "h:1"


def test_answers_come_in_order_over_one_connection(on: Valkey) -> None:
    async def run() -> None:
        async with linked(on) as link:
            calls = [link.call(b"ECHO", b"%d" % number) for number in range(200)]
            assert await asyncio.gather(*calls) == [b"%d" % number for number in range(200)]
            with pytest.raises(hiredis.ReplyError):
                await link.call(b"NONSENSE")
            assert on.client().info("clients")["connected_clients"] <= 3

    asyncio.run(run())


def test_logs_in_and_selects(on: Valkey) -> None:
    async def run() -> None:
        with valkey("--requirepass", "secret") as guarded:
            path = guarded.path
            wrong = Connection(server(f"unix://{path}"), timeout=20, connect_timeout=20)
            wrong.start()
            await until(lambda: wrong.trouble and "NOAUTH" in wrong.trouble)
            await wrong.close()
            url = f"unix://:secret@{path}?database=1"
            right = Connection(server(url), timeout=20, connect_timeout=20)
            right.start()
            await until(lambda: right.run)
            assert b"db=1" in await right.call(b"CLIENT", b"INFO")
            await right.close()

    asyncio.run(run())


def test_what_nobody_answers_ends_in_time_and_is_made_anew(tmp_path: Path) -> None:
    """A server that says nothing at all, and one that says nonsense."""

    async def run() -> None:
        path = str(tmp_path / "s")
        greeted = asyncio.Event()

        async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            greeted.set()
            await reader.read()
            writer.close()

        async def babbles(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await reader.read()
            writer.close()

        link = Connection(server(f"unix://{path}"), timeout=0.05, connect_timeout=0.05)
        link.start()
        told: list[Any] = []
        link.ask((b"PING",), told.append)
        await until(lambda: told)
        assert isinstance(told[0], Unanswered)
        for peer in (mute, babbles):
            listener = await asyncio.start_unix_server(peer, path)
            await until(
                lambda: (
                    link.trouble in ("no answer in time", "it does not speak Redis's protocol")
                    or (link.trouble or "").startswith("it does not speak")
                )
            )
            listener.close()
        assert greeted.is_set()
        assert link.run is None
        await link.close()

    asyncio.run(run())
