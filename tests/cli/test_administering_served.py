"""The same commands while a gateway has the data directory: through its control socket, by the local token."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatehouse.cli import init
from gatehouse.cli.options import set_up
from gatehouse.config.paths import write_private
from gatehouse.control.founding import Owner
from gatehouse.control.offline import Offline
from gatehouse.control.process import Server, server_config
from gatehouse.control.sockets import listen
from gatehouse.supervisor.lock import lock
from gatehouse.supervisor.serving import Serving
from tests.cli.conftest import Cli
from tests.control.doors import hashed

KEYS = 60


@pytest.fixture
def house(cli: Cli, data: Path) -> Iterator[Cli]:
    environ = {"GATEHOUSE_DATA": str(data)}
    setup = set_up(environ, None, None)
    setup.data.create()
    assert init.founded(setup, Owner("ann@example.com", hashed())) is not None
    descriptor = lock(setup.data)
    serving = Serving(os.getpid(), "127.0.0.1", 1, "http://127.0.0.1:1", "0")
    write_private(setup.data.serving, serving.encoded())
    offline = Offline(setup.data, setup.settings, setup.providers, "https://gateway.example", environ)
    write_private(setup.data.local_token, offline.token)
    listener, servers, ready = listen(setup.data.control_socket), [], threading.Event()

    async def run() -> None:
        async with offline.running() as app:
            given: Any = app
            servers.append(Server(server_config(given)))
            ready.set()
            await servers[0].serve(sockets=[listener])

    thread = threading.Thread(target=lambda: asyncio.run(run()), daemon=True)
    thread.start()
    try:
        assert ready.wait(30)
        yield cli
    finally:
        servers[0].should_exit = True
        thread.join(15)
        listener.close()
        os.close(descriptor)


def test_through_the_socket(house: Cli, data: Path) -> None:
    done = house("project", "create", "web", "--team", "payments")
    assert done.code == 0, done.err
    made = house("key", "create", "ci", "--project", "web")
    assert "export OPENAI_BASE_URL=http://127.0.0.1:1/v1" in made.out, "where it listens, whatever is configured"
    file = data / "house.yaml"
    keys = "".join(f"  - {{name: key-{number}, project: web}}\n" for number in range(KEYS))
    file.write_text(f"keys:\n{keys}limits:\n  - {{on: tenant, concurrency: 40}}\n")
    done = house("apply", "-f", str(file))
    assert done.code == 0 and len({json.loads(line)["key"] for line in done.out.splitlines()}) == KEYS
    assert house("apply", "-f", str(file)).err == "nothing to do\n"
    assert house("apply", "-f", str(file), "--prune", "--dry-run").out == "- key web/ci\n"
    assert len(json.loads(house("key", "list", "--format", "json").out)["items"]) == KEYS + 1
    assert house("key", "revoke", "key-7").code == 0
    assert house("apply", "-f", str(file), "--dry-run").out == "+ key web/key-7\n"
